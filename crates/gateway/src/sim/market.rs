//! A market that moves by chance, and the ingester that carries it.

use std::collections::BTreeMap;
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

use super::dice::Dice;
use super::{VENUE, symbol};

/// Events that wait for the ingester.
const EVENTS_MAX: usize = 4096;
const LEVELS: i64 = 6;

#[derive(Debug, Default)]
struct Instruments {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
    trades: u64,
    /// The source lost its place: the next that is said of the book is a snapshot.
    is_book_broken: bool,
}

/// The market, and whoever listens to it now.
pub(super) struct Market {
    dice: Dice,
    instruments: Vec<Instruments>,
    encoding: Encoding,
    bus: MemoryBus,
    ingester: Option<(mpsc::Sender<FeedEvent>, CancellationToken, JoinHandle<()>)>,
    is_source_stale: bool,
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

impl Market {
    pub(super) fn new(seed: u64, instruments: usize, bus: MemoryBus) -> Self {
        let mut dice = Dice::new(seed);
        let encoding = dice.pick(&[Encoding::Proto, Encoding::MsgPack]);
        let instruments = (0..instruments).map(|_| Instruments::default()).collect();
        Self { dice, instruments, encoding, bus, ingester: None, is_source_stale: false }
    }

    pub(super) fn is_up(&self) -> bool {
        self.ingester.is_some()
    }

    /// Another ingester, with a numbering of its own.
    pub(super) fn start(&mut self, now: u64) {
        let (events, source) = mpsc::channel(EVENTS_MAX);
        let config = IngestConfig {
            encoding: self.encoding,
            clock: Clock::starting_at(now),
            ..IngestConfig::default()
        };
        let ingester =
            Ingester::new(config, Source(source), Arc::new(self.bus.clone()) as Arc<dyn Backplane>);
        let shutdown = CancellationToken::new();
        let run = ingester.run(shutdown.clone());
        let task = tokio::spawn(async move {
            run.await.expect("the ingester runs");
        });
        self.ingester = Some((events, shutdown, task));
        self.is_source_stale = false;
        self.say(FeedEvent::Source(SourceState::Live));
        for at in 0..self.instruments.len() {
            self.define(at, now);
        }
    }

    /// With or without its last words.
    pub(super) fn stop(&mut self, in_good_order: bool) {
        let Some((_, shutdown, task)) = self.ingester.take() else { return };
        if in_good_order {
            shutdown.cancel();
        } else {
            task.abort();
        }
    }

    pub(super) fn add_instrument(&mut self, now: u64) {
        self.instruments.push(Instruments::default());
        self.define(self.instruments.len() - 1, now);
    }

    fn define(&mut self, at: usize, now: u64) {
        let definition =
            Instrument { symbol: symbol(at), price_decimals: 2, size_decimals: 3, ..Instrument::default() };
        self.say(FeedEvent::Define { index: at as u32, definition });
        if self.dice.percent(80) {
            self.snapshot(at, now);
        }
        if self.dice.percent(80) {
            self.market(at, now, MarketBody::Status(status(TradingState::Open)));
        }
    }

    fn say(&mut self, event: FeedEvent) {
        if let Some((events, ..)) = &self.ingester {
            events.try_send(event).expect("the ingester keeps up");
        }
    }

    fn market(&mut self, at: usize, now: u64, body: MarketBody) {
        let event_time = now - self.dice.below(1_000_000);
        self.say(FeedEvent::Market(MarketEvent { index: at as u32, event_time, receive_time: now, body }));
    }

    /// A few things happen.
    pub(super) fn step(&mut self, now: u64) {
        for _ in 0..self.dice.range(1, 6) {
            let at = self.dice.index(self.instruments.len());
            let price = 10_000 + self.dice.below(200) as i64;
            match self.dice.below(20) {
                0..=6 => {
                    let level = |price| Some(Level { price, size: 1 + price as u64 % 7 });
                    let quote = Quote { bid: level(price), ask: level(price + 1) };
                    self.market(at, now, MarketBody::Quote(quote));
                }
                7..=11 => {
                    let instrument = &mut self.instruments[at];
                    instrument.trades += 1;
                    let (id, size) = (instrument.trades, 1 + self.dice.below(9));
                    let side = self.dice.pick(&[Side::Buy, Side::Sell]);
                    let trade = Trade { price, size, aggressor: side.into(), id, ..Trade::default() };
                    self.market(at, now, MarketBody::Trade(trade));
                }
                12 if self.dice.percent(20) => {
                    let state = self.dice.pick(&[TradingState::Open, TradingState::Halted]);
                    self.market(at, now, MarketBody::Status(status(state)));
                }
                13 if self.dice.percent(20) => self.snapshot(at, now),
                _ if self.instruments[at].is_book_broken => {
                    if self.dice.percent(10) {
                        self.snapshot(at, now);
                    }
                }
                _ => self.change(at, now),
            }
        }
    }

    fn change(&mut self, at: usize, now: u64) {
        let (offset, size) = (self.dice.below(LEVELS as u64) as i64, self.dice.below(4));
        let is_bid = self.dice.percent(50);
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
        self.market(at, now, MarketBody::BookDelta(levels));
    }

    fn snapshot(&mut self, at: usize, now: u64) {
        let instrument = &mut self.instruments[at];
        instrument.is_book_broken = false;
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        let bids = instrument.bids.iter().rev().map(level).collect();
        let asks = instrument.asks.iter().map(level).collect();
        self.market(at, now, MarketBody::BookSnapshot(Levels { bids, asks }));
    }

    /// The source loses events.
    pub(super) fn lose(&mut self, now: u64) {
        let at = self.dice.index(self.instruments.len());
        let channel = self.dice.pick(&[Channel::Trade, Channel::Book, Channel::Quote, Channel::Status]);
        let count = self.dice.percent(50).then(|| self.dice.range(1, 5));
        self.instruments[at].is_book_broken |= channel == Channel::Book;
        self.market(at, now, MarketBody::UpstreamGap { channel, count });
    }

    pub(super) fn set_source_stale(&mut self, is_stale: bool) {
        self.is_source_stale = is_stale;
        let reason = "the venue is silent".to_owned();
        self.say(FeedEvent::Source(if is_stale { SourceState::Stale { reason } } else { SourceState::Live }));
    }

    /// All is well from here on.
    pub(super) fn heal(&mut self, now: u64) {
        if self.ingester.is_none() {
            self.start(now);
        }
        if self.is_source_stale {
            self.set_source_stale(false);
        }
        for at in 0..self.instruments.len() {
            self.snapshot(at, now);
        }
    }
}

fn status(state: TradingState) -> Status {
    Status { state: state.into(), reason: String::new() }
}
