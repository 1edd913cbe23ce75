//! The common parts of the benches: the records that they work on, and how long they measure. `docs/benches.md` says
//! what each measures, and has results.

pub mod command_scene;
pub mod hub_scene;

use std::time::Duration;

use criterion::Criterion;
use tickwire_wire::{Body, Book, Level, Quote, Record, Scale, Side, Trade};

/// The number of levels on each side of a deep book.
pub const LEVELS: usize = 1000;
/// The best bid of every book and quote here; the best ask is one above.
pub const TOUCH: i64 = 6_183_763;

/// Makes short runs, so that all benches together take a few minutes: 30 samples in a second and a half.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args()
}

/// Returns the scale of the instrument that all records are of.
pub fn scale() -> Scale {
    Scale { symbol: "binance:BTCUSDT".to_owned(), price_decimals: 2, size_decimals: 5 }
}

/// Makes a record with times and numbers as long as real ones.
pub fn record(sequence: u64, body: Body) -> Record {
    let event_time = 1_767_623_400_123_456_789;
    Record { instrument: 1042, sequence, event_time, receive_time: event_time + 38_250_000, body }
}

/// Makes a quote.
pub fn quote() -> Body {
    let bid = Level { price: TOUCH, size: 150_000 };
    Body::Quote(Quote { bid: Some(bid), ask: Some(Level { price: TOUCH + 1, size: 98_765 }) })
}

/// Makes an execution with an id of the venue.
pub fn trade() -> Body {
    let aggressor = Side::Buy.into();
    Body::Trade(Trade { price: TOUCH, size: 1_250, aggressor, id: 3_141_592_653, id_text: String::new() })
}

/// Makes a change of one level on each side, `distance` ticks from the touch.
pub fn change(distance: i64, size: u64) -> Book {
    Book {
        bids: vec![Level { price: TOUCH - distance, size }],
        asks: vec![Level { price: TOUCH + 1 + distance, size }],
        ..Book::default()
    }
}

/// Makes a snapshot of [`LEVELS`] on each side, at every second tick, with sizes of different lengths.
pub fn snapshot() -> Book {
    let size = |at: i64| 1 + (at as u64 * 7_919) % 2_000_000;
    let ticks = (0..LEVELS as i64).map(|at| at * 2);
    Book {
        snapshot: true,
        bids: ticks.clone().map(|at| Level { price: TOUCH - at, size: size(at) }).collect(),
        asks: ticks.map(|at| Level { price: TOUCH + 1 + at, size: size(at + 3) }).collect(),
        ..Book::default()
    }
}
