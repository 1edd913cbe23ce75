//! The limits of what one client may send: how many commands a second, and how much work they may make.

use std::time::Duration;

use tickwire_core::engine::EngineLimits;
use tickwire_net::{Refill, TokenBucket};

/// The most commands above the rate, one after another, that are answered with an error. A client that goes on is closed.
const FLOOD_MAX: u8 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// The fate of a frame that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is within the rate.
    Take,
    /// It is above the rate: the client is told.
    Refuse,
    /// It is above the rate, as too many before it were: the session ends.
    End,
}

/// The two rates of one client. A second's worth of commands may come at once. Their work is counted in names of instruments
/// (see `Engine::price`), of which several times as many may come at once as a session may subscribe to. The cost of a command
/// is known only when it is done; so a command is taken while anything is left, and may leave a debt. The type is small,
/// because every session has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandRate {
    commands: TokenBucket,
    names: TokenBucket,
    refused: u8,
}

impl CommandRate {
    /// Decides about one more frame, which came at `now`.
    pub(crate) fn next(&mut self, now: u64, limits: &EngineLimits) -> Verdict {
        let rate = commands(limits);
        if self.commands.has(1, now, rate) && self.names.has_some(now, names(limits)) {
            self.commands.take(1, now, rate);
            self.refused = 0;
            return Verdict::Take;
        }
        self.refused = self.refused.saturating_add(1);
        if self.refused > FLOOD_MAX { Verdict::End } else { Verdict::Refuse }
    }

    /// Charges the client for the work of the frame that was taken last.
    pub(crate) fn charge(&mut self, work: u32, now: u64, limits: &EngineLimits) {
        self.names.take(work, now, names(limits));
    }

    /// Makes the frame that was taken last free, because the gateway had asked for it.
    pub(crate) fn refund(&mut self, limits: &EngineLimits) {
        self.commands.put_back(1, commands(limits));
    }
}

fn commands(limits: &EngineLimits) -> Refill {
    Refill::each_second(limits.commands_per_second)
}

fn names(limits: &EngineLimits) -> Refill {
    Refill::per(SECOND, limits.names_per_second().max(1), limits.names_at_once())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const SECOND_NS: u64 = 1_000_000_000;

    fn limits(commands_per_second: u32) -> EngineLimits {
        EngineLimits { commands_per_second, ..Limits::default().engine }
    }

    #[test]
    fn a_seconds_worth_at_once_then_the_rate() {
        let mut rate = CommandRate::default();
        let limits = limits(50);
        let start = 1_000 * SECOND_NS;
        let taken = |rate: &mut CommandRate, now| {
            (0..60).filter(|_| rate.next(now, &limits) == Verdict::Take).count()
        };
        assert_eq!(taken(&mut rate, start), 50);
        assert_eq!(taken(&mut rate, start), 0);
        assert_eq!(taken(&mut rate, start + SECOND_NS / 10), 5);
        assert_eq!(taken(&mut rate, start + 10 * SECOND_NS), 50);
    }

    #[test]
    fn what_was_asked_for_is_free() {
        let mut rate = CommandRate::default();
        for _ in 0..1_000 {
            assert_eq!(rate.next(7 * SECOND_NS, &limits(2)), Verdict::Take);
            rate.refund(&limits(2));
        }
    }

    #[test]
    fn a_client_that_goes_on_is_ended_and_one_that_pauses_is_forgiven() {
        let mut rate = CommandRate::default();
        let limits = limits(1);
        assert_eq!(rate.next(0, &limits), Verdict::Take);
        for _ in 0..FLOOD_MAX {
            assert_eq!(rate.next(0, &limits), Verdict::Refuse);
        }
        assert_eq!(rate.next(0, &limits), Verdict::End);
        assert_eq!(rate.next(SECOND_NS, &limits), Verdict::Take);
        assert_eq!(rate.next(SECOND_NS, &limits), Verdict::Refuse);
    }

    /// Sends commands of `names` names every `each_ms` milliseconds for a minute. Returns how many names were taken.
    fn names_in_a_minute(names: u32, each_ms: u64) -> u64 {
        let (mut rate, limits, mut taken) = (CommandRate::default(), limits(50), 0);
        for at in 0..60_000 / each_ms {
            let now = SECOND_NS + at * each_ms * 1_000_000;
            if rate.next(now, &limits) == Verdict::Take {
                rate.charge(names, now, &limits);
                taken += u64::from(names);
            }
        }
        taken
    }

    #[test]
    fn work_is_bounded_whatever_a_command_costs() {
        let limits = limits(50);
        let (rate, at_once) = (u64::from(limits.names_per_second()), u64::from(limits.names_at_once()));
        for (names, each_ms) in [(1_000, 25), (4_096, 25), (65_536, 25), (100, 25), (1_000, 100)] {
            let taken = names_in_a_minute(names, each_ms);
            assert!(
                taken <= 60 * rate + at_once + u64::from(names),
                "{names} names each {each_ms} ms: {taken}"
            );
            assert!(
                taken >= 60 * rate,
                "{names} names each {each_ms} ms: {taken} is less than what is allowed"
            );
        }
        // Small commands are bounded by their number alone.
        assert_eq!(names_in_a_minute(40, 25), 40 * 40 * 60);
    }

    #[test]
    fn everything_a_session_may_have_can_come_at_once() {
        let (mut rate, limits) = (CommandRate::default(), limits(50));
        // Its positions, its subscriptions, their rates.
        for _ in 0..3 {
            assert_eq!(rate.next(SECOND_NS, &limits), Verdict::Take);
            rate.charge(limits.subscriptions_per_session as u32, SECOND_NS, &limits);
        }
        assert_eq!(rate.next(SECOND_NS, &limits), Verdict::Take);
    }
}
