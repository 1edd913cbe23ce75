//! Whether a late receipt is the reader's doing or the path's: what is tried with the window, and what it says.

use super::mark::Mark;
use crate::engine::throughput::RATE_SPAN_NS;

/// Legs with the proven window before a larger one is tried.
const TRIAL_EVERY: u8 = 3;
/// Bytes that say something about a rate.
const TRIAL_BYTES: u64 = 4096;

/// One round: it begins with a receipt, and ends when everything is confirmed that was under way then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// The probe that ends it; 0: there is none.
    end: u64,
    /// When the receipt for its first probe came, and when that probe was sent.
    began: u64,
    first: u64,
    /// The time from the first probe to the last, and from the first receipt to the last.
    sent_ns: u64,
    answered_ns: u64,
    /// The window was full, or at least half full, when one of its probes was sent.
    pub(super) is_full: bool,
    pub(super) is_used: bool,
    /// The first receipt was for more than the window takes, or for one long message: it confirmed the session up to this
    /// byte.
    long_to: Option<u64>,
    /// One such receipt confirmed most of what was under way, and does not show how the round came back.
    is_single: bool,
}

impl Round {
    /// Notes a receipt; `newest` is the last probe that was sent. Returns the round that it ended.
    pub(super) fn note(&mut self, mark: &Mark, newest: u64, is_long: bool, now: u64) -> Option<Self> {
        if self.end == 0 {
            *self = Self {
                end: newest,
                began: now,
                first: mark.time,
                long_to: is_long.then_some(mark.sent),
                ..Self::default()
            };
        }
        self.is_full |= mark.is_full;
        self.is_used |= mark.is_used;
        if mark.time < self.end {
            return None;
        }
        (self.sent_ns, self.answered_ns) = (mark.time - self.first, now - self.began);
        self.is_single = self.long_to.is_some_and(|to| mark.sent - to < u64::from(mark.in_flight) / 2);
        Some(std::mem::take(self))
    }

    /// Returns how it came back, where the last receipt took `delay_ns`. Less than `slack_ns` counts as no time.
    pub(super) fn shape(&self, delay_ns: u64, slack_ns: u64) -> Shape {
        if self.is_single {
            Shape::Unknown
        } else if self.answered_ns > self.sent_ns / 2 * 3 + slack_ns {
            Shape::Stretched
        } else if self.answered_ns < delay_ns / 4 {
            Shape::Piece
        } else {
            Shape::Stream
        }
    }
}

/// The way in which the receipts of a round came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    #[default]
    Unknown,
    /// They took more time than the sending did: something works off what was sent.
    Stretched,
    /// They came as the probes were sent, one after another.
    Stream,
    /// They came all at once.
    Piece,
}

/// The result of a trial with another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The delay follows the bytes under way: there is a queue.
    Queue,
    /// The delay does not follow them: it is the path's own.
    Path,
}

/// A receipt, as a trial sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) delay: u64,
    /// Most of the delay is one pause, and nothing like it was seen before.
    pub(super) is_pause: bool,
}

/// A trial with another window: does the delay follow it?
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// The newest probe before it.
    since: u64,
    /// The bytes that were under way before, and their delay.
    before: usize,
    delay: u64,
    /// The window that is tried, and the one before.
    limit: usize,
    pub(super) usual: usize,
    /// The shortest delay since then.
    pub(super) shortest: u64,
    /// The reader is known to be slow: only the delay of the path is looked for.
    pub(super) is_of_slow: bool,
    /// The nanoseconds between two receipts when it began.
    pub(super) interval: u64,
    /// The delay before is mostly a pause. The first delay of at least as many bytes takes its place.
    pub(super) is_provisional: bool,
}

impl Check {
    /// `before` bytes were under way and took `delay`; now it is `limit` instead of `usual`.
    pub(super) fn new(since: u64, (before, delay): (usize, u64), usual: usize, limit: usize) -> Self {
        Self {
            since,
            delay,
            before,
            limit,
            usual,
            shortest: u64::MAX,
            is_of_slow: false,
            interval: 0,
            is_provisional: false,
        }
    }

    /// Returns the bytes that were under way before, and their delay.
    pub(super) fn before(&self) -> (usize, u64) {
        (self.before, self.delay)
    }

    pub(super) fn is_more(&self) -> bool {
        self.limit > self.before
    }

    pub(super) fn most(&self) -> usize {
        self.limit.max(self.before)
    }

    pub(super) fn least(&self) -> usize {
        self.limit.min(self.before)
    }

    /// Returns whether the delay is what it was.
    pub(super) fn is_unmoved(&self, delay: u64) -> bool {
        delay >= self.delay / 10 * 9
    }

    /// Returns whether a path of this delay was more than half of the delay before.
    pub(super) fn is_mostly(&self, path: u64) -> bool {
        self.delay < 2 * path
    }

    /// Returns the delay with the smaller window, where `delay` is the one of now.
    pub(super) fn delay_of_least(&self, delay: u64) -> u64 {
        if self.is_more() { self.delay } else { delay }
    }

    /// Notes a receipt. Returns the verdict, where the receipt is for what was sent with the new window.
    pub(super) fn note(&mut self, mark: &Mark, receipt: Receipt) -> Option<Verdict> {
        let delay = receipt.delay;
        // With less under way, a pause would pass for the delay of a path.
        if mark.time <= self.since || (receipt.is_pause && !self.is_more()) {
            return None;
        }
        let is_as_much = (self.before..self.limit / 4 * 3).contains(&(mark.in_flight as usize));
        if self.is_provisional && is_as_much {
            self.is_provisional = false;
            (self.before, self.delay) = (mark.in_flight as usize, self.delay.min(delay));
            return None;
        }
        self.shortest = self.shortest.min(delay);
        let times = f64::from(mark.in_flight) / self.before as f64;
        if self.is_more() && times >= 2.0 && delay as f64 >= self.delay as f64 * times {
            // It followed in full: no need to wait until the window is full.
            return Some(Verdict::Queue);
        }
        if !mark.is_full || (!self.is_more() && mark.in_flight as usize > self.limit / 4 * 5) {
            return None;
        }
        // Half of what a queue would do.
        let follows = self.delay as f64 * (1.0 + self.limit as f64 / self.before as f64) / 2.0;
        // A receipt comes with a read, so a delay may be short by a part of the time between two reads.
        let follows = if self.is_more() { follows - self.interval as f64 / 4.0 } else { follows };
        let is_queue = if self.is_more() { delay as f64 >= follows } else { (delay as f64) < follows };
        Some(if is_queue { Verdict::Queue } else { Verdict::Path })
    }
}

/// Trials whether a slow reader takes more with a larger window. Its rate is measured in legs of so many bytes, one after
/// another: most with the window that is proven, some with a larger one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trials {
    /// When the leg may begin, and when its measurement began; 0 before that.
    begins: u64,
    since: u64,
    /// The bytes that were confirmed when it began.
    confirmed: u64,
    /// The window that is tried; 0 in a usual leg.
    limit: usize,
    /// The number of usual legs since the last trial.
    usual: u8,
    /// The bytes per second of the leg before.
    rate: f64,
}

impl Trials {
    /// Returns the window that was proven, or a quarter more for a while: a window that is small because the rate was, and a rate
    /// that is small because the window is, look the same until more is tried. It goes on as long as the rate follows.
    pub(super) fn limit(
        &mut self,
        proven: usize,
        limit: usize,
        (confirmed, delay): (u64, u64),
        may_try: bool,
        now: u64,
    ) -> usize {
        if self.since == 0 || now < self.begins {
            if self.since == 0 && now >= self.begins {
                (self.since, self.confirmed) = (now, confirmed);
            }
            return proven.max(self.limit);
        }
        let bytes = confirmed - self.confirmed;
        if now < self.since + RATE_SPAN_NS || bytes < TRIAL_BYTES.max(limit as u64) {
            return proven.max(self.limit);
        }
        let rate = bytes as f64 * 1e9 / (now - self.since) as f64;
        let before = self.rate;
        (self.since, self.begins, self.rate) = (0, now, rate);
        if self.limit > 0 {
            (self.limit, self.usual) = if rate > before * 1.12 { (self.limit / 4 * 5, 0) } else { (0, 0) };
        } else {
            self.usual += 1;
            if self.usual >= TRIAL_EVERY && may_try {
                self.limit = proven / 4 * 5;
            }
        }
        if self.limit > 0 {
            // What is measured begins when what is sent now has come back.
            self.begins = now + delay;
        }
        proven.max(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn after(delay_ms: u64) -> Receipt {
        Receipt { delay: delay_ms * MS, is_pause: false }
    }

    /// Returns what a receipt says after 2,000 bytes and 100 ms, where 8,000 are tried.
    fn more(in_flight: u32, is_full: bool, delay_ms: u64) -> Option<Verdict> {
        let mut check = Check::new(10, (2_000, 100 * MS), 2_000, 8_000);
        let mark = Mark { time: 11, sent: 20_000, in_flight, aside: 0, is_full, is_used: true };
        check.note(&mark, after(delay_ms))
    }

    #[test]
    fn more_need_not_be_full_where_the_delay_followed_it() {
        assert_eq!(more(4_000, false, 200), Some(Verdict::Queue));
        assert_eq!(more(4_000, false, 190), None, "not in full");
        assert_eq!(more(3_000, false, 200), None, "that little says nothing");
        assert_eq!(more(8_000, true, 110), Some(Verdict::Path));
        assert_eq!(more(8_000, true, 260), Some(Verdict::Queue));
    }

    #[test]
    fn a_part_of_an_interval_does_not_make_a_queue_a_path() {
        let mut check = Check::new(10, (2_000, 200 * MS), 2_000, 4_000);
        check.interval = 100 * MS;
        let mark = Mark { time: 11, sent: 20_000, in_flight: 4_000, aside: 0, is_full: true, is_used: true };
        // These are three reads, and the timer was a little early.
        assert_eq!(check.note(&mark, after(299)), Some(Verdict::Queue));
        assert_eq!(check.note(&mark, after(210)), Some(Verdict::Path));
    }

    #[test]
    fn a_delay_that_is_mostly_a_pause_is_replaced_before_more_is_compared_with_it() {
        let mark =
            |in_flight, is_full| Mark { time: 11, sent: 20_000, in_flight, aside: 0, is_full, is_used: true };
        // 2,000 bytes took 700 ms, 600 of them in a pause; without one they take 200 ms, and 8,000 take 800 ms.
        let before = Check::new(10, (2_000, 700 * MS), 2_000, 8_000);
        let mut check = Check { is_provisional: true, ..before };
        assert_eq!(check.note(&mark(1_000, false), after(100)), None);
        assert_eq!(check.note(&mark(2_000, false), after(200)), None);
        assert_eq!(check.note(&mark(8_000, true), after(800)), Some(Verdict::Queue));
        // On a path they take as long as before.
        let mut check = Check { is_provisional: true, ..before };
        assert_eq!(check.note(&mark(2_000, false), after(700)), None);
        assert_eq!(check.note(&mark(8_000, true), after(800)), Some(Verdict::Path));
    }

    #[test]
    fn a_pause_is_no_verdict_where_less_is_tried() {
        let mut check = Check::new(10, (2_000, 200 * MS), 2_000, 1_000);
        let mark = Mark { time: 11, sent: 20_000, in_flight: 1_000, aside: 0, is_full: true, is_used: true };
        assert_eq!(check.note(&mark, Receipt { delay: 4_800 * MS, is_pause: true }), None);
        assert_eq!(check.note(&mark, after(100)), Some(Verdict::Queue));
    }
}
