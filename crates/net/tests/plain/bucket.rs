use std::time::Duration;

use proptest::prelude::*;
use tickwire_net::{Refill, TokenBucket};

const SECOND: u64 = 1_000_000_000;

fn per_second(tokens: u32, saved: u32) -> Refill {
    Refill::per(Duration::from_secs(1), tokens, saved)
}

/// How many of `tries` were let through at this time, each taking a token.
fn taken(bucket: &mut TokenBucket, refill: Refill, now: u64, tries: usize) -> usize {
    let mut take = || {
        let has = bucket.has(1, now, refill);
        if has {
            bucket.take(1, now, refill);
        }
        has
    };
    (0..tries).filter(|_| take()).count()
}

#[test]
fn what_is_saved_at_once_and_then_the_rate() {
    let (mut bucket, refill) = (TokenBucket::default(), Refill::each_second(50));
    let start = 1_000 * SECOND;
    assert_eq!(taken(&mut bucket, refill, start, 60), 50);
    assert_eq!(taken(&mut bucket, refill, start, 60), 0);
    assert_eq!(taken(&mut bucket, refill, start + SECOND / 10, 60), 5);
    assert_eq!(taken(&mut bucket, refill, start + 10 * SECOND, 60), 50);
}

#[test]
fn without_a_rate_nothing_waits() {
    let (mut bucket, refill) = (TokenBucket::default(), per_second(0, 1));
    assert_eq!(taken(&mut bucket, refill, SECOND, 1_000), 1_000);
    assert!(bucket.has_at(1, refill) <= SECOND);
}

#[test]
fn what_is_taken_on_credit_is_waited_for() {
    let (mut bucket, refill) = (TokenBucket::default(), per_second(10, 20));
    assert!(bucket.has(20, SECOND, refill) && !bucket.has(21, SECOND, refill));
    // Less than a token is left, and much more is taken.
    bucket.take(19, SECOND, refill);
    assert!(bucket.has_some(SECOND, refill));
    bucket.take(101, SECOND, refill);
    assert!(!bucket.has_some(SECOND, refill));
    assert!(!bucket.has_some(11 * SECOND, refill), "the debt is paid");
    assert!(bucket.has_some(11 * SECOND + 1, refill), "and then something is there");
    assert_eq!(bucket.has_at(1, refill), 11 * SECOND + SECOND / 10);
}

#[test]
fn what_is_put_back_was_never_taken() {
    let (mut bucket, refill) = (TokenBucket::default(), Refill::each_second(2));
    bucket.take(1, 7 * SECOND, refill);
    let before = bucket;
    for _ in 0..1_000 {
        assert!(bucket.has(1, 7 * SECOND, refill));
        bucket.take(1, 7 * SECOND, refill);
        bucket.put_back(1, refill);
    }
    assert_eq!(bucket, before);
}

proptest! {
    /// However the tries are spread, no time lets through more than what was saved and what came since, and a bucket that
    /// refuses says when it will not.
    #[test]
    fn no_more_than_the_rate(
        rate in 1_u32..1000,
        saved in 1_u32..100,
        steps in proptest::collection::vec(0_u64..SECOND / 5, 1..200),
    ) {
        let (mut bucket, refill) = (TokenBucket::default(), per_second(rate, saved));
        let (mut now, mut taken) = (SECOND, 0_u64);
        for step in steps {
            now += step;
            if bucket.has(1, now, refill) {
                prop_assert!(bucket.has_at(1, refill) <= now);
                bucket.take(1, now, refill);
                taken += 1;
            } else {
                let at = bucket.has_at(1, refill);
                prop_assert!(at > now && bucket.has(1, at, refill) && !bucket.has(1, at - 1, refill));
            }
            let token_ns = SECOND / u64::from(rate);
            prop_assert!(taken <= u64::from(saved) + (now - SECOND) / token_ns);
        }
    }
}
