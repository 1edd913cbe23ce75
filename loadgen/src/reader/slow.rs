//! A program that empties its socket and works slowly: what it has read and not worked off yet, in the order of the wire.
//! And the receipts of a program, slow or not, which come when an SDK's would (`crates/client/src/handout.rs` and
//! `outgoing.rs`).

use std::collections::VecDeque;

use tickwire_wire::{Channel, Receipt};

use super::MS;

/// A program that holds more has lost its memory long before: the oldest are given up.
const WAITING_MAX: usize = 1 << 20;
/// Between two receipts that name messages, at least.
const RECEIPT_INTERVAL: u64 = 250 * MS;
/// Between any two receipts, at least.
const RECEIPTS_APART: u64 = 10 * MS;
/// A ping with a time that is further from the gateway's is not from the gateway: an hour.
const PING_TIME_OFF_MAX: u64 = 3_600_000 * MS;

/// What a program comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Record {
        channel: Channel,
        event_time: u64,
        /// It is measured.
        counts: bool,
    },
    /// The end of a message with records.
    End { sent_time: u64, read_at: u64 },
    /// The gateway's time, where it names one.
    Ping(Option<u64>),
}

#[derive(Debug, Default)]
pub(crate) struct Program {
    waiting: VecDeque<Waiting>,
    /// Parts of a record that the program could have worked off.
    credit: f64,
    worked_at: u64,
    /// When it works next.
    pub(crate) due: u64,
}

impl Program {
    /// A program that begins now.
    pub(crate) fn new(now: u64) -> Self {
        Self { worked_at: now, ..Self::default() }
    }

    pub(crate) fn read(&mut self, what: Waiting) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(what);
    }

    /// A message ends here.
    pub(crate) fn end(&mut self, sent_time: u64, read_at: u64) {
        if matches!(self.waiting.back(), Some(Waiting::Record { .. })) {
            self.read(Waiting::End { sent_time, read_at });
        }
    }

    /// Works until now, at so many records per second; what it comes to is handed out. Only records take time.
    pub(crate) fn work(&mut self, now: u64, per_second: f64, mut each: impl FnMut(Waiting)) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.worked_at, now)) as f64 / 1e9;
        self.credit = (self.credit + passed * per_second).min(per_second.max(1.0));
        while let Some(first) = self.waiting.front() {
            let cost = f64::from(u8::from(matches!(first, Waiting::Record { .. })));
            if self.credit < cost {
                return;
            }
            self.credit -= cost;
            each(*first);
            self.waiting.pop_front();
        }
        // Time without work is not saved up.
        self.credit = self.credit.min(1.0);
    }
}

/// Which receipts a program's SDK sends, and when.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// The newest replaces one that was not sent yet: it says all that the older one said.
    waiting: Option<Receipt>,
    /// When the next one may go.
    next_at: u64,
    /// When the last one was made.
    made_at: u64,
    /// How far the last message lay behind when the program had taken it.
    lag_ns: u64,
    /// Up to when the gateway was told that the program took everything.
    confirmed: u64,
    /// Send time of the newest message that the program took.
    taken: u64,
    /// The gateway's time, as it last said it.
    pub(crate) newest_sent: u64,
    /// Somebody will look when the next one may go.
    pub(crate) is_timed: bool,
}

impl Receipts {
    /// The program took all records of a message.
    pub(crate) fn taken(&mut self, sent_time: u64, lag_ns: u64, now: u64) {
        self.lag_ns = lag_ns;
        self.taken = self.taken.max(sent_time);
        if now >= self.made_at + RECEIPT_INTERVAL {
            self.confirmed = self.confirmed.max(sent_time);
            (self.waiting, self.made_at) = (Some(Receipt { sent_time, reader_lag_ns: lag_ns }), now);
        }
    }

    /// The program came to a ping: it took all that came before.
    pub(crate) fn passed(&mut self, named: Option<u64>, now: u64) {
        let named = named.filter(|time| time.abs_diff(self.newest_sent) < PING_TIME_OFF_MAX);
        let sent_time = named.unwrap_or(self.taken);
        if sent_time > self.confirmed {
            self.confirmed = sent_time;
            let reader_lag_ns = std::mem::take(&mut self.lag_ns);
            (self.waiting, self.made_at) = (Some(Receipt { sent_time, reader_lag_ns }), now);
        }
    }

    /// What is to be sent now.
    pub(crate) fn due(&mut self, now: u64) -> Option<Receipt> {
        let receipt = self.waiting.take_if(|_| now >= self.next_at)?;
        self.next_at = now + RECEIPTS_APART;
        Some(receipt)
    }

    /// When what waits may be sent.
    pub(crate) fn next(&self) -> Option<u64> {
        self.waiting.as_ref().map(|_| self.next_at)
    }
}

/// The time in a ping of a gateway.
pub(crate) fn ping_time(payload: &[u8]) -> Option<u64> {
    payload.try_into().map(u64::from_le_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000 * MS;

    fn record(event_time: u64) -> Waiting {
        Waiting::Record { channel: Channel::Quote, event_time, counts: true }
    }

    #[test]
    fn it_works_at_its_rate_and_falls_behind() {
        let mut program = Program::new(SECOND);
        for at in 0..100 {
            program.read(record(at));
        }
        let mut done = 0;
        for tenth in 1..=20 {
            program.work(SECOND + tenth * SECOND / 10, 10.0, |_| done += 1);
        }
        assert!((20..=21).contains(&done), "{done}");
    }

    #[test]
    fn a_ping_waits_for_its_turn_and_takes_no_time() {
        let mut program = Program::new(SECOND);
        program.read(Waiting::Ping(Some(1)));
        program.end(2, SECOND);
        program.read(record(3));
        program.end(4, SECOND);
        program.read(Waiting::Ping(Some(5)));
        let mut seen = Vec::new();
        program.work(SECOND, 10.0, |what| seen.push(what));
        assert_eq!(seen, [Waiting::Ping(Some(1))]);
        seen.clear();
        program.work(SECOND + 99 * MS, 10.0, |what| seen.push(what));
        assert_eq!(seen, []);
        program.work(SECOND + 101 * MS, 10.0, |what| seen.push(what));
        let end = Waiting::End { sent_time: 4, read_at: SECOND };
        assert_eq!(seen, [record(3), end, Waiting::Ping(Some(5))]);
    }

    #[track_caller]
    fn check(receipts: &mut Receipts, now: u64, expected: Option<(u64, u64)>) {
        let due = receipts.due(now).map(|receipt| (receipt.sent_time, receipt.reader_lag_ns));
        assert_eq!(due, expected);
    }

    #[test]
    fn receipts_name_pings_at_once_and_messages_now_and_then() {
        let mut receipts = Receipts { newest_sent: 5 * SECOND, ..Receipts::default() };
        receipts.taken(5 * SECOND, 7, 10 * SECOND);
        check(&mut receipts, 10 * SECOND, Some((5 * SECOND, 7)));
        receipts.taken(5 * SECOND + 2, 8, 10 * SECOND + 100 * MS);
        check(&mut receipts, 10 * SECOND + 100 * MS, None);
        receipts.passed(Some(5 * SECOND + 3), 10 * SECOND + 101 * MS);
        check(&mut receipts, 10 * SECOND + 101 * MS, Some((5 * SECOND + 3, 8)));
        // The next ones wait, and the newest counts.
        receipts.passed(Some(5 * SECOND + 5), 10 * SECOND + 102 * MS);
        receipts.passed(Some(5 * SECOND + 7), 10 * SECOND + 103 * MS);
        check(&mut receipts, 10 * SECOND + 104 * MS, None);
        assert_eq!(receipts.next(), Some(10 * SECOND + 111 * MS));
        check(&mut receipts, 10 * SECOND + 111 * MS, Some((5 * SECOND + 7, 0)));
        assert_eq!(receipts.next(), None);
        // A proxy's ping names nothing, and nothing is said twice.
        receipts.passed(ping_time(b"proxy"), 11 * SECOND);
        receipts.passed(ping_time(b"anything"), 11 * SECOND);
        receipts.passed(Some(5 * SECOND + 7), 11 * SECOND);
        check(&mut receipts, 11 * SECOND, None);
        receipts.taken(5 * SECOND + 8, 1, 11 * SECOND);
        check(&mut receipts, 11 * SECOND, Some((5 * SECOND + 8, 1)));
    }
}
