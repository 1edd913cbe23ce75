//! The rates that are granted.

/// Slowest rate that is granted, in updates per second.
pub const RATE_MIN: f64 = 0.01;

const SECOND_NS: f64 = 1e9;

/// Returns the rate that is granted when `asked` is asked for: 0 for 0, else between the smallest rate and `max`,
/// rounded down to three digits, so that there are few different ones and sessions share their queues.
pub(crate) fn granted_rate(asked: f64, max: f64) -> f64 {
    if asked <= 0.0 || !asked.is_finite() {
        return 0.0;
    }
    if asked >= max {
        return max;
    }
    let rate = asked.max(RATE_MIN.min(max));
    let step = 10f64.powi(2 - rate.log10().floor() as i32);
    // The small excess is for rates that are no exact binary fractions.
    (rate * step * (1.0 + f64::EPSILON)).floor() / step
}

/// Returns the time between two records at this rate, in nanoseconds; 0 for every record.
pub(crate) fn interval_ns(per_second: f64) -> u64 {
    if per_second > 0.0 { (SECOND_NS / per_second).ceil() as u64 } else { 0 }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
