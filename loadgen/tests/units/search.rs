use super::*;

#[test]
fn the_limit_is_found_to_within_the_precision() {
    let mut bracket = Bracket::new(1e9, 0.02);
    let mut steps = 0;
    while let Some(rate) = bracket.next(100.0) {
        bracket.note(rate, rate <= 31_415.0);
        steps += 1;
    }
    assert!((bracket.held / 31_415.0 - 1.0).abs() < 0.02, "{bracket:?}");
    assert!(steps < 25, "{steps}");
}

#[test]
fn it_ends_at_the_highest_rate_that_may_be_tried_and_when_nothing_holds() {
    let mut bracket = Bracket::new(1000.0, 0.02);
    while let Some(rate) = bracket.next(300.0) {
        bracket.note(rate, true);
    }
    assert!((bracket.held - 1000.0).abs() < 1e-9);
    let mut bracket = Bracket::new(1e9, 0.02);
    while let Some(rate) = bracket.next(300.0) {
        bracket.note(rate, false);
    }
    assert!(bracket.held == 0.0);
}

#[test]
fn one_bad_moment_does_not_end_it() {
    let search = |bad: Option<usize>| {
        let (mut bracket, mut trial) = (Bracket::new(1e9, 0.1), 0);
        while let Some(rate) = bracket.next(2_000.0) {
            bracket.note(rate, rate <= 800_000.0 && bad != Some(trial));
            trial += 1;
        }
        (bracket.held, trial)
    };
    let (undisturbed, trials) = search(None);
    for bad in 0..trials {
        assert!((search(Some(bad)).0 - undisturbed).abs() < 1e-9, "trial {bad}");
    }
}
