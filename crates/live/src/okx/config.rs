//! The endpoints and limits of OKX. Where they come from is in `docs/venues.md`.

use std::time::Duration;

use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{Plan, SILENT_AFTER, TRADES_ARE_RARER};
use crate::venue::Route;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// The configuration of OKX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkxConfig {
    /// The root of the REST service, without a slash at its end.
    pub rest_url: String,
    /// The root of the streams.
    pub routes: Vec<Route>,
    /// The symbols, with `*` for any part of a name.
    pub symbols: Vec<String>,
    /// The channels: quote, trade, book.
    pub channels: Vec<Channel>,
    /// The time within which a granted quote or book brings data as a rule; trades have twenty times as much.
    pub silent_after: Duration,
    /// The limits, below those of the venue.
    pub limits: Limits,
}

impl OkxConfig {
    /// The usual root of the streams.
    pub const STREAM_URL: &'static str = "wss://ws.okx.com:8443";
    /// The usual root of the REST service.
    pub const REST_URL: &'static str = "https://www.okx.com";

    /// Makes the configuration for these symbols, with all channels. The URLs are the roots of the streams and of the REST
    /// service.
    pub fn new(stream_url: &str, rest_url: &str, symbols: &[String]) -> Self {
        let url = format!("{}/ws/v5/public", stream_url.trim_end_matches('/'));
        Self {
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            routes: vec![Route { name: "public", url }],
            symbols: symbols.to_vec(),
            channels: vec![Channel::Quote, Channel::Book, Channel::Trade],
            silent_after: SILENT_AFTER,
            limits: Limits {
                messages: Rate::new(3, SECOND),
                messages_for_pongs: 1,
                messages_of_address: None,
                // The venue takes 480 an hour on a connection.
                commands: Some(Rate::new(450, HOUR)),
                // The venue takes three a second of an address.
                connects: Rate::new(2, SECOND),
                // The list of instruments is the only request.
                weight: Rate::new(10, MINUTE),
                topics_per_connection: 150,
                topics_per_command: 50,
                connection_age: 23 * HOUR,
            },
        }
    }

    pub(super) fn plans(&self) -> Vec<Plan> {
        let plan = |channel: &Channel| {
            let (name, rarer) = match channel {
                Channel::Quote => ("bbo-tbt", 1),
                Channel::Trade => ("trades", TRADES_ARE_RARER),
                _ => ("books", 1),
            };
            Plan { channel: *channel, name, silent_after: self.silent_after * rarer }
        };
        self.channels.iter().map(plan).collect()
    }
}
