use super::*;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// Returns, of rounds of `took` that begin when they may, and at most one each `every`, the mean wait and the longest
/// after each had its effect, in microseconds.
fn waits(pacing: Pacing, took: u64, every: u64) -> (u64, u64) {
    let (mut now, mut pacer) = (MS, Pacer::new(pacing, MS));
    let (mut sum, mut longest) = (0, 0);
    for round in 0..1_000 {
        let wait = pacer.wait_after(now, now + took);
        if round >= 500 {
            (sum, longest) = (sum + wait, longest.max(wait));
        }
        now = (now + took + wait).max(now + every);
    }
    (sum / 500 / US, longest / US)
}

fn pacing(ratio: f64, wait_max_ms: u64) -> Pacing {
    Pacing { ratio, wait_max: Duration::from_millis(wait_max_ms) }
}

#[test]
fn within_its_share_writing_never_waits() {
    for (took, every) in [(100, 1_000), (390, 1_000), (1_500, 4_000)] {
        assert_eq!(waits(Pacing::default(), took * US, every * US), (0, 0), "{took} of each {every} us");
    }
}

#[test]
fn beyond_it_rounds_wait_for_a_multiple_of_what_they_take() {
    for took in [200, 700, 1_300] {
        let (mean, _) = waits(Pacing::default(), took * US, 0);
        let expected = took * 3 / 2;
        assert!(mean.abs_diff(expected) < expected / 20, "{took}: {mean}");
    }
}

#[test]
fn no_wait_is_longer_than_the_longest() {
    assert_eq!(waits(Pacing::default(), 3 * MS, 0), (2_000, 2_000));
    assert_eq!(waits(Pacing::default(), 10_000 * MS, 0), (2_000, 2_000));
    for ratio in [f64::INFINITY, f64::NAN] {
        assert_eq!(waits(pacing(ratio, 4), 5 * MS, 0).1, 4_000, "{ratio}");
    }
}

#[test]
fn without_a_ratio_or_a_longest_wait_it_does_not_wait() {
    assert_eq!(waits(pacing(0.0, 4), 5 * MS, 0), (0, 0));
    assert_eq!(waits(pacing(1.5, 0), 5 * MS, 0), (0, 0));
}

#[test]
fn what_is_saved_is_bounded() {
    let start = MS;
    let mut pacer = Pacer::new(Pacing::default(), start);
    let late = start + 60_000 * MS;
    assert_eq!(pacer.wait_after(late, late + MS), 0);
    assert_eq!(pacer.wait_after(late + MS, late + 5 * MS / 2), 7 * MS / 4);
}
