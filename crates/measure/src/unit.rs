//! Units of what was measured.

use indicatif::HumanFloatCount;
use serde::Serialize;

/// The unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A time.
    Nanoseconds,
    /// An amount of memory or data.
    Bytes,
    /// A part of a whole, 0 to 1; it is shown in percent.
    Share,
    /// Anything else.
    Number,
    /// Counts what must not happen.
    Count,
    /// A number that counts nothing.
    Name,
    /// A quantile q as 1/(1-q): what an axis of percentiles is divided by.
    Nines,
}

impl Unit {
    /// Returns the unit that suits a value: what one of it is worth, and its sign.
    pub fn suiting(self, value: f64) -> (f64, &'static str) {
        let units: &[(f64, &str)] = match self {
            Self::Nanoseconds => &[(1e3, " µs"), (1e6, " ms"), (1e9, " s")],
            Self::Bytes => &[(1.0, " B"), (1024.0, " KiB"), (1_048_576.0, " MiB"), (1_073_741_824.0, " GiB")],
            Self::Share => &[(0.01, " %")],
            Self::Number | Self::Count | Self::Name | Self::Nines => &[(1.0, "")],
        };
        let fitting = units.iter().rev().find(|unit| unit.0 <= value.abs());
        *fitting.unwrap_or(&units[0])
    }

    /// Writes a value for people, with three digits and a unit that suits: `950 µs`, `1.25 ms`, `25,000`.
    pub fn show(self, value: f64) -> String {
        let (worth, sign) = self.suiting(value);
        let size = (value / worth).abs();
        match self {
            Self::Name => format!("{value}"),
            Self::Count => self.tick(value),
            _ if value.fract() == 0.0 && sign.is_empty() => self.tick(value),
            _ if size >= 1000.0 => format!("{:.0}{sign}", HumanFloatCount(value / worth)),
            _ => format!("{:.*}{sign}", 2 - size.max(1.0).log10() as usize, value / worth),
        }
    }

    /// Writes a value for an axis, with no more digits than it takes.
    pub fn tick(self, value: f64) -> String {
        if self == Self::Nines {
            let places = (value.log10().ceil() as usize).saturating_sub(2).min(12);
            return format!("{:.places$} %", 100.0 - 100.0 / value);
        }
        let (worth, sign) = self.suiting(value);
        format!("{}{sign}", HumanFloatCount(value / worth))
    }

    /// Writes a value as it is held against a limit.
    pub fn exact(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => "not measured".to_owned(),
            Self::Nanoseconds => format!("{:.3} ms", value / 1e6),
            Self::Count => format!("{value:.0}"),
            _ => format!("{value:.3}"),
        }
    }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
