//! Each second is counted by itself, for the picture over time and for the line on the terminal.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::clock::thread_cpu;
use crate::part::{Merge, merge_each};
use crate::report::model::Second;

const SECOND: u64 = 1_000_000_000;

/// Ages in microseconds, to within a hundredth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Vec<u8>", from = "Vec<u8>")]
pub(crate) struct Ages(pub(crate) Histogram<u64>);

impl Default for Ages {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 120_000_000, 2).expect("the bounds are right"))
    }
}

/// HdrHistogram V2; nothing where there are none.
impl From<Ages> for Vec<u8> {
    fn from(Ages(ages): Ages) -> Self {
        let mut bytes = Self::new();
        if !ages.is_empty() {
            V2Serializer::new().serialize(&ages, &mut bytes).expect("memory takes all bytes");
        }
        bytes
    }
}

impl From<Vec<u8>> for Ages {
    fn from(bytes: Vec<u8>) -> Self {
        let mut ages = Self::default();
        if let Ok(read) = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()) {
            ages.0.add(read).expect("all have the same bounds");
        }
        ages
    }
}

impl Merge for Ages {
    fn include(&mut self, other: Self) {
        self.0.add(other.0).expect("all have the same bounds");
    }
}

impl Ages {
    /// Returns a quantile in nanoseconds; 0 where there are no ages.
    pub(crate) fn ns(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) * 1000 }
    }
}

/// A second, as one thread saw it, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SecondPart {
    /// Begin of the window that it is in, and its place in there, from 0; none before measuring.
    pub(crate) at: Option<(u64, u64)>,
    /// Its counts; quantiles are read off the ages at the end.
    pub(crate) second: Second,
    /// Ages by kind of reader, prompt last.
    pub(crate) ages: Vec<Ages>,
}

impl Merge for SecondPart {
    fn include(&mut self, other: Self) {
        let (own, other_own) = (&mut self.second, other.second);
        own.sessions += other_own.sessions;
        own.records += other_own.records;
        own.messages += other_own.messages;
        own.bytes += other_own.bytes;
        own.generator_cpu = own.generator_cpu.max(other_own.generator_cpu);
        merge_each(&mut self.ages, other.ages);
    }
}

/// The running second.
#[derive(Debug)]
pub(crate) struct Seconds {
    from: Option<u64>,
    ends: u64,
    cpu: f64,
    pub(crate) now: Second,
    ages: Vec<Ages>,
}

impl Seconds {
    pub(crate) fn new(kinds: usize) -> Self {
        let ages = vec![Ages::default(); kinds];
        Self { from: None, ends: 0, cpu: 0.0, now: Second::default(), ages }
    }

    /// Seconds count from here, which is a little ahead; what comes before it is of no second.
    pub(crate) fn start(&mut self, from: u64) {
        (self.from, self.ends) = (Some(from), from);
    }

    pub(crate) fn age(&mut self, kind: usize, from: u64, to: u64) {
        self.ages[kind].0.saturating_record(to.saturating_sub(from) / 1000);
    }

    /// The second that ended, if one did.
    pub(crate) fn turn(&mut self, now: u64, sessions: u64) -> Option<SecondPart> {
        if now < self.ends {
            return None;
        }
        let at = self.from.and_then(|from| Some((from, ((self.ends - from) / SECOND).checked_sub(1)?)));
        self.ends = if self.ends == 0 { now + SECOND } else { self.ends + SECOND };
        let cpu = thread_cpu().as_secs_f64();
        let generator_cpu = cpu - std::mem::replace(&mut self.cpu, cpu);
        let second = Second { sessions, generator_cpu, ..std::mem::take(&mut self.now) };
        Some(SecondPart { at, second, ages: self.ages.iter_mut().map(std::mem::take).collect() })
    }
}

#[cfg(test)]
#[path = "../../tests/units/second.rs"]
mod tests;
