//! Bybit, version 5 of its API, live: spot and linear contracts.
//!
//! Snapshots of books are in the stream, and each change has the next number. A book that misses one is subscribed to anew.
//! The venue wants to be told each 20 s that somebody is there, by a command. Quotes come of the book.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::bybit::{Listings, Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{Listed, Reading};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges, Venue,
    Verification,
};

const SECOND: Duration = Duration::from_secs(1);
/// The most instruments of one list.
const LISTED_MAX: u32 = 1_000;
const DEPTHS: Depth = Depth::OneOf(50, &[50, 200, 1_000]);
const LIMITS: Limits = Limits {
    // The venue states no limit of messages.
    messages: Rate::new(10, SECOND),
    messages_for_pongs: 2,
    messages_of_address: None,
    commands: None,
    // The venue takes 500 in five minutes of an address.
    connects: Rate::new(300, Duration::from_secs(300)),
    // The list of instruments is the only request.
    weight: Rate::new(10, Duration::from_secs(60)),
    // The venue takes 21,000 characters of names on a connection.
    topics_per_connection: 200,
    topics_per_command: 10,
    connection_age: Duration::from_secs(23 * 3_600),
};

const VERIFICATION: Verification = Verification {
    proof: Proof::SymbolSequence,
    checked: Checked::Before,
    loss: Loss::Unknown,
    snapshots: Snapshots::InBand,
};

/// Bybit spot.
pub static SPOT: Row = Row {
    name: "bybit",
    stream_url: "wss://stream.bybit.com",
    rest_url: "https://api.bybit.com",
    routes: &[("spot", "/v5/public/spot")],
    streams: &[
        Stream { channel: Channel::Book, route: 0, name: "orderbook" },
        Stream { channel: Channel::Trade, route: 0, name: "publicTrade" },
    ],
    depth: DEPTHS,
    limits: LIMITS,
    verification: VERIFICATION,
    make: |config| Box::new(Bybit::new(&SPOT, "spot", config)),
};

/// The linear contracts of Bybit.
pub static LINEAR: Row = Row {
    name: "bybit-linear",
    stream_url: "wss://stream.bybit.com",
    rest_url: "https://api.bybit.com",
    routes: &[("linear", "/v5/public/linear")],
    streams: &[
        Stream { channel: Channel::Book, route: 0, name: "orderbook" },
        Stream { channel: Channel::Trade, route: 0, name: "publicTrade" },
        Stream { channel: Channel::Derivative, route: 0, name: "tickers" },
    ],
    depth: DEPTHS,
    limits: LIMITS,
    verification: VERIFICATION,
    make: |config| Box::new(Bybit::new(&LINEAR, "linear", config)),
};

/// The protocol of Bybit.
#[derive(Debug)]
pub struct Bybit {
    category: &'static str,
    config: VenueConfig,
    listed: Listed,
    normalizer: Normalizer,
    notes: Vec<String>,
}

impl Bybit {
    fn new(row: &'static Row, category: &'static str, config: VenueConfig) -> Self {
        let listed = Listed::new(&config.symbols, row.plans(&config));
        let normalizer = Normalizer::new(config.depth as usize);
        Self { category, config, listed, normalizer, notes: Vec::new() }
    }

    fn command(&self, op: &str, id: u64, topics: &[&Topic]) -> String {
        let name = |topic: &&Topic| {
            let stream = self.listed.name(topic.channel);
            match topic.channel {
                Channel::Book => format!("{stream}.{}.{}", self.config.depth, topic.symbol),
                _ => format!("{stream}.{}", topic.symbol),
            }
        };
        let args: Vec<_> = topics.iter().map(name).collect();
        serde_json::json!({ "req_id": id.to_string(), "op": op, "args": args }).to_string()
    }
}

impl Venue for Bybit {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        let Self { config: VenueConfig { rest_url, .. }, category, .. } = self;
        let url = format!("{rest_url}/v5/market/instruments-info?category={category}&limit={LISTED_MAX}");
        Call { url, weight: 1 }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let Listings { all, has_more } = listings(body).map_err(|error| error.to_string())?;
        if has_more && self.listed.is_empty() {
            let name = self.config.terms.name;
            self.notes.push(format!(
                "{name} has more than {LISTED_MAX} instruments: the others are not known here"
            ));
        }
        let reading = Reading { venue: self.config.terms.name, state: trading_state };
        self.listed.take(reading, all, &mut self.normalizer.instruments, receive_time, events)
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("unsubscribe", id, topics)
    }

    fn ping(&self) -> Option<&str> {
        Some(r#"{"op":"ping"}"#)
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(20 * SECOND)
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
            Told::Granted(id) => Said::Granted(id, None),
            Told::Refused(Some(id), reason) => Said::Refused(id, None, reason),
            Told::Refused(None, reason) => Said::RefusedCommand(reason),
            Told::Alive => Said::Alive,
            Told::Nothing => Said::Nothing,
        })
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        self.normalizer.instruments.supply(&topic.symbol, topic.channel, supply, receive_time, events);
    }

    fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.listed.take_notes());
        notes
    }
}
