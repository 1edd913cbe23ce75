#![allow(clippy::float_cmp)] // Granting again what was granted changes nothing.

use super::*;

#[track_caller]
fn check(asked: f64, granted: f64) {
    assert_eq!(granted_rate(asked, 1000.0), granted, "{asked}");
}

#[test]
fn rates_are_clamped_and_few() {
    check(0.0, 0.0);
    check(-1.0, 0.0);
    check(f64::NAN, 0.0);
    check(1e-300, 0.01);
    check(0.01, 0.01);
    check(0.29, 0.29);
    check(1.0, 1.0);
    check(12.5, 12.5);
    check(33.333, 33.3);
    check(59.94, 59.9);
    check(999.9, 999.0);
    check(1000.0, 1000.0);
    check(1e300, 1000.0);
    assert_eq!(granted_rate(f64::INFINITY, 1000.0), 0.0, "refused before it comes here");
    assert_eq!(granted_rate(7.0, 3.33333), 3.33333, "a limit that has more digits");
    for hundredths in 1..100_000 {
        let rate = granted_rate(f64::from(hundredths) / 100.0, 1000.0);
        assert_eq!(granted_rate(rate, 1000.0), rate, "what was granted is granted again");
    }
}
