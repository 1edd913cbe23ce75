//! OKX, version 5 of its API, live.
//!
//! Snapshots of books are in the stream, and each change names the one before it. A book that misses one is subscribed to anew.
//! The venue is asked whether it is there by the text `ping`.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::okx::{Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{ENDED, Listed, Reading};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges, Venue,
    Verification,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// OKX.
pub static OKX: Row = Row {
    name: "okx",
    stream_url: "wss://ws.okx.com:8443",
    rest_url: "https://www.okx.com",
    routes: &[("public", "/ws/v5/public")],
    streams: &[
        Stream { channel: Channel::Quote, route: 0, name: "bbo-tbt" },
        Stream { channel: Channel::Book, route: 0, name: "books" },
        Stream { channel: Channel::Trade, route: 0, name: "trades" },
    ],
    depth: Depth::Given,
    limits: Limits {
        messages: Rate::new(3, SECOND),
        messages_for_pongs: 1,
        messages_of_address: None,
        // The venue takes 480 an hour on a connection.
        commands: Some(Rate::new(450, HOUR)),
        // The venue takes three a second of an address.
        connects: Rate::new(2, SECOND),
        // The list of instruments is the only request.
        weight: Rate::new(10, Duration::from_secs(60)),
        topics_per_connection: 150,
        topics_per_command: 50,
        connection_age: Duration::from_secs(23 * 3_600),
    },
    verification: Verification {
        proof: Proof::Chain,
        checked: Checked::Before,
        loss: Loss::OfTrades,
        snapshots: Snapshots::InBand,
    },
    make: |config| Box::new(Okx::new(config)),
};

/// The protocol of OKX.
#[derive(Debug)]
pub struct Okx {
    config: VenueConfig,
    listed: Listed,
    normalizer: Normalizer,
}

impl Okx {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(config: VenueConfig) -> Self {
        let listed = Listed::new(&config.symbols, OKX.plans(&config));
        Self { config, listed, normalizer: Normalizer::default() }
    }

    fn command(&self, op: &str, id: u64, topics: &[&Topic]) -> String {
        let arg = |topic: &&Topic| serde_json::json!({ "channel": self.listed.name(topic.channel), "instId": topic.symbol });
        let args: Vec<_> = topics.iter().map(arg).collect();
        serde_json::json!({ "id": id.to_string(), "op": op, "args": args }).to_string()
    }
}

impl Venue for Okx {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        Call { url: format!("{}/api/v5/public/instruments?instType=SPOT", self.config.rest_url), weight: 1 }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let all = listings(body).map_err(|error| error.to_string())?;
        let reading = Reading { venue: OKX.name, state: trading_state };
        self.listed.take(reading, all, &mut self.normalizer.instruments, receive_time, events)
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("unsubscribe", id, topics)
    }

    fn ping(&self) -> Option<&str> {
        Some("ping")
    }

    fn read(
        &mut self,
        _: Connection,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, String> {
        let told = self.normalizer.message(receive_time, text, events).map_err(|error| error.to_string())?;
        Ok(match told {
            Told::Data(channel, symbol) => self.listed.data(channel, &symbol),
            Told::Broken(symbol, reason) => self.listed.broken(&symbol, reason),
            Told::NoBook(symbol) => self.listed.no_book(&symbol),
            Told::Granted(id, of) => {
                let topic = of.and_then(|(channel, symbol)| self.listed.topic(channel, &symbol));
                Said::Granted(id, Some(topic.unwrap_or(ENDED)))
            }
            Told::Refused(Some(id), reason) => Said::Refused(id, None, reason),
            Told::Refused(None, reason) => Said::RefusedCommand(reason),
            Told::GoingDown => Said::GoingDown,
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
