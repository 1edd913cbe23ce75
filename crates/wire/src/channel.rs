//! The channels: each is one row. Counts, names, classes and conflation keys are derived from this table. What the records of
//! a channel say is not in it: see "Rooms for what comes next" in `ARCHITECTURE.md`.

use crate::pb::Channel;
use crate::record::Body;

/// The way in which records of a channel are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The newest of each conflation key supersedes older ones.
    Conflated,
    /// Every record is delivered, or announced in a gap.
    Lossless,
    /// Every record is delivered or announced, as on a lossless channel, and none is dropped, whatever the pressure.
    Critical,
}

struct Row {
    channel: Channel,
    /// The name in commands, subjects and JSON.
    name: &'static str,
    class: Class,
    /// The key that "newest" is decided by; none: that is the whole channel of an instrument.
    key: Option<fn(&Body) -> u64>,
}

const fn row(channel: Channel, name: &'static str, class: Class) -> Row {
    Row { channel, name, class, key: None }
}

/// The channels in the order of their numbers.
const ROWS: &[Row] = &[
    row(Channel::Quote, "quote", Class::Conflated),
    row(Channel::Trade, "trade", Class::Lossless),
    row(Channel::Book, "book", Class::Conflated),
    Row { key: Some(bar_key), ..row(Channel::Bar, "bar", Class::Conflated) },
    row(Channel::Stat, "stat", Class::Conflated),
    row(Channel::Status, "status", Class::Critical),
    row(Channel::Instrument, "instrument", Class::Critical),
    row(Channel::Derivative, "derivative", Class::Conflated),
];

/// Bars have a key for each interval, and another for corrections of closed bars, which say nothing about the running one.
fn bar_key(body: &Body) -> u64 {
    match body {
        Body::Bar(bar) => bar.interval << 1 | u64::from(bar.correction),
        _ => 0,
    }
}

impl Channel {
    /// The number of channels.
    pub const COUNT: usize = ROWS.len();

    /// The places that an array needs to be indexed by the number of a channel; that of no channel is 0.
    pub const SLOTS: usize = Self::COUNT + 1;

    /// All channels in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self::Unknown; Self::COUNT];
        let mut at = 0;
        while at < Self::COUNT {
            all[at] = ROWS[at].channel;
            assert!(all[at] as usize == at + 1, "the rows stand in the order of their numbers, from 1");
            at += 1;
        }
        all
    };

    fn row(self) -> Option<&'static Row> {
        ROWS.get((self as usize).wrapping_sub(1))
    }

    /// Returns its name, in commands, subjects and JSON.
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |row| row.name)
    }

    /// Returns the channel of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Returns how its records are handed out.
    #[inline]
    pub const fn class(self) -> Class {
        CLASSES[self as usize]
    }

    /// Returns whether every record is delivered, or announced in a gap. Else the newest supersedes older ones.
    #[inline]
    pub const fn is_lossless(self) -> bool {
        matches!(self.class(), Class::Lossless | Class::Critical)
    }

    /// Returns whether its records are never dropped, whatever the pressure.
    #[inline]
    pub const fn is_critical(self) -> bool {
        matches!(self.class(), Class::Critical)
    }

    pub(crate) fn conflation_key(self, body: &Body) -> u64 {
        self.row().and_then(|row| row.key).map_or(0, |key| key(body))
    }

    /// Returns whether "newest" is decided by a conflation key within the channel: several records of it are the newest.
    #[inline]
    pub const fn is_keyed(self) -> bool {
        KEYED[self as usize]
    }
}

const KEYED: [bool; Channel::SLOTS] = {
    let mut keyed = [false; Channel::SLOTS];
    let mut at = 0;
    while at < Channel::COUNT {
        keyed[at + 1] = ROWS[at].key.is_some();
        at += 1;
    }
    keyed
};

const CLASSES: [Class; Channel::SLOTS] = {
    let mut classes = [Class::Conflated; Channel::SLOTS];
    let mut at = 0;
    while at < Channel::COUNT {
        classes[at + 1] = ROWS[at].class;
        at += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_channel_of_the_contract() {
        let known = (1..1000).filter(|number| Channel::try_from(*number).is_ok());
        assert_eq!(known.count(), Channel::COUNT);
        for channel in Channel::ALL {
            assert_eq!(Channel::from_name(channel.name()), Some(channel));
            assert_eq!(format!("CHANNEL_{}", channel.name().to_uppercase()), channel.as_str_name());
        }
        assert_eq!(Channel::Unknown.name(), "unknown");
    }
}
