//! Each second is counted by itself, for the picture over time and for the line on the terminal.

use serde::{Deserialize, Serialize};
use tickwire_machine::thread_cpu;
use tickwire_measure::Latencies;

use crate::part::Merge;
use crate::report::model::Second;

const SECOND: u64 = 1_000_000_000;

/// A second, as one thread saw it, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SecondPart {
    /// Begin of the window that it is in, and its place in there, from 0; none before measuring.
    pub(crate) at: Option<(u64, u64)>,
    /// Its counts; quantiles are read off the ages at the end.
    pub(crate) second: Second,
    /// Ages by kind of reader, prompt last.
    pub(crate) ages: Vec<Latencies>,
}

impl Merge for SecondPart {
    fn include(&mut self, other: Self) {
        self.second.generator_cpu = self.second.generator_cpu.max(other.second.generator_cpu);
        self.second.include(other.second);
        self.ages.include(other.ages);
    }
}

/// The running second.
#[derive(Debug)]
pub(crate) struct Seconds {
    from: Option<u64>,
    ends: u64,
    cpu: f64,
    pub(crate) now: Second,
    /// Ages by kind of reader, prompt last.
    pub(crate) ages: Vec<Latencies>,
}

impl Seconds {
    pub(crate) fn new(kinds: usize) -> Self {
        let ages = vec![Latencies::coarse(); kinds];
        Self { from: None, ends: 0, cpu: 0.0, now: Second::default(), ages }
    }

    /// Counts seconds from here, which is a little ahead; what comes before it is of no second.
    pub(crate) fn start(&mut self, from: u64) {
        (self.from, self.ends) = (Some(from), from);
    }

    /// Returns the second that ended, if one did.
    pub(crate) fn turn(&mut self, now: u64, sessions: u64) -> Option<SecondPart> {
        if now < self.ends {
            return None;
        }
        let at = self.from.and_then(|from| Some((from, ((self.ends - from) / SECOND).checked_sub(1)?)));
        self.ends = if self.ends == 0 { now + SECOND } else { self.ends + SECOND };
        let cpu = thread_cpu().as_secs_f64();
        let generator_cpu = cpu - std::mem::replace(&mut self.cpu, cpu);
        let second = Second { sessions, generator_cpu, ..std::mem::take(&mut self.now) };
        let ages = self.ages.iter_mut().map(|ages| std::mem::replace(ages, Latencies::coarse()));
        Some(SecondPart { at, second, ages: ages.collect() })
    }
}

#[cfg(test)]
#[path = "../../tests/units/second.rs"]
mod tests;
