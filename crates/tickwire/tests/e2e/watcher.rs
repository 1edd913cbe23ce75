//! A client that writes down everything that it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use tickwire_client::wire::{Body, Channel, Encoding, FeedState};
use tickwire_client::{Client, Event, GapEvent, NoticedBy, State};

/// Everything that a client was told of one symbol.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Number to id, price, size, whether a seller took liquidity; of the sequence in force last.
    pub(crate) trades: BTreeMap<u64, (u64, i64, u64, bool)>,
    /// Last number before the subscription.
    pub(crate) trades_before: u64,
    pub(crate) trade_gaps: Vec<GapEvent>,
    pub(crate) all_gaps: Vec<GapEvent>,
    pub(crate) quote_numbers: Vec<u64>,
    pub(crate) last_quote: Option<tickwire_client::wire::Quote>,
    pub(crate) epoch: u64,
    pub(crate) epochs: Vec<u64>,
    pub(crate) connections: usize,
    /// The reasons of the ends of connections.
    pub(crate) ends: Vec<String>,
    pub(crate) books_broken: usize,
    pub(crate) decimals: (u32, u32),
    pub(crate) bids: Vec<(i64, u64)>,
    pub(crate) asks: Vec<(i64, u64)>,
    pub(crate) book_live: bool,
    pub(crate) feed_states: Vec<FeedState>,
    pub(crate) is_feed_live: bool,
    /// The ingester said that it is done.
    pub(crate) is_stopped: bool,
}

impl Seen {
    /// Checks that every number of the trade channel since the subscription was delivered once or announced, in this
    /// sequence.
    pub(crate) fn assert_contiguous(&self) {
        let mut expected = self.trades_before + 1;
        let mut announced: Vec<_> =
            self.trade_gaps.iter().filter_map(|gap| Some((gap.first, gap.last?))).collect();
        announced.sort_unstable();
        for number in self.trades.keys() {
            while expected < *number {
                let gap = announced.iter().find(|(first, last)| (*first..=*last).contains(&expected));
                let Some((_, last)) = gap else { panic!("trade {expected} neither came nor was announced") };
                expected = last + 1;
            }
            if *number == expected {
                expected += 1;
            }
        }
        let unannounced = self.all_gaps.iter().filter(|gap| gap.noticed_by == NoticedBy::Client).count();
        assert_eq!(unannounced, 0, "the client had to find gaps by itself: {:?}", self.all_gaps);
    }
}

/// Subscribes to trades, quotes and the book of a symbol and watches until `done` says so.
pub(crate) async fn watch(url: &str, encoding: Encoding, symbol: &str, done: impl Fn(&Seen) -> bool) -> Seen {
    let mut client = Client::builder(url)
        .encoding(encoding)
        .subscribe(Channel::Trade, [symbol])
        .subscribe(Channel::Quote, [symbol])
        .subscribe(Channel::Book, [symbol])
        .start()
        .expect("a good URL");
    let mut seen = Seen::default();
    let patience = tokio::time::Instant::now() + Duration::from_secs(120);
    let mut over = None;
    loop {
        // Between two batches, so that conditions on time come true in silence too. The end of a feed is told at once and may
        // overtake the last records before it.
        if over.is_none() && done(&seen) {
            over = Some(tokio::time::Instant::now() + Duration::from_millis(500));
        }
        if over.is_some_and(|over| tokio::time::Instant::now() > over) {
            break;
        }
        if tokio::time::Instant::now() > patience {
            let counts = [seen.bids.len(), seen.asks.len(), seen.trades.len(), seen.quote_numbers.len()];
            (seen.bids, seen.asks, seen.trades, seen.quote_numbers) = Default::default();
            panic!(
                "{encoding} {symbol}: waited too long; bids, asks, trades, quotes: {counts:?}; saw {seen:#?}"
            );
        }
        let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), client.next()).await else {
            continue;
        };
        let batch = batch.unwrap_or_else(|| panic!("{encoding}: the stream ended: {:?}", client.end()));
        for event in batch {
            note(&mut seen, event);
        }
        if let Some(book) = client.book(symbol) {
            seen.book_live = book.is_live();
            seen.bids = book.bids().map(|level| (level.price, level.size)).collect();
            seen.asks = book.asks().map(|level| (level.price, level.size)).collect();
        }
        seen.is_feed_live = client.is_live(symbol);
    }
    client.close().await;
    seen
}

fn note(seen: &mut Seen, event: Event) {
    match event {
        Event::Subscribed(outcome) => {
            for granted in outcome.granted.iter().filter(|granted| granted.channel() == Channel::Trade) {
                seen.decimals = (granted.price_decimals, granted.size_decimals);
                if seen.epoch == 0 {
                    seen.trades_before = granted.sequence;
                    seen.epoch = granted.epoch;
                    seen.epochs.push(granted.epoch);
                }
            }
        }
        Event::Record(update) => match update.record.body {
            Body::Trade(trade) => {
                let seller = trade.aggressor() == tickwire_client::wire::Side::Sell;
                let known =
                    seen.trades.insert(update.record.sequence, (trade.id, trade.price, trade.size, seller));
                assert!(known.is_none(), "trade {} came twice", update.record.sequence);
            }
            Body::Quote(quote) => {
                seen.quote_numbers.push(update.record.sequence);
                seen.last_quote = Some(quote);
            }
            _ => {}
        },
        Event::Gap(gap) => {
            if gap.channel == Channel::Trade {
                if gap.last.is_none() {
                    seen.trades.clear();
                    seen.trades_before = 0;
                    seen.trade_gaps.clear();
                    seen.epoch = gap.epoch;
                    seen.epochs.push(gap.epoch);
                } else {
                    seen.trade_gaps.push(gap.clone());
                }
            }
            seen.all_gaps.push(gap);
        }
        Event::State(State::Connected { .. }) => seen.connections += 1,
        Event::State(State::Disconnected { reason, .. }) => seen.ends.push(format!("{reason:?}")),
        Event::State(State::BookBroken { .. }) => seen.books_broken += 1,
        Event::State(State::Feed { state, reason, .. }) => {
            seen.feed_states.push(state);
            seen.is_stopped |= reason == "ingester stopped" || reason == "source ended";
        }
        _ => {}
    }
}

/// Returns whether a client has all that it will ever get: each trade to the last one, or word that it is lost, and the last book.
pub(crate) fn has_all(seen: &Seen, raw: &crate::raw::Raw) -> bool {
    let came = seen.trades.keys().next_back().copied().unwrap_or_default();
    let announced = seen.trade_gaps.iter().filter_map(|gap| gap.last).max().unwrap_or_default();
    came.max(announced) == raw.trades.len() as u64
        && (seen.bids.len(), seen.asks.len()) == (raw.bids.len(), raw.asks.len())
}

/// Compares with an independent reading of the recording.
pub(crate) fn assert_equals(seen: &Seen, raw: &crate::raw::Raw) {
    let (price_unit, size_unit) = (10_i64.pow(8 - seen.decimals.0), 10_u64.pow(8 - seen.decimals.1));
    seen.assert_contiguous();
    for (number, (id, price, size, seller)) in &seen.trades {
        let expected = raw.trades[*number as usize - 1];
        assert_eq!((*id, price * price_unit, size * size_unit, *seller), expected, "trade {number}");
    }
    let scaled = |levels: &[(i64, u64)]| -> Vec<_> {
        levels.iter().map(|(price, size)| (price * price_unit, size * size_unit)).collect()
    };
    let bids: Vec<_> = raw.bids.iter().rev().map(|(p, s)| (*p, *s)).collect();
    let asks: Vec<_> = raw.asks.iter().map(|(p, s)| (*p, *s)).collect();
    assert_same(&scaled(&seen.bids), &bids, "bids");
    assert_same(&scaled(&seen.asks), &asks, "asks");
    let quote = seen.last_quote.expect("quotes came");
    let (bid, ask) = (quote.bid.unwrap(), quote.ask.unwrap());
    let last = (bid.price * price_unit, bid.size * size_unit, ask.price * price_unit, ask.size * size_unit);
    assert_eq!(last, raw.quote, "quote");
    assert!(seen.quote_numbers.is_sorted_by(|a, b| a < b) || seen.connections > 1 || seen.epochs.len() > 1);
}

/// Compares long lists and shows only where they part.
#[track_caller]
fn assert_same(got: &[(i64, u64)], expected: &[(i64, u64)], what: &str) {
    if let Some(at) = (0..got.len().max(expected.len())).find(|at| got.get(*at) != expected.get(*at)) {
        panic!("{what} differ at level {at}: got {:?}, expected {:?}", got.get(at), expected.get(at));
    }
}
