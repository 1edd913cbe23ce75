//! A client of a simulated venue: the real adapter, and a strict reading of what it says.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tickwire_feed::Clock;
use tickwire_feed::adapter::{Adapter as _, Fault, FeedEvent, Levels, MarketBody, MarketEvent, SourceState};
use tickwire_live::bitstamp::BITSTAMP;
use tickwire_live::coinbase::COINBASE;
use tickwire_live::kraken::KRAKEN;
use tickwire_live::okx::OKX;
use tickwire_live::row::{Row, VenueConfig};
use tickwire_live::simulator::{SimKind, SimVenue, SimVenueConfig};
use tickwire_live::venue::{Proof, Venue};
use tickwire_live::{LiveAdapter, Timings, binance, bybit};
use tickwire_net::Backoff;
use tickwire_wire::{Channel, Level, Trade};
use tokio::time::{Instant, timeout};

/// The time that a condition has; reaching it is a failure, whatever the machine does.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time for which a market stops at most, and how often it does.
const STOP: Duration = Duration::from_secs(2);
const STOPS_MAX: usize = 15;
/// The time after which a subscription that brings nothing is told.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// The entries of each kind that [`Client::forget_old`] keeps.
const KEPT: usize = 32;

/// The time after which a book that nothing proves is compared with a snapshot.
const COMPARE_AFTER: Duration = Duration::from_secs(1);

/// Starts a venue that is quick.
pub(crate) async fn venue(kind: SimKind) -> SimVenue {
    venue_with(quick(kind)).await
}

pub(crate) async fn venue_with(config: SimVenueConfig) -> SimVenue {
    SimVenue::start(config).await.unwrap()
}

pub(crate) fn quick(kind: SimKind) -> SimVenueConfig {
    SimVenueConfig {
        kind,
        instruments: 4,
        events_per_second: 2_000.0,
        flush_every: Duration::from_millis(20),
        ping_every: Duration::from_millis(400),
        ..SimVenueConfig::default()
    }
}

/// Returns the symbols that tests subscribe to.
pub(crate) fn symbols(kind: SimKind) -> [&'static str; 3] {
    match kind {
        SimKind::Binance | SimKind::BinanceUsdm | SimKind::Bybit | SimKind::BybitLinear => {
            ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        }
        SimKind::Bitstamp => ["BTCUSD", "ETHUSD", "SOLUSD"],
        SimKind::Kraken => ["BTC/USD", "ETH/USD", "SOL/USD"],
        SimKind::Coinbase => ["BTC-USD", "ETH-USD", "SOL-USD"],
        SimKind::Okx => ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
    }
}

/// Returns the name of the stream of the second symbol's book.
pub(crate) fn book_stream(kind: SimKind) -> &'static str {
    match kind {
        SimKind::Binance | SimKind::BinanceUsdm => "ethusdt@depth@100ms",
        SimKind::Bybit | SimKind::BybitLinear => "orderbook ETHUSDT",
        SimKind::Bitstamp => "diff_order_book ETHUSD",
        SimKind::Kraken => "book ETH/USD",
        SimKind::Coinbase => "level2 ETH-USD",
        SimKind::Okx => "books ETH-USDT",
    }
}

/// Returns the facts of a venue.
pub(crate) fn row(kind: SimKind) -> &'static Row {
    match kind {
        SimKind::Binance => &binance::SPOT,
        SimKind::BinanceUsdm => &binance::USDM,
        SimKind::Bitstamp => &BITSTAMP,
        SimKind::Bybit => &bybit::SPOT,
        SimKind::BybitLinear => &bybit::LINEAR,
        SimKind::Coinbase => &COINBASE,
        SimKind::Kraken => &KRAKEN,
        SimKind::Okx => &OKX,
    }
}

/// Returns whether a venue has streams of a channel.
pub(crate) fn has(kind: SimKind, channel: Channel) -> bool {
    row(kind).streams.iter().any(|stream| stream.channel == channel)
}

/// Returns whether the trades of a venue have numbers without holes.
pub(crate) fn numbers_trades(kind: SimKind) -> bool {
    !matches!(kind, SimKind::Bitstamp | SimKind::Bybit | SimKind::BybitLinear)
}

/// Returns the configuration of a simulated venue.
pub(crate) fn config(kind: SimKind, venue: &SimVenue) -> VenueConfig {
    let symbols = symbols(kind).map(str::to_owned);
    let mut config = row(kind).config(&venue.stream_url(), &venue.rest_url(), &symbols);
    config.silent_after = SILENT_AFTER;
    config.compare_after = COMPARE_AFTER;
    // Tests read the list of instruments once a second, and lose connections often.
    config.terms.limits.weight.count = config.terms.limits.weight.count.max(100);
    config.terms.limits.connects.count = config.terms.limits.connects.count.max(20);
    config
}

pub(crate) fn timings() -> Timings {
    let ms = Duration::from_millis;
    Timings {
        ping_after: ms(400),
        pong_within: ms(400),
        reconnect: Backoff::new(ms(20), ms(200)),
        retry: Backoff::new(ms(50), ms(200)),
        refused: Backoff::new(ms(200), ms(400)),
        catalogue_every: ms(1_000),
        ..Timings::default()
    }
}

/// The state of a symbol, as a client of ours would know it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The book; none while it is broken.
    pub(crate) book: Option<(BTreeMap<i64, u64>, BTreeMap<i64, u64>)>,
    /// Whether the quote is current.
    pub(crate) has_quote: bool,
    pub(crate) has_derivative: bool,
    pub(crate) last_trade: u64,
    pub(crate) trades: u64,
    pub(crate) gaps: Vec<(Channel, Option<u64>)>,
    pub(crate) snapshots: u64,
    /// The reason of the last status.
    pub(crate) status: String,
    /// The reasons so far.
    pub(crate) statuses: Vec<String>,
    /// The units of a size here that are one of the venue's: scales may be finer here.
    unit: u64,
    /// The same of a price.
    pub(crate) price_unit: i64,
}

impl Known {
    pub(crate) fn levels(&self) -> Option<Levels> {
        let (bids, asks) = self.book.as_ref()?;
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        Some(Levels { bids: bids.iter().rev().map(level).collect(), asks: asks.iter().map(level).collect() })
    }

    pub(crate) fn gaps_on(&self, channel: Channel) -> usize {
        self.gaps.iter().filter(|(gap, _)| *gap == channel).count()
    }

    fn is_live(&self, has_quotes: bool, has_derivatives: bool) -> bool {
        let is_complete = self.has_quote == has_quotes && self.has_derivative == has_derivatives;
        self.book.is_some() && self.trades > 0 && is_complete
    }
}

/// The part of a book that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// So many of the best levels.
    Top(usize),
    /// As many as are known.
    Known,
}

/// The adapter under test.
pub(crate) struct Client<'v> {
    venue: &'v SimVenue,
    has_quotes: bool,
    has_derivatives: bool,
    view: View,
    /// The proof of the books: where there is none, one may be wrong until it is compared.
    proof: Proof,
    /// Whether the numbers of trades have no holes.
    numbers_trades: bool,
    pub(crate) adapter: LiveAdapter<Box<dyn Venue>>,
    names: HashMap<u32, String>,
    pub(crate) known: BTreeMap<String, Known>,
    pub(crate) state: Option<SourceState>,
    /// The states of the source so far.
    pub(crate) states: Vec<SourceState>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) repeats: u64,
    /// The time that a condition has.
    pub(crate) patience: Duration,
}

impl<'v> Client<'v> {
    pub(crate) fn new(venue: &'v SimVenue, kind: SimKind) -> Self {
        Self::configured(venue, kind, config(kind, venue))
    }

    pub(crate) fn configured(venue: &'v SimVenue, kind: SimKind, config: VenueConfig) -> Self {
        let view = View::Top(match kind {
            SimKind::Kraken | SimKind::Bybit | SimKind::BybitLinear => config.depth as usize,
            _ => usize::MAX,
        });
        // Where a venue has no quotes, they are derived from the book, by the ingester.
        let has = |channel: Channel| config.channels.contains(&channel);
        let has = (has(Channel::Quote), has(Channel::Derivative));
        let client = Self::with(venue, (row(kind).make)(config), has, view);
        let proof = row(kind).verification.proof;
        Self { numbers_trades: numbers_trades(kind), proof, ..client }
    }

    /// Makes a client of a venue whose snapshots have fewer levels than the books.
    pub(crate) fn shallow(venue: &'v SimVenue, kind: SimKind, config: VenueConfig) -> Self {
        Self { view: View::Known, ..Self::configured(venue, kind, config) }
    }

    fn with(
        venue: &'v SimVenue,
        protocol: Box<dyn Venue>,
        (has_quotes, has_derivatives): (bool, bool),
        view: View,
    ) -> Self {
        let adapter = LiveAdapter::new(protocol, timings(), Clock::system());
        Self {
            venue,
            has_quotes,
            has_derivatives,
            view,
            proof: Proof::Chain,
            numbers_trades: true,
            adapter,
            names: HashMap::new(),
            known: BTreeMap::new(),
            state: None,
            states: Vec::new(),
            faults: Vec::new(),
            repeats: 0,
            patience: PATIENCE,
        }
    }

    /// Forgets what was told long ago, so that a client of hours stays as small as one of seconds.
    pub(crate) fn forget_old(&mut self) {
        let old = |count: usize| ..count.saturating_sub(KEPT);
        self.states.drain(old(self.states.len()));
        self.faults.drain(old(self.faults.len()));
        for known in self.known.values_mut() {
            known.gaps.drain(old(known.gaps.len()));
            known.statuses.drain(old(known.statuses.len()));
        }
    }

    /// Reads until a condition holds.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        let (at, what) = (std::panic::Location::caller(), what.to_owned());
        async move {
            let deadline = Instant::now() + self.patience;
            let mut events = Vec::new();
            while !holds(self) {
                // The ingester drops the future at every heartbeat and request.
                let next = timeout(Duration::from_millis(3), self.adapter.next(&mut events)).await;
                if let Ok(next) = next {
                    next.unwrap();
                }
                for event in events.drain(..) {
                    self.take(event);
                }
                assert!(
                    Instant::now() < deadline,
                    "{at}: {what} did not come: {:?} {:?} {:?} {:?} {:?}",
                    self.state,
                    self.adapter.counts(),
                    self.venue.report(),
                    self.faults,
                    self.known
                        .values()
                        .map(|known| (
                            known.levels().map(|it| it.bids.len()),
                            &known.status,
                            &known.gaps,
                            known.trades
                        ))
                        .collect::<Vec<_>>(),
                );
            }
        }
    }

    /// Reads until everything of all symbols is live.
    pub(crate) async fn until_live(&mut self) {
        self.until("everything live", Self::is_live).await;
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == Some(SourceState::Live)
            && self.known.len() == 3
            && self.known.values().all(|known| known.is_live(self.has_quotes, self.has_derivatives))
    }

    /// Lets the market go on for some changes of each book, stops it, and reads until every book is the venue's. What an old
    /// snapshot made is found out by the next change alone, so the market goes on once more where a book is another one.
    pub(crate) async fn until_right(&mut self) {
        for _ in 0..STOPS_MAX {
            self.until_live().await;
            let before: Vec<_> = self.known.values().map(|known| known.trades).collect();
            self.until("more trades", |client| {
                client.known.values().zip(&before).all(|(known, before)| known.trades > *before)
            })
            .await;
            self.venue.pause();
            let stopped = Instant::now();
            self.until("a word", |client| client.is_right() || stopped.elapsed() > STOP).await;
            let is_right = self.is_right();
            self.venue.resume();
            if is_right {
                return;
            }
        }
        panic!("the books are not the venue's: {:?}", self.adapter.counts());
    }

    /// Returns the venue's book, as deep as it is known.
    fn true_book(&self, symbol: &str, known: &Levels) -> Levels {
        let mut book = self.venue.book(symbol);
        let (bids, asks) = match self.view {
            View::Top(depth) => (depth, depth),
            // A side of which nothing is known is no book.
            View::Known => (known.bids.len().max(1), known.asks.len().max(1)),
        };
        book.bids.truncate(bids);
        book.asks.truncate(asks);
        book
    }

    fn is_right(&self) -> bool {
        self.known.iter().all(|(symbol, known)| {
            known.levels().is_some_and(|levels| levels == self.true_book(symbol, &levels))
                && known.last_trade == self.venue.last_trade(symbol)
        })
    }

    fn take(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Define { index, definition } => {
                let (prices, sizes) = self.venue.decimals(&definition.symbol);
                let price_unit = 10i64.pow(definition.price_decimals - prices);
                let unit = 10u64.pow(definition.size_decimals - sizes);
                // One that is defined anew has another scale, and begins anew.
                let known = Known { unit, price_unit, ..Known::default() };
                let before = self.known.insert(definition.symbol.clone(), known);
                assert!(before.is_none_or(|before| before.price_unit != price_unit), "{definition:?} twice");
                self.names.insert(index, definition.symbol);
            }
            FeedEvent::End { index } => {
                let name = self.names.remove(&index).expect("it was defined");
                self.known.remove(&name);
            }
            FeedEvent::Market(event) => self.market(event),
            FeedEvent::Source(state) => {
                if let SourceState::Stale { .. } = state {
                    for (symbol, known) in &self.known {
                        assert!(known.book.is_none() && !known.has_quote, "{symbol} looks live: {known:?}");
                    }
                }
                self.state = Some(state.clone());
                self.states.push(state);
            }
            FeedEvent::Fault(fault) => self.faults.push(fault),
            FeedEvent::Repeat => self.repeats += 1,
        }
    }

    /// Takes an event. Nothing is live that is not: each book was the venue's, and each trade follows the one before or a
    /// gap that says how many are missing.
    fn market(&mut self, event: MarketEvent) {
        let symbol = &self.names[&event.index];
        let known = self.known.get_mut(symbol).expect("it is defined");
        match event.body {
            MarketBody::BookSnapshot(levels) => {
                let (unit, price_unit) = (known.unit, known.price_unit);
                let level = |level: &Level| (level.price / price_unit, level.size / unit);
                let side = |levels: &[Level]| levels.iter().map(level).collect();
                known.book = Some((side(&levels.bids), side(&levels.asks)));
                known.snapshots += 1;
            }
            MarketBody::BookDelta(levels) => {
                let Some((bids, asks)) = &mut known.book else { panic!("{symbol}: a change of no book") };
                for (side, levels) in [(bids, levels.bids), (asks, levels.asks)] {
                    for Level { price, size } in levels {
                        let price = price / known.price_unit;
                        if size == 0 {
                            side.remove(&price);
                        } else {
                            side.insert(price, size / known.unit);
                        }
                    }
                }
            }
            MarketBody::Trade(trade) => {
                let id = number(&trade);
                let missing = known.gaps.last().filter(|(channel, _)| *channel == Channel::Trade);
                let follows = match missing {
                    _ if known.last_trade == 0 => true,
                    _ if !self.numbers_trades => true,
                    Some((_, Some(count))) if id == known.last_trade + count + 1 => true,
                    Some((_, None)) if id < known.last_trade => true,
                    _ => id == known.last_trade + 1,
                };
                assert!(follows, "{symbol}: trade {id} after {}, {:?}", known.last_trade, known.gaps);
                known.last_trade = id;
                known.trades += 1;
            }
            MarketBody::Quote(_) => known.has_quote = true,
            MarketBody::Derivative(_) => known.has_derivative = true,
            MarketBody::Status(status) => {
                known.statuses.push(status.reason.clone());
                known.status = status.reason;
            }
            MarketBody::UpstreamGap { channel, count } => {
                match channel {
                    Channel::Book => assert!(known.book.take().is_some(), "{symbol}: a gap of no book"),
                    Channel::Quote => known.has_quote = false,
                    Channel::Derivative => known.has_derivative = false,
                    _ => {}
                }
                known.gaps.push((channel, count));
            }
        }
        if let Some(levels) =
            known.levels().filter(|_| self.proof != Proof::Nothing && self.view != View::Known)
        {
            assert!(self.venue.was_true(symbol, &levels), "{symbol}: the venue never had this book");
        }
    }
}

/// Returns the number that a simulated venue gave a trade, where it stands in its name, too.
fn number(trade: &Trade) -> u64 {
    match trade.id_text.rsplit_once('-') {
        Some((_, digits)) => u64::from_str_radix(digits, 16).unwrap(),
        None => trade.id % 10_000_000_000_000_000,
    }
}
