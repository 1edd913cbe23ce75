//! The input of a replay: a file, which is read twice, or a pipe, which cannot be and is copied first.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

/// The most bytes that a pipe may bring; they lie in the folder for temporary files until the replay ends.
const SPOOL_BYTES_MAX: u64 = 16 << 30;

/// A recording that can be opened again and again. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Input {
    path: PathBuf,
    /// The copy of what a pipe brought.
    spool: Option<Arc<NamedTempFile>>,
}

impl Input {
    /// Prepares an input; `-` is the standard input. A pipe is read to its end here, which waits for who writes it.
    ///
    /// # Errors
    /// The file cannot be read, or is a folder; a pipe brings more than 16 GiB.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        if path.as_os_str() == "-" {
            return Ok(Self { spool: Some(Arc::new(spool(&path, &mut io::stdin().lock())?)), path });
        }
        let kind = path.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
        }
        let spool =
            if kind.is_file() { None } else { Some(Arc::new(spool(&path, &mut File::open(&path)?)?)) };
        Ok(Self { path, spool })
    }

    /// Returns the path that it was named by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, at its beginning.
    ///
    /// # Errors
    /// The system does not let it be read.
    pub fn open(&self) -> io::Result<File> {
        match &self.spool {
            Some(spool) => spool.reopen(),
            None => File::open(&self.path),
        }
    }
}

fn spool(path: &Path, source: &mut dyn Read) -> io::Result<NamedTempFile> {
    tracing::info!(path = %path.display(), "this is no file: it is read to its end and kept until the replay is over");
    let mut spool = NamedTempFile::new()?;
    let count = io::copy(&mut source.take(SPOOL_BYTES_MAX + 1), spool.as_file_mut())?;
    if count > SPOOL_BYTES_MAX {
        let reason =
            format!("it brings more than {SPOOL_BYTES_MAX} bytes; save it to a file and replay that");
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(spool)
}
