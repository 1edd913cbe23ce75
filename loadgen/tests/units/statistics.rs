//! Intervals say how sure a difference is.

use super::super::statistics::*;

#[test]
fn the_distribution_of_u_is_the_tables() {
    assert_eq!(ways(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
    assert_eq!(ways(4, 4).iter().sum::<f64>() as u64, 70);
    // Critical values of U at 5 %, two-sided: 0 for 4 and 4, 2 for 5 and 5, 23 for 10 and 10.
    for (runs, critical) in [(4, 0), (5, 2), (10, 23)] {
        let (cut, level) = cut(runs, runs);
        assert_eq!(cut, critical, "{runs}");
        assert!(level >= LEVEL, "{runs}: {level}");
    }
}

#[test]
fn few_runs_give_a_lower_level_and_say_so() {
    assert_eq!(by_ranks(&[1.0], &[1.0, 2.0]), None);
    let two = by_ranks(&[100.0, 110.0], &[120.0, 130.0]).unwrap();
    assert!((two.level - 2.0 / 3.0).abs() < 1e-9 && two.low > 0.0, "{two:?}");
    let three = by_ranks(&[100.0, 105.0, 110.0], &[100.0, 104.0, 111.0]).unwrap();
    assert!((three.level - 0.9).abs() < 1e-9 && three.low < 0.0 && three.high > 0.0, "{three:?}");
    assert_eq!(by_ranks(&[0.0, 1.0], &[1.0, 1.0]), None);
}

/// Returns seconds around a value that swing slowly, as real ones do.
fn seconds(around: f64) -> Vec<f64> {
    (0..60).map(|at| around * (1.0 + 0.05 * (f64::from(at) / 4.0).sin())).collect()
}

#[test]
fn the_bootstrap_sees_a_shift_and_no_shift() {
    let same = by_seconds(&[seconds(10.0)], &[seconds(10.0)]).unwrap();
    assert!(same.low <= 0.0 && same.high >= 0.0 && same.high - same.low < 0.2, "{same:?}");
    let shifted = by_seconds(&[seconds(10.0)], &[seconds(15.0)]).unwrap();
    assert!(shifted.low > 0.3 && shifted.low < 0.5 && shifted.high > 0.5, "{shifted:?}");
    assert_eq!(by_seconds(&[seconds(10.0)], &[vec![1.0; 5]]), None);
}
