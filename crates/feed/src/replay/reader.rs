//! A reader of one recording, line by line: `<receive time> <json>`, plain or gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::gzip::{Counted, Members, Part};
use crate::adapter::Fault;
use crate::number::Exact;

/// The longest line, in bytes: Binance's `exchangeInfo` has about 15 MB.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The number of characters of a line that an error shows.
const SHOWN_CHARS: usize = 60;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) struct LineReader {
    path: PathBuf,
    source: Lines,
    line: Line,
    number: u64,
    is_over: bool,
}

enum Lines {
    Plain(BufReader<Counted>),
    Gzip(BufReader<Members>),
}

/// A line with its place.
#[derive(Debug, Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    json_from: usize,
    number: u64,
}

/// The outcome of reading on.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// A line with this time, in nanoseconds since the Unix epoch; it is [`LineReader::line`].
    Line(u64),
    /// A line that is none; more may follow.
    Bad(Fault),
    /// Something of the file cannot be read; what was before it was given, and more may follow.
    Damaged(Fault),
    /// The end of the file.
    End,
}

impl Line {
    pub(crate) fn json(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.json_from..]).unwrap_or_default().trim_end()
    }

    /// Returns whether it has no end: it is the file's last line, perhaps not all of it.
    pub(crate) fn is_cut(&self) -> bool {
        self.bytes.last() != Some(&b'\n')
    }

    /// Returns its text without a byte-order mark: files that were put together may have several.
    fn text(&self) -> &[u8] {
        self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.bytes)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl LineReader {
    /// Reads a file; `bytes_read` counts what is taken from it, as it lies on the disk. `parts` are its members, where
    /// it is known to be damaged.
    pub(crate) fn new(
        path: &Path,
        file: Arc<File>,
        parts: Option<&[Part]>,
        bytes_read: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut plain = Counted::source(file, 0, bytes_read);
        // This goes by what is in it, because names lie.
        let is_gzip = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let source = if is_gzip {
            Lines::Gzip(BufReader::with_capacity(64 * 1024, Members::new(plain, parts)))
        } else {
            Lines::Plain(plain)
        };
        Ok(Self { path: path.to_owned(), source, line: Line::default(), number: 0, is_over: false })
    }

    /// Reads on. After `End` there is only `End`. Lines of nothing but spaces are passed over.
    pub(crate) fn read(&mut self) -> Taken {
        loop {
            if self.is_over {
                return Taken::End;
            }
            let line = &mut self.line;
            line.bytes.clear();
            self.number += 1;
            line.number = self.number;
            let read = match &mut self.source {
                Lines::Plain(source) => read_line(source, &mut line.bytes),
                Lines::Gzip(source) => read_line(source, &mut line.bytes),
            };
            if let Err(error) = read {
                let goes_on = matches!(&self.source, Lines::Gzip(source) if source.get_ref().goes_on());
                self.is_over = !goes_on;
                return Taken::Damaged(self.fault(damage(&error, goes_on)));
            }
            if self.line.bytes.is_empty() {
                self.is_over = true;
                return Taken::End;
            }
            if self.line.is_cut() && self.line.bytes.len() as u64 == LINE_BYTES_MAX {
                self.is_over = true;
                let reason = format!(
                    "the line is longer than {LINE_BYTES_MAX} bytes; the rest of the file is not read"
                );
                return Taken::Damaged(self.fault(reason));
            }
            if self.line.text().iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return match split(self.line.text()) {
                Ok((time, json)) => {
                    self.line.json_from = self.line.bytes.len() - json;
                    Taken::Line(time)
                }
                Err(reason) => {
                    let reason = if self.line.is_cut() { format!("{reason}; {CUT}") } else { reason };
                    Taken::Bad(self.fault(reason))
                }
            };
        }
    }

    /// Returns the line read last, which may be exchanged for another one to be used again.
    pub(crate) fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    pub(crate) fn is_gzip(&self) -> bool {
        matches!(self.source, Lines::Gzip(_))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn fault(&self, reason: String) -> Fault {
        Fault { source: self.path.display().to_string(), line: self.number, reason }
    }
}

fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    source.take(LINE_BYTES_MAX).read_until(b'\n', line)
}

/// The words that are added to what is wrong with a last line that has no end.
pub(crate) const CUT: &str =
    "the recording ends in the middle of this line, so it is cut off: everything before it was used";

fn damage(error: &io::Error, goes_on: bool) -> String {
    let rest = if goes_on {
        "everything before was used, and what was appended behind it is read on"
    } else {
        "everything before was used; copy or record it again for the rest"
    };
    match error.kind() {
        ErrorKind::UnexpectedEof if goes_on => format!("the gzip data ends too early here: {rest}"),
        ErrorKind::UnexpectedEof => format!("the gzip data ends too early, so the file is cut off: {rest}"),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            format!("the gzip data is damaged here ({error}): {rest}")
        }
        _ => format!("cannot be read on: {error}"),
    }
}

/// Splits a line into the time, and how many bytes at the end are the JSON.
fn split(line: &[u8]) -> Result<(u64, usize), String> {
    let text = std::str::from_utf8(line).map_err(|_| "this is not a line of text".to_owned())?;
    let wanted = || {
        let shown: String = text.trim_end().chars().take(SHOWN_CHARS).collect();
        format!("expected `<nanoseconds since 1970> <json>`, found `{shown}`")
    };
    let (time, json) = text.trim_start().split_once(char::is_whitespace).ok_or_else(wanted)?;
    let json = json.trim_start();
    let exact = Exact::parse(time.trim_end_matches(':')).ok_or_else(wanted)?;
    if !json.starts_with(['{', '[']) {
        return Err(wanted());
    }
    let time = exact.nanoseconds().ok_or_else(|| {
        let shown: String = time.chars().take(SHOWN_CHARS).collect();
        format!(
            "`{shown}` is no time of the years 2001 to 2099 in nano-, micro-, milliseconds or seconds since 1970; write \
             the receive time in one of these before each message"
        )
    })?;
    Ok((time, json.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<(u64, &str), &str>) {
        let found = split(line.as_bytes()).map(|(time, json)| (time, &line[line.len() - json..]));
        match (found, expected) {
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => assert_eq!(found, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn a_line_is_a_time_of_any_unit_and_json() {
        let time = 1_700_000_001_500_000_000;
        for text in
            ["1700000001500000000", "1700000001500000", "1700000001500", "1700000001.5", "1700000001.5:"]
        {
            check(&format!("{text} {{}}"), Ok((time, "{}")));
        }
        check("1700000001500 [{}]\r\n", Ok((time, "[{}]\r\n")));
        check(" 1700000001500\t  {}", Ok((time, "{}")));
        for text in ["5", "170000000150", "17000000015000000000", "-1700000001500", "0"] {
            check(&format!("{text} {{}}"), Err("is no time of the years 2001 to 2099 in nano-, micro-"));
        }
        for text in ["{}", "1700000001500", "1700000001500 x", "2023-11-14T22:13:21Z {}", "x {}"] {
            check(text, Err("expected `<nanoseconds since 1970> <json>`, found `"));
        }
    }
}
