//! The limits of a venue, and a count that keeps them in any window of time.

use std::collections::VecDeque;
use std::time::Duration;

/// So many in a period, whichever period of that length is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most in a period.
    pub count: u32,
    /// The length of the period.
    pub period: Duration,
}

impl Rate {
    /// Makes a rate.
    pub const fn new(count: u32, period: Duration) -> Self {
        Self { count, period }
    }
}

/// The limits that a venue sets, or that we set below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The messages to the venue on one connection: commands, pings and pongs.
    pub messages: Rate,
    /// The part of these messages that commands leave for pings and pongs.
    pub messages_for_pongs: u32,
    /// The same over all connections, where the venue counts by address.
    pub messages_of_address: Option<Rate>,
    /// The commands on one connection, where the venue counts them apart.
    pub commands: Option<Rate>,
    /// The attempts to connect, over all connections.
    pub connects: Rate,
    /// The weight of requests.
    pub weight: Rate,
    /// The topics of one connection.
    pub topics_per_connection: usize,
    /// The topics of one command.
    pub topics_per_command: usize,
    /// The age at which the venue cuts a connection off; it is made anew before that.
    pub connection_age: Duration,
}

/// A count over a window that slides: exact, so that no window of that length ever holds more than the limit. Token
/// buckets, which `tickwire-net` has, allow twice the limit in the window behind a pause.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    rate: Rate,
    taken: VecDeque<(Duration, u32)>,
    sum: u32,
}

impl Window {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, taken: VecDeque::new(), sum: 0 }
    }

    /// Returns the time from which on `amount` can be taken such that `reserved` stay; it is `now` where that is now. An
    /// amount above the limit is taken for the limit: it has to wait until nothing else is counted.
    pub(crate) fn ready_at(&mut self, now: Duration, amount: u32, reserved: u32) -> Duration {
        self.forget(now);
        let room = self.rate.count.saturating_sub(reserved).max(1);
        let mut over = (self.sum + amount.min(room)).saturating_sub(room);
        let mut ready = now;
        for (at, taken) in &self.taken {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*taken);
            ready = *at + self.rate.period;
        }
        ready
    }

    pub(crate) fn take(&mut self, now: Duration, amount: u32) {
        self.forget(now);
        self.taken.push_back((now, amount));
        self.sum += amount;
    }

    /// Takes in that more was used than was counted here, as a venue says that counts by address.
    pub(crate) fn used_at_least(&mut self, now: Duration, used: u32) {
        self.forget(now);
        // More than the limit says no more than the limit does.
        let used = used.min(self.rate.count);
        if used > self.sum {
            let more = used - self.sum;
            self.take(now, more);
        }
    }

    fn forget(&mut self, now: Duration) {
        while let Some((_, amount)) = self.taken.pop_front_if(|(at, _)| *at + self.rate.period <= now) {
            self.sum -= amount;
        }
    }
}

/// A window where there is a limit, and none where there is none.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Option<Window>);

impl Allowance {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(Window::new))
    }

    /// Returns the time from which on one can be taken such that `reserved` stay.
    pub(crate) fn ready_at(&mut self, now: Duration, reserved: u32) -> Duration {
        self.0.as_mut().map_or(now, |window| window.ready_at(now, 1, reserved))
    }

    pub(crate) fn take(&mut self, now: Duration) {
        if let Some(window) = &mut self.0 {
            window.take(now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_venue_may_say_any_number() {
        let mut window = Window::new(Rate::new(5, ms(1_000)));
        window.used_at_least(ms(0), u32::MAX);
        assert_eq!(window.ready_at(ms(0), 1, 0), ms(1_000));
    }

    #[test]
    fn a_window_says_when_there_is_room() {
        let mut window = Window::new(Rate::new(5, ms(1_000)));
        assert_eq!(window.ready_at(ms(0), 1, 2), ms(0));
        for at in [0, 100, 200] {
            window.take(ms(at), 1);
        }
        assert_eq!(window.ready_at(ms(300), 1, 2), ms(1_000), "two are reserved");
        assert_eq!(window.ready_at(ms(300), 1, 0), ms(300));
        assert_eq!(window.ready_at(ms(300), 4, 0), ms(1_100));
        assert_eq!(window.ready_at(ms(300), 99, 0), ms(1_200), "it goes when nothing else counts");
        assert_eq!(window.ready_at(ms(1_200), 5, 0), ms(1_200));
        window.used_at_least(ms(1_200), 4);
        assert_eq!(window.ready_at(ms(1_300), 2, 0), ms(2_200));
        window.used_at_least(ms(1_300), 2);
        assert_eq!(window.ready_at(ms(1_300), 1, 0), ms(1_300), "what is used is known already");
    }

    proptest! {
        /// Takes as soon as it may; then no window of the period holds more than the limit.
        #[test]
        fn no_window_holds_more_than_the_limit(
            steps in prop::collection::vec((0u64..700, 1u32..5, 0u32..3), 1..200),
        ) {
            let mut window = Window::new(Rate::new(6, ms(1_000)));
            let (mut now, mut taken) = (ms(0), Vec::new());
            for (wait, amount, reserved) in steps {
                now = window.ready_at(now + ms(wait), amount, reserved);
                prop_assert_eq!(window.ready_at(now, amount, reserved), now);
                window.take(now, amount);
                taken.push((now, amount));
            }
            for (from, _) in &taken {
                let within = taken.iter().filter(|(at, _)| (*from..*from + ms(1_000)).contains(at));
                prop_assert!(within.map(|(_, amount)| amount).sum::<u32>() <= 6);
            }
        }
    }
}
