//! A recording of Binance as the source of a simulated venue: its messages are said again, at their distances, and snapshots are of
//! the book that they made.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use tickwire_feed::adapter::Levels;
use tickwire_feed::binance::Scan;
use tickwire_wire::Level;
use tickwire_wire::decimal::{parse, parse_unsigned};

use super::symbol::Symbol;

/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const NS_PER_MS: f64 = 1e6;
/// The milliseconds that pass between two turns at most: what a machine that stood still missed comes late and not all at once,
/// because a client could not read it before it is cut off for that.
const TURN_MS_MAX: u64 = 250;

/// A recording that is played once.
pub(super) struct Playback {
    lines: Box<dyn BufRead + Send>,
    /// The line that is not due yet: its time in nanoseconds, and its text.
    next: Option<(u64, String)>,
    /// The recorded time of the first line, and the recorded nanoseconds since then that were said; none before that line.
    position: Option<(u64, f64)>,
    /// The last turn, in milliseconds since the Unix epoch.
    last_turn: u64,
    /// Recorded seconds per second.
    speed: f64,
}

#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(borrow)]
    stream: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    s: &'a str,
    u: u64,
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last_update: u64,
    #[serde(borrow)]
    bids: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    asks: Vec<[&'a str; 2]>,
}

impl Playback {
    /// Opens a recording: its symbols, with the book of its first snapshot where it is of one symbol, and what is played.
    ///
    /// # Errors
    /// When the file cannot be read, or has no symbol.
    pub(super) fn open(path: &Path, speed: f64) -> io::Result<(Self, Vec<Symbol>)> {
        let mut scan = Scan::default();
        let mut snapshot = None;
        for line in lines(path)?.lines() {
            let line = line?;
            let Some((_, text)) = split(&line) else { continue };
            // What cannot be read is passed over, as it is when it is played.
            let _ = scan.message(text);
            if snapshot.is_none() && serde_json::from_str::<Snapshot>(text).is_ok() {
                snapshot = Some(text.to_owned());
            }
        }
        scan.finish();
        let definitions = scan.definitions().into_iter().enumerate();
        let mut symbols: Vec<_> =
            definitions.map(|(index, definition)| Symbol::recorded(index, definition)).collect();
        if symbols.is_empty() {
            return Err(io::Error::other(format!("there are no symbols in `{}`", path.display())));
        }
        if let ([only], Some(text)) = (&mut symbols[..], snapshot)
            && let Ok(snapshot) = serde_json::from_str::<Snapshot>(&text)
            && let Some(levels) = levels(only, &snapshot.bids, &snapshot.asks)
        {
            only.record(&levels, snapshot.last_update);
        }
        Ok((Self { lines: lines(path)?, next: None, position: None, last_turn: 0, speed }, symbols))
    }

    /// Returns what is due, by the names of its streams, and keeps the books.
    pub(super) fn play(&mut self, now: u64, symbols: &mut [Symbol]) -> Vec<(String, String)> {
        let mut said = Vec::new();
        let passed = now.saturating_sub(std::mem::replace(&mut self.last_turn, now)).min(TURN_MS_MAX);
        if let Some((_, position)) = &mut self.position {
            *position += passed as f64 * NS_PER_MS * self.speed;
        }
        while let Some((time, text)) = self.next.take().or_else(|| read(&mut *self.lines)) {
            let (first, position) = *self.position.get_or_insert((time, 0.0));
            if time.saturating_sub(first) as f64 > position {
                self.next = Some((time, text));
                break;
            }
            if let Ok(Streamed { stream, data }) = serde_json::from_str(&text) {
                if stream.contains("@depth") {
                    change(data.get(), symbols);
                }
                // Clients ask for the slower of the two streams of depth that there are.
                said.push((stream.replace("@depth@0ms", "@depth@100ms"), data.get().to_owned()));
            }
        }
        said
    }
}

fn change(data: &str, symbols: &mut [Symbol]) {
    let Ok(change) = serde_json::from_str::<Change>(data) else { return };
    let Some(symbol) = symbols.iter_mut().find(|symbol| symbol.name == change.s) else { return };
    if let Some(levels) = levels(symbol, &change.b, &change.a) {
        symbol.record(&levels, change.u);
    }
}

fn levels(symbol: &Symbol, bids: &[[&str; 2]], asks: &[[&str; 2]]) -> Option<Levels> {
    let (prices, sizes) = symbol.decimals();
    let side = |levels: &[[&str; 2]]| {
        let level = |[price, size]: &[&str; 2]| {
            Some(Level { price: parse(price, prices).ok()?, size: parse_unsigned(size, sizes).ok()? })
        };
        levels.iter().map(level).collect::<Option<Vec<_>>>()
    };
    Some(Levels { bids: side(bids)?, asks: side(asks)? })
}

fn read(lines: &mut dyn BufRead) -> Option<(u64, String)> {
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((time, text)) = split(&line) {
            return Some((time, text.to_owned()));
        }
    }
}

/// Splits a line into its time, in nanoseconds, and its text.
fn split(line: &str) -> Option<(u64, &str)> {
    let (time, text) = line.split_once(' ')?;
    Some((time.parse().ok()?, text.trim()))
}

fn lines(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = File::open(path)?;
    let mut first = [0; 2];
    let count = file.read(&mut first)?;
    file.rewind()?;
    let file = BufReader::new(file);
    Ok(if count == 2 && first == GZIP {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tickwire_feed::binance::Market;

    use super::*;
    use crate::simulator::binance::Binance;
    use crate::simulator::protocol::{Page, Protocol as _};

    #[test]
    fn a_recording_is_said_again_at_its_distances() {
        let path = std::env::temp_dir().join(format!("tickwire-playback-{}.txt", std::process::id()));
        let second = 1_000_000_000u64;
        let start = 1_700_000_000 * second;
        let depth = |u: u64, price: &str, size: &str| {
            format!(
                r#"{{"stream":"abusdt@depth@0ms","data":{{"e":"depthUpdate","E":1700000000000,"s":"ABUSDT","U":{u},"u":{u},"b":[["{price}","{size}"]],"a":[]}}}}"#
            )
        };
        let lines = [
            (start, depth(10, "1.50", "2")),
            (
                start + second / 2,
                r#"{"lastUpdateId":10,"bids":[["1.50","2.0"],["1.40","1.0"]],"asks":[]}"#.to_owned(),
            ),
            (start + second, depth(11, "1.50", "0")),
            (start + 2 * second, depth(12, "1.25", "1.5")),
        ];
        let mut file = File::create(&path).unwrap();
        for (time, text) in lines {
            writeln!(file, "{time} {text}").unwrap();
        }
        drop(file);
        let opened = Playback::open(&path, 1.0);
        std::fs::remove_file(&path).unwrap();
        let (mut playback, mut symbols) = opened.unwrap();
        let best = |symbols: &[Symbol]| {
            symbols[0].book().bids.iter().map(|level| (level.price, level.size)).collect::<Vec<_>>()
        };
        assert_eq!((symbols[0].name.as_str(), best(&symbols)), ("ABUSDT", vec![(150, 20), (140, 10)]));
        let mut play = |now: u64, symbols: &mut Vec<Symbol>| {
            let said = playback.play(now, symbols);
            said.into_iter().map(|(stream, _)| stream).collect::<Vec<_>>()
        };
        let none = [""; 0];
        assert_eq!(play(5_000, &mut symbols), ["abusdt@depth@100ms"]);
        for now in [5_250, 5_500, 5_750] {
            assert_eq!(play(now, &mut symbols), none);
        }
        assert_eq!(play(6_000, &mut symbols).len(), 1);
        assert_eq!(best(&symbols), [(140, 10)]);
        // A machine that stood still for three seconds misses nothing, and says nothing in a rush.
        for now in [9_000, 9_250, 9_500] {
            assert_eq!(play(now, &mut symbols), none);
        }
        assert_eq!(play(9_750, &mut symbols).len(), 1);
        assert_eq!(best(&symbols), [(140, 10), (125, 15)]);
        let page = Binance::new(Market::Spot).page("/api/v3/depth", "symbol=ABUSDT", &mut symbols, false, 0);
        assert!(matches!(&page, Page::Snapshot(text) if text.contains(r#""lastUpdateId":12"#)), "{page:?}");
        assert_eq!(play(99_000, &mut symbols), none);
    }
}
