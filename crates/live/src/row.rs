//! The facts of a venue that stand before it is asked: one row for each venue.

use std::time::Duration;

use tickwire_wire::Channel;

use crate::limits::Limits;
use crate::listed::{Plan, SILENT_AFTER, TRADES_ARE_RARER};
use crate::venue::{Route, Terms, Venue, Verification};

/// The time after which a book that nothing proves is compared.
const COMPARE_AFTER: Duration = Duration::from_secs(60);

/// The facts of a venue. Where they come from is in `docs/venues.md`.
#[derive(Debug)]
pub struct Row {
    /// The venue's name, as records carry it.
    pub name: &'static str,
    /// The usual root of the streams.
    pub stream_url: &'static str,
    /// The usual root of the REST service.
    pub rest_url: &'static str,
    /// The roots that connections are made to: a name for people, and the path behind the root of the streams.
    pub routes: &'static [(&'static str, &'static str)],
    /// The streams of an instrument.
    pub streams: &'static [Stream],
    /// The levels of a book, or of a snapshot, that can be asked for.
    pub depth: Depth,
    /// The limits, below those of the venue.
    pub limits: Limits,
    /// The proof of the venue's books.
    pub verification: Verification,
    /// Makes the venue's protocol.
    pub make: fn(VenueConfig) -> Box<dyn Venue>,
}

/// A stream of each instrument.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The channel that it becomes.
    pub channel: Channel,
    /// The place of its root in [`Row::routes`].
    pub route: usize,
    /// The venue's name of it.
    pub name: &'static str,
}

/// The numbers of levels that can be asked for; the first one is the usual one.
#[derive(Clone, Copy, Debug)]
pub enum Depth {
    /// There is no choice.
    Given,
    /// One of these, in the order in which they are told.
    OneOf(u32, &'static [u32]),
    /// Any number up to this one.
    UpTo(u32, u32),
}

/// The configuration of a venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueConfig {
    /// The root of the REST service, without a slash at its end.
    pub rest_url: String,
    /// The name, the roots of the streams and what else holds from the start.
    pub terms: Terms,
    /// The symbols, with `*` for any part of a name.
    pub symbols: Vec<String>,
    /// The channels.
    pub channels: Vec<Channel>,
    /// The levels of a book, or of a snapshot, on each side; 0 where there is no choice.
    pub depth: u32,
    /// The time within which a granted stream brings data as a rule; trades have twenty times as much.
    pub silent_after: Duration,
    /// A book that nothing proves is compared with a snapshot after this, where snapshots can be asked for.
    pub compare_after: Duration,
}

impl Row {
    /// Makes the configuration for these symbols, with all channels. The URLs are the roots of the streams and of the REST
    /// service.
    pub fn config(&self, stream_url: &str, rest_url: &str, symbols: &[String]) -> VenueConfig {
        let root = stream_url.trim_end_matches('/');
        let route = |(name, path): &(&'static str, &str)| Route { name, url: format!("{root}{path}") };
        VenueConfig {
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            terms: Terms {
                name: self.name,
                verification: self.verification,
                limits: self.limits.clone(),
                routes: self.routes.iter().map(route).collect(),
            },
            symbols: symbols.to_vec(),
            channels: self.streams.iter().map(|stream| stream.channel).collect(),
            depth: self.depth.usual(),
            silent_after: SILENT_AFTER,
            compare_after: COMPARE_AFTER,
        }
    }

    /// Returns the stream of a channel.
    pub(crate) fn stream(&self, channel: Channel) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.channel == channel)
    }

    /// Returns how the channels of a configuration are subscribed to.
    pub(crate) fn plans(&self, config: &VenueConfig) -> Vec<Plan> {
        let plan = |channel: &Channel| {
            let name = self.stream(*channel)?.name;
            Some(Plan { channel: *channel, name, silent_after: config.silent_after(*channel) })
        };
        config.channels.iter().filter_map(plan).collect()
    }
}

impl VenueConfig {
    /// Returns the time within which a channel brings data as a rule.
    pub(crate) fn silent_after(&self, channel: Channel) -> Duration {
        if channel == Channel::Trade { self.silent_after * TRADES_ARE_RARER } else { self.silent_after }
    }
}

impl Depth {
    /// Returns the usual number; 0 where there is no choice.
    pub const fn usual(self) -> u32 {
        match self {
            Self::Given => 0,
            Self::OneOf(usual, _) | Self::UpTo(usual, _) => usual,
        }
    }

    /// Returns what is wrong with a number, if something is.
    pub fn wrong(self, depth: u32) -> Option<String> {
        let known = match self {
            Self::Given if depth == 0 => return None,
            Self::Given => return Some("has to be 0: the venue gives no choice".to_owned()),
            Self::OneOf(_, known) if known.contains(&depth) => return None,
            Self::OneOf(_, known) => known.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            Self::UpTo(_, most) if (1..=most).contains(&depth) => return None,
            Self::UpTo(_, most) => format!("1 to {most}"),
        };
        Some(format!("{depth} is no depth that the venue has; known: {known}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_that_a_venue_lacks_are_told() {
        let told = |depth: Depth, number| depth.wrong(number).unwrap_or_default();
        let of_futures = Depth::OneOf(1_000, &[5, 10, 1_000]);
        assert_eq!((told(of_futures, 10), of_futures.usual()), (String::new(), 1_000));
        assert_eq!(told(of_futures, 5_000), "5000 is no depth that the venue has; known: 5, 10, 1000");
        assert_eq!(told(Depth::UpTo(100, 5_000), 5_000), "");
        assert_eq!(told(Depth::UpTo(100, 5_000), 0), "0 is no depth that the venue has; known: 1 to 5000");
        assert_eq!(told(Depth::Given, 0), "");
        assert_eq!(told(Depth::Given, 10), "has to be 0: the venue gives no choice");
    }
}
