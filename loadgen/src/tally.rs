//! What the sessions of one thread saw; merged at the end.

use std::collections::BTreeMap;

use serde::Serialize;
use tickwire_wire::Channel;

use crate::latency::Latencies;

/// Most texts that are kept of each kind; all are counted.
const TEXTS_MAX: usize = 10;

/// How often something happened, and the first times in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Noted {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Noted {
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < TEXTS_MAX {
            self.first.push(text());
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = TEXTS_MAX - self.first.len();
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// Sums of the ledgers that the gateway stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LedgerSums {
    /// Entries that were compared with what came.
    pub(crate) checked: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
    pub(crate) filtered: u64,
}

/// Numbers that were announced as lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Gaps {
    pub(crate) announced: u64,
    pub(crate) numbers: u64,
}

/// What flowed while it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) records: u64,
    /// Of WebSocket payloads.
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) server: String,
    pub(crate) flow: Flow,
    pub(crate) records_by_channel: BTreeMap<&'static str, u64>,
    /// From the event to the read, by channel.
    pub(crate) from_event: BTreeMap<&'static str, Latencies>,
    /// From the gateway's send time to the read, one for each message.
    pub(crate) from_sent: Latencies,
    pub(crate) gaps: BTreeMap<String, Gaps>,
    pub(crate) ledger: LedgerSums,
    pub(crate) conflating_notices: u64,
    pub(crate) refused: Noted,
    pub(crate) not_opened: Noted,
    pub(crate) ended_early: Noted,
    pub(crate) violations: Noted,
    /// How late this thread's own timers were.
    pub(crate) lag: Latencies,
    /// Time on a processor and time on the clock, of each thread.
    pub(crate) cpu_share: Vec<f64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            server: String::new(),
            flow: Flow::default(),
            records_by_channel: BTreeMap::new(),
            from_event: BTreeMap::new(),
            from_sent: Latencies::new(),
            gaps: BTreeMap::new(),
            ledger: LedgerSums::default(),
            conflating_notices: 0,
            refused: Noted::default(),
            not_opened: Noted::default(),
            ended_early: Noted::default(),
            violations: Noted::default(),
            lag: Latencies::new(),
            cpu_share: Vec::new(),
        }
    }

    /// A record that is news, measured.
    pub(crate) fn record(&mut self, channel: Channel, event_time: u64, now: u64) {
        let name = channel.name();
        *self.records_by_channel.entry(name).or_default() += 1;
        self.from_event.entry(name).or_insert_with(Latencies::new).record(event_time, now);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if self.server.is_empty() {
            self.server = other.server;
        }
        self.flow.messages += other.flow.messages;
        self.flow.records += other.flow.records;
        self.flow.bytes += other.flow.bytes;
        for (channel, count) in other.records_by_channel {
            *self.records_by_channel.entry(channel).or_default() += count;
        }
        for (channel, latencies) in other.from_event {
            self.from_event.entry(channel).or_insert_with(Latencies::new).merge(&latencies);
        }
        self.from_sent.merge(&other.from_sent);
        for (cause, gaps) in other.gaps {
            let known = self.gaps.entry(cause).or_default();
            known.announced += gaps.announced;
            known.numbers += gaps.numbers;
        }
        self.ledger.checked += other.ledger.checked;
        self.ledger.published += other.ledger.published;
        self.ledger.delivered += other.ledger.delivered;
        self.ledger.conflated += other.ledger.conflated;
        self.ledger.dropped += other.ledger.dropped;
        self.ledger.filtered += other.ledger.filtered;
        self.conflating_notices += other.conflating_notices;
        self.refused.merge(other.refused);
        self.not_opened.merge(other.not_opened);
        self.ended_early.merge(other.ended_early);
        self.violations.merge(other.violations);
        self.lag.merge(&other.lag);
        self.cpu_share.extend(other.cpu_share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_merged_into_one_account() {
        let part = |event_time| {
            let mut tally = Tally::new();
            tally.flow = Flow { messages: 1, records: 2, bytes: 3 };
            tally.record(Channel::Quote, event_time, 10_000_000);
            tally.gaps.insert("bus".to_owned(), Gaps { announced: 1, numbers: 4 });
            tally.ledger =
                LedgerSums { checked: 1, published: 9, delivered: 5, conflated: 4, ..LedgerSums::default() };
            for _ in 0..8 {
                tally.violations.note(|| "wrong".to_owned());
            }
            tally.cpu_share.push(0.5);
            tally
        };
        let mut whole = part(5_000_000);
        whole.merge(part(2_000_000));
        assert_eq!(whole.flow, Flow { messages: 2, records: 4, bytes: 6 });
        assert_eq!(whole.records_by_channel["quote"], 2);
        assert_eq!(whole.from_event["quote"].summary().count, 2);
        assert_eq!(whole.gaps["bus"], Gaps { announced: 2, numbers: 8 });
        assert_eq!((whole.ledger.checked, whole.ledger.published), (2, 18));
        assert_eq!((whole.violations.count, whole.violations.first.len()), (16, TEXTS_MAX));
        assert_eq!(whole.cpu_share, [0.5, 0.5]);
    }
}
