//! Coinbase, the market data of its Advanced Trade API, live.
//!
//! Snapshots of books are in the stream, with all levels, and each message of a connection has the next number: where one is
//! missing, nothing that the connection brought is proven any more, so that it is made anew. Few symbols share a connection. A
//! command has no number of its own: what answers it is the list of all subscriptions. Quotes come of the book, because the
//! venue's `ticker` comes with trades alone.

mod config;
#[cfg(test)]
mod tests;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::coinbase::{Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

pub use self::config::CoinbaseConfig;
use crate::limits::Limits;
use crate::listed::{Listed, Reading};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Route, Said, Snapshots, Supply, Topic, TopicChanges, Venue,
    Verification,
};

const NAME: &str = "coinbase";

/// The protocol of Coinbase.
#[derive(Debug)]
pub struct Coinbase {
    config: CoinbaseConfig,
    listed: Listed,
    normalizer: Normalizer,
}

impl Coinbase {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(config: CoinbaseConfig) -> Self {
        let listed = Listed::new(&config.symbols, config.plans());
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
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> Verification {
        Verification {
            proof: Proof::ConnectionSequence,
            checked: Checked::Before,
            loss: Loss::OfTrades,
            snapshots: Snapshots::InBand,
        }
    }

    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn routes(&self) -> &[Route] {
        &self.config.routes
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
        let reading = Reading { venue: NAME, state: trading_state };
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
