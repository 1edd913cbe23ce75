//! The account of one session that was seen: ages, sequence numbers, and whether the gateway's ledger agrees.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use tickwire_wire::{
    Batch, Body, Channel, Encoding, Ledger, Message, Missing, Numbered, Record, Sequence, Verdict,
};

use crate::Shown;

/// Returns the time in nanoseconds since the Unix epoch.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// One WebSocket message with data, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageSeen {
    /// The time at which the gateway handed it to its socket; nanoseconds since the Unix epoch.
    pub sent: u64,
    /// The time at which its last byte was read.
    pub read: u64,
    /// The bytes of its payload.
    pub bytes: usize,
    /// The event time of its oldest live record; none where it holds states and responses only.
    pub oldest: Option<u64>,
}

/// One session as it was seen, checked by sequence number and ledger.
#[derive(Debug)]
pub struct Account {
    /// The nanoseconds between a live record's event time and the moment at which its message was read as a whole.
    pub ages: Histogram<u64>,
    /// The bytes of everything, frame heads and control frames included.
    pub bytes: u64,
    /// The live records.
    pub records: u64,
    /// The WebSocket messages.
    pub messages: u64,
    /// The bytes of the largest message.
    pub message_bytes_max: usize,
    /// The pings that came.
    pub pings: u64,
    /// The `conflating` notices.
    pub conflating_notices: u64,
    /// The sequence numbers that were announced as lost.
    pub announced: u64,
    /// The violations of the protocol: in sequence numbers, sums, refusals.
    pub violations: Vec<String>,
    /// The code and text of the gateway's close frame.
    pub closed: Option<(u16, String)>,
    /// The newest ledger.
    pub ledger: Option<Ledger>,
    /// Every message, where this is wanted.
    pub log: Option<Vec<MessageSeen>>,
    /// The values that are shown at each moment, where this is wanted.
    pub shown: Option<Shown>,
    /// The number of symbols that were granted.
    pub granted: usize,
    /// Sequence numbers of each subscription, and where it began.
    sequences: HashMap<(u32, Channel), (Sequence, u64)>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            ages: empty(),
            bytes: 0,
            records: 0,
            messages: 0,
            message_bytes_max: 0,
            pings: 0,
            conflating_notices: 0,
            announced: 0,
            violations: Vec::new(),
            closed: None,
            ledger: None,
            log: None,
            shown: None,
            granted: 0,
            sequences: HashMap::new(),
        }
    }
}

fn empty() -> Histogram<u64> {
    // The bounds are one microsecond to a quarter of an hour, to a percent or better.
    let mut ages = Histogram::new_with_bounds(1_000, 1_000_000_000_000, 2).expect("good bounds");
    ages.auto(false);
    ages
}

impl Account {
    /// Takes the ages since the last call; they are counted anew from here on.
    pub fn take_ages(&mut self) -> Histogram<u64> {
        std::mem::replace(&mut self.ages, empty())
    }

    /// Takes one WebSocket message, read as a whole just now.
    pub(crate) fn message(&mut self, bytes: &[u8]) {
        let read = unix_now();
        let (mut sent, mut oldest) = (0, None);
        self.messages += 1;
        self.message_bytes_max = self.message_bytes_max.max(bytes.len());
        for message in Batch::new(Encoding::Proto, bytes) {
            match message {
                Ok(Message::Record(record)) => {
                    if let Some(shown) = &mut self.shown {
                        shown.note(record.instrument, record.event_time, read);
                    }
                    if self.record(&record) {
                        self.records += 1;
                        self.ages.saturating_record(read.saturating_sub(record.event_time).max(1_000));
                        oldest = Some(oldest.unwrap_or(u64::MAX).min(record.event_time));
                    }
                }
                Ok(Message::Sent(time)) => sent = time,
                Ok(Message::Subscribed(response)) => {
                    self.granted += response.granted.len();
                    for granted in response.granted {
                        let (channel, begin) = (granted.channel(), granted.sequence);
                        let sequence = Sequence::new(channel, granted.epoch, begin);
                        self.sequences.insert((granted.instrument, channel), (sequence, begin));
                    }
                    self.violations.extend(response.refused.iter().map(|refused| format!("{refused:?}")));
                }
                Ok(Message::Notice(notice)) => {
                    self.conflating_notices += u64::from(notice.code == "conflating");
                }
                Ok(Message::Ledger(ledger)) => self.ledger(ledger),
                Ok(Message::Error(error)) => self.violations.push(format!("{error:?}")),
                Ok(_) => {} // It concerns no record.
                Err(error) => self.violations.push(error.to_string()),
            }
        }
        if let Some(log) = &mut self.log {
            log.push(MessageSeen { sent, read, bytes: bytes.len(), oldest });
        }
    }

    /// Takes a record. Returns whether it is news, and not what was known at the grant.
    fn record(&mut self, record: &Record) -> bool {
        let channel = record.channel();
        let Some((sequence, _)) = self.sequences.get_mut(&(record.instrument, channel)) else {
            self.violations.push(format!("unasked: {record:?}"));
            return false;
        };
        let last = sequence.position().1;
        if let Body::Gap(gap) = &record.body {
            let (unannounced, announced) = sequence.gap(gap);
            self.announced += announced.and_then(Missing::count).unwrap_or(0);
            self.violations.extend(unannounced.map(|missing| format!("{missing:?} before {gap:?}")));
            return false;
        }
        let verdict = sequence.record(Numbered::from(record));
        if matches!(verdict, Verdict::After(_) | Verdict::Repeated) {
            self.violations.push(format!("{} came after {last} of {channel:?}", record.sequence));
        }
        verdict != Verdict::State
    }

    fn ledger(&mut self, ledger: Ledger) {
        for entry in &ledger.entries {
            match self.sequences.get(&(entry.instrument, entry.channel())) {
                Some((sequence, begin)) => {
                    let faults: Vec<_> = sequence.account().faults(entry).collect();
                    let passed = sequence.position().1 - begin;
                    if !faults.is_empty() || entry.published != passed {
                        self.violations.push(format!("{entry:?} after {passed} passed: {faults:?}"));
                    }
                }
                None => self.violations.push(format!("not granted: {entry:?}")),
            }
        }
        if ledger.entries.len() != self.sequences.len() {
            let entries = ledger.entries.len();
            self.violations.push(format!("{entries} entries for {} subscriptions", self.sequences.len()));
        }
        self.ledger = Some(ledger);
    }
}

/// Returns percentiles as text, in milliseconds.
pub fn in_ms(ages: &Histogram<u64>) -> String {
    let ms = |q| ages.value_at_quantile(q) as f64 / 1e6;
    let max = ages.max() as f64 / 1e6;
    format!(
        "p50 {:.1} p90 {:.1} p99 {:.1} p99.9 {:.1} max {max:.1} ms ({} records)",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ages.len()
    )
}

/// Returns one percentile, `quantile` within 0 to 1.
pub fn age_at(ages: &Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_nanos(ages.value_at_quantile(quantile))
}

#[cfg(test)]
mod tests {
    use tickwire_wire::{Gap, Granted, LedgerEntry, Quote, Scale, Subscribed, Trade, encode_message};

    use super::*;

    /// Checks a session granted at 2: `5` is a record, `!3-5` a gap, `=4/2+1+1` a ledger of published, delivered,
    /// conflated, dropped.
    #[track_caller]
    fn check(channel: Channel, said: &str, live: u64, violations: usize) {
        let mut account = Account::default();
        let granted = Granted { instrument: 7, channel: channel as i32, sequence: 2, ..Granted::default() };
        let mut messages =
            vec![Message::Subscribed(Subscribed { granted: vec![granted], ..Subscribed::default() })];
        for text in said.split(' ') {
            let sequences: Vec<u64> =
                text.split(['!', '-', '=', '/', '+']).filter_map(|number| number.parse().ok()).collect();
            messages.push(match sequences[..] {
                [sequence] => {
                    let body = match channel {
                        Channel::Trade => Body::Trade(Trade::default()),
                        _ => Body::Quote(Quote::default()),
                    };
                    record(sequence, body)
                }
                [first_sequence, last_sequence] => {
                    let channel = channel as i32;
                    let gap = Gap { channel, first_sequence, last_sequence, ..Gap::default() };
                    record(last_sequence, Body::Gap(gap))
                }
                [published, delivered, conflated, dropped] => {
                    let channel = channel as i32;
                    let entry = LedgerEntry {
                        instrument: 7,
                        channel,
                        published,
                        delivered,
                        conflated,
                        dropped,
                        ..LedgerEntry::default()
                    };
                    Message::Ledger(Ledger { id: 1, entries: vec![entry] })
                }
                _ => panic!("{text}"),
            });
        }
        for message in messages {
            let mut bytes = Vec::new();
            encode_message(Encoding::Proto, &message, &Scale::default(), &mut bytes);
            account.message(&bytes);
        }
        let found = &account.violations;
        assert_eq!((account.records, found.len()), (live, violations), "{said}: {found:?}");
    }

    fn record(sequence: u64, body: Body) -> Message {
        let event_time = unix_now();
        Message::Record(Record { instrument: 7, sequence, event_time, receive_time: event_time, body })
    }

    #[test]
    fn numbers_and_sums_are_compared() {
        check(Channel::Quote, "2 3 6 =4/2+2+0", 2, 0);
        check(Channel::Quote, "3 6 6", 3, 1);
        check(Channel::Quote, "3 6 =4/3+1+0", 2, 1);
        check(Channel::Quote, "3 6 =3/2+1+0", 2, 1);
        check(Channel::Quote, "3 6 =4/2+1+0", 2, 1);
        check(Channel::Trade, "3 4 !5-6 7 =5/3+0+2", 3, 0);
        check(Channel::Trade, "3 4 7", 3, 1);
        check(Channel::Trade, "3 4 !5-6 7 =5/3+1+1", 3, 1);
    }

    #[test]
    fn an_age_is_from_the_event_to_the_read() {
        let mut account = Account::default();
        let granted = Granted { instrument: 7, channel: Channel::Quote as i32, ..Granted::default() };
        let response = Subscribed { granted: vec![granted], ..Subscribed::default() };
        let Message::Record(mut old) = record(1, Body::Quote(Quote::default())) else { unreachable!() };
        old.event_time -= 3_000_000_000;
        let mut bytes = Vec::new();
        for message in [Message::Subscribed(response), Message::Record(old)] {
            encode_message(Encoding::Proto, &message, &Scale::default(), &mut bytes);
        }
        account.message(&bytes);
        let age = age_at(&account.take_ages(), 0.5);
        assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&age), "{age:?}");
        assert!(account.take_ages().is_empty());
    }
}
