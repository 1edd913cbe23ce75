//! A venue like a metronome: every instrument's quote changes so many times a second, evenly spread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent, SourceState};
use tickwire_wire::{Instrument, Level, Quote};

const SECOND: u64 = 1_000_000_000;
/// The most events per call; those left over are due at once and come with the next.
const EVENTS_MAX: usize = 1_024;

pub(crate) struct Metronome {
    instruments: u32,
    /// The time between two events of the whole venue, in nanoseconds.
    period: u64,
    started: u64,
    /// The number of events so far.
    count: u64,
}

impl Metronome {
    pub(crate) fn new(instruments: u32, updates_per_second: u32) -> Self {
        let period = SECOND / (u64::from(instruments) * u64::from(updates_per_second));
        Self { instruments, period, started: 0, count: 0 }
    }

    fn due(&self) -> u64 {
        self.started + self.count * self.period
    }
}

impl Adapter for Metronome {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if self.started == 0 {
            self.started = now();
            for index in 0..self.instruments {
                let definition =
                    Instrument { symbol: format!("S{index}"), price_decimals: 5, ..Instrument::default() };
                events.push(FeedEvent::Define { index, definition });
            }
            events.push(FeedEvent::Source(SourceState::Live));
        }
        let wait = self.due().saturating_sub(now());
        tokio::time::sleep(Duration::from_nanos(wait)).await;
        let now = now();
        for _ in 0..EVENTS_MAX {
            let due = self.due();
            if due > now {
                break;
            }
            let index = (self.count % u64::from(self.instruments)) as u32;
            // The values are as an exchange's are: a quote has about 40 bytes.
            let price = 6_183_763_000 + (self.count % 1_000) as i64;
            let bid = Some(Level { price, size: 150_000_000 + self.count % 1_000 });
            let ask = Some(Level { price: price + 1, size: 200_000_000 + self.count % 1_000 });
            let body = MarketBody::Quote(Quote { bid, ask });
            // The receiver is a little behind the venue, as receivers are.
            let receive_time = due + 38_250_000;
            events.push(FeedEvent::Market(MarketEvent { index, event_time: due, receive_time, body }));
            self.count += 1;
        }
        Ok(Flow::More)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
