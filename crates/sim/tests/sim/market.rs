//! A market that moves by chance, and the ingester that carries it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tickwire_bus::{Backplane, MemoryBus};
use tickwire_feed::adapter::{
    Adapter, AdapterError, FeedEvent, Flow, Levels, MarketBody, MarketEvent, SourceState,
};
use tickwire_feed::{Clock, IngestConfig, Ingester};
use tickwire_wire::{Channel, Encoding, Instrument, Level, Quote, Side, Status, Trade, TradingState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::VENUE;
use crate::rng::SeededRng;

/// The most events that wait for the ingester.
const EVENTS_MAX: usize = 4096;
const LEVELS: i64 = 6;
const BYSTANDERS_FROM: usize = 1_000;

#[derive(Debug)]
struct Instruments {
    decimals: u32,
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
    trades: u64,
    /// Whether the source lost its place: the next that is said of the book is a snapshot.
    is_book_broken: bool,
}

impl Default for Instruments {
    fn default() -> Self {
        let (bids, asks) = Default::default();
        Self { decimals: 2, bids, asks, trades: 0, is_book_broken: false }
    }
}

/// A run of an ingester that listens to the market.
struct Run {
    epoch: u64,
    /// The error of its host's clock, in nanoseconds.
    skew: i64,
    /// The symbols that it has.
    listed: BTreeSet<usize>,
    events: mpsc::Sender<FeedEvent>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// The market, and whoever listens to it now.
pub(crate) struct Market {
    rng: SeededRng,
    instruments: Vec<Instruments>,
    encoding: Encoding,
    bus: MemoryBus,
    runs: Vec<Run>,
    /// The times at which runs ended, by epoch; in milliseconds.
    ended: HashMap<u64, u64>,
    /// The symbols that the venue does not list now.
    unlisted: BTreeSet<usize>,
    is_source_stale: bool,
    /// The share of event times that are wrong, in percent.
    pub(crate) wild_percent: u64,
    /// The symbols that nobody subscribes to: with them a catalogue is longer than a small message.
    bystanders: usize,
}

struct Source(mpsc::Receiver<FeedEvent>);

impl Adapter for Source {
    fn venue(&self) -> &str {
        VENUE
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        match self.0.recv().await {
            Some(event) => events.push(event),
            None => std::future::pending().await,
        }
        while let Ok(event) = self.0.try_recv() {
            events.push(event);
        }
        Ok(Flow::More)
    }
}

fn definition(symbol: usize, price_decimals: u32) -> Instrument {
    Instrument { symbol: crate::symbol(symbol), price_decimals, size_decimals: 3, ..Instrument::default() }
}

impl Market {
    pub(crate) fn new(seed: u64, instruments: usize, bystanders: usize, bus: MemoryBus) -> Self {
        let mut rng = SeededRng::new(seed);
        let encoding = rng.pick(&[Encoding::Proto, Encoding::MsgPack]);
        let instruments = (0..instruments).map(|_| Instruments::default()).collect();
        Self {
            rng,
            instruments,
            encoding,
            bus,
            runs: Vec::new(),
            ended: HashMap::new(),
            unlisted: BTreeSet::new(),
            is_source_stale: false,
            wild_percent: 0,
            bystanders,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Returns when a run ended, if it did.
    pub(crate) fn ended_at(&self, epoch: u64) -> Option<u64> {
        self.ended.get(&epoch).copied()
    }

    /// Returns the time by which the clock of a run is ahead, in nanoseconds.
    pub(crate) fn skew(&self, epoch: u64) -> Option<i64> {
        self.runs.iter().find(|run| run.epoch == epoch).map(|run| run.skew)
    }

    /// Returns the epoch of the one ingester that there is.
    pub(crate) fn only_epoch(&self) -> u64 {
        assert_eq!(self.runs.len(), 1);
        self.runs[0].epoch
    }

    /// Starts an ingester with all that the venue lists.
    pub(crate) fn start(&mut self, now: u64) {
        self.is_source_stale = false;
        self.begin((0..self.instruments.len()).collect(), now);
    }

    /// Starts a second ingester, with some symbols, which it knows in another order. Returns whether there is room for
    /// it.
    pub(crate) fn overlap(&mut self, now: u64) -> bool {
        if self.runs.len() != 1 {
            return false;
        }
        let mut symbols: Vec<_> = (0..self.instruments.len()).rev().collect();
        symbols.retain(|_| self.rng.percent(75));
        self.begin(symbols, now);
        true
    }

    /// Begins a run. Epochs have no order, and hosts have wrong clocks.
    fn begin(&mut self, symbols: Vec<usize>, now: u64) {
        let (events, source) = mpsc::channel(EVENTS_MAX);
        let epoch = self.rng.below(1 << 60) + 1;
        let skew = self.rng.pick(&[0, 0, -20, 20, -3_600, 3_600]) * 1_000_000_000;
        let config = IngestConfig {
            epoch: Some(epoch),
            encoding: self.encoding,
            clock: Clock::starting_at(now.saturating_add_signed(skew)),
            ..IngestConfig::default()
        };
        let ingester =
            Ingester::new(config, Source(source), Arc::new(self.bus.clone()) as Arc<dyn Backplane>);
        let shutdown = CancellationToken::new();
        let run = ingester.run(shutdown.clone());
        let task = tokio::spawn(async move {
            run.await.expect("the ingester runs");
        });
        let at = self.runs.len();
        self.runs.push(Run { epoch, skew, listed: BTreeSet::new(), events, shutdown, task });
        self.say_to(at, FeedEvent::Source(SourceState::Live));
        for bystander in BYSTANDERS_FROM..BYSTANDERS_FROM + self.bystanders {
            self.say_to(
                at,
                FeedEvent::Define { index: bystander as u32, definition: definition(bystander, 2) },
            );
        }
        for symbol in symbols {
            if !self.unlisted.contains(&symbol) {
                self.define(at, symbol, now);
            }
        }
        if self.is_source_stale {
            self.set_source_stale(true);
        }
    }

    /// Ends one of the ingesters, with or without its last words.
    pub(crate) fn stop(&mut self, now_ms: u64, in_good_order: bool) {
        if self.runs.is_empty() {
            return;
        }
        let at = self.rng.index(self.runs.len());
        let run = self.runs.remove(at);
        self.ended.insert(run.epoch, now_ms);
        if in_good_order {
            run.shutdown.cancel();
        } else {
            run.task.abort();
        }
    }

    /// Ends one of two ingesters.
    pub(crate) fn end_overlap(&mut self, now_ms: u64, in_good_order: bool) {
        if self.runs.len() > 1 {
            self.stop(now_ms, in_good_order);
        }
    }

    pub(crate) fn add_instrument(&mut self, now: u64) {
        self.instruments.push(Instruments::default());
        let symbol = self.instruments.len() - 1;
        for at in 0..self.runs.len() {
            self.define(at, symbol, now);
        }
    }

    /// Takes a symbol off the venue's list.
    pub(crate) fn unlist(&mut self, symbol: usize) {
        self.unlisted.insert(symbol);
        for at in 0..self.runs.len() {
            if self.runs[at].listed.remove(&symbol) {
                self.say_to(at, FeedEvent::End { index: symbol as u32 });
            }
        }
    }

    /// Lists a symbol anew, as something else perhaps.
    pub(crate) fn list(&mut self, symbol: usize, now: u64) {
        if !self.unlisted.remove(&symbol) {
            return;
        }
        self.instruments[symbol].decimals = self.rng.pick(&[2, 2, 3]);
        for at in 0..self.runs.len() {
            self.define(at, symbol, now);
        }
    }

    fn define(&mut self, at: usize, symbol: usize, now: u64) {
        let definition = definition(symbol, self.instruments[symbol].decimals);
        self.say_to(at, FeedEvent::Define { index: symbol as u32, definition });
        self.runs[at].listed.insert(symbol);
        if self.rng.percent(80) {
            let body = self.levels(symbol);
            self.market_to(at, symbol, now, body);
        }
        if self.rng.percent(80) {
            self.market_to(at, symbol, now, MarketBody::Status(status(TradingState::Open)));
        }
    }

    fn say_to(&mut self, at: usize, event: FeedEvent) {
        self.runs[at].events.try_send(event).expect("the ingester keeps up");
    }

    fn market(&mut self, symbol: usize, now: u64, body: &MarketBody) {
        for at in 0..self.runs.len() {
            self.market_to(at, symbol, now, body.clone());
        }
    }

    fn market_to(&mut self, at: usize, symbol: usize, now: u64, body: MarketBody) {
        if !self.runs[at].listed.contains(&symbol) {
            return;
        }
        let receive_time = now.saturating_add_signed(self.runs[at].skew);
        let event_time = if self.rng.percent(self.wild_percent) {
            self.rng.pick(&[receive_time + 3_600_000_000_000, receive_time / 1_000, u64::MAX, 0])
        } else {
            receive_time - self.rng.below(1_000_000)
        };
        let event = MarketEvent { index: symbol as u32, event_time, receive_time, body };
        self.say_to(at, FeedEvent::Market(event));
    }

    /// Makes a few things happen.
    pub(crate) fn step(&mut self, now: u64) {
        for _ in 0..self.rng.range(1, 6) {
            let at = self.rng.index(self.instruments.len());
            let price = 10_000 + self.rng.below(200) as i64;
            match self.rng.below(20) {
                0..=6 => {
                    let level = |price| Some(Level { price, size: 1 + price as u64 % 7 });
                    let quote = Quote { bid: level(price), ask: level(price + 1) };
                    self.market(at, now, &MarketBody::Quote(quote));
                }
                7..=11 => {
                    let instrument = &mut self.instruments[at];
                    instrument.trades += 1;
                    let (id, size) = (instrument.trades, 1 + self.rng.below(9));
                    let side = self.rng.pick(&[Side::Buy, Side::Sell]);
                    let trade = Trade { price, size, aggressor: side.into(), id, ..Trade::default() };
                    self.market(at, now, &MarketBody::Trade(trade));
                }
                12 if self.rng.percent(20) => {
                    let state = self.rng.pick(&[TradingState::Open, TradingState::Halted]);
                    self.market(at, now, &MarketBody::Status(status(state)));
                }
                13 if self.rng.percent(20) => self.snapshot(at, now),
                _ if self.instruments[at].is_book_broken => {
                    if self.rng.percent(10) {
                        self.snapshot(at, now);
                    }
                }
                _ => self.change(at, now),
            }
        }
    }

    fn change(&mut self, at: usize, now: u64) {
        let (offset, size) = (self.rng.below(LEVELS as u64) as i64, self.rng.below(4));
        let is_bid = self.rng.percent(50);
        let price = if is_bid { 10_000 - offset } else { 10_001 + offset };
        let instrument = &mut self.instruments[at];
        let side = if is_bid { &mut instrument.bids } else { &mut instrument.asks };
        if size == 0 {
            side.remove(&price);
        } else {
            side.insert(price, size);
        }
        let level = vec![Level { price, size }];
        let mut levels = Levels::default();
        if is_bid {
            levels.bids = level;
        } else {
            levels.asks = level;
        }
        self.market(at, now, &MarketBody::BookDelta(levels));
    }

    fn snapshot(&mut self, at: usize, now: u64) {
        self.instruments[at].is_book_broken = false;
        let body = self.levels(at);
        self.market(at, now, &body);
    }

    fn levels(&self, at: usize) -> MarketBody {
        let instrument = &self.instruments[at];
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        let bids = instrument.bids.iter().rev().map(level).collect();
        let asks = instrument.asks.iter().map(level).collect();
        MarketBody::BookSnapshot(Levels { bids, asks })
    }

    /// Makes the source lose events.
    pub(crate) fn lose(&mut self, now: u64) {
        let at = self.rng.index(self.instruments.len());
        let channel = self.rng.pick(&[Channel::Trade, Channel::Book, Channel::Quote, Channel::Status]);
        let count = self.rng.percent(50).then(|| self.rng.range(1, 5));
        self.instruments[at].is_book_broken |= channel == Channel::Book;
        self.market(at, now, &MarketBody::UpstreamGap { channel, count });
    }

    pub(crate) fn set_source_stale(&mut self, is_stale: bool) {
        self.is_source_stale = is_stale;
        for at in 0..self.runs.len() {
            let reason = "the venue is silent".to_owned();
            let state = if is_stale { SourceState::Stale { reason } } else { SourceState::Live };
            self.say_to(at, FeedEvent::Source(state));
        }
    }

    /// Heals the market: one ingester has everything from here on.
    pub(crate) fn heal(&mut self, now_ms: u64, now: u64) {
        self.wild_percent = 0;
        while self.runs.len() > 1 {
            self.stop(now_ms, false);
        }
        if self.runs.is_empty() {
            self.start(now);
        }
        if self.is_source_stale {
            self.set_source_stale(false);
        }
        for symbol in 0..self.instruments.len() {
            self.unlisted.remove(&symbol);
            if !self.runs[0].listed.contains(&symbol) {
                self.define(0, symbol, now);
            }
            self.snapshot(symbol, now);
        }
    }
}

fn status(state: TradingState) -> Status {
    Status { state: state.into(), reason: String::new() }
}
