//! Durations as people write them.

use std::time::Duration;

const REMEDY: &str = "write a number and a unit, as in 500ms, 10s, 5m or 1h30m";

/// Reads one or more numbers with their units: `ms`, `s`, `m`, `h`.
///
/// # Errors
/// Says what is missing and how to write it.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: f64 =
            number.parse().map_err(|_| format!("no number before `{unit}{after}`; {REMEDY}"))?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("the unit is missing; {REMEDY}")),
            _ => return Err(format!("`{unit}` is no unit; {REMEDY}")),
        };
        let part =
            Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("too long; {REMEDY}"))?;
        total = total.checked_add(part).ok_or_else(|| format!("too long; {REMEDY}"))?;
        rest = after;
    }
    if total.is_zero() { Err(format!("no time at all; {REMEDY}")) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        match (parse(text), expected) {
            (Ok(duration), Ok(ms)) => assert_eq!(duration, Duration::from_millis(ms)),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn durations() {
        check("500ms", Ok(500));
        check("10s", Ok(10_000));
        check("5m", Ok(300_000));
        check("1h30m", Ok(5_400_000));
        check("1.5s", Ok(1500));
        check("", Err("no time at all"));
        check("0s", Err("no time at all"));
        check("10", Err("the unit is missing"));
        check("s", Err("no number"));
        check("5 m", Err("the unit is missing"));
        check("3d", Err("`d` is no unit"));
        check("-1s", Err("no number"));
        check("1.2.3s", Err("no number"));
        check("99999999999999999999h", Err("too long"));
    }
}
