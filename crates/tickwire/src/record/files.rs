//! The files of a recording: when one is full, another one begins.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tickwire_recordings::bus::{Note, Recorded, Writer};

/// Bytes that wait for the kernel.
const BUFFER_BYTES: usize = 256 << 10;
/// The level of zstd: a core packs some 300 MB/s at it.
const ZSTD_LEVEL: i32 = 3;

/// The user's words about files.
#[derive(Clone, Debug)]
pub(crate) struct FileSettings {
    pub(crate) folder: PathBuf,
    /// The most bytes of a file, before they are packed.
    pub(crate) bytes_max: u64,
    /// The longest time of a file.
    pub(crate) time_max: Duration,
    pub(crate) is_packed: bool,
}

/// An output that can be ended.
enum Output {
    Plain(BufWriter<File>),
    Packed(zstd::Encoder<'static, BufWriter<File>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Packed(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Packed(file) => file.flush(),
        }
    }
}

/// A file that is being written.
pub(super) struct RecordFile {
    /// The name that it gets when it ends.
    path: PathBuf,
    writer: Writer<Output>,
    began: u64,
}

impl RecordFile {
    /// Begins a file of a venue.
    ///
    /// # Errors
    /// Says which file cannot be made, and why.
    pub(super) fn begin(settings: &FileSettings, venue: &str, number: u64, now: u64) -> anyhow::Result<Self> {
        let second = Duration::from_secs(Duration::from_nanos(now).as_secs());
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + second).to_string().replace(['-', ':'], "");
        let ending = if settings.is_packed { ".zst" } else { "" };
        let path = settings.folder.join(format!("{venue}-{time}-{number}.twbus{ending}"));
        let part = part(&path);
        let made =
            if path.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { File::create_new(&part) };
        let file = made.map_err(|error| {
            anyhow::anyhow!("`{}` cannot be made: {error}; nothing is overwritten", part.display())
        })?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let wrong = |error| unwritable(&path, &error);
        let output = if settings.is_packed {
            Output::Packed(zstd::Encoder::new(file, ZSTD_LEVEL).map_err(wrong)?)
        } else {
            Output::Plain(file)
        };
        let mut writer = Writer::new(output).map_err(wrong)?;
        let by = concat!("tickwire ", env!("CARGO_PKG_VERSION")).to_owned();
        writer.note(now, &Note::Begin { venue: venue.to_owned(), file: number, by }).map_err(wrong)?;
        Ok(Self { path, writer, began: now })
    }

    pub(super) fn write(&mut self, entry: &Recorded<'_>) -> anyhow::Result<()> {
        self.writer.write(entry).map_err(|error| unwritable(&self.path, &error))
    }

    pub(super) fn note(&mut self, now: u64, note: &Note) -> anyhow::Result<()> {
        self.writer.note(now, note).map_err(|error| unwritable(&self.path, &error))
    }

    /// Hands everything to the kernel, so that a process that is killed loses nothing of it.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush().map_err(|error| unwritable(&self.path, &error))
    }

    pub(super) fn is_full(&self, settings: &FileSettings, now: u64) -> bool {
        let time_max = u64::try_from(settings.time_max.as_nanos()).unwrap_or(u64::MAX);
        self.writer.bytes() >= settings.bytes_max || now.saturating_sub(self.began) >= time_max
    }

    /// Ends the file, and gives it its name.
    ///
    /// # Errors
    /// Says which file cannot be ended, and why.
    pub(super) fn end(self, now: u64) -> anyhow::Result<PathBuf> {
        let wrong = |error| unwritable(&self.path, &error);
        let file = match self.writer.end(now).map_err(wrong)? {
            Output::Plain(file) => file,
            Output::Packed(file) => file.finish().map_err(wrong)?,
        };
        drop(file.into_inner().map_err(|error| wrong(error.into_error()))?);
        std::fs::rename(part(&self.path), &self.path).map_err(wrong)?;
        Ok(self.path)
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn unwritable(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "`{}` cannot be written any further: {error}; what was written can be read",
        part(path).display()
    )
}
