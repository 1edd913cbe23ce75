use proptest::prelude::*;
use tickwire_wire::{BookState, Channel, Level, Side, TradingState};

use super::*;
use crate::adapter::Levels;

/// A follower that applies what the simulator says, and checks that it makes sense.
#[derive(Default)]
struct Follower {
    books: Vec<BookState>,
    is_halted: Vec<bool>,
    trades: usize,
    halts: usize,
    resumptions: usize,
    last_time: u64,
}

impl Follower {
    fn take(&mut self, events: Vec<FeedEvent>, depth: usize) {
        let mut taken: Option<(Side, Level)> = None;
        for event in events {
            let event = match event {
                FeedEvent::Define { index, .. } => {
                    assert_eq!(index as usize, self.books.len());
                    self.books.push(BookState::new());
                    self.is_halted.push(false);
                    continue;
                }
                FeedEvent::Market(event) => event,
                other => panic!("{other:?}"),
            };
            assert!(event.event_time >= self.last_time, "time goes back");
            self.last_time = event.event_time;
            let at = event.index as usize;
            let book = &mut self.books[at];
            if !matches!(event.body, MarketBody::Status(_)) {
                assert!(!self.is_halted[at], "a halted instrument says {:?}", event.body);
            }
            match event.body {
                MarketBody::Trade(trade) => {
                    self.trades += 1;
                    let side = trade.aggressor();
                    let best = if side == Side::Buy { book.best().ask } else { book.best().bid }.unwrap();
                    assert_eq!(trade.price, best.price, "trades at the best opposite level");
                    assert!(trade.size > 0 && trade.size <= best.size);
                    taken = Some((side, Level { size: best.size - trade.size, ..best }));
                }
                MarketBody::Derivative(derivative) => panic!("there are none here: {derivative:?}"),
                MarketBody::BookSnapshot(levels) => apply(book, &levels),
                MarketBody::BookDelta(levels) => {
                    apply(book, &levels);
                    if let Some((side, left)) = taken.take() {
                        let size = if side == Side::Buy {
                            book.ask_size(left.price)
                        } else {
                            book.bid_size(left.price)
                        };
                        assert_eq!(size, left.size, "a trade takes its size out of the book");
                    }
                    assert!(!book.is_crossed());
                    assert!(book.bids().len() >= depth && book.asks().len() >= depth);
                    assert!(book.bids().all(|level| level.price > 0), "prices stay above zero");
                }
                MarketBody::Quote(quote) => assert_eq!(quote, book.best()),
                MarketBody::Status(status) => {
                    let is_halt = status.state() == TradingState::Halted;
                    self.halts += usize::from(is_halt);
                    self.resumptions += usize::from(self.is_halted[at] && !is_halt);
                    self.is_halted[at] = is_halt;
                }
                MarketBody::UpstreamGap { .. } => panic!("the simulator loses nothing"),
            }
        }
    }
}

fn apply(book: &mut BookState, levels: &Levels) {
    for side in [&levels.bids, &levels.asks] {
        assert!(side.iter().all(|level| level.price > 0));
    }
    levels.bids.iter().for_each(|level| book.set_bid(*level));
    levels.asks.iter().for_each(|level| book.set_ask(*level));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_market_makes_sense(seed in any::<u64>(), instruments in 1usize..40, depth in 20usize..60) {
        let config = SimConfig { seed, instruments, depth, halts_per_hour: 20_000.0, ..SimConfig::default() };
        let mut sim = Sim::new(config).unwrap();
        let mut follower = Follower::default();
        for _ in 0..4_000 {
            let mut events = Vec::new();
            let promised = sim.next_time();
            prop_assert_eq!(sim.next_event(&mut events), promised);
            follower.take(events, depth);
        }
        prop_assert!(follower.trades > 0 && follower.halts > 0);
    }
}

fn events(config: SimConfig, steps: usize) -> Vec<FeedEvent> {
    let mut sim = Sim::new(config).unwrap();
    let mut events = Vec::new();
    for _ in 0..steps {
        sim.next_event(&mut events);
    }
    events
}

#[test]
fn the_same_seed_gives_the_same_market() {
    let config = |seed| SimConfig { seed, ..SimConfig::default() };
    assert_eq!(events(config(7), 5_000), events(config(7), 5_000));
    assert_ne!(events(config(7), 50), events(config(8), 50));
}

#[test]
fn a_long_run_keeps_its_rate_and_resumes_what_it_halts() {
    let config = SimConfig { halts_per_hour: 3_600.0, halt_seconds: 2.0, ..SimConfig::default() };
    let start = config.start_time;
    let events = events(config, 400_000);
    let count = events.len() as f64;
    let mut follower = Follower::default();
    follower.take(events, 20);
    assert!(follower.resumptions > 10 && follower.halts >= follower.resumptions);
    let rate = count / ((follower.last_time - start) as f64 / 1e9);
    assert!((1_600.0..2_400.0).contains(&rate), "{rate} events per second, 2000 wanted");
}

#[test]
fn every_channel_of_a_venue_occurs() {
    let events = events(SimConfig::default(), 2_000);
    let has = |channel: Channel| {
        events.iter().any(|event| match event {
            FeedEvent::Market(event) => matches!(
                (&event.body, channel),
                (MarketBody::Trade(_), Channel::Trade)
                    | (MarketBody::Quote(_), Channel::Quote)
                    | (MarketBody::BookDelta(_), Channel::Book)
                    | (MarketBody::Status(_), Channel::Status)
            ),
            _ => false,
        })
    };
    for channel in [Channel::Trade, Channel::Quote, Channel::Book, Channel::Status] {
        assert!(has(channel), "{channel:?}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    #[track_caller]
    fn check(config: SimConfig, expected: &str) {
        assert_eq!(Sim::new(config).unwrap_err().to_string(), expected);
    }
    let good = SimConfig::default;
    check(SimConfig { depth: 19, ..good() }, "simulator: depth is 19, but must be 20 to 1000");
    check(SimConfig { instruments: 0, ..good() }, "simulator: instruments is 0, but must be 1 to 16383");
    check(SimConfig { burst_factor: 9.0, ..good() }, "simulator: burst_factor is 9, but must be 1 to 5");
    let rate = SimConfig { events_per_second: f64::NAN, ..good() };
    check(rate, "simulator: events_per_second is NaN, but must be 0.001 to 100000000");
}
