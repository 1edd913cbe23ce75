//! The clock of the main loop, and pacing by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A source of the time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Runtime { started: Instant, start_time: u64 },
}

impl Clock {
    /// Makes the machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Makes a clock that starts at the given time and runs with the runtime's clock, which a test can pause.
    pub fn starting_at(start_time: u64) -> Self {
        Self(Source::Runtime { started: Instant::now(), start_time })
    }

    /// Returns the time, in nanoseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        match self.0 {
            Source::System => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
            }
            Source::Runtime { started, start_time } => start_time + started.elapsed().as_nanos() as u64,
        }
    }
}

/// The speed at which the times of a source pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The recorded speed times this factor; 1 is real time. It must be above 0.
    Speed(f64),
    /// The highest speed: no time is waited for.
    FlatOut,
}

/// The longest silence that is waited for. Longer ones are passed over: a recording with a hole of days, or one wrong
/// time, would play no more.
pub(crate) const SILENCE_MAX: Duration = Duration::from_mins(10);

/// A pacer, which says when an event of a source is due.
#[derive(Clone, Debug)]
pub struct Pacer {
    pace: Pace,
    /// A time of the source, and when it was due by the clock.
    anchor: Option<(u64, u64)>,
}

impl Pacer {
    /// The longest lag that the source catches up with. Further behind it is continued instead: after a pause, a
    /// suspended machine, or on one that is too slow, a storm of late events would help nobody.
    const LAG_MAX: Duration = Duration::from_secs(1);

    /// Makes a pacer whose first event is due at once.
    pub fn new(pace: Pace) -> Self {
        Self { pace, anchor: None }
    }

    /// Returns how long it is until an event of this time is due.
    pub fn wait(&mut self, time: u64, now: u64) -> Duration {
        let Pace::Speed(_) = self.pace else { return Duration::ZERO };
        let due = self.place(time, now);
        let (lag, wait) = (now.saturating_sub(due), due.saturating_sub(now));
        let (lag, wait) = (Duration::from_nanos(lag), Duration::from_nanos(wait));
        if lag > Self::LAG_MAX || wait > SILENCE_MAX {
            self.anchor = Some((time, now));
            return Duration::ZERO;
        }
        wait
    }

    /// Returns when an event of this time is, or was, due by the clock; flat out that is now.
    pub fn place(&mut self, time: u64, now: u64) -> u64 {
        let Pace::Speed(speed) = self.pace else { return now };
        let (from, at) = *self.anchor.get_or_insert((time, now));
        let passed = i128::from(time) - i128::from(from);
        // A recording's times are up to a day apart: in units of the source's nanoseconds a double is exact to 2^53.
        let scaled =
            if (speed - 1.0).abs() < f64::EPSILON { passed } else { (passed as f64 / speed) as i128 };
        u64::try_from((i128::from(at) + scaled).max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[track_caller]
    fn check(pace: Pace, times: &[(u64, u64, u64)]) {
        let mut pacer = Pacer::new(pace);
        for (time, now, wait) in times {
            assert_eq!(pacer.wait(*time, *now), Duration::from_nanos(*wait), "time {time} at {now}");
        }
    }

    #[test]
    fn events_are_due_by_the_recorded_distance() {
        check(Pace::Speed(1.0), &[(100, 5_000, 0), (350, 5_000, 250), (350, 5_100, 150), (350, 6_000, 0)]);
        check(Pace::Speed(10.0), &[(1_000, 5_000, 0), (2_000, 5_000, 100)]);
        check(Pace::FlatOut, &[(1, 7, 0), (SECOND, 7, 0)]);
    }

    #[test]
    fn a_long_lag_is_not_caught_up_with() {
        let late = 10 * SECOND;
        check(Pace::Speed(1.0), &[(0, 0, 0), (SECOND, late, 0), (2 * SECOND, late, SECOND)]);
    }

    #[test]
    fn a_wild_time_does_not_stop_the_rest() {
        let now = 1_000 * SECOND;
        check(
            Pace::Speed(0.5),
            &[(10, now, 0), (u64::MAX, now, 0), (20, now, 0), (20 + SECOND, now, 2 * SECOND)],
        );
    }
}
