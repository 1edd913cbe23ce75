//! The first reading of recordings: what is in them, and at which scale it is published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustc_hash::FxHashMap;
use tickwire_wire::Instrument;
use tickwire_wire::decimal::DECIMALS_MAX;

use crate::format::{Format, Recording, RecordingError};
use crate::said::{Fixed, What};
use crate::source::{Entry, Place};

/// The faults that are kept with their words; more are counted.
const FAULTS_MAX: usize = 16;
/// The slices of time in which records are counted.
const SLICES: usize = 64;
/// The width of the first slices, in nanoseconds.
const FIRST_WIDTH: u64 = 1_000_000;

/// The content of one recording.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The format.
    pub format: Format,
    /// The venue.
    pub venue: String,
    /// The bytes of the file, as it lies on the disk.
    pub bytes: u64,
    /// The file's own records.
    pub records: u64,
    /// The statements about instruments that they make: a record can make several, or none.
    pub statements: u64,
    /// The receive times of the first and the last statement, in nanoseconds since the Unix epoch.
    pub times: Option<(u64, u64)>,
    /// The instruments, in the order of their appearance.
    pub instruments: Vec<Found>,
    /// The records that are known and have no use, by kind.
    pub unused: BTreeMap<&'static str, u64>,
    /// The number of faults.
    pub faults: u64,
    /// The first faults, with their places.
    pub first_faults: Vec<(Place, String)>,
    /// The times at which the receive time went back.
    pub steps_back: u64,
    /// The statements over time.
    pub pace: Slices,
}

/// An instrument of a recording.
#[derive(Clone, Debug)]
pub struct Found {
    /// The definition, at the smallest scale that holds all numbers of the recording.
    pub definition: Instrument,
    /// The number of statements on each channel that a recording can say something on.
    pub counts: BTreeMap<&'static str, u64>,
    /// The times of its first and last statement.
    pub times: Option<(u64, u64)>,
    /// The gaps that the recording itself tells.
    pub gaps: u64,
    /// The longest time between two statements, and when it began.
    pub longest_silence: (u64, u64),
}

/// Counts over time, in slices whose width doubles when the recording is longer than they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    /// The time at which the first slice begins.
    pub from: u64,
    /// The width of each slice, in nanoseconds.
    pub width: u64,
    /// The counts.
    pub counts: Vec<u64>,
}

impl Default for Slices {
    fn default() -> Self {
        Self { from: 0, width: FIRST_WIDTH, counts: Vec::new() }
    }
}

impl Slices {
    fn count(&mut self, time: u64) {
        if self.counts.is_empty() {
            self.from = time;
        }
        // What comes before the beginning, or centuries behind it, is at the edge.
        while time.saturating_sub(self.from) / self.width >= SLICES as u64 {
            self.width = self.width.saturating_mul(2);
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let at = (time.saturating_sub(self.from) / self.width) as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }
}

/// Reads a whole recording; `bytes` counts what is taken from the disk meanwhile.
///
/// # Errors
/// The file cannot be opened, or its head is wrong. Damage behind the head is part of the contents.
pub fn read(recording: &Recording, bytes: &Arc<AtomicU64>) -> Result<Contents, RecordingError> {
    let (mut source, venue) = recording.begin(Arc::clone(bytes))?;
    let mut contents = Contents {
        format: recording.format(),
        venue,
        bytes: 0,
        records: 0,
        statements: 0,
        times: None,
        instruments: Vec::new(),
        unused: BTreeMap::new(),
        faults: 0,
        first_faults: Vec::new(),
        steps_back: 0,
        pace: Slices::default(),
    };
    let (mut entries, mut last) = (Vec::new(), 0);
    let mut last_times = FxHashMap::<u32, u64>::default();
    loop {
        let goes_on = source.read(&mut entries);
        for symbol in &source.symbols()[contents.instruments.len()..] {
            contents.instruments.push(Found {
                definition: Instrument { symbol: symbol.name.clone(), ..Instrument::default() },
                counts: BTreeMap::new(),
                times: None,
                gaps: 0,
                longest_silence: (0, 0),
            });
        }
        for entry in entries.drain(..) {
            match entry {
                Entry::Said(said) => {
                    let time = said.receive_time;
                    contents.statements += 1;
                    contents.steps_back += u64::from(time < last);
                    last = time;
                    contents.pace.count(time);
                    let times = contents.times.get_or_insert((time, time));
                    *times = (times.0.min(time), times.1.max(time));
                    let silence =
                        last_times.insert(said.symbol, time).map(|last| (time.saturating_sub(last), last));
                    if let Some(found) = contents.instruments.get_mut(said.symbol as usize) {
                        found.take(&said.what, time, silence);
                    }
                }
                Entry::Unused(kind) => *contents.unused.entry(kind).or_default() += 1,
                Entry::Fault(place, reason) => {
                    contents.faults += 1;
                    if contents.first_faults.len() < FAULTS_MAX {
                        contents.first_faults.push((place, reason));
                    }
                }
            }
        }
        if !goes_on {
            break;
        }
    }
    for (found, symbol) in contents.instruments.iter_mut().zip(source.symbols()) {
        let definition = &mut found.definition;
        definition.venue.clone_from(&contents.venue);
        (definition.base, definition.quote) = (symbol.base.clone(), symbol.quote.clone());
        let needs =
            |number: Option<Fixed>, decimals: u32| number.map_or(decimals, |number| number.needs(decimals));
        definition.price_decimals = needs(symbol.tick, definition.price_decimals);
        definition.size_decimals = needs(symbol.lot, definition.size_decimals);
        let step = |number: Option<Fixed>, decimals| {
            number
                .and_then(|number| number.at(decimals))
                .and_then(|step| u64::try_from(step).ok())
                .unwrap_or(0)
        };
        definition.tick_size = step(symbol.tick, definition.price_decimals);
        definition.lot_size = step(symbol.lot, definition.size_decimals);
    }
    contents.records = source.records();
    let file = recording.input().open().and_then(|file| file.metadata());
    contents.bytes = file.map_or(0, |metadata| metadata.len());
    Ok(contents)
}

impl Found {
    fn take(&mut self, what: &What, time: u64, silence: Option<(u64, u64)>) {
        let (prices, sizes) = (&mut self.definition.price_decimals, &mut self.definition.size_decimals);
        what.numbers(
            |price| *prices = price.needs(*prices).min(DECIMALS_MAX),
            |size| *sizes = size.needs(*sizes).min(DECIMALS_MAX),
        );
        self.gaps += u64::from(matches!(what, What::Gap { .. }));
        *self.counts.entry(what.channel().name()).or_default() += 1;
        let times = self.times.get_or_insert((time, time));
        *times = (times.0.min(time), times.1.max(time));
        if let Some(silence) = silence.filter(|silence| silence.0 > self.longest_silence.0) {
            self.longest_silence = silence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_hold_any_length() {
        let mut slices = Slices::default();
        let times = [0, 1, 63_999_999, 64_000_000, 1_000_000_000_000, 5];
        for time in times {
            slices.count(7 + time);
        }
        assert_eq!(slices.counts.iter().sum::<u64>(), times.len() as u64);
        assert_eq!((slices.from, slices.counts[0]), (7, 5));
        assert!(slices.counts.len() <= SLICES);
    }
}
