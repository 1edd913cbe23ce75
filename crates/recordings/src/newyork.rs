//! Days of exchanges in New York: their files count nanoseconds from midnight there.

/// Returns the midnight at which a day begins in New York, in nanoseconds since the Unix epoch; the day as `2012-06-21`.
pub(crate) fn midnight(day: &str) -> Option<u64> {
    let midnight = day.parse::<jiff::civil::Date>().ok()?.in_tz("America/New_York").ok()?;
    u64::try_from(midnight.timestamp().as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::midnight;

    #[test]
    fn summer_and_winter_differ_by_an_hour() {
        assert_eq!(midnight("2012-06-21"), Some(1_340_251_200_000_000_000));
        assert_eq!(midnight("2020-01-30"), Some(1_580_360_400_000_000_000));
        for day in ["", "2012-13-01", "21062012", "1912-06-21"] {
            assert_eq!(midnight(day), None, "{day}");
        }
    }
}
