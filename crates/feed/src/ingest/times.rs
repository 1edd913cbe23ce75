//! The bounds within which times are believed.
//!
//! Two rules keep one wrong clock from spoiling anything beside its own record:
//!
//! - An event time is used when it lies within [`EVENT_AHEAD_MAX`] ahead and [`EVENT_BEHIND_MAX`] behind the time of
//!   receipt. Another one is counted, told, and replaced by the time of receipt.
//! - What ends by the clock (bars) ends by the time of the *source*: the latest time of receipt, never an event time.

use std::time::Duration;

use super::intervals::DAY;

/// The time by which a venue's clock may be ahead of ours: recorders whose clocks nobody sets are 1 to 2 s behind.
pub const EVENT_AHEAD_MAX: Duration = Duration::from_secs(5);
/// The time by which an event may have happened before it was received. A late trade corrects its bar within this time.
pub const EVENT_BEHIND_MAX: Duration = Duration::from_secs(60);

/// The longest time that bars wait for late trades before they close.
const DELAY_MAX: u64 = 2_000_000_000;
/// The shortest time that bars wait for late trades.
const DELAY_MIN: u64 = 50_000_000;
/// The time for which a source must have been seen before its delays are known; until then, bars wait for
/// [`DELAY_FIRST`] at least.
const LEARNING: u64 = 5_000_000_000;
/// The shortest time that bars wait for late trades of a source that was seen for less than that.
const DELAY_FIRST: u64 = 1_000_000_000;
/// The length of a span: the longest delay of the last one to two spans counts.
const DELAY_SPAN: u64 = 10_000_000_000;
/// The distance between a source's times of receipt and our clock within which the source runs by our clock.
const OWN_CLOCK: u64 = 2_000_000_000;

/// The fault of an event time that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    #[error(
        "event time {event} is {} s ahead of its receipt ({receive}), and {} s are believed: the time of receipt is used; \
         look at the unit of the venue's times and at both clocks",
        (.event - .receive) / 1_000_000_000, EVENT_AHEAD_MAX.as_secs()
    )]
    Ahead { event: u64, receive: u64 },
    #[error(
        "event time {event} is {} s before its receipt ({receive}), and {} s are believed: the time of receipt is used; \
         look at the unit of the venue's times and at both clocks",
        (.receive - .event) / 1_000_000_000, EVENT_BEHIND_MAX.as_secs()
    )]
    Behind { event: u64, receive: u64 },
}

/// Returns an event time that may be used; fails where it is to be replaced.
pub(crate) fn believe(event: u64, receive: u64) -> Result<u64, TimeError> {
    if event > receive.saturating_add(EVENT_AHEAD_MAX.as_nanos() as u64) {
        Err(TimeError::Ahead { event, receive })
    } else if event < receive.saturating_sub(EVENT_BEHIND_MAX.as_nanos() as u64) {
        Err(TimeError::Behind { event, receive })
    } else {
        Ok(event)
    }
}

/// The time that a source has reached, and how late its trades come, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct SourceTime {
    first: u64,
    latest: u64,
    /// The own clock when `latest` was received.
    latest_at: u64,
    /// The longest delay of this span and of the one before; `span_from` is when this span began.
    delays: [u64; 2],
    span_from: u64,
    is_over: bool,
}

impl SourceTime {
    /// Takes in that something was received; `now` is our own clock.
    pub(crate) fn received(&mut self, receive: u64, now: u64) {
        self.is_over = false;
        if self.first == 0 {
            (self.first, self.span_from) = (receive, receive);
        }
        if receive >= self.latest {
            (self.latest, self.latest_at) = (receive, now);
        }
        if self.latest.saturating_sub(self.span_from) > DELAY_SPAN {
            self.delays = [0, self.delays[0]];
            self.span_from = self.latest;
        }
    }

    /// Takes in that a trade was received so long after it happened.
    pub(crate) fn trade_delay(&mut self, delay: u64) {
        self.delays[0] = self.delays[0].max(delay);
    }

    /// Takes in that nothing more will come: every interval is over.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    /// Returns the time up to which intervals are over: those that end there or before have their trades, as far as can
    /// be known.
    pub(crate) fn over_to(&self, now: u64) -> u64 {
        if self.is_over {
            // No interval of bars is longer than a day.
            return self.latest.saturating_add(EVENT_AHEAD_MAX.as_nanos() as u64 + DAY);
        }
        let runs_by_own_clock = self.latest.abs_diff(self.latest_at) < OWN_CLOCK;
        let passed = if runs_by_own_clock { now.saturating_sub(self.latest_at) } else { 0 };
        let time = self.latest.saturating_add(passed);
        let measured = self.delays[0].max(self.delays[1]);
        let delay = (measured + measured / 4).clamp(DELAY_MIN, DELAY_MAX);
        let is_learning = time.saturating_sub(self.first) < LEARNING;
        time.saturating_sub(if is_learning { delay.max(DELAY_FIRST) } else { delay })
    }

    /// Returns the latest time of receipt.
    pub(crate) fn latest(&self) -> u64 {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn event_times_are_believed_within_bounds() {
        for time in [NOW, NOW + 5 * SECOND, NOW - 60 * SECOND, NOW - 90_000_000] {
            assert_eq!(believe(time, NOW), Ok(time));
        }
        for time in [NOW + 5 * SECOND + 1, NOW + 3_600 * SECOND, u64::MAX] {
            assert!(matches!(believe(time, NOW), Err(TimeError::Ahead { .. })), "{time}");
        }
        for time in [NOW - 60 * SECOND - 1, NOW / 1_000, 0] {
            assert!(matches!(believe(time, NOW), Err(TimeError::Behind { .. })), "{time}");
        }
        assert_eq!(believe(0, 0), Ok(0));
    }

    #[test]
    fn intervals_wait_for_the_delay_that_trades_have() {
        let mut time = SourceTime::default();
        time.received(NOW, NOW);
        assert_eq!(time.over_to(NOW), NOW - SECOND, "nothing is known of delays yet");
        for second in 1..=20 {
            time.received(NOW + second * SECOND, NOW + second * SECOND);
            time.trade_delay(80_000_000);
        }
        let now = NOW + 20 * SECOND;
        assert_eq!(time.over_to(now), now - 100_000_000);
        assert_eq!(time.over_to(now + 7), now + 7 - 100_000_000, "time passes in silence");
        time.trade_delay(50 * SECOND);
        assert_eq!(time.over_to(now), now - DELAY_MAX, "and never for longer than that");
        for second in 21..=50 {
            time.received(NOW + second * SECOND, NOW + second * SECOND);
        }
        assert_eq!(time.over_to(NOW + 50 * SECOND), NOW + 50 * SECOND - DELAY_MIN, "a delay is forgotten");
    }

    #[test]
    fn a_recording_has_a_time_of_its_own() {
        let mut time = SourceTime::default();
        time.received(NOW, 5 * NOW);
        time.received(NOW + 10 * SECOND, 5 * NOW + SECOND);
        let before = time.over_to(5 * NOW + SECOND);
        assert_eq!(time.over_to(5 * NOW + 100 * SECOND), before, "it stands still where nothing is played");
        time.received(NOW + 9 * SECOND, 5 * NOW + 2 * SECOND);
        assert_eq!(time.over_to(5 * NOW + 2 * SECOND), before, "and does not go back");
        time.end();
        assert!(time.over_to(0) > NOW + 3_600 * SECOND);
    }
}
