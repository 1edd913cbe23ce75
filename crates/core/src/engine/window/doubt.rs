//! Whether a late receipt is the reader's doing or the path's: what is tried with the window, and what it says.

use super::mark::Mark;
use crate::engine::throughput::RATE_SPAN_NS;

/// Legs with the proven window before a larger one is tried.
const TRIAL_EVERY: u8 = 3;
/// Bytes that say something about a rate.
const TRIAL_BYTES: u64 = 4096;

/// Who answers nothing for so long, and then almost everything, stood still.
const STALL_NS: u64 = 1_000_000_000;

/// What was under way when the round began, until it was confirmed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// The probe that ends it; 0: there is none.
    end: u64,
    /// When its first probe was answered, and when that was sent.
    began: u64,
    first: u64,
    /// When the last answer came, and the longest time without one.
    last: u64,
    gap_ns: u64,
    /// From the first to the last: in sending them, and in their answers.
    sent_ns: u64,
    answered_ns: u64,
    /// The window was full, or half full.
    pub(super) is_full: bool,
    pub(super) is_used: bool,
    /// Bytes sent up to its first answer, where that was to more than the window takes or to one long message.
    long_to: Option<u64>,
    /// Most of what was under way came with that one answer, which says nothing about how what was sent came back.
    is_single: bool,
}

impl Round {
    /// An answer came; `newest` is the last probe that was sent. Returns the round that it ended.
    pub(super) fn note(&mut self, mark: &Mark, newest: u64, is_long: bool, now: u64) -> Option<Self> {
        if self.end == 0 {
            *self = Self {
                end: newest,
                began: now,
                first: mark.time,
                last: now,
                long_to: is_long.then_some(mark.sent),
                ..Self::default()
            };
        }
        self.gap_ns = self.gap_ns.max(now - self.last);
        self.last = now;
        self.is_full |= mark.is_full;
        self.is_used |= mark.is_used;
        if mark.time < self.end {
            return None;
        }
        (self.sent_ns, self.answered_ns) = (mark.time - self.first, now - self.began);
        self.is_single = self.long_to.is_some_and(|to| mark.sent - to < u64::from(mark.in_flight) / 2);
        Some(std::mem::take(self))
    }

    /// How it came back, where the last answer took `delay_ns`. Less than `slack_ns` is no time.
    pub(super) fn shape(&self, delay_ns: u64, slack_ns: u64) -> Shape {
        let stood_still = self.gap_ns > STALL_NS && self.gap_ns > self.answered_ns / 4 * 3;
        if self.is_single || stood_still {
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

/// How what was sent in a round came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    #[default]
    Unknown,
    /// In more time than it was sent in: something works it off.
    Stretched,
    /// As it was sent, one after another.
    Stream,
    /// All at once.
    Piece,
}

/// What the delay says about the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It follows: there is a queue.
    Queue,
    /// It does not.
    Path,
}

/// Another window is tried: does the delay follow?
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// Newest probe before.
    since: u64,
    /// What was under way before, and its delay.
    before: usize,
    delay: u64,
    /// The window that is tried, and the one before.
    limit: usize,
    pub(super) usual: usize,
    /// Shortest delay since then.
    pub(super) shortest: u64,
    /// The reader is slow: only the path's delay is in question.
    pub(super) is_of_slow: bool,
    /// Nanoseconds between two answers, when it began.
    pub(super) beat: u64,
}

impl Check {
    /// `before` bytes were under way and took `delay`; now it is `limit` instead of `usual`.
    pub(super) fn new(since: u64, (before, delay): (usize, u64), usual: usize, limit: usize) -> Self {
        Self { since, delay, before, limit, usual, shortest: u64::MAX, is_of_slow: false, beat: 0 }
    }

    /// What was under way before, and its delay.
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

    /// The delay is what it was.
    pub(super) fn is_unmoved(&self, delay: u64) -> bool {
        delay >= self.delay / 10 * 9
    }

    /// A path of this delay was more than half of it.
    pub(super) fn is_mostly(&self, path: u64) -> bool {
        self.delay < 2 * path
    }

    /// Delay with the smaller window, where `delay` is the one of now.
    pub(super) fn delay_of_least(&self, delay: u64) -> u64 {
        if self.is_more() { self.delay } else { delay }
    }

    /// An answer came. Says what it means, where it speaks of the new window.
    pub(super) fn note(&mut self, mark: &Mark, delay: u64) -> Option<Verdict> {
        if mark.time <= self.since {
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
        // Delays are whole beats: it may have been the last part of one.
        let follows = if self.is_more() { follows - self.beat as f64 / 4.0 } else { follows };
        let is_queue = if self.is_more() { delay as f64 >= follows } else { (delay as f64) < follows };
        Some(if is_queue { Verdict::Queue } else { Verdict::Path })
    }
}

/// Whether a larger window brings a slow reader more. Legs of so many bytes are measured one after another; most with the
/// window that is proven, some with a larger one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trials {
    /// When the leg may begin, and since when it is measured; 0 before.
    begins: u64,
    since: u64,
    /// Confirmed when it began.
    confirmed: u64,
    /// The window that is tried; 0 in a usual leg.
    limit: usize,
    /// Usual legs since the last trial.
    usual: u8,
    /// Bytes per second of the leg before.
    rate: f64,
}

impl Trials {
    /// The window that was proven, or a quarter more for a while: a window that is small because the rate was, and a rate
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

    /// What an answer after 2,000 bytes and 100 ms says, where 8,000 are tried.
    fn more(in_flight: u32, is_full: bool, delay_ms: u64) -> Option<Verdict> {
        let mut check = Check::new(10, (2_000, 100 * MS), 2_000, 8_000);
        let mark = Mark { time: 11, sent: 20_000, in_flight, aside: 0, is_full, is_used: true };
        check.note(&mark, delay_ms * MS)
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
    fn a_part_of_a_beat_does_not_make_a_queue_a_path() {
        let mut check = Check::new(10, (2_000, 200 * MS), 2_000, 4_000);
        check.beat = 100 * MS;
        let mark = Mark { time: 11, sent: 20_000, in_flight: 4_000, aside: 0, is_full: true, is_used: true };
        // Three beats, and the timer was a little early.
        assert_eq!(check.note(&mark, 299 * MS), Some(Verdict::Queue));
        assert_eq!(check.note(&mark, 210 * MS), Some(Verdict::Path));
    }
}
