//! Results are written here. What cannot be written is found before a run begins, and a file is replaced as a whole or stays what it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tempfile::{Builder, NamedTempFile};

/// Files that a run writes into its directory under any circumstances.
const ALWAYS: [&str; 2] = ["report.json", "latency.hgrm"];

/// Checks what `--out` and `--html` name. Leaves nothing behind, and touches nothing that is there.
///
/// # Errors
/// When one of them cannot be written; the text names the option, the path, the reason, and a remedy.
pub(crate) fn check(directory: Option<&Path>, page: Option<&Path>) -> anyhow::Result<()> {
    if let Some(directory) = directory {
        check_directory(directory).map_err(|error| refused("--out", directory, &error))?;
    }
    let Some(page) = page else { return Ok(()) };
    // The page may go into the directory, which may not be there yet.
    if !directory.is_some_and(|directory| page.parent() == Some(directory) && !directory.exists()) {
        check_file(page).map_err(|error| refused("--html", page, &error))?;
    }
    let is_taken = |name: &&&str| directory.is_some_and(|directory| directory.join(name) == page);
    if let Some(name) = ALWAYS.iter().find(is_taken) {
        bail!("--html {}: --out writes {name} there; give the page a name of its own", page.display());
    }
    Ok(())
}

fn refused(option: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "make the directory first, or name another",
        ErrorKind::IsADirectory => "name a file in it",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "name a path that has only directories in it",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name one where you may write",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name one on another disk",
        _ => "name another",
    };
    anyhow::anyhow!("{option} {}: cannot be written: {error}; {remedy}. Nothing was started", path.display())
}

/// Checks whether a directory can be written into, or made.
fn check_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        beside(&directory.join(ALWAYS[0]))?;
        return ALWAYS.iter().try_for_each(|name| check_file(&directory.join(name)));
    }
    let above = directory.ancestors().find(|path| path.exists() || path.as_os_str().is_empty());
    let above = above.unwrap_or(directory);
    if above.is_file() {
        let text = format!("{} is a file", above.display());
        return Err(io::Error::new(ErrorKind::NotADirectory, text));
    }
    beside(&above.join(ALWAYS[0])).map(drop)
}

/// Checks whether a file can be written, or made, without doing it.
fn check_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        // Whoever reads a pipe may come later.
        Ok(found) if found.file_type().is_fifo() => Ok(()),
        // Opened for writing, and not truncated.
        Ok(_) => OpenOptions::new().write(true).open(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => beside(path).map(drop),
        Err(error) => Err(error),
    }
}

/// Makes an empty file in the directory of another, with no name that lasts.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let mode = fs::Permissions::from_mode(0o666);
    Builder::new()
        .prefix(".tickwire-loadgen-")
        .permissions(mode)
        .tempfile_in(directory.unwrap_or(Path::new(".")))
}

/// Writes a file. One that is there keeps its content until the new one is whole.
///
/// # Errors
/// When it cannot be written; the text names it.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    put(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let found = fs::metadata(path).ok();
    ensure!(!found.as_ref().is_some_and(fs::Metadata::is_dir), "it is a directory");
    // A device or a pipe is written to and not replaced; a link stays one.
    let is_replaced = found.as_ref().is_none_or(fs::Metadata::is_file);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match beside(&target) {
        Ok(mut file) if is_replaced => {
            file.write_all(text.as_bytes())?;
            if let Some(found) = found {
                file.as_file().set_permissions(found.permissions())?;
            }
            file.as_file().sync_all()?;
            file.persist(&target).map_err(|error| error.error)?;
        }
        // A file that may be written in a directory that may not.
        _ if found.is_some() => {
            OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes())?;
        }
        Ok(_) => File::create(path)?.write_all(text.as_bytes())?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
#[path = "../tests/units/output.rs"]
mod tests;
