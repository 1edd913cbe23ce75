use std::time::Duration;

use proptest::prelude::*;
use tickwire_net::{Attempts, Backoff};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn ceilings_double_up_to_the_maximum() {
    let backoff = Backoff::new(ms(100), ms(1000));
    let ceilings: Vec<_> = (0..6).map(|n| backoff.ceiling(n).as_millis()).collect();
    assert_eq!(ceilings, [100, 200, 400, 800, 1000, 1000]);
}

#[test]
fn several_servers_are_tried_once_each_before_the_ceiling_doubles() {
    let mut attempts = Attempts::new(Backoff::new(ms(50), ms(300)), ms(5000)).in_rounds_of(2);
    let waits: Vec<_> = (0..8).map(|_| attempts.next(None, 1.0)).collect();
    assert_eq!(waits, [50, 50, 100, 100, 200, 200, 300, 300].map(ms));
    assert_eq!(attempts.next(None, 0.5), ms(150), "full jitter");
    // No server at all is no reason to divide by zero.
    let mut attempts = Attempts::new(Backoff::new(ms(50), ms(300)), ms(5000)).in_rounds_of(0);
    assert_eq!([attempts.next(None, 1.0), attempts.next(None, 1.0)], [50, 100].map(ms));
}

#[test]
fn only_a_connection_that_was_stable_begins_the_count_anew() {
    let mut attempts = Attempts::new(Backoff::new(ms(50), ms(300)), ms(5000));
    for expected in [50, 100, 200, 300, 300] {
        assert_eq!(attempts.next(Some(ms(4999)), 1.0), ms(expected), "flapping");
    }
    assert_eq!(attempts.next(Some(ms(5000)), 1.0), ms(50));
    assert_eq!(attempts.next(None, 1.0), ms(100));
}

proptest! {
    #[test]
    fn waits_stay_within_bounds(
        min in 0u64..10_000, max in 0u64..100_000, attempt in any::<u32>(), random in 0.0f64..1.0,
    ) {
        let backoff = Backoff::new(ms(min), ms(max));
        prop_assert!(backoff.delay(attempt, random) <= backoff.max);
        prop_assert!(backoff.delay(attempt, random) <= backoff.ceiling(attempt));
        prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt.saturating_add(1)));
        prop_assert_eq!(backoff.delay(attempt, 0.0), Duration::ZERO);
    }
}
