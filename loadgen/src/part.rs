//! A part is what one reading thread saw, in the words of the report. Each thread keeps one, processes send theirs as JSON, and all
//! are merged into one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tickwire_measure::Latencies;
use tickwire_wire::Channel;

use crate::board::Counts;
use crate::report::model::{
    Accounts, Checks, Flow, Gaps, Generator, Noted, Readers, Second, SessionAccount, Sessions,
};

/// So many first texts are kept of each kind.
const TEXTS_MAX: usize = 5;
/// So many sessions' accounts are kept.
const SESSIONS_MAX: usize = 20;

/// Something of which each thread sees a part.
pub(crate) trait Merge {
    fn include(&mut self, other: Self);
}

impl Merge for u64 {
    fn include(&mut self, other: Self) {
        *self += other;
    }
}

impl<K: Ord, V: Merge + Default> Merge for BTreeMap<K, V> {
    fn include(&mut self, other: Self) {
        for (key, value) in other {
            self.entry(key).or_default().include(value);
        }
    }
}

impl Merge for Latencies {
    fn include(&mut self, other: Self) {
        self.merge(&other);
    }
}

/// Elements at the same place in both are merged.
impl<T: Merge> Merge for Vec<T> {
    fn include(&mut self, mut other: Self) {
        let rest = other.split_off(self.len().min(other.len()));
        self.iter_mut().zip(other).for_each(|(own, other)| own.include(other));
        self.extend(rest);
    }
}

impl Merge for Noted {
    fn include(&mut self, other: Self) {
        self.count += other.count;
        let room = TEXTS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// Merges these fields, each by itself; the others are filled in when all parts are there.
macro_rules! merged {
    ($($part:ty: $($field:ident)*;)*) => {$(
        impl Merge for $part {
            fn include(&mut self, other: Self) {
                $(self.$field.include(other.$field);)*
            }
        }
    )*};
}

merged! {
    Accounts: checked published delivered conflated dropped filtered;
    Gaps: announced numbers;
    Counts: opened not_opened shaken ended_early live violations behind settled;
    Sessions: subscriptions open_retries not_opened ended_early closed_as_expected reconnects;
    Flow: messages records bytes reads records_by_channel let_go;
    Readers: sessions records bytes accounts;
    Second: sessions records messages bytes;
    Timed: open reconnect first hops lag ages;
    Checks: ledgers ledgers_missing lost out_of_order duplicates gaps conflating_notices refused final_values final_values_wrong broken;
}

impl Noted {
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < TEXTS_MAX {
            self.first.push(text());
        }
    }
}

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A sequence number neither came nor was announced.
    Lost,
    /// A record came behind a newer one, or twice.
    Order,
    /// The ledger does not add up, or differs from what came.
    Ledger,
    /// A record says something else than the source did.
    Value,
    /// The last value is not the one that was published last.
    Final,
    Protocol,
}

impl Rule {
    /// The names of all rules, in the order of the list above.
    pub(crate) const NAMES: [&str; 6] = ["lost", "order", "ledger", "value", "final", "protocol"];
}

/// Last value of an instrument's quote: epoch, sequence number, digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) value: u64,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) server: String,
    pub(crate) sessions: Sessions,
    pub(crate) flow: Flow,
    /// One for each entry in the scenario's list of readers; the last one is for prompt ones.
    pub(crate) readers: Vec<Readers>,
    /// Bytes that each of these read in measuring.
    pub(crate) measured_bytes: Vec<u64>,
    pub(crate) timed: Timed,
    pub(crate) checks: Checks,
    pub(crate) generator: Generator,
    pub(crate) resident_bytes_before: u64,
    /// Shortest round trip of a ping, and the server's clock minus ours, as that ping tells it; in nanoseconds.
    pub(crate) clock: Option<(u64, i64)>,
    pub(crate) lasts: BTreeMap<u32, Last>,
}

/// A thread times these while it reads.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timed {
    pub(crate) open: Latencies,
    pub(crate) reconnect: Latencies,
    pub(crate) first: Latencies,
    /// Intended time to ingester, to gateway's write, to read, to decoded.
    pub(crate) hops: Vec<Latencies>,
    pub(crate) lag: Latencies,
    /// Times from the intended time to when the program has the record, by kind of reader and channel.
    pub(crate) ages: Vec<BTreeMap<u8, Latencies>>,
}

impl Part {
    pub(crate) fn new(kinds: usize) -> Self {
        let hops = vec![Latencies::default(); 4];
        let timed = Timed { hops, ages: vec![BTreeMap::new(); kinds], ..Timed::default() };
        let readers = vec![Readers::default(); kinds];
        Self { readers, measured_bytes: vec![0; kinds], timed, ..Self::default() }
    }

    pub(crate) fn breaks(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        self.checks.broken.entry(Rule::NAMES[rule as usize].to_owned()).or_default().note(text);
    }

    /// Takes in a session's last value; returns that of another session which it contradicts.
    pub(crate) fn last(&mut self, instrument: u32, last: Last) -> Option<Last> {
        let known = self.lasts.entry(instrument).or_insert(last);
        let is_same_place = (known.epoch, known.sequence) == (last.epoch, last.sequence);
        if is_same_place && known.value != last.value {
            return Some(*known);
        }
        if last.epoch == known.epoch && last.sequence > known.sequence {
            *known = last;
        }
        None
    }

    /// Keeps the accounts of some sessions: of those with something to tell first.
    pub(crate) fn keep(&mut self, accounts: impl IntoIterator<Item = SessionAccount>) {
        let kept = &mut self.checks.sessions;
        kept.extend(accounts);
        kept.sort_by_key(|session| {
            let lost = session.accounts.dropped + session.gaps;
            (Reverse((session.violations, lost, session.accounts.conflated)), session.number)
        });
        kept.truncate(SESSIONS_MAX);
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.server.is_empty() {
            self.server = other.server;
        }
        self.keep(std::mem::take(&mut other.checks.sessions));
        self.sessions.include(other.sessions);
        self.flow.include(other.flow);
        self.readers.include(other.readers);
        self.measured_bytes.include(other.measured_bytes);
        self.timed.include(other.timed);
        self.checks.include(other.checks);
        for (instrument, last) in other.lasts {
            if let Some(known) = self.last(instrument, last) {
                let text = || format!("instrument {instrument}: {known:?} and {last:?}");
                self.checks.final_values_wrong.note(text);
            }
        }
        let (own, other_own) = (&mut self.generator, other.generator);
        own.cpu_share.extend(other_own.cpu_share);
        own.cpu_seconds += other_own.cpu_seconds;
        own.waited_share = own.waited_share.max(other_own.waited_share);
        own.resident_bytes += other_own.resident_bytes;
        self.resident_bytes_before += other.resident_bytes_before;
        self.clock = self.clock.into_iter().chain(other.clock).min();
    }
}

pub(crate) fn channel_name(channel: u8) -> String {
    Channel::try_from(i32::from(channel)).unwrap_or(Channel::Unknown).name().to_owned()
}

#[cfg(test)]
#[path = "../tests/units/part.rs"]
mod tests;
