//! The mapping of a plain CSV file: a small TOML file that says what its columns are.

use std::path::Path;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tickwire_wire::is_venue;

/// The most decimals that a whole number may be divided by.
const DECIMALS_MAX: u8 = 18;

/// A mapping, checked as a whole.
#[derive(Clone, Debug)]
pub struct Map {
    pub(crate) venue: String,
    pub(crate) kind: Kind,
    pub(crate) delimiter: u8,
    pub(crate) has_header: bool,
    pub(crate) symbol: Symbol,
    pub(crate) time: Time,
    pub(crate) columns: Columns,
    /// The decimals that whole numbers stand for.
    pub(crate) price_decimals: u8,
    pub(crate) size_decimals: u8,
    /// The words for the two sides.
    pub(crate) buy: Vec<String>,
    pub(crate) sell: Vec<String>,
}

/// The meaning of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Trade,
    Quote,
    /// A level of a book that is empty at the beginning.
    Change,
}

/// A column: its number from 1, or its name in the first row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Column {
    Number(usize),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Name(String),
    Column(Column),
}

/// The columns of each kind; those that a kind does not have are `None`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Columns {
    pub(crate) price: Option<Column>,
    pub(crate) size: Option<Column>,
    pub(crate) side: Option<Column>,
    pub(crate) id: Option<Column>,
    pub(crate) bid_price: Option<Column>,
    pub(crate) bid_size: Option<Column>,
    pub(crate) ask_price: Option<Column>,
    pub(crate) ask_size: Option<Column>,
}

/// The meaning of the column of the time.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    pub(crate) column: Column,
    pub(crate) form: TimeForm,
}

#[derive(Clone, Debug)]
pub(crate) enum TimeForm {
    /// Nanoseconds of one unit, after a time in nanoseconds since the Unix epoch.
    Unit(u64, u64),
    /// A form of `strftime`, in a time zone where it has none.
    Text(String, TimeZone),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    venue: String,
    kind: Kind,
    #[serde(default = "comma")]
    delimiter: String,
    #[serde(default = "yes")]
    header: bool,
    symbol: RawSymbol,
    time: RawTime,
    columns: Columns,
    #[serde(default)]
    price_decimals: u8,
    #[serde(default)]
    size_decimals: u8,
    #[serde(default = "buy")]
    buy: Vec<String>,
    #[serde(default = "sell")]
    sell: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSymbol {
    Name(String),
    Column { column: Column },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTime {
    column: Column,
    unit: Option<String>,
    since: Option<String>,
    format: Option<String>,
    zone: Option<String>,
}

fn comma() -> String {
    ",".to_owned()
}

fn yes() -> bool {
    true
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn buy() -> Vec<String> {
    words(&["buy", "b", "bid", "B", "BUY", "Buy", "BID"])
}

fn sell() -> Vec<String> {
    words(&["sell", "s", "a", "ask", "S", "A", "SELL", "Sell", "ASK"])
}

impl Map {
    /// Reads the file of a mapping.
    ///
    /// # Errors
    /// Returns everything that is wrong with it, with the key and the remedy.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| format!("the mapping `{}` cannot be read: {error}", path.display()))?;
        text.parse().map_err(|error| format!("the mapping `{}` is wrong: {error}", path.display()))
    }
}

impl FromStr for Map {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut wrong = Vec::new();
        if !is_venue(&raw.venue) {
            wrong.push(format!("venue = \"{}\": write a to z, 0 to 9, `-` and `_`, 32 at most", raw.venue));
        }
        let delimiter = match raw.delimiter.as_bytes() {
            [delimiter] => *delimiter,
            _ => {
                wrong.push(format!(
                    "delimiter = \"{}\": write one character, as \";\" or \"\\t\"",
                    raw.delimiter
                ));
                b','
            }
        };
        for (key, decimals) in [("price_decimals", raw.price_decimals), ("size_decimals", raw.size_decimals)]
        {
            if decimals > DECIMALS_MAX {
                wrong.push(format!("{key} = {decimals}: {DECIMALS_MAX} are the most"));
            }
        }
        let form = form(&raw.time).unwrap_or_else(|reasons| {
            wrong.extend(reasons);
            TimeForm::Unit(1, 0)
        });
        let symbol = match raw.symbol {
            RawSymbol::Name(name) => Symbol::Name(name),
            RawSymbol::Column { column } => Symbol::Column(column),
        };
        if symbol == Symbol::Name(String::new()) {
            wrong.push("symbol = \"\": write the name of the instrument, or { column = 1 }".to_owned());
        }
        columns(raw.kind, &raw.columns, &mut wrong);
        let columns = &raw.columns;
        let all = [
            &columns.price,
            &columns.size,
            &columns.side,
            &columns.id,
            &columns.bid_price,
            &columns.bid_size,
        ];
        let all = all
            .into_iter()
            .chain([&columns.ask_price, &columns.ask_size])
            .flatten()
            .chain([&raw.time.column]);
        let of_symbol = if let Symbol::Column(column) = &symbol { Some(column) } else { None };
        for column in all.chain(of_symbol) {
            match column {
                Column::Number(0) => wrong.push("a column is 0: the first one is 1".to_owned()),
                Column::Name(name) if !raw.header => {
                    wrong.push(format!(
                        "the column \"{name}\" is named, and header is false: write its number"
                    ));
                }
                _ => {}
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        Ok(Self {
            venue: raw.venue,
            kind: raw.kind,
            delimiter,
            has_header: raw.header,
            symbol,
            time: Time { column: raw.time.column, form },
            columns: raw.columns,
            price_decimals: raw.price_decimals,
            size_decimals: raw.size_decimals,
            buy: raw.buy,
            sell: raw.sell,
        })
    }
}

/// Checks that a kind has the columns that it needs, and no others.
fn columns(kind: Kind, columns: &Columns, wrong: &mut Vec<String>) {
    let all = [
        ("price", &columns.price),
        ("size", &columns.size),
        ("side", &columns.side),
        ("id", &columns.id),
        ("bid_price", &columns.bid_price),
        ("bid_size", &columns.bid_size),
        ("ask_price", &columns.ask_price),
        ("ask_size", &columns.ask_size),
    ];
    let (needed, may): (&[&str], &[&str]) = match kind {
        Kind::Trade => (&["price", "size"], &["side", "id"]),
        Kind::Quote => (&["bid_price", "ask_price"], &["bid_size", "ask_size"]),
        Kind::Change => (&["side", "price", "size"], &[]),
    };
    for (key, column) in all {
        if column.is_none() && needed.contains(&key) {
            wrong.push(format!("columns.{key} is missing: say in which column it is"));
        }
        if column.is_some() && !needed.contains(&key) && !may.contains(&key) {
            wrong.push(format!("columns.{key} has no meaning for this kind: remove it"));
        }
    }
}

fn form(raw: &RawTime) -> Result<TimeForm, Vec<String>> {
    let mut wrong = Vec::new();
    let zone = match raw.zone.as_deref() {
        None => TimeZone::UTC,
        Some(zone) => offset(zone).or_else(|| TimeZone::get(zone).ok()).unwrap_or_else(|| {
            wrong.push(format!(
                "time.zone = \"{zone}\": write an offset as \"-05:00\", or a name as \"America/New_York\""
            ));
            TimeZone::UTC
        }),
    };
    let since = match raw.since.as_deref() {
        None => 0,
        Some(day) => midnight(day, &zone).unwrap_or_else(|| {
            wrong.push(format!("time.since = \"{day}\": write a day as \"2013-10-07\""));
            0
        }),
    };
    let form = match (raw.unit.as_deref(), raw.format.as_deref()) {
        (Some(unit), None) => {
            let unit = match unit {
                "s" => Some(1_000_000_000),
                "ms" => Some(1_000_000),
                "us" => Some(1_000),
                "ns" => Some(1),
                _ => None,
            };
            let unit = unit.unwrap_or_else(|| {
                wrong.push("time.unit: write \"s\", \"ms\", \"us\" or \"ns\"".to_owned());
                1
            });
            TimeForm::Unit(unit, since)
        }
        (None, Some(format)) => {
            if raw.since.is_some() {
                wrong.push("time.since is for units: remove it".to_owned());
            }
            TimeForm::Text(format.to_owned(), zone)
        }
        _ => {
            wrong.push("time: write either unit or format".to_owned());
            TimeForm::Unit(1, 0)
        }
    };
    if wrong.is_empty() { Ok(form) } else { Err(wrong) }
}

/// Reads an offset, as `-05:00`.
fn offset(text: &str) -> Option<TimeZone> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    let (hours, minutes) = (i32::from(hours), i32::from(minutes));
    if hours > 24 || minutes > 59 {
        return None;
    }
    let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()?;
    Some(TimeZone::fixed(offset))
}

fn midnight(day: &str, zone: &TimeZone) -> Option<u64> {
    let time = day.parse::<Date>().ok()?.at(0, 0, 0, 0);
    nanoseconds(&zone.to_timestamp(time).ok()?)
}

fn nanoseconds(time: &jiff::Timestamp) -> Option<u64> {
    u64::try_from(time.as_nanosecond()).ok()
}

impl TimeForm {
    /// Reads a time, in nanoseconds since the Unix epoch.
    pub(crate) fn read(&self, text: &str) -> Option<u64> {
        match self {
            Self::Unit(unit, since) => {
                let number = crate::said::Fixed::parse(text).ok()?;
                let power = 10i128.pow(u32::from(number.decimals));
                let time = i128::from(number.mantissa) * i128::from(*unit) / power + i128::from(*since);
                u64::try_from(time).ok()
            }
            Self::Text(format, zone) => {
                let time = jiff::fmt::strtime::parse(format, text).ok()?;
                if let Ok(time) = time.to_timestamp() {
                    return nanoseconds(&time);
                }
                nanoseconds(&zone.to_timestamp(time.to_datetime().ok()?).ok()?)
            }
        }
    }
}
