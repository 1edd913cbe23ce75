//! LOBSTER (lobsterdata.com, "Output structure"): the messages of one instrument and day, and beside them the best levels after each one.
//!
//! A row of `*_message_N.csv` is `time, type, order, size, price * 10000, direction`, a row of `*_orderbook_N.csv` N times
//! `ask price, ask size, bid price, bid size`. Symbol and day are in the name of the file only, and times count from midnight in New York.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::StringRecord;
use tickwire_feed::replay::Input;
use tickwire_wire::{Channel, Side, Status, TradingState};

use crate::day::Day;
use crate::packed::{self, Content};
use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};
use crate::table::{Next, Rows};
use crate::top::TopLevels;

/// The venue whose messages these are.
pub(crate) const VENUE: &str = "nasdaq";
const COLUMNS: usize = 6;
/// The columns of a level of a book.
const LEVEL_COLUMNS: usize = 4;
/// The decimals of all prices.
const PRICE_DECIMALS: u8 = 4;
/// The price of a level that is empty, with either sign.
const EMPTY: i64 = 9_999_999_999;
/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;

/// A reading of a file of messages.
pub(crate) struct LobsterSource {
    rows: Rows,
    /// The levels after each message, where they lie beside it.
    levels: Option<Rows>,
    midnight: u64,
    symbols: Symbols<()>,
    tops: TopLevels,
    is_over: bool,
}

/// The facts that the name of a file tells.
pub(crate) struct Named {
    symbol: String,
    /// Midnight in New York, in nanoseconds since the Unix epoch.
    midnight: u64,
}

impl Named {
    /// Reads the name of a file of messages.
    ///
    /// # Errors
    /// Returns what is missing, in words.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut parts = name.split('_');
        let (symbol, day) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let midnight = day.parse::<Day>().and_then(Day::midnight).ok();
        midnight.filter(|_| !symbol.is_empty()).map(|midnight| Self { symbol: symbol.to_owned(), midnight }).ok_or_else(|| {
            "symbol and day are told by the name of the file only: call it as AAPL_2012-06-21_34200000_57600000_message_10.csv"
                .to_owned()
        })
    }
}

/// Returns the file with the levels that lies beside a file of messages, packed or not.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let name = name.replacen("_message_", "_orderbook_", 1);
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    ["", ".gz", ".zst"]
        .iter()
        .map(|ending| path.with_file_name(format!("{name}{ending}")))
        .find(|other| other != path && other.exists())
}

impl LobsterSource {
    /// Begins to read a file of messages, and the levels beside it.
    ///
    /// # Errors
    /// Returns what is wrong, in words.
    pub(crate) fn open(input: &Input, content: Content) -> Result<Self, String> {
        let named = Named::of(input.path())?;
        let levels = beside(input.path()).map(|path| {
            let content = std::fs::File::open(&path).and_then(|file| packed::open(file, Arc::default()));
            content.map_err(|error| format!("the levels in `{}` cannot be read: {error}", path.display()))
        });
        Ok(Self::new(content, levels.transpose()?, &named))
    }

    pub(crate) fn new(content: Content, levels: Option<Content>, named: &Named) -> Self {
        let mut symbols = Symbols::default();
        symbols.of_name(&named.symbol);
        Self {
            rows: Rows::new(content, b',', COLUMNS, false),
            levels: levels.map(|levels| Rows::new(levels, b',', 0, false)),
            midnight: named.midnight,
            symbols,
            tops: TopLevels::default(),
            is_over: false,
        }
    }

    fn row(&mut self, entries: &mut Vec<Entry>) -> Result<(), String> {
        // The levels go along with the messages, whether or not those can be read.
        let levels = self.levels.as_mut().map(|levels| match levels.next() {
            Next::Row => side_by_side(levels.row()),
            Next::Fault(line, reason) => Err(format!("line {line} of the levels: {reason}")),
            Next::End(fault) => {
                let reason = fault.map_or_else(String::new, |(_, reason)| format!(": {reason}"));
                Err(format!("the levels beside the messages end before them{reason}"))
            }
        });
        let row = self.rows.row();
        let time = seconds(&row[0]).and_then(|time| self.midnight.checked_add(time));
        let time = time.ok_or_else(|| format!("`{}` is no time in seconds since midnight", &row[0]))?;
        let what = match &row[1] {
            "1" | "2" | "3" => None,
            kind @ ("4" | "5" | "6") => Some(What::Trade {
                price: Fixed::new(number(&row[4])?, PRICE_DECIMALS),
                size: Fixed::new(number(&row[3])?, 0),
                // The direction is that of the order that rested: the other side took liquidity. A cross has none.
                aggressor: match (kind, &row[5]) {
                    ("4" | "5", "1") => Side::Sell,
                    ("4" | "5", "-1") => Side::Buy,
                    _ => Side::Unknown,
                },
                id: 0,
                id_text: String::new(),
            }),
            "7" => Some(What::Status(status(&row[4])?)),
            other => return Err(format!("there is no type `{other}`")),
        };
        let is_order = what.is_none();
        entries.extend(what.map(|what| said(time, what)));
        let Some(levels) = levels else {
            if is_order {
                entries.push(Entry::Unused("orders of a book whose state is not known"));
            }
            return Ok(());
        };
        match levels {
            Ok(levels) => {
                match self.tops.state(levels) {
                    Some(what) => entries.push(said(time, what)),
                    None if is_order => entries.push(Entry::Unused("orders beyond the best levels")),
                    None => {}
                }
                Ok(())
            }
            Err(reason) => {
                self.tops.forget();
                entries.push(said(time, What::Gap { channel: Channel::Book, count: None }));
                Err(reason)
            }
        }
    }

    /// Takes in that a row of messages was lost: the levels after it are passed over.
    fn pass_over(&mut self) {
        if let Some(levels) = &mut self.levels {
            let _ = levels.next();
        }
    }
}

impl Source for LobsterSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            let fault = match self.rows.next() {
                Next::Row => self.row(entries).err().map(|reason| (self.rows.line(), reason)),
                Next::Fault(line, reason) => {
                    self.pass_over();
                    Some((line, reason))
                }
                Next::End(fault) => {
                    self.is_over = true;
                    let rest = self.levels.as_mut().map(Rows::next);
                    let has_more = matches!(rest, Some(Next::Row));
                    let line = self.rows.count() + 1;
                    fault
                        .or(has_more
                            .then(|| (line, "the messages end before the levels beside them".to_owned())))
                }
            };
            if let Some((line, reason)) = fault {
                entries.push(Entry::Fault(Place::Line(line), reason));
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.rows.count()
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

fn said(time: u64, what: What) -> Entry {
    Entry::Said(Said { symbol: 0, receive_time: time, event_time: time, what })
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number"))
}

/// Reads seconds with a fraction, as nanoseconds.
fn seconds(text: &str) -> Option<u64> {
    let seconds = Fixed::parse(text).ok().filter(|seconds| seconds.mantissa >= 0)?;
    let time = seconds.at(9).or_else(|| {
        // More digits than nanoseconds have.
        Some(seconds.mantissa / 10i64.checked_pow(u32::from(seconds.decimals).checked_sub(9)?)?)
    })?;
    u64::try_from(time).ok()
}

fn status(price: &str) -> Result<Status, String> {
    let (state, reason) = match price {
        "-1" => (TradingState::Halted, "halt"),
        "0" => (TradingState::PreOpen, "quotes resume"),
        "1" => (TradingState::Open, "trading resumes"),
        other => return Err(format!("a halt of `{other}` is none")),
    };
    Ok(Status { state: state as i32, reason: reason.to_owned() })
}

/// Reads a row of levels.
fn side_by_side(row: &StringRecord) -> Result<FixedLevels, String> {
    if !row.len().is_multiple_of(LEVEL_COLUMNS) {
        return Err(format!("the levels have {} columns, which is no multiple of four", row.len()));
    }
    let mut levels = FixedLevels::default();
    for at in (0..row.len()).step_by(LEVEL_COLUMNS) {
        for (side, at) in [(&mut levels.asks, at), (&mut levels.bids, at + 2)] {
            let (price, size) = (number(&row[at])?, number(&row[at + 1])?);
            if price.abs() != EMPTY && size > 0 {
                side.push(FixedLevel { price: Fixed::new(price, PRICE_DECIMALS), size: Fixed::new(size, 0) });
            }
        }
    }
    Ok(levels)
}

/// Returns whether a file begins as one of messages does.
pub(crate) fn is_messages(begin: &[u8]) -> bool {
    let line = begin.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let columns: Vec<_> = line.unwrap_or_default().trim_end().split(',').collect();
    let [time, kind, order, size, price, direction] = columns[..] else { return false };
    seconds(time).is_some_and(|time| time < 86_400_000_000_000)
        && matches!(kind, "1" | "2" | "3" | "4" | "5" | "6" | "7")
        && [order, size, price].iter().all(|number| number.parse::<i64>().is_ok())
        && matches!(direction, "1" | "-1")
}
