//! A naive model of rates and delivery windows: it knows when something may come at all, and what the rate supersedes.

use std::collections::{BTreeSet, HashMap};

use tickwire_core::engine::WINDOW_MS_MAX;
use tickwire_wire::{Body, Channel, GapCause, Message};

const SECOND: f64 = 1e9;

/// The rate of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The updates per second, as granted; 0: all.
    rate: f64,
    pub(crate) was_rated: bool,
    /// The time of the last record of each key, and what the engine had been told of the topic by then.
    sent: HashMap<u64, (u64, u64)>,
    /// The time until which it is throttled.
    throttled_until: Option<u64>,
    /// The sequence numbers that were superseded while it was throttled, or would have been had they not been sent
    /// before.
    held_back: BTreeSet<u64>,
}

impl Pace {
    /// Takes a rate that was granted, by the response that the client read.
    pub(crate) fn granted(&mut self, rate: f64) {
        self.rate = rate;
        self.was_rated |= rate > 0.0;
    }

    /// Takes a rate that the client asked for; the response is read later.
    pub(crate) fn set(&mut self, asked: f64) {
        let rate = asked.min(1000.0);
        if (rate - self.rate).abs() > 0.0 {
            self.granted(rate);
            self.throttled_until = None;
            self.sent.clear();
        }
    }

    /// Takes that the timer ran.
    pub(crate) fn timer(&mut self, now: u64) {
        if self.throttled_until.is_some_and(|until| until <= now) {
            self.throttled_until = None;
        }
    }

    /// Takes that the topic went on from a sequence number to another, before a client was written to.
    pub(crate) fn advanced(&mut self, from: u64, to: u64, now: u64) {
        if self.throttled_until.is_some_and(|until| now >= until) {
            // The timer is late. A record that was lost on the bus in between was never held back.
            self.held_back.insert(from);
        } else if self.throttled_until.is_some() {
            self.held_back.extend(from..to);
        }
        self.timer(now);
    }

    /// Takes that the topic stood at a sequence number when a gap or a new state ended the throttling.
    pub(crate) fn broken(&mut self, stood: u64) {
        if self.throttled_until.take().is_some() {
            self.held_back.insert(stood);
        }
    }

    /// Checks a record that came; `told` is what the engine has been told of the topic, `broken` when it was told of a
    /// loss last.
    pub(crate) fn record(&mut self, key: u64, told: u64, broken: u64, now: u64) {
        if self.rate == 0.0 {
            return;
        }
        if let Some((at, told_then)) = self.sent.insert(key, (now, told)) {
            let is_early = (now - at) as f64 * self.rate < SECOND * (1.0 - 1e-9);
            assert!(!is_early || broken > told_then, "{} ns after the one before at {}", now - at, self.rate);
        }
        self.throttled_until = Some(now + (SECOND / self.rate).ceil() as u64);
    }

    /// Returns how many of these superseded sequence numbers the rate held back.
    pub(crate) fn filtered(&self, from: u64, to: u64) -> u64 {
        if from > to { 0 } else { self.held_back.range(from..=to).count() as u64 }
    }

    /// Begins anew, as the sequence does.
    pub(crate) fn renumber(&mut self) {
        self.held_back.clear();
    }
}

/// The delivery window of one session.
#[derive(Debug)]
pub(crate) struct Window {
    length_ns: u64,
    /// The time at which the first data of this window was written.
    since: Option<u64>,
    /// Whether all that was due was written: nothing more comes before the end of the window.
    is_shut: bool,
    has_data: bool,
}

impl Window {
    pub(crate) fn new(ms: u16) -> Self {
        assert!(ms <= WINDOW_MS_MAX);
        Self { length_ns: u64::from(ms) * 1_000_000, since: None, is_shut: false, has_data: false }
    }

    pub(crate) fn timer(&mut self, now: u64) {
        if self.since.is_some_and(|since| now >= since + self.length_ns) {
            (self.since, self.is_shut) = (None, false);
        }
    }

    /// Opens the window, because a feed is live again: what is held back leaves with the heartbeat that says so.
    pub(crate) fn open(&mut self) {
        self.is_shut = false;
    }

    /// Takes a message that was read; states and responses to `resume` come with control.
    pub(crate) fn read(&mut self, message: &Message) {
        let Message::Record(record) = message else { return };
        let is_resumed = matches!(&record.body, Body::Gap(gap) if gap.cause() == GapCause::Resume);
        self.has_data |= !is_resumed && !matches!(record.channel(), Channel::Status | Channel::Instrument);
    }

    /// Takes the end of a write. `may_pass_early`: there may be more lossless data than a window holds back.
    pub(crate) fn wrote(&mut self, has_more: bool, may_pass_early: bool, now: u64) {
        if !std::mem::take(&mut self.has_data) || self.length_ns == 0 {
            return;
        }
        assert!(!self.is_shut || may_pass_early, "{self:?}: written to within its window, at {now}");
        self.since.get_or_insert(now);
        self.is_shut = !has_more && !may_pass_early;
    }
}
