//! A part is what one reading thread saw: counts, histograms, the first texts of each kind of error. Each thread keeps one,
//! processes send theirs as JSON, and all are merged into one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tickwire_wire::Channel;

use crate::latency::Latencies;
use crate::report::model::{Accounts, Gaps, Noted, SessionAccount};

/// So many first texts are kept of each kind.
const TEXTS_MAX: usize = 5;
/// So many sessions' accounts are kept.
const SESSIONS_MAX: usize = 20;

impl Noted {
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < TEXTS_MAX {
            self.first.push(text());
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = TEXTS_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

impl Accounts {
    pub(crate) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.published += other.published;
        self.delivered += other.delivered;
        self.conflated += other.conflated;
        self.dropped += other.dropped;
        self.filtered += other.filtered;
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Order => "order",
            Self::Ledger => "ledger",
            Self::Value => "value",
            Self::Final => "final",
            Self::Protocol => "protocol",
        }
    }
}

/// Sessions that read in one manner.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReaderPart {
    pub(crate) sessions: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// The part of `bytes` that was read in measuring.
    pub(crate) measured_bytes: u64,
    /// Times from the intended time to when the program has the record, by channel.
    pub(crate) ages: BTreeMap<u8, Latencies>,
    pub(crate) accounts: Accounts,
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
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) reads: u64,
    pub(crate) records_by_channel: BTreeMap<u8, u64>,
    /// One for each entry in the scenario's list of readers; the last one is for prompt ones.
    pub(crate) readers: Vec<ReaderPart>,
    /// Intended time to ingester, to gateway's write, to read, to decoded.
    pub(crate) hops: [Latencies; 4],
    pub(crate) open: Latencies,
    pub(crate) reconnect: Latencies,
    pub(crate) subscriptions: u64,
    pub(crate) open_retries: u64,
    pub(crate) not_opened: Noted,
    pub(crate) ended_early: Noted,
    pub(crate) closed_as_expected: u64,
    pub(crate) reconnects: u64,
    /// Ledgers of connections that ended, and connections that ended without one.
    pub(crate) ledgers: u64,
    pub(crate) ledgers_missing: u64,
    /// Measured records that throttled readers got only when they were let go.
    pub(crate) let_go: u64,
    pub(crate) lost: u64,
    pub(crate) out_of_order: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: BTreeMap<String, Gaps>,
    pub(crate) conflating_notices: u64,
    pub(crate) refused: Noted,
    pub(crate) final_values: u64,
    pub(crate) final_values_wrong: Noted,
    pub(crate) lasts: BTreeMap<u32, Last>,
    pub(crate) broken: BTreeMap<String, Noted>,
    pub(crate) sessions: Vec<SessionAccount>,
    pub(crate) lag: Latencies,
    pub(crate) cpu_seconds: Vec<f64>,
    pub(crate) cpu_share: Vec<f64>,
    pub(crate) waited_share: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) resident_bytes_before: u64,
    pub(crate) clock_offset_ns: Option<i64>,
    pub(crate) round_trip_ns: Option<u64>,
}

impl Part {
    pub(crate) fn new(readers: usize) -> Self {
        Self { readers: (0..readers).map(|_| ReaderPart::default()).collect(), ..Self::default() }
    }

    /// A window of measuring begins: what an earlier one measured, as the steps of a search do, is not of this one. What is of
    /// the whole run stays: broken rules, ledgers, losses.
    pub(crate) fn measure_anew(&mut self) {
        (self.messages, self.bytes, self.reads, self.let_go) = (0, 0, 0, 0);
        self.records_by_channel.clear();
        self.hops = Default::default();
        self.lag = Latencies::default();
        for reader in &mut self.readers {
            (reader.records, reader.measured_bytes) = (0, 0);
            reader.ages.clear();
        }
    }

    pub(crate) fn breaks(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        self.broken.entry(rule.name().to_owned()).or_default().note(text);
    }

    /// A record of this channel, so old when the program had it.
    pub(crate) fn age(&mut self, reader: usize, channel: Channel, from: u64, to: u64) {
        let reader = &mut self.readers[reader];
        reader.records += 1;
        reader.ages.entry(channel as u8).or_default().record(from, to);
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

    /// Keeps the accounts of sessions: those with something to tell first.
    pub(crate) fn keep(&mut self, account: SessionAccount) {
        self.sessions.push(account);
        if self.sessions.len() > 2 * SESSIONS_MAX {
            self.trim();
        }
    }

    fn trim(&mut self) {
        self.sessions.sort_by_key(|session| {
            let lost = session.accounts.dropped + session.gaps;
            (std::cmp::Reverse((session.violations, lost, session.accounts.conflated)), session.number)
        });
        self.sessions.truncate(SESSIONS_MAX);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if self.server.is_empty() {
            self.server = other.server;
        }
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.reads += other.reads;
        for (channel, count) in other.records_by_channel {
            *self.records_by_channel.entry(channel).or_default() += count;
        }
        self.readers.resize_with(self.readers.len().max(other.readers.len()), ReaderPart::default);
        for (own, other) in self.readers.iter_mut().zip(other.readers) {
            own.sessions += other.sessions;
            own.records += other.records;
            own.bytes += other.bytes;
            own.measured_bytes += other.measured_bytes;
            own.accounts.add(other.accounts);
            for (channel, ages) in other.ages {
                own.ages.entry(channel).or_default().merge(&ages);
            }
        }
        for (own, other) in self.hops.iter_mut().zip(&other.hops) {
            own.merge(other);
        }
        self.open.merge(&other.open);
        self.reconnect.merge(&other.reconnect);
        self.subscriptions += other.subscriptions;
        self.open_retries += other.open_retries;
        self.not_opened.merge(other.not_opened);
        self.ended_early.merge(other.ended_early);
        self.closed_as_expected += other.closed_as_expected;
        self.reconnects += other.reconnects;
        self.ledgers += other.ledgers;
        self.ledgers_missing += other.ledgers_missing;
        self.let_go += other.let_go;
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.duplicates += other.duplicates;
        for (cause, gaps) in other.gaps {
            let known = self.gaps.entry(cause).or_default();
            known.announced += gaps.announced;
            known.numbers += gaps.numbers;
        }
        self.conflating_notices += other.conflating_notices;
        self.refused.merge(other.refused);
        self.final_values += other.final_values;
        self.final_values_wrong.merge(other.final_values_wrong);
        for (rule, noted) in other.broken {
            self.broken.entry(rule).or_default().merge(noted);
        }
        for (instrument, last) in other.lasts {
            if let Some(known) = self.last(instrument, last) {
                self.final_values_wrong.note(|| format!("instrument {instrument}: {known:?} and {last:?}"));
            }
        }
        self.sessions.extend(other.sessions);
        self.trim();
        self.lag.merge(&other.lag);
        self.cpu_seconds.extend(other.cpu_seconds);
        self.cpu_share.extend(other.cpu_share);
        self.waited_share = self.waited_share.max(other.waited_share);
        self.resident_bytes += other.resident_bytes;
        self.resident_bytes_before += other.resident_bytes_before;
        self.clock_offset_ns = other.clock_offset_ns.or(self.clock_offset_ns);
        self.round_trip_ns = self.round_trip_ns.into_iter().chain(other.round_trip_ns).min();
    }
}

#[cfg(test)]
#[path = "../tests/units/part.rs"]
mod tests;
