use super::*;

#[test]
fn the_limit_is_found_to_within_the_precision() {
    let mut bracket = Bracket { held: 0.0, broken: f64::INFINITY, to: 1e9, precision: 0.02 };
    let mut steps = 0;
    while let Some(rate) = bracket.next(100.0) {
        if rate <= 31_415.0 {
            bracket.held = rate;
        } else {
            bracket.broken = rate;
        }
        steps += 1;
    }
    assert!((bracket.held / 31_415.0 - 1.0).abs() < 0.02, "{bracket:?}");
    assert!(steps < 20, "{steps}");
}

#[test]
fn it_ends_at_the_highest_rate_that_may_be_tried_and_when_nothing_holds() {
    let mut bracket = Bracket { held: 0.0, broken: f64::INFINITY, to: 1000.0, precision: 0.02 };
    while let Some(rate) = bracket.next(300.0) {
        bracket.held = rate;
    }
    assert!((bracket.held - 1000.0).abs() < 1e-9);
    let mut bracket = Bracket { held: 0.0, broken: f64::INFINITY, to: 1e9, precision: 0.02 };
    while let Some(rate) = bracket.next(300.0) {
        bracket.broken = rate;
    }
    assert!(bracket.held == 0.0);
}
