//! Reads one recording, line by line: `<receive time in ns> <json>`, plain or gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::adapter::Fault;

/// Longest line, in bytes: Binance's `exchangeInfo` has about 15 MB.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much of a line is shown in an error.
const SHOWN_CHARS: usize = 60;

pub(crate) struct LineReader {
    path: PathBuf,
    source: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    json_from: usize,
    number: u64,
    is_over: bool,
}

/// What was read.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// A line with this time; its text is [`LineReader::json`].
    Line(u64),
    /// A line that is none; more may follow.
    Bad(Fault),
    /// The file is damaged from here on; what was before it was given.
    Damaged(Fault),
    /// The end of the file.
    End,
}

impl LineReader {
    /// Opens a file; `bytes_read` counts what is taken from it, as it lies on the disk.
    pub(crate) fn open(path: &Path, bytes_read: Arc<AtomicU64>) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut counted = BufReader::with_capacity(64 * 1024, Counted { file, bytes_read });
        // By what is in it, because names lie.
        let is_gzip = counted.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let source: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(counted)))
        } else {
            Box::new(counted)
        };
        let (line, json_from, number) = (Vec::new(), 0, 0);
        Ok(Self { path: path.to_owned(), source, line, json_from, number, is_over: false })
    }

    /// Reads on. After `Damaged` and `End` there is only `End`.
    pub(crate) fn read(&mut self) -> Taken {
        if self.is_over {
            return Taken::End;
        }
        self.line.clear();
        self.number += 1;
        let mut limited = self.source.by_ref().take(LINE_BYTES_MAX);
        if let Err(error) = limited.read_until(b'\n', &mut self.line) {
            self.is_over = true;
            return Taken::Damaged(self.fault(damage(&error)));
        }
        if self.line.is_empty() {
            self.is_over = true;
            return Taken::End;
        }
        if self.line.last() != Some(&b'\n') && self.line.len() as u64 == LINE_BYTES_MAX {
            self.is_over = true;
            let reason =
                format!("the line is longer than {LINE_BYTES_MAX} bytes; the rest of the file is not read");
            return Taken::Damaged(self.fault(reason));
        }
        match split(&self.line) {
            Ok((time, json_from)) => {
                self.json_from = json_from;
                Taken::Line(time)
            }
            Err(reason) => {
                let reason = if self.is_cut() { format!("{reason}; {CUT}") } else { reason };
                Taken::Bad(self.fault(reason))
            }
        }
    }

    /// The text of the line read last.
    pub(crate) fn json(&self) -> &str {
        std::str::from_utf8(&self.line[self.json_from..]).unwrap_or_default().trim_end()
    }

    /// The line read last has no end: it is the file's last, perhaps not all of it.
    pub(crate) fn is_cut(&self) -> bool {
        self.line.last() != Some(&b'\n')
    }

    /// What is wrong with the line read last.
    pub(crate) fn fault(&self, reason: String) -> Fault {
        Fault { source: self.path.display().to_string(), line: self.number, reason }
    }
}

/// Added to what is wrong with a last line that has no end.
pub(crate) const CUT: &str =
    "the recording ends in the middle of this line, so it is cut off: everything before it was used";

fn damage(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the gzip data ends too early, so the file is cut off: everything before was \
             used; copy or record it again for the rest"
                .to_owned()
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            format!(
                "the gzip data is damaged here ({error}): everything before was used; copy the file again"
            )
        }
        _ => format!("cannot be read on: {error}"),
    }
}

/// The time, and where the JSON begins.
fn split(line: &[u8]) -> Result<(u64, usize), String> {
    let text = std::str::from_utf8(line).map_err(|_| "not a line of text".to_owned())?;
    let wanted = || {
        let shown: String = text.trim_end().chars().take(SHOWN_CHARS).collect();
        format!("expected `<nanoseconds since 1970> <json>`, found `{shown}`")
    };
    let (time, json) = text.split_once(' ').ok_or_else(wanted)?;
    let time = time.parse().map_err(|_| wanted())?;
    if !json.starts_with('{') {
        return Err(wanted());
    }
    Ok((time, line.len() - json.len()))
}

struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
