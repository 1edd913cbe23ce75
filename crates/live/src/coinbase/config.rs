//! The endpoints and limits of Coinbase. Where they come from is in `docs/venues.md`.

use std::time::Duration;

use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{Plan, SILENT_AFTER, TRADES_ARE_RARER};
use crate::venue::Route;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// The configuration of Coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseConfig {
    /// The root of the REST service, without a slash at its end.
    pub rest_url: String,
    /// The root of the streams.
    pub routes: Vec<Route>,
    /// The symbols, with `*` for any part of a name.
    pub symbols: Vec<String>,
    /// The channels: book and trade.
    pub channels: Vec<Channel>,
    /// The time within which a granted book brings data as a rule; trades have twenty times as much.
    pub silent_after: Duration,
    /// The limits, below those of the venue.
    pub limits: Limits,
}

impl CoinbaseConfig {
    /// The usual root of the streams.
    pub const STREAM_URL: &'static str = "wss://advanced-trade-ws.coinbase.com";
    /// The usual root of the REST service.
    pub const REST_URL: &'static str = "https://api.coinbase.com";

    /// Makes the configuration for these symbols, with all channels. The URLs are the roots of the streams and of the REST
    /// service.
    pub fn new(stream_url: &str, rest_url: &str, symbols: &[String]) -> Self {
        Self {
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            routes: vec![Route { name: "market data", url: stream_url.trim_end_matches('/').to_owned() }],
            symbols: symbols.to_vec(),
            channels: vec![Channel::Book, Channel::Trade],
            silent_after: SILENT_AFTER,
            limits: Limits {
                // The venue takes 8 a second of an address.
                messages: Rate::new(4, SECOND),
                messages_for_pongs: 1,
                messages_of_address: Some(Rate::new(6, SECOND)),
                commands: None,
                connects: Rate::new(1, SECOND),
                // The list of instruments is the only request.
                weight: Rate::new(10, MINUTE),
                // One message that is missing breaks all books of a connection.
                topics_per_connection: 20,
                topics_per_command: 10,
                connection_age: 23 * HOUR,
            },
        }
    }

    pub(super) fn plans(&self) -> Vec<Plan> {
        let plan = |channel: &Channel| match channel {
            Channel::Trade => Plan {
                channel: *channel,
                name: "market_trades",
                silent_after: self.silent_after * TRADES_ARE_RARER,
            },
            _ => Plan { channel: *channel, name: "level2", silent_after: self.silent_after },
        };
        self.channels.iter().map(plan).collect()
    }
}
