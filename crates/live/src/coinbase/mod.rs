//! Coinbase, the market data of its Advanced Trade API, live.
//!
//! Snapshots of books are in the stream, with all levels, and each message of a connection has the next number: where one is
//! missing, nothing that the connection brought is proven any more, so that it is made anew. Few symbols share a connection. A
//! command has no number of its own: what answers it is the list of all subscriptions. Quotes come of the book, because the
//! venue's `ticker` comes with trades alone.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::coinbase::{Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{Listed, Reading};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges, Venue,
    Verification,
};

const SECOND: Duration = Duration::from_secs(1);

/// Coinbase, the Advanced Trade API.
pub static COINBASE: Row = Row {
    name: "coinbase",
    stream_url: "wss://advanced-trade-ws.coinbase.com",
    rest_url: "https://api.coinbase.com",
    routes: &[("market data", "")],
    streams: &[
        Stream { channel: Channel::Book, route: 0, name: "level2" },
        Stream { channel: Channel::Trade, route: 0, name: "market_trades" },
    ],
    depth: Depth::Given,
    limits: Limits {
        messages: Rate::new(4, SECOND),
        messages_for_pongs: 1,
        // The venue takes 8 a second of an address.
        messages_of_address: Some(Rate::new(6, SECOND)),
        commands: None,
        connects: Rate::new(1, SECOND),
        // The list of instruments is the only request.
        weight: Rate::new(10, Duration::from_secs(60)),
        // One message that is missing breaks all books of a connection.
        topics_per_connection: 20,
        topics_per_command: 10,
        connection_age: Duration::from_secs(23 * 3_600),
    },
    verification: Verification {
        proof: Proof::ConnectionSequence,
        checked: Checked::Before,
        loss: Loss::OfTrades,
        snapshots: Snapshots::InBand,
    },
    make: |config| Box::new(Coinbase::new(config)),
};

/// The protocol of Coinbase.
#[derive(Debug)]
pub struct Coinbase {
    config: VenueConfig,
    listed: Listed,
    normalizer: Normalizer,
}

impl Coinbase {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(config: VenueConfig) -> Self {
        let listed = Listed::new(&config.symbols, COINBASE.plans(&config));
        Self { config, listed, normalizer: Normalizer::default() }
    }

    fn command(&self, method: &str, topics: &[&Topic]) -> String {
        let symbols: Vec<_> = topics.iter().map(|topic| topic.symbol.as_str()).collect();
        let channel = topics.first().map_or(Channel::Book, |topic| topic.channel);
        let channel = self.listed.name(channel);
        serde_json::json!({ "type": method, "product_ids": symbols, "channel": channel }).to_string()
    }
}

impl Venue for Coinbase {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        Call { url: format!("{}/api/v3/brokerage/market/products", self.config.rest_url), weight: 1 }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let all = listings(body).map_err(|error| error.to_string())?;
        let reading = Reading { venue: COINBASE.name, state: trading_state };
        self.listed.take(reading, all, &mut self.normalizer.instruments, receive_time, events)
    }

    fn subscribe(&self, _: u64, topics: &[&Topic]) -> String {
        self.command("subscribe", topics)
    }

    fn unsubscribe(&self, _: u64, topics: &[&Topic]) -> String {
        self.command("unsubscribe", topics)
    }

    /// The venue closes connections on which nothing happens for a minute; its heartbeats happen each second.
    fn greetings(&self) -> Vec<String> {
        vec![r#"{"type":"subscribe","channel":"heartbeats"}"#.to_owned()]
    }

    fn read(
        &mut self,
        connection: Connection,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, String> {
        let connection = (connection.link.0, connection.attempt);
        let told = self.normalizer.message(connection, receive_time, text, events);
        Ok(match told.map_err(|error| error.to_string())? {
            Told::Data(channel, symbols) => {
                let topics = symbols.iter().filter_map(|symbol| self.listed.topic(channel, symbol));
                Said::Several(topics.collect())
            }
            Told::Subscriptions(all) => {
                let topics = all.iter().filter_map(|(channel, symbol)| self.listed.topic(*channel, symbol));
                Said::Subscriptions(topics.collect())
            }
            Told::Refused(reason) => Said::RefusedCommand(reason),
            Told::Missing(count) => Said::Incomplete(format!("{count} of its messages are missing")),
            Told::Renumbered => Said::Incomplete("the numbers of its messages began anew".to_owned()),
            Told::Unreadable(reason) => {
                Said::Incomplete(format!("a change of a book cannot be read: {reason}"))
            }
            Told::Alive => Said::Alive,
            Told::Nothing => Said::Nothing,
        })
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        self.normalizer.instruments.supply(&topic.symbol, topic.channel, supply, receive_time, events);
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.listed.take_notes()
    }
}
