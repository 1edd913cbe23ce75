//! When updates are due.

use std::time::Duration;

use super::*;

const MS: u64 = 1_000_000;

#[test]
fn updates_close_together_share_a_timer() {
    let pause = |rate, now| {
        let mut schedule = Schedule::new(even(rate), Duration::ZERO);
        schedule.advance();
        schedule.pause(now)
    };
    assert_eq!((pause(1_000.0, 0), pause(1_000.0, 990_000)), (Some(MS), Some(10_000)));
    assert_eq!((pause(100_000.0, 0), pause(100_000.0, 10_000)), (Some(50_000), Some(0)));
    assert_eq!(pause(0.0, 0), None);
}

fn even(rate: f64) -> Vec<Step> {
    vec![Step { lasting: Duration::from_secs(1), rate }]
}

fn dues(rates: Vec<Step>, count: usize) -> Vec<u64> {
    dues_of(Schedule::new(rates, Duration::ZERO), count)
}

fn dues_of(mut schedule: Schedule, count: usize) -> Vec<u64> {
    let mut next = || {
        let due = schedule.due();
        schedule.advance();
        due
    };
    (0..count).map_while(|_| next()).collect()
}

#[test]
fn an_even_rate_is_even() {
    assert_eq!(dues(even(1000.0), 4), [0, MS, 2 * MS, 3 * MS]);
    assert_eq!(dues(even(0.0), 4), [0; 0]);
    let many = dues(even(3000.0), 30_001);
    assert!(many[30_000].abs_diff(10_000 * MS) < 1000, "{}", many[30_000]);
}

#[test]
fn steps_and_bursts_have_as_many_as_their_rates_say() {
    let second = Duration::from_secs(1);
    let stepped = [10.0, 0.0, 100.0].map(|rate| Step { lasting: second, rate }).to_vec();
    let within = |from: u64, to: u64, dues: &[u64]| {
        dues.iter().filter(|due| (from * 1000 * MS..to * 1000 * MS).contains(due)).count()
    };
    let all = dues(stepped, 300);
    assert_eq!((within(0, 1, &all), within(1, 2, &all)), (10, 0));
    assert!(within(2, 3, &all).abs_diff(100) <= 1 && within(3, 4, &all).abs_diff(10) <= 1, "{all:?}");
    let (quiet, burst) = (Duration::from_millis(900), Duration::from_millis(100));
    let all = dues(vec![Step { lasting: quiet, rate: 100.0 }, Step { lasting: burst, rate: 1000.0 }], 2000);
    let quiet = all.iter().filter(|due| **due < 900 * MS).count();
    let burst = all.iter().filter(|due| (900 * MS..1000 * MS).contains(due)).count();
    assert!(quiet.abs_diff(90) <= 1 && burst.abs_diff(100) <= 1, "{quiet} {burst}");
    assert!(all.windows(2).all(|two| two[0] <= two[1]));
}

#[test]
fn in_ticks_all_that_is_due_comes_at_once() {
    let schedule = Schedule::new(even(4_000.0), Duration::from_millis(1));
    assert_eq!(dues_of(schedule, 10), [0, MS, MS, MS, MS, 2 * MS, 2 * MS, 2 * MS, 2 * MS, 3 * MS]);
}

#[test]
fn a_step_of_no_length_has_no_updates() {
    let silent = Step { lasting: Duration::from_secs(1), rate: 0.0 };
    let none = Step { lasting: Duration::ZERO, rate: 100.0 };
    assert_eq!(dues(vec![silent, none], 4), [0; 0]);
    assert_eq!(dues(vec![none, none], 4), [0; 0]);
}

#[test]
fn a_new_rate_holds_from_then_on() {
    let mut schedule = Schedule::new(even(1.0), Duration::ZERO);
    schedule.set_rate(1000.0, 500 * MS);
    assert_eq!(schedule.due(), Some(500 * MS));
    schedule.advance();
    assert_eq!(schedule.due(), Some(501 * MS));
}
