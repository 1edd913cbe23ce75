//! Values of options that several commands have.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tickwire_wire::{Channel, Secret};

/// Reads the name of a channel.
pub(crate) fn channel(name: &str) -> Result<Channel, String> {
    Channel::from_name(name).ok_or_else(|| format!("known: {}", Channel::ALL.map(Channel::name).join(", ")))
}

/// Reads numbers with their units: `500ms`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let remedy = "write a number and a unit, as in 500ms, 10s, 5m or 1h30m";
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(format!("no time at all; {remedy}")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; {remedy}")),
    }
}

/// A secret of the command line or the environment, which no message repeats.
#[derive(Clone)]
pub(crate) struct NotShown(pub(crate) Secret);

impl FromStr for NotShown {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Secret::new(text.trim())))
    }
}

impl fmt::Debug for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}
