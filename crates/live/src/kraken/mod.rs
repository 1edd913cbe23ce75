//! Kraken, version 2 of its WebSocket API, live.
//!
//! Snapshots of books are in the stream, and each change has a checksum. A book that does not fit to it is subscribed to
//! anew. A command is answered for each symbol, and names one channel.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::kraken::{CommandResponse, Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{ENDED, Listed, Reading};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges, Venue,
    Verification,
};

/// Kraken.
pub static KRAKEN: Row = Row {
    name: "kraken",
    stream_url: "wss://ws.kraken.com",
    rest_url: "https://api.kraken.com",
    routes: &[("v2", "/v2")],
    streams: &[
        Stream { channel: Channel::Quote, route: 0, name: "ticker" },
        Stream { channel: Channel::Book, route: 0, name: "book" },
        Stream { channel: Channel::Trade, route: 0, name: "trade" },
    ],
    // The checksum is of ten.
    depth: Depth::OneOf(10, &[10, 25, 100, 500, 1_000]),
    limits: Limits {
        // The venue states no limit of messages.
        messages: Rate::new(10, Duration::from_secs(1)),
        messages_for_pongs: 2,
        messages_of_address: None,
        commands: None,
        // Two thirds of what the proxy in front of the venue is known to allow an address.
        connects: Rate::new(100, Duration::from_secs(600)),
        // The list of instruments is the only request.
        weight: Rate::new(10, Duration::from_secs(60)),
        topics_per_connection: 150,
        topics_per_command: 50,
        connection_age: Duration::from_secs(23 * 3_600),
    },
    verification: Verification {
        proof: Proof::Checksum,
        checked: Checked::After,
        loss: Loss::OfTrades,
        snapshots: Snapshots::InBand,
    },
    make: |config| Box::new(Kraken::new(config)),
};

/// The protocol of Kraken.
#[derive(Debug)]
pub struct Kraken {
    config: VenueConfig,
    listed: Listed,
    normalizer: Normalizer,
    notes: Vec<String>,
}

impl Kraken {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(config: VenueConfig) -> Self {
        let listed = Listed::new(&config.symbols, KRAKEN.plans(&config));
        Self { listed, normalizer: Normalizer::new(config.depth as usize), config, notes: Vec::new() }
    }

    fn command(&self, method: &str, id: u64, topics: &[&Topic]) -> String {
        let symbols: Vec<_> = topics.iter().map(|topic| topic.symbol.as_str()).collect();
        let channel = topics.first().map_or(Channel::Book, |topic| topic.channel);
        let mut params = serde_json::json!({ "channel": self.listed.name(channel), "symbol": symbols });
        match channel {
            Channel::Book => params["depth"] = self.config.depth.into(),
            // A change of the best prices brings a message, not a trade alone.
            Channel::Quote => params["event_trigger"] = "bbo".into(),
            _ => params["snapshot"] = false.into(),
        }
        serde_json::json!({ "method": method, "params": params, "req_id": id }).to_string()
    }
}

impl Venue for Kraken {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        Call { url: format!("{}/0/public/AssetPairs", self.config.rest_url), weight: 1 }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let all = listings(body).map_err(|error| error.to_string())?;
        let reading = Reading { venue: KRAKEN.name, state: trading_state };
        self.listed.take(reading, all, &mut self.normalizer.instruments, receive_time, events)
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("subscribe", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.command("unsubscribe", id, topics)
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
            Told::Response(CommandResponse { id, channel, symbol, refusal }) => match refusal {
                None => {
                    let topic =
                        self.listed.channel(&channel).and_then(|channel| self.listed.topic(channel, &symbol));
                    Said::Granted(id, Some(topic.unwrap_or(ENDED)))
                }
                // A refusal names the symbol alone; the driver knows what was asked for.
                Some(reason) if symbol.is_empty() => Said::Refused(id, None, reason),
                Some(reason) => Said::RefusedSymbol(id, symbol, reason),
            },
            Told::Offline(words) => {
                self.notes.push(format!("kraken says: {words}"));
                Said::Nothing
            }
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
