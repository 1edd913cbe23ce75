//! Captures of cryptofeed: what a venue sent and was sent, line by line.
//!
//! A capture of a venue is a set of files: `VENUE.0` has what was fetched at the start, `VENUE.http.N.M` what was fetched later, and
//! `VENUE.ws.N.M` what one connection brought. A reading is of one connection. The venue is told by the address of the connection.

mod binance;
mod coinbase;
mod kraken;
mod lines;
mod messages;

use crate::packed::Content;
use crate::source::{Entry, Place, Source, Symbol};
use lines::{Line, Lines, Next};
use messages::Messages;

pub(crate) use binance::BinanceCapture;
pub(crate) use lines::is_capture;

/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The lines after which a turn ends, whatever they said, and in which the venue is looked for.
const LINES_MAX: usize = 1_024;

/// A venue whose messages are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Venue {
    Binance,
    Coinbase,
    Kraken,
}

impl Venue {
    const ALL: [Self; 3] = [Self::Binance, Self::Coinbase, Self::Kraken];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Coinbase => "coinbase",
            Self::Kraken => "kraken",
        }
    }

    /// Tells the venue by an address.
    fn of(address: &str) -> Option<Self> {
        let host = address.split_once("://").map_or(address, |(_, rest)| rest);
        let host = host.split(['/', ':', '?']).next().unwrap_or_default();
        match host {
            "stream.binance.com" | "data-stream.binance.vision" => Some(Self::Binance),
            "ws-feed.pro.coinbase.com" | "ws-feed.exchange.coinbase.com" => Some(Self::Coinbase),
            "ws.kraken.com" => Some(Self::Kraken),
            _ => None,
        }
    }
}

/// A reading of one connection.
pub(crate) struct CaptureSource {
    lines: Lines,
    messages: Box<dyn Messages>,
    records: u64,
    is_over: bool,
}

/// Finds the venue of a capture.
///
/// # Errors
/// Returns why there is none, in words.
pub(crate) fn venue(content: Content) -> Result<Venue, String> {
    let mut lines = Lines::new(content);
    let mut fetched = None;
    for _ in 0..LINES_MAX {
        match lines.next() {
            Next::Line(Line::Opened { address }) => return known(&address),
            Next::Line(Line::Response { address, .. }) => fetched = Some(address),
            Next::Line(_) | Next::Fault(..) => {}
            Next::End(Some((_, reason))) => return Err(reason),
            Next::End(None) => break,
        }
    }
    Err(match fetched {
        Some(address) => format!(
            "the file has what was fetched from {address}, and no stream: name the file beside it that has `.ws.` in its name"
        ),
        None => "the file opens no connection, so nobody knows of which venue it is".to_owned(),
    })
}

fn known(address: &str) -> Result<Venue, String> {
    Venue::of(address).ok_or_else(|| {
        let names = Venue::ALL.map(Venue::name).join(", ");
        format!("messages of {address} are not known here; captures of these venues are: {names}")
    })
}

impl CaptureSource {
    /// Begins to read a capture of a venue whose connection says all.
    ///
    /// # Errors
    /// Returns what is wrong, in words.
    pub(crate) fn new(content: Content, venue: Venue) -> Result<Self, String> {
        let messages: Box<dyn Messages> = match venue {
            Venue::Coinbase => Box::new(coinbase::Coinbase::default()),
            Venue::Kraken => Box::new(kraken::Kraken::default()),
            Venue::Binance => return Err("captures of Binance are read as files".to_owned()),
        };
        Ok(Self { lines: Lines::new(content), messages, records: 0, is_over: false })
    }

    /// Begins to read bytes that lie in memory.
    ///
    /// # Errors
    /// Returns what is wrong, in words.
    pub(crate) fn of_bytes(bytes: &[u8], content: Content) -> Result<(Self, String), String> {
        let first: Box<dyn std::io::Read + Send> = Box::new(std::io::Cursor::new(bytes.to_vec()));
        let venue = venue(std::io::BufReader::new(first))?;
        Ok((Self::new(content, venue)?, venue.name().to_owned()))
    }

    fn line(&mut self, line: Line, entries: &mut Vec<Entry>) -> Result<(), String> {
        match line {
            Line::Message { time, json } => {
                self.records += 1;
                self.messages.take(time, &json, entries)
            }
            Line::Opened { .. } => {
                self.messages.lose(entries);
                Ok(())
            }
            Line::Sent | Line::Response { .. } | Line::Configuration => Ok(()),
        }
    }
}

impl Source for CaptureSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        let mut lines = 0;
        while !self.is_over && entries.len() < until && lines < LINES_MAX {
            lines += 1;
            let fault = match self.lines.next() {
                Next::Line(line) => self.line(line, entries).err().map(|reason| (self.lines.line(), reason)),
                Next::Fault(line, reason) => Some((line, reason)),
                Next::End(fault) => {
                    self.is_over = true;
                    fault
                }
            };
            if let Some((line, reason)) = fault {
                self.messages.lose(entries);
                entries.push(Entry::Fault(Place::Line(line), reason));
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn symbols(&self) -> &[Symbol] {
        self.messages.symbols()
    }
}
