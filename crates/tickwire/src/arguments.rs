//! Values of options that several commands have.

use std::time::Duration;

use tickwire_wire::Channel;

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
