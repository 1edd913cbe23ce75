//! Bitstamp, live.
//!
//! Changes of books have a time, and neither a number nor a checksum, so nothing proves a book. It is joined with the one of the REST service and
//! compared with it from time to time. A command is of one channel of one symbol, and what answers it names that. Quotes come of the
//! book.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::bitstamp::{Normalizer, Said as Told, listings, trading_state};
use tickwire_wire::Channel;

use crate::limits::{Limits, Rate};
use crate::listed::{Listed, Reading};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::venue::{
    Call, Checked, Connection, Loss, Need, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges, Venue,
    Verification,
};

const LIMITS: Limits = Limits {
    // The venue states no limit of messages.
    messages: Rate::new(10, Duration::from_secs(1)),
    messages_for_pongs: 2,
    messages_of_address: None,
    commands: None,
    // The venue states no limit of connections.
    connects: Rate::new(100, Duration::from_secs(300)),
    // Half of what the venue takes of an address in ten minutes.
    weight: Rate::new(5_000, Duration::from_secs(600)),
    topics_per_connection: 200,
    topics_per_command: 1,
    connection_age: Duration::from_secs(23 * 3_600),
};

/// Bitstamp.
pub static BITSTAMP: Row = Row {
    name: "bitstamp",
    stream_url: "wss://ws.bitstamp.net",
    rest_url: "https://www.bitstamp.net",
    routes: &[("stream", "")],
    streams: &[
        Stream { channel: Channel::Book, route: 0, name: "diff_order_book" },
        Stream { channel: Channel::Trade, route: 0, name: "live_trades" },
    ],
    depth: Depth::Given,
    limits: LIMITS,
    verification: Verification {
        proof: Proof::Nothing,
        checked: Checked::Never,
        loss: Loss::Unknown,
        snapshots: Snapshots::Rest,
    },
    make: |config| Box::new(Bitstamp::new(config)),
};

/// The protocol of Bitstamp.
#[derive(Debug)]
pub struct Bitstamp {
    config: VenueConfig,
    listed: Listed,
    normalizer: Normalizer,
}

impl Bitstamp {
    fn new(config: VenueConfig) -> Self {
        let listed = Listed::new(&config.symbols, BITSTAMP.plans(&config));
        let compare_after = u64::try_from(config.compare_after.as_nanos()).unwrap_or(u64::MAX);
        Self { listed, normalizer: Normalizer::new(compare_after), config }
    }

    fn command(&self, event: &str, topics: &[&Topic]) -> String {
        let name =
            |topic: &&Topic| format!("{}_{}", self.listed.name(topic.channel), topic.symbol.to_lowercase());
        let channel = topics.first().map(name);
        serde_json::json!({ "event": event, "data": { "channel": channel } }).to_string()
    }
}

impl Venue for Bitstamp {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        Call { url: format!("{}/api/v2/trading-pairs-info/", self.config.rest_url), weight: 1 }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let all = listings(body).map_err(|error| error.to_string())?;
        let reading = Reading { venue: self.config.terms.name, state: trading_state };
        self.listed.take(reading, all, &mut self.normalizer.instruments, receive_time, events)
    }

    fn subscribe(&self, _: u64, topics: &[&Topic]) -> String {
        self.command("bts:subscribe", topics)
    }

    fn unsubscribe(&self, _: u64, topics: &[&Topic]) -> String {
        self.command("bts:unsubscribe", topics)
    }

    fn ping(&self) -> Option<&str> {
        Some(r#"{"event":"bts:heartbeat"}"#)
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
            Told::Subscribed(channel, symbol) => {
                Said::Subscriptions(self.listed.topic(channel, &symbol).into_iter().collect())
            }
            Told::Unsubscribed => Said::Subscriptions(Vec::new()),
            Told::Refused(reason) => Said::RefusedCommand(reason),
            Told::Reconnect => Said::GoingDown,
            Told::Alive => Said::Alive,
            Told::Nothing => Said::Nothing,
        })
    }

    fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        self.normalizer.take_wanted()
    }

    fn snapshot(&self, index: u32) -> Option<Call> {
        let symbol = self.normalizer.instruments.name(index)?.to_lowercase();
        Some(Call { url: format!("{}/api/v2/order_book/{symbol}/?group=1", self.config.rest_url), weight: 1 })
    }

    fn take_snapshot(
        &mut self,
        index: u32,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<bool, String> {
        let name = self.normalizer.instruments.name(index);
        let symbol = name.ok_or("the symbol is not listed any more")?.to_owned();
        let taken = self.normalizer.snapshot(&symbol, receive_time, body, events);
        taken.map_err(|error| format!("snapshot of {symbol}: {error}"))
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        self.normalizer.supply(&topic.symbol, topic.channel, supply, receive_time, events);
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.listed.take_notes()
    }
}
