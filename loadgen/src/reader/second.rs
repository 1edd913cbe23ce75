//! Each second is counted by itself, for the picture over time and for the line on the terminal.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::clock::thread_cpu;

const SECOND: u64 = 1_000_000_000;

/// One thread's part of a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SecondPart {
    /// Begin of the window that it is in, and its place in there, from 0; none before measuring.
    pub(crate) at: Option<(u64, u64)>,
    /// Open now.
    pub(crate) sessions: u64,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// CPU seconds of this thread.
    pub(crate) cpu: f64,
    /// Ages by kind of reader: a histogram in microseconds, two digits, HdrHistogram V2.
    pub(crate) ages: Vec<Vec<u8>>,
}

/// Returns an empty histogram of a second: it is right to within a hundredth.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 2).expect("the bounds are right")
}

impl SecondPart {
    /// Adds a kind's ages, in microseconds, to a histogram.
    pub(crate) fn add_ages(&self, kind: usize, to: &mut Histogram<u64>) {
        let read = self.ages.get(kind).filter(|bytes| !bytes.is_empty());
        if let Some(Ok(ages)) =
            read.map(|bytes| Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()))
        {
            to.add(&ages).expect("all have the same bounds");
        }
    }
}

/// The running second.
#[derive(Debug)]
pub(crate) struct Seconds {
    from: Option<u64>,
    ends: u64,
    cpu: f64,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    ages: Vec<Histogram<u64>>,
}

impl Seconds {
    pub(crate) fn new(kinds: usize) -> Self {
        let ages = (0..kinds).map(|_| histogram()).collect();
        Self { from: None, ends: 0, cpu: 0.0, records: 0, messages: 0, bytes: 0, ages }
    }

    /// Seconds count from here, which is a little ahead; what comes before it is of no second.
    pub(crate) fn start(&mut self, from: u64) {
        (self.from, self.ends) = (Some(from), from);
    }

    pub(crate) fn age(&mut self, kind: usize, from: u64, to: u64) {
        self.ages[kind].saturating_record(to.saturating_sub(from) / 1000);
    }

    /// The second that ended, if one did.
    pub(crate) fn turn(&mut self, now: u64, sessions: u64) -> Option<SecondPart> {
        if now < self.ends {
            return None;
        }
        let at = self.from.and_then(|from| Some((from, ((self.ends - from) / SECOND).checked_sub(1)?)));
        self.ends = if self.ends == 0 { now + SECOND } else { self.ends + SECOND };
        let part = self.take(sessions);
        Some(SecondPart { at, ..part })
    }

    fn take(&mut self, sessions: u64) -> SecondPart {
        let cpu = thread_cpu().as_secs_f64();
        let ages = self.ages.iter_mut().map(|ages| {
            let mut bytes = Vec::new();
            if !ages.is_empty() {
                V2Serializer::new().serialize(ages, &mut bytes).expect("memory takes all bytes");
                ages.reset();
            }
            bytes
        });
        SecondPart {
            at: None,
            sessions,
            records: std::mem::take(&mut self.records),
            messages: std::mem::take(&mut self.messages),
            bytes: std::mem::take(&mut self.bytes),
            cpu: cpu - std::mem::replace(&mut self.cpu, cpu),
            ages: ages.collect(),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/units/second.rs"]
mod tests;
