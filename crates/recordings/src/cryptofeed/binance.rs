//! Binance spot: the stream of one connection, with the snapshots and definitions that lie in the files beside it.
//!
//! The lines are put in the order of their times into a temporary file, as raw streams of Binance, and those are read as such.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;
use tickwire_feed::replay::Input;

use super::lines::{Line, Lines, Next};
use crate::adapted::BinanceSource;
use crate::packed;
use crate::source::{Entry, Place, Source, Symbol};

/// A reading of a capture.
pub(crate) struct BinanceCapture {
    source: BinanceSource,
    /// The line of the capture for each line of the temporary file; 0 for those of files beside it.
    lines: Vec<u64>,
    /// The faults of the capture itself, with their lines.
    faults: Vec<(u64, String)>,
    messages: u64,
    _temporary: NamedTempFile,
}

/// A line for the temporary file.
struct Timed {
    time: u64,
    line: u64,
    json: String,
}

impl BinanceCapture {
    /// Reads a capture and what lies beside it, and begins to say it.
    ///
    /// # Errors
    /// Returns what is wrong, in words.
    pub(crate) fn new(input: &Input) -> Result<Self, String> {
        let unreadable = |error: io::Error| error.to_string();
        let content = input.open().and_then(|file| packed::open(file, std::sync::Arc::default()));
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        read(content.map_err(unreadable)?, &mut all, &mut faults, false);
        let messages = all.len() as u64;
        for path in beside(input.path()) {
            let content =
                std::fs::File::open(&path).and_then(|file| packed::open(file, std::sync::Arc::default()));
            // What lies beside it and cannot be read is missing, as if it were not there.
            if let Ok(content) = content {
                read(content, &mut all, &mut Vec::new(), true);
            }
        }
        all.sort_by_key(|timed| timed.time);
        let temporary = NamedTempFile::new().map_err(unreadable)?;
        let mut file = BufWriter::new(temporary.as_file());
        for Timed { time, json, .. } in &all {
            writeln!(file, "{time} {json}").map_err(unreadable)?;
        }
        file.flush().map_err(unreadable)?;
        drop(file);
        let source = BinanceSource::new(&Input::prepare(temporary.path()).map_err(unreadable)?, None)?;
        let lines = all.iter().map(|timed| timed.line).collect();
        Ok(Self { source, lines, faults, messages, _temporary: temporary })
    }
}

impl Source for BinanceCapture {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let from = entries.len();
        let goes_on = self.source.read(entries);
        for entry in &mut entries[from..] {
            if let Entry::Fault(Place::Line(line), _) = entry {
                *line = self.lines.get((*line as usize).wrapping_sub(1)).copied().unwrap_or(0);
            }
        }
        if !goes_on {
            let fault = |(line, reason)| Entry::Fault(Place::Line(line), reason);
            entries.extend(self.faults.drain(..).map(fault));
        }
        goes_on
    }

    fn records(&self) -> u64 {
        self.messages
    }

    fn symbols(&self) -> &[Symbol] {
        self.source.symbols()
    }
}

/// Appends the messages of a capture, or what was fetched.
fn read(content: packed::Content, all: &mut Vec<Timed>, faults: &mut Vec<(u64, String)>, is_beside: bool) {
    let mut lines = Lines::new(content);
    loop {
        let (time, json) = match lines.next() {
            Next::Line(Line::Message { time, json }) if !is_beside => (time, json),
            Next::Line(Line::Response { address, time, json }) => match fetched(&address, json) {
                Some(json) => (time, json),
                None => continue,
            },
            Next::Line(_) => continue,
            Next::Fault(line, reason) => {
                faults.push((line, reason));
                continue;
            }
            Next::End(fault) => {
                faults.extend(fault);
                return;
            }
        };
        let line = if is_beside { 0 } else { lines.line() };
        all.push(Timed { time, line, json });
    }
}

/// Returns what was fetched in the form of a stream: a snapshot says its symbol in its address only.
fn fetched(address: &str, json: String) -> Option<String> {
    if address.contains("/exchangeInfo") {
        return Some(json);
    }
    let (_, query) = address.split_once("/depth?")?;
    let symbol = query.split('&').find_map(|part| part.strip_prefix("symbol="))?;
    let symbol = symbol.to_ascii_lowercase();
    Some(format!(r#"{{"stream":"{symbol}@depthSnapshot","generated":true,"data":{json}}}"#))
}

/// Returns the files of the same capture that have what was fetched: `VENUE.N` and `VENUE.http.N.M`, packed or not.
fn beside(path: &Path) -> Vec<std::path::PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (Some((venue, _)), Some(folder)) = (name.split_once('.'), path.parent()) else { return Vec::new() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let is_wanted = |name: &str| {
        let rest = name.strip_prefix(venue).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| {
            rest.starts_with("http.")
                || rest.split('.').next().is_some_and(|part| part.parse::<u32>().is_ok())
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
