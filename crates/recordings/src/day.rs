//! Days of trading, for files whose times are counted from midnight.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;

/// The time zone of the exchanges of the United States.
const NEW_YORK: &str = "America/New_York";
/// The nanoseconds of a day without a change of the clocks.
pub(crate) const DAY_NANOS: u64 = 86_400_000_000_000;

/// A day of trading, as `2020-01-30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(Date);

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = text.parse().map_err(|_| format!("`{text}` is no date; write 2020-01-30"))?;
        Ok(Self(date))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Day {
    /// Finds the day in the name of a file, as Nasdaq names them: `01302020.NASDAQ_ITCH50.gz` and `S081321-v50.txt.gz`.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let mut runs = name.split(|c: char| !c.is_ascii_digit());
        runs.find_map(|run| {
            let (month, day) = (run.get(..2)?.parse().ok()?, run.get(2..4)?.parse().ok()?);
            let year: i16 = run.get(4..)?.parse().ok()?;
            let year = match run.len() {
                6 => 2000 + year,
                8 if year >= 1990 => year,
                _ => return None,
            };
            Date::new(year, month, day).ok().map(Self)
        })
    }

    /// Returns midnight in New York, in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns a text where there is no such time.
    pub(crate) fn midnight(self) -> Result<u64, String> {
        let midnight = self.0.in_tz(NEW_YORK).map_err(|error| error.to_string())?;
        u64::try_from(midnight.timestamp().as_nanosecond()).map_err(|_| format!("{self} is before 1970"))
    }

    /// Returns the day that it is in New York.
    pub(crate) fn at(time: u64) -> Option<Self> {
        let time = Timestamp::from_nanosecond(i128::from(time)).ok()?;
        Some(Self(time.in_tz(NEW_YORK).ok()?.date()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_days() {
        let day = |name: &str| Day::of_name(Path::new(name)).map(|day| day.to_string());
        let right = [
            ("/data/01302020.NASDAQ_ITCH50.gz", "2020-01-30"),
            ("S081321-v50.txt.gz", "2021-08-13"),
            ("20190530.BX_ITCH_50.gz", ""),
            ("13302020.NASDAQ_ITCH50", ""),
            ("itch50.bin", ""),
            ("-", ""),
        ];
        for (name, expected) in right {
            assert_eq!(day(name).unwrap_or_default(), expected, "{name}");
        }
    }

    #[test]
    fn midnight_is_that_of_new_york() {
        let midnight = |day: &str| day.parse::<Day>().unwrap().midnight();
        // Five hours behind in winter, four in summer.
        assert_eq!(midnight("2020-01-30"), Ok(1_580_360_400_000_000_000));
        assert_eq!(midnight("2021-08-13"), Ok(1_628_827_200_000_000_000));
        assert!(midnight("1960-01-01").is_err());
        assert!("30.1.2020".parse::<Day>().is_err());
        let day = Day::at(1_580_360_400_000_000_000 + DAY_NANOS - 1).unwrap();
        assert_eq!(day.to_string(), "2020-01-30");
        assert_eq!(Day::at(1_580_360_400_000_000_000 - 1).unwrap().to_string(), "2020-01-29");
    }
}
