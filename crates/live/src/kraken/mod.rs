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
use crate::listed::{ENDED, Listed, Plan, Reading, SILENT_AFTER, TRADES_ARE_RARER};
use crate::venue::{
    Call, Checked, Connection, Loss, Proof, Route, Said, Snapshots, Supply, Topic, TopicChanges, Venue,
    Verification,
};

const NAME: &str = "kraken";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The configuration of Kraken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenConfig {
    /// The root of the REST service, without a slash at its end.
    pub rest_url: String,
    /// The root of the streams.
    pub routes: Vec<Route>,
    /// The symbols, with `*` for any part of a name.
    pub symbols: Vec<String>,
    /// The channels: quote, trade, book.
    pub channels: Vec<Channel>,
    /// The levels of a book on each side: 10, 25, 100, 500 or 1000. The checksum is of ten.
    pub depth: u32,
    /// The time within which a granted quote or book brings data as a rule; trades have twenty times as much.
    pub silent_after: Duration,
    /// The limits, below those of the venue.
    pub limits: Limits,
}

impl KrakenConfig {
    /// The usual root of the streams.
    pub const STREAM_URL: &'static str = "wss://ws.kraken.com";
    /// The usual root of the REST service.
    pub const REST_URL: &'static str = "https://api.kraken.com";

    /// Makes the configuration for these symbols, with all channels. The URLs are the roots of the streams and of the REST
    /// service.
    pub fn new(stream_url: &str, rest_url: &str, symbols: &[String]) -> Self {
        let url = format!("{}/v2", stream_url.trim_end_matches('/'));
        Self {
            rest_url: rest_url.trim_end_matches('/').to_owned(),
            routes: vec![Route { name: "v2", url }],
            symbols: symbols.to_vec(),
            channels: vec![Channel::Quote, Channel::Book, Channel::Trade],
            depth: 10,
            silent_after: SILENT_AFTER,
            limits: Limits {
                // The venue states no limit of messages.
                messages: Rate::new(10, Duration::from_secs(1)),
                messages_for_pongs: 2,
                messages_of_address: None,
                commands: None,
                // Two thirds of what the proxy in front of the venue is known to allow an address.
                connects: Rate::new(100, 10 * MINUTE),
                // The list of instruments is the only request.
                weight: Rate::new(10, MINUTE),
                topics_per_connection: 150,
                topics_per_command: 50,
                connection_age: 23 * HOUR,
            },
        }
    }

    fn plans(&self) -> Vec<Plan> {
        let plan = |channel: &Channel| {
            let (name, rarer) = match channel {
                Channel::Quote => ("ticker", 1),
                Channel::Trade => ("trade", TRADES_ARE_RARER),
                _ => ("book", 1),
            };
            Plan { channel: *channel, name, silent_after: self.silent_after * rarer }
        };
        self.channels.iter().map(plan).collect()
    }
}

/// The protocol of Kraken.
#[derive(Debug)]
pub struct Kraken {
    config: KrakenConfig,
    listed: Listed,
    normalizer: Normalizer,
    notes: Vec<String>,
}

impl Kraken {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(config: KrakenConfig) -> Self {
        let listed = Listed::new(&config.symbols, config.plans());
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
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> Verification {
        Verification {
            proof: Proof::Checksum,
            checked: Checked::After,
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
        Call { url: format!("{}/0/public/AssetPairs", self.config.rest_url), weight: 1 }
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
        let topic = |channel, symbol: &str| self.listed.topic(channel, symbol);
        Ok(match told {
            Told::Data(channel, symbol) => topic(channel, &symbol).map_or(Said::Nothing, Said::Data),
            Told::Broken(symbol, reason) => {
                topic(Channel::Book, &symbol).map_or(Said::Nothing, |topic| Said::Broken(topic, reason))
            }
            Told::NoBook(symbol) => topic(Channel::Book, &symbol).map_or(Said::Nothing, Said::NoBook),
            Told::Response(CommandResponse { id, channel, symbol, refusal }) => match refusal {
                None => {
                    let topic = self.listed.channel(&channel).and_then(|channel| topic(channel, &symbol));
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
