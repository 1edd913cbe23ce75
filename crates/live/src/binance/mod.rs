//! Binance spot and USD-M futures, live.
//!
//! The futures have two roots: `/public` brings depth and best prices, `/market` trades and mark prices. A stream that is
//! asked for at the wrong root is granted, and stays silent.

mod control;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::binance::{Market, Normalizer, listings};
use tickwire_wire::{Channel, Instrument};

use self::control::{Control, refusal};
use crate::limits::{Limits, Rate};
use crate::row::{Depth, Row, Stream, VenueConfig};
use crate::selection::Selection;
use crate::venue::{
    Call, Checked, Connection, Loss, Need, Proof, Said, Snapshots, Supply, Terms, Topic, TopicChanges,
    TopicId, Venue, Verification,
};

/// The decimals that spot writes.
const SPOT_DECIMALS: u32 = 8;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const SPOT_LIMITS: Limits = Limits {
    messages: Rate::new(5, SECOND),
    messages_for_pongs: 2,
    messages_of_address: None,
    commands: None,
    // Two thirds of what the venue allows an address.
    connects: Rate::new(200, Duration::from_secs(300)),
    // Half of what the venue allows an address.
    weight: Rate::new(3_000, MINUTE),
    topics_per_connection: 200,
    topics_per_command: 100,
    connection_age: Duration::from_secs(23 * 3_600),
};

const VERIFICATION: Verification = Verification {
    proof: Proof::SymbolSequence,
    checked: Checked::Before,
    loss: Loss::OfTrades,
    snapshots: Snapshots::Rest,
};

/// Binance spot.
pub static SPOT: Row = Row {
    name: "binance",
    stream_url: "wss://stream.binance.com:9443",
    rest_url: "https://api.binance.com",
    routes: &[("stream", "/stream")],
    streams: &[
        Stream { channel: Channel::Quote, route: 0, name: "bookTicker" },
        Stream { channel: Channel::Book, route: 0, name: "depth@100ms" },
        Stream { channel: Channel::Trade, route: 0, name: "trade" },
    ],
    depth: Depth::UpTo(1_000, 5_000),
    limits: SPOT_LIMITS,
    verification: VERIFICATION,
    make: |config| Box::new(Binance::new(Market::Spot, config)),
};

/// The USD-M futures of Binance.
pub static USDM: Row = Row {
    name: "binance-usdm",
    stream_url: "wss://fstream.binance.com",
    rest_url: "https://fapi.binance.com",
    routes: &[("public", "/public/stream"), ("market", "/market/stream")],
    streams: &[
        Stream { channel: Channel::Quote, route: 0, name: "bookTicker" },
        Stream { channel: Channel::Book, route: 0, name: "depth@100ms" },
        Stream { channel: Channel::Trade, route: 1, name: "aggTrade" },
        Stream { channel: Channel::Derivative, route: 1, name: "markPrice@1s" },
    ],
    depth: Depth::OneOf(1_000, &[5, 10, 20, 50, 100, 500, 1_000]),
    limits: Limits { messages: Rate::new(10, SECOND), weight: Rate::new(1_200, MINUTE), ..SPOT_LIMITS },
    verification: Verification { proof: Proof::Chain, ..VERIFICATION },
    make: |config| Box::new(Binance::new(Market::Usdm, config)),
};

/// The protocol of Binance.
#[derive(Debug)]
pub struct Binance {
    market: Market,
    config: VenueConfig,
    selection: Selection,
    normalizer: Normalizer,
    listed: BTreeMap<String, Listed>,
    /// The topics by the names of their streams.
    topics: HashMap<String, TopicId>,
    next_topic: u32,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Listed {
    definition: Instrument,
    topics: Vec<(String, TopicId)>,
}

impl Binance {
    /// Makes the protocol; the instruments come with the first list of them.
    pub fn new(market: Market, config: VenueConfig) -> Self {
        let mut normalizer = Normalizer::new(market, &[]);
        normalizer.snapshots_have(config.depth as usize);
        Self {
            selection: Selection::new(&config.symbols),
            normalizer,
            market,
            config,
            listed: BTreeMap::new(),
            topics: HashMap::new(),
            next_topic: 0,
            notes: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> String {
        let version = if self.market == Market::Spot { "/api/v3" } else { "/fapi/v1" };
        format!("{}{version}/{name}", self.config.rest_url)
    }

    /// Makes the topics of an instrument.
    fn subscribe_to(&mut self, symbol: &str, index: u32) -> Vec<Topic> {
        let mut topics = Vec::new();
        for channel in self.config.channels.clone() {
            let Some(Stream { route, name: stream, .. }) = row(self.market).stream(channel).copied() else {
                continue;
            };
            let name = format!("{}@{stream}", symbol.to_lowercase());
            let id = TopicId(self.next_topic);
            self.next_topic += 1;
            self.topics.insert(name.clone(), id);
            let silent_after = self.config.silent_after(channel);
            topics.push(Topic {
                id,
                route,
                batch: 0,
                name,
                index,
                symbol: symbol.to_owned(),
                channel,
                silent_after,
            });
            if stream == "aggTrade" {
                self.normalizer.use_aggregates(symbol);
            }
        }
        topics
    }

    fn end(&mut self, symbol: &str, events: &mut Vec<FeedEvent>, changes: &mut TopicChanges) {
        let Some(listed) = self.listed.remove(symbol) else { return };
        for (name, topic) in listed.topics {
            self.topics.remove(&name);
            changes.ended.push(topic);
        }
        if let Some(index) = self.normalizer.end(symbol) {
            events.push(FeedEvent::End { index });
        }
    }

    fn command(method: &str, id: u64, topics: &[&Topic]) -> String {
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        serde_json::json!({ "method": method, "params": names, "id": id }).to_string()
    }
}

impl Venue for Binance {
    fn terms(&self) -> &Terms {
        &self.config.terms
    }

    fn catalogue(&self) -> Call {
        match self.market {
            // What accounts may trade is of no use here, and most of the text.
            Market::Spot => Call { url: self.path("exchangeInfo?showPermissionSets=false"), weight: 20 },
            Market::Usdm | Market::Cm => Call { url: self.path("exchangeInfo"), weight: 1 },
        }
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let all = listings(body).map_err(|error| error.to_string())?;
        let is_wanted = |symbol: &str, status: &str| {
            self.selection.is_named(symbol) || self.selection.is_meant(symbol) && is_alive(status)
        };
        let count = all.len();
        let mut chosen: BTreeMap<String, Instrument> = BTreeMap::new();
        for mut listing in all {
            if self.market == Market::Spot {
                refine(&mut listing.definition);
            }
            let symbol = &listing.definition.symbol;
            // One that was chosen stays until it is not listed any more, whatever its state.
            if is_wanted(symbol, &listing.status) || self.listed.contains_key(symbol) {
                chosen.insert(symbol.clone(), listing.definition);
            }
        }
        if chosen.is_empty() {
            return Err(format!("none of its {count} symbols is one of {}", self.config.symbols.join(", ")));
        }
        let missing: Vec<_> =
            self.selection.names().filter(|name| !chosen.contains_key(*name)).map(str::to_owned).collect();
        if self.listed.is_empty() && !missing.is_empty() {
            self.notes.push(format!("{} does not list {}", self.config.terms.name, missing.join(", ")));
        }
        let mut changes = TopicChanges::default();
        let ended: Vec<_> =
            self.listed.keys().filter(|symbol| !chosen.contains_key(*symbol)).cloned().collect();
        for symbol in ended {
            self.end(&symbol, events, &mut changes);
        }
        for (symbol, definition) in chosen {
            if self.listed.get(&symbol).is_some_and(|listed| listed.definition == definition) {
                continue;
            }
            let index = self.normalizer.define(&definition);
            events.push(FeedEvent::Define { index, definition: definition.clone() });
            if let Some(listed) = self.listed.get_mut(&symbol) {
                listed.definition = definition;
                continue;
            }
            let added = self.subscribe_to(&symbol, index);
            let topics = added.iter().map(|topic| (topic.name.clone(), topic.id)).collect();
            self.listed.insert(symbol, Listed { definition, topics });
            changes.added.extend(added);
        }
        // The states of trading are in the same text.
        self.normalizer.message(receive_time, body, None, events).map_err(|error| error.to_string())?;
        Ok(changes)
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        Self::command("SUBSCRIBE", id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        Self::command("UNSUBSCRIBE", id, topics)
    }

    fn read(
        &mut self,
        _: Connection,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, String> {
        match Control::read(text)? {
            Control::Data(stream) => {
                // What was asked for before a symbol ended may come still.
                let Some(topic) = self.topics.get(&*stream).copied() else { return Ok(Said::Nothing) };
                let taken = self.normalizer.message(receive_time, text, None, events);
                taken.map_err(|error| format!("{stream}: {error}"))?;
                Ok(Said::Data(topic))
            }
            Control::Granted(id) => Ok(Said::Granted(id, None)),
            Control::Refused(id, reason) => Ok(Said::Refused(id, None, reason)),
            Control::Shutdown => Ok(Said::GoingDown),
            Control::Other => Ok(Said::Nothing),
        }
    }

    fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        self.normalizer.take_wanted()
    }

    fn snapshot(&self, index: u32) -> Option<Call> {
        let symbol = self.normalizer.name(index)?;
        let levels = self.config.depth;
        let weight = snapshot_weight(self.market, levels);
        Some(Call { url: self.path(&format!("depth?symbol={symbol}&limit={levels}")), weight })
    }

    fn take_snapshot(
        &mut self,
        index: u32,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<bool, String> {
        let symbol = self.normalizer.name(index).ok_or("the symbol is not listed any more")?.to_owned();
        self.normalizer
            .message(receive_time, body, Some(&symbol), events)
            .map_err(|error| format!("snapshot of {symbol}: {error}"))?;
        Ok(self.normalizer.need(index).is_none())
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        self.normalizer.supply(&topic.symbol, topic.channel, supply, receive_time, events);
    }

    fn refusal(&self, body: &str) -> String {
        refusal(body)
    }

    fn used_weight_header(&self) -> Option<&'static str> {
        Some("x-mbx-used-weight-1m")
    }

    fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.normalizer.take_notes());
        notes
    }
}

/// Returns the row of a market; coin-margined futures are taken as USD-margined ones.
fn row(market: Market) -> &'static Row {
    if market == Market::Spot { &SPOT } else { &USDM }
}

/// Returns the weight of a snapshot of so many levels.
fn snapshot_weight(market: Market, levels: u32) -> u32 {
    let weights: [(u32, u32); 4] = match market {
        Market::Spot => [(100, 5), (500, 25), (1_000, 50), (u32::MAX, 250)],
        Market::Usdm | Market::Cm => [(50, 2), (100, 5), (500, 10), (u32::MAX, 20)],
    };
    weights.iter().find(|(most, _)| levels <= *most).map_or(0, |(_, weight)| *weight)
}

/// Makes the scale of sizes as fine as spot writes them. Books hold sizes that are finer than the step that is announced
/// now, from when it was finer. What is sold by the piece stays so: there is so much of it that finer sizes would not fit.
fn refine(definition: &mut Instrument) {
    let more = SPOT_DECIMALS.saturating_sub(definition.size_decimals);
    if definition.size_decimals > 0 {
        definition.lot_size = definition.lot_size.saturating_mul(10u64.pow(more));
        definition.size_decimals += more;
    }
}

/// Returns whether a symbol in this state brings data, or will: spot lists what it stopped trading for ever as `BREAK`.
fn is_alive(status: &str) -> bool {
    !matches!(status, "BREAK" | "CLOSE" | "DELIVERED" | "SETTLING" | "PRE_SETTLE" | "END_OF_DAY")
}

#[cfg(test)]
mod tests;
