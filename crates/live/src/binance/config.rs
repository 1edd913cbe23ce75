//! The endpoints, limits and streams of Binance. Where they come from is in `docs/venues.md`.

use std::time::Duration;

use tickwire_feed::binance::Market;
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{SILENT_AFTER, TRADES_ARE_RARER};
use crate::venue::Route;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// The most levels of a snapshot at spot, which takes any number below.
const SPOT_LEVELS_MAX: u32 = 5_000;
/// The levels of a snapshot that the futures take.
const FUTURES_LEVELS: [u32; 7] = [5, 10, 20, 50, 100, 500, 1_000];

/// The configuration of Binance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinanceConfig {
    /// Spot or USD-M futures.
    pub market: Market,
    /// The root of the REST service, without a slash at its end.
    pub rest_url: String,
    /// The roots of the streams: one at spot; `/public` and `/market` at the futures.
    pub routes: Vec<Route>,
    /// The symbols, with `*` for any part of a name.
    pub symbols: Vec<String>,
    /// The channels: quote, trade, book, and derivative at the futures.
    pub channels: Vec<Channel>,
    /// The levels of a snapshot on each side.
    pub snapshot_levels: u32,
    /// The time within which a granted quote, book or derivative brings data as a rule; trades have twenty times as much.
    pub silent_after: Duration,
    /// The limits, below those of the venue.
    pub limits: Limits,
}

impl BinanceConfig {
    /// Makes the configuration of a market for these symbols, with all of its channels. The URLs are the roots of the
    /// streams and of the REST service.
    ///
    /// # Panics
    /// Never for the markets that are there; coin-margined futures are taken as USD-margined ones.
    pub fn new(market: Market, stream_url: &str, rest_url: &str, symbols: &[String]) -> Self {
        let root = stream_url.trim_end_matches('/');
        let route = |name, path: &str| Route { name, url: format!("{root}{path}") };
        let is_spot = market == Market::Spot;
        let routes = if is_spot {
            vec![route("stream", "/stream")]
        } else {
            vec![route("public", "/public/stream"), route("market", "/market/stream")]
        };
        let mut channels = vec![Channel::Quote, Channel::Book, Channel::Trade];
        if !is_spot {
            channels.push(Channel::Derivative);
        }
        Self {
            market,
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            routes,
            symbols: symbols.to_vec(),
            channels,
            snapshot_levels: 1_000,
            silent_after: SILENT_AFTER,
            limits: Limits {
                messages: Rate::new(if is_spot { 5 } else { 10 }, Duration::from_secs(1)),
                messages_for_pongs: 2,
                messages_of_address: None,
                commands: None,
                // Two thirds of what the venue allows an address.
                connects: Rate::new(200, 5 * MINUTE),
                // Half of what the venue allows an address.
                weight: Rate::new(if is_spot { 3_000 } else { 1_200 }, MINUTE),
                topics_per_connection: 200,
                topics_per_command: 100,
                connection_age: 23 * HOUR,
            },
        }
    }

    /// Returns the usual root of a market's streams.
    pub fn stream_url(market: Market) -> &'static str {
        match market {
            Market::Spot => "wss://stream.binance.com:9443",
            Market::Usdm | Market::Cm => "wss://fstream.binance.com",
        }
    }

    /// Returns the usual root of a market's REST service.
    pub fn rest_url(market: Market) -> &'static str {
        match market {
            Market::Spot => "https://api.binance.com",
            Market::Usdm | Market::Cm => "https://fapi.binance.com",
        }
    }

    /// Returns the place of the route and the stream of a channel.
    pub(super) fn stream(&self, channel: Channel) -> Option<(usize, &'static str)> {
        Some(match (self.market, channel) {
            (_, Channel::Quote) => (0, "bookTicker"),
            (_, Channel::Book) => (0, "depth@100ms"),
            (Market::Spot, Channel::Trade) => (0, "trade"),
            (_, Channel::Trade) => (1, "aggTrade"),
            (Market::Usdm | Market::Cm, Channel::Derivative) => (1, "markPrice@1s"),
            _ => return None,
        })
    }

    pub(super) fn silent_after(&self, channel: Channel) -> Duration {
        if channel == Channel::Trade { self.silent_after * TRADES_ARE_RARER } else { self.silent_after }
    }

    /// Returns what is wrong with the levels of a snapshot, if something is.
    pub fn wrong_snapshot_levels(&self) -> Option<String> {
        let levels = self.snapshot_levels;
        match self.market {
            Market::Spot => (!(1..=SPOT_LEVELS_MAX).contains(&levels))
                .then(|| format!("{levels} is no depth that the venue has; known: 1 to {SPOT_LEVELS_MAX}")),
            Market::Usdm | Market::Cm => (!FUTURES_LEVELS.contains(&levels)).then(|| {
                let known = FUTURES_LEVELS.map(|levels| levels.to_string()).join(", ");
                format!("{levels} is no depth that the venue has; known: {known}")
            }),
        }
    }

    /// Returns the weight of a snapshot.
    pub(super) fn snapshot_weight(&self) -> u32 {
        let weights: [(u32, u32); 4] = match self.market {
            Market::Spot => [(100, 5), (500, 25), (1_000, 50), (u32::MAX, 250)],
            Market::Usdm | Market::Cm => [(50, 2), (100, 5), (500, 10), (u32::MAX, 20)],
        };
        weights.iter().find(|(levels, _)| self.snapshot_levels <= *levels).map_or(0, |(_, weight)| *weight)
    }
}
