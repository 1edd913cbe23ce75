//! The choice of where to connect next, and when.

use std::time::Duration;

use tickwire_net::{Attempts, Backoff};

use crate::error::Disconnect;
use crate::target::Target;

/// Longest wait that a gateway, or what stands before it, may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The gateways, tried in turn, and the attempts so far.
#[derive(Debug)]
pub(crate) struct Reconnect {
    targets: Vec<Target>,
    /// Whether the last attempt at each target failed in a way that trying again does not mend.
    is_hopeless: Vec<bool>,
    at: usize,
    attempts: Attempts,
}

impl Reconnect {
    pub(crate) fn new(targets: Vec<Target>, backoff: Backoff, stable_after: Duration) -> Self {
        let is_hopeless = vec![false; targets.len()];
        Self { targets, is_hopeless, at: 0, attempts: Attempts::new(backoff, stable_after) }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.targets[self.at]
    }

    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// On to the next target, without a wait.
    pub(crate) fn skip(&mut self) {
        self.at = (self.at + 1) % self.targets.len();
    }

    /// A token was refused, and another one may come: stays with the target. Returns how long to wait.
    pub(crate) fn again(&mut self, up_for: Option<Duration>) -> Duration {
        self.attempts.next(up_for, rand::random())
    }

    /// A connection ended after `up_for`, or did not come about. Moves on to the next target and returns how long to
    /// wait for it, or nothing where no further attempt makes sense. `asked` is what a notice told to wait.
    pub(crate) fn after(
        &mut self,
        reason: &Disconnect,
        up_for: Option<Duration>,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let is_session_final = up_for.is_some() && !reason.may_retry();
        self.is_hopeless[self.at] = !reason.may_retry();
        if is_session_final || self.is_hopeless.iter().all(|hopeless| *hopeless) {
            return None;
        }
        self.skip();
        let asked = asked.or(reason.retry_after()).unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(asked + self.attempts.next(up_for, rand::random()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConnectError;

    fn closed(code: u16) -> Disconnect {
        Disconnect::Closed { code: Some(code), text: String::new() }
    }

    fn reconnect(urls: &[&str]) -> Reconnect {
        let targets = urls.iter().map(|url| Target::parse(url).unwrap()).collect();
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        Reconnect::new(targets, backoff, Duration::from_secs(10))
    }

    /// The wait lies between what was asked for and that plus the ceiling of the attempt.
    #[track_caller]
    fn check(wait: Option<Duration>, asked_s: u64, ceiling_s: u64) {
        let wait = wait.expect("there is a next attempt").as_secs_f64();
        let (least, most) = (asked_s as f64, (asked_s + ceiling_s) as f64);
        assert!((least..=most).contains(&wait), "{wait} s is not within {least} to {most} s");
    }

    #[test]
    fn codes_and_notices_say_how_long_to_wait() {
        check(reconnect(&["ws://a"]).after(&closed(4002), Some(Duration::ZERO), None), 5, 1);
        check(reconnect(&["ws://a"]).after(&closed(1001), Some(Duration::ZERO), None), 0, 1);
        check(reconnect(&["ws://a"]).after(&closed(1001), None, Some(Duration::MAX)), 3600, 1);
        let asked = Some(Duration::from_mins(1));
        check(reconnect(&["ws://a"]).after(&closed(1001), Some(Duration::ZERO), asked), 60, 1);
    }

    #[test]
    fn only_a_stable_connection_resets_the_back_off() {
        let mut reconnect = reconnect(&["ws://a"]);
        for ceiling in [1, 2, 4, 8, 8] {
            assert_eq!(reconnect.attempts.ceiling().as_secs(), ceiling);
            check(reconnect.after(&closed(1001), Some(Duration::from_secs(9)), None), 0, ceiling);
        }
        check(reconnect.after(&closed(1001), Some(Duration::from_secs(10)), None), 0, 1);
        assert_eq!(reconnect.attempts.ceiling().as_secs(), 2);
    }

    #[test]
    fn a_code_that_must_not_retry_ends_it() {
        for code in [1002, 1007, 1009, 4500, 4502] {
            let after =
                reconnect(&["ws://a", "ws://b"]).after(&closed(code), Some(Duration::from_secs(99)), None);
            assert_eq!(after, None, "{code}");
        }
    }

    #[test]
    fn urls_take_turns_until_all_are_hopeless() {
        let mut reconnect = reconnect(&["ws://a", "ws://b"]);
        let missing = ConnectError::Status {
            address: String::new(),
            status: 404,
            body: String::new(),
            retry_after: None,
        };
        assert!(reconnect.after(&Disconnect::Connect(missing.clone()), None, None).is_some());
        assert_eq!(reconnect.target().host, "b");
        assert!(reconnect.after(&closed(1001), None, None).is_some());
        assert_eq!(reconnect.target().host, "a");
        assert!(reconnect.after(&Disconnect::Connect(missing.clone()), None, None).is_some());
        assert!(reconnect.after(&Disconnect::Connect(missing), None, None).is_none());
    }
}
