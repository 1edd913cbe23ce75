use super::*;

const MS: u64 = 1_000_000;

fn heartbeat(epoch: u64, state: FeedState, uptime_ms: u64, number: u64) -> pb::FeedHeartbeat {
    pb::FeedHeartbeat {
        epoch,
        state: state as i32,
        uptime_ns: uptime_ms * MS,
        number,
        ..pb::FeedHeartbeat::default()
    }
}

/// Checks steps: each has milliseconds, what is heard then (epoch, `L`ive or `S`tale or `X` for the last word, uptime in seconds), who is
/// followed afterwards.
#[track_caller]
fn check(steps: &[(u64, &str, u64)]) {
    let mut claims = Claims::default();
    for (at, heard, expected) in steps {
        let now = 1_000_000 * MS + at * MS;
        for (number, word) in heard.split_whitespace().enumerate() {
            let (epoch, rest) = word.split_at(1);
            let (state, uptime) = rest.split_at(1);
            let live = if state == "L" { FeedState::Live } else { FeedState::Stale };
            let uptime = uptime.parse::<u64>().unwrap() * 1_000;
            let mut heartbeat = heartbeat(epoch.parse().unwrap(), live, uptime, at + number as u64);
            heartbeat.last = state == "X";
            claims.hear(&heartbeat, now);
        }
        claims.choose(now);
        assert_eq!(claims.epoch(), *expected, "at {at} ms of {steps:?}");
    }
}

#[test]
fn who_is_followed_stays_followed() {
    check(&[(0, "5L9", 5), (2_000, "5L11 3L0", 5), (2_500, "5L12 3L1", 5), (9_000, "3L7 5L18", 5)]);
}

#[test]
fn a_last_word_ends_it_at_once() {
    check(&[(0, "5L9", 5), (2_000, "5L11 3L0", 5), (2_010, "5X11", 3), (9_000, "3L7", 3)]);
    // And who comes later is followed when it is heard.
    check(&[(0, "5L9", 5), (2_000, "5X11", 5), (2_300, "9L0", 9)]);
}

#[test]
fn silence_and_a_dead_source_end_it_soon() {
    check(&[(0, "5L9", 5), (2_000, "5L9", 5), (2_500, "3L0", 5), (2_751, "3L0", 3), (3_000, "5L9 3L1", 3)]);
    check(&[(0, "5L9", 5), (2_000, "5S9 3L0", 5), (2_700, "5S9 3L0", 5), (2_750, "5S9 3L0", 3)]);
    check(&[(0, "5L9", 5), (2_000, "5S9 3S0", 5), (9_000, "5S9 3S0", 5)]);
}

#[test]
fn a_gateway_that_starts_chooses_as_the_others_did() {
    check(&[(0, "3L2", 3), (300, "7L9", 7), (400, "8S99", 7), (500, "1L10", 1), (2_000, "1L11 4L50", 1)]);
}

#[test]
fn a_restart_with_any_epoch_and_a_rollback_are_followed() {
    // Killed and replaced; then a rolling deployment that is rolled back.
    check(&[(0, "9L9", 9), (900, "2L0", 2), (2_000, "2L1 8L0", 2), (2_100, "8X0", 2), (9_000, "2L9", 2)]);
}

/// Takes a heartbeat of a run that is live and publishes by a lease, and returns who is followed.
fn hear_leased(claims: &mut Claims, at_ms: u64, epoch: u64, lease: u64) -> u64 {
    let now = 1_000_000 * MS + at_ms * MS;
    claims.hear(&pb::FeedHeartbeat { lease, ..heartbeat(epoch, FeedState::Live, at_ms, at_ms) }, now);
    claims.choose(now);
    claims.epoch()
}

#[test]
fn a_higher_lease_is_followed_at_once_and_a_lower_one_is_left_alone() {
    let mut claims = Claims::default();
    assert_eq!(hear_leased(&mut claims, 0, 5, 7), 5);
    assert_eq!(hear_leased(&mut claims, 5_000, 5, 7), 5);
    // The next holder speaks before the last one is silent for long.
    assert_eq!(hear_leased(&mut claims, 5_100, 9, 12), 9);
    // A process that stood still goes on, and the holder is silent for a while.
    assert_eq!(hear_leased(&mut claims, 5_200, 5, 7), 9);
    assert_eq!(hear_leased(&mut claims, 9_000, 5, 7), 9);
    assert_eq!(hear_leased(&mut claims, 9_100, 9, 12), 9);
    // A register that begins anew is followed in the end.
    assert_eq!(hear_leased(&mut claims, 19_000, 3, 1), 9);
    assert_eq!(hear_leased(&mut claims, 19_200, 3, 1), 3);
}

/// Leases are introduced while a run without one publishes: it is left when the holder is live, and not before.
#[test]
fn a_live_run_without_a_lease_is_not_left_for_a_stale_holder() {
    let mut claims = Claims::default();
    let mut hear = |at_ms: u64, epoch: u64, lease: u64, state: FeedState| {
        let now = 1_000_000 * MS + at_ms * MS;
        claims.hear(&pb::FeedHeartbeat { lease, ..heartbeat(epoch, state, at_ms, at_ms) }, now);
        claims.choose(now);
        claims.epoch()
    };
    assert_eq!(hear(0, 5, 0, FeedState::Live), 5);
    assert_eq!(hear(100, 9, 7, FeedState::Stale), 5, "not while a gateway settles either");
    assert_eq!(hear(5_000, 5, 0, FeedState::Live), 5);
    assert_eq!(hear(5_100, 9, 7, FeedState::Stale), 5);
    assert_eq!(hear(5_200, 9, 7, FeedState::Live), 9);
    // The next holder is followed at once, live or not: who had the lease before is left alone.
    assert_eq!(hear(6_000, 9, 7, FeedState::Live), 9);
    assert_eq!(hear(6_100, 3, 8, FeedState::Stale), 3);
}

#[test]
fn lost_heartbeats_are_counted_and_claims_are_bounded() {
    let mut claims = Claims::default();
    claims.hear(&heartbeat(5, FeedState::Live, 1, 10), MS);
    claims.choose(MS);
    for (number, has_missed) in [(11, false), (14, false), (18, true), (18, false), (2, false)] {
        let heard = claims.hear(&heartbeat(5, FeedState::Live, 1, number), MS);
        assert_eq!(heard, Heard::Followed { has_missed }, "{number}");
    }
    for epoch in 100..200 {
        assert_eq!(claims.hear(&heartbeat(epoch, FeedState::Live, 1, 1), 2 * MS), Heard::Other);
    }
    assert_eq!((claims.all.len(), claims.epoch()), (CLAIMS_MAX, 5));
    assert_eq!(claims.rivals(3 * MS, 10 * MS), CLAIMS_MAX - 1);
    claims.forget_lost(50 * MS, 10 * MS);
    assert_eq!(claims.all.len(), 1);
}

#[test]
fn what_proves_the_books_is_what_the_followed_run_says() {
    let mut claims = Claims::default();
    let now = 1_000_000 * MS;
    claims.hear(&heartbeat(5, FeedState::Live, 9_000, 1), now);
    claims.choose(now);
    let told = |claims: &Claims| {
        let followed = claims.followed().unwrap();
        (followed.proof, followed.verification.to_string())
    };
    assert_eq!(told(&claims), (BookProof::Unknown, String::new()), "an ingester of before does not say");
    let says = |proof: BookProof, words: &str| pb::FeedHeartbeat {
        book_proof: proof.into(),
        verification: words.to_owned(),
        ..heartbeat(5, FeedState::Live, 9_500, 2)
    };
    claims.hear(&says(BookProof::Checksum, "a checksum per change"), now);
    assert_eq!(told(&claims), (BookProof::Checksum, "a checksum per change".to_owned()));
    claims.hear(&says(BookProof::Unverifiable, "unverifiable"), now);
    assert_eq!(told(&claims), (BookProof::Unverifiable, "unverifiable".to_owned()));
    let later = pb::FeedHeartbeat { book_proof: 99, ..says(BookProof::Checksum, "by a proof of later") };
    claims.hear(&later, now);
    assert_eq!(told(&claims), (BookProof::Unknown, "by a proof of later".to_owned()));
}
