//! The source as the ingester sees it: an adapter like any other, so that records, heartbeats and responses are real.

use tickwire_machine::now;
use tickwire_wire::{Instrument, Trade};
use tokio::sync::watch;

use super::{Due, Orders, Pace, Plan, quote, symbol_name};
use crate::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent, SourceState};

/// Definitions of one call.
const DEFINED_MAX: u32 = 512;

/// An adapter that publishes by a [`Plan`], and shows each update with the time at which it leaves.
#[derive(Debug)]
pub struct OpenLoop<F> {
    venue: &'static str,
    pace: Pace,
    symbols: u32,
    defined: u32,
    show: F,
}

impl<F: FnMut(Due, u64)> OpenLoop<F> {
    /// Makes the adapter. It must be called within a runtime.
    pub fn new(plan: &Plan, orders: watch::Receiver<Orders>, show: F) -> Self {
        let pace = Pace::new(plan, orders);
        Self { venue: plan.venue, pace, symbols: plan.symbols as u32, defined: 0, show }
    }

    fn define(&mut self, events: &mut Vec<FeedEvent>) {
        let until = self.symbols.min(self.defined + DEFINED_MAX);
        events.extend((self.defined..until).map(|index| {
            let definition = Instrument {
                symbol: symbol_name(index),
                price_decimals: 2,
                size_decimals: 3,
                tick_size: 1,
                lot_size: 1,
                ..Instrument::default()
            };
            FeedEvent::Define { index, definition }
        }));
        self.defined = until;
        if self.defined == self.symbols {
            events.push(FeedEvent::Source(SourceState::Live));
        }
    }
}

impl<F: FnMut(Due, u64) + Send> Adapter for OpenLoop<F> {
    fn venue(&self) -> &str {
        self.venue
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if self.defined < self.symbols {
            self.define(events);
            return Ok(Flow::More);
        }
        if !self.pace.wait().await {
            return Ok(Flow::Ended);
        }
        let receive_time = now();
        self.pace.take(receive_time, |due| {
            (self.show)(due, receive_time);
            let (index, event_time) = (due.symbol, due.intended_time);
            let quote = quote(index, event_time);
            let body = if due.is_trade {
                let price = quote.bid.map_or(0, |bid| bid.price);
                MarketBody::Trade(Trade { price, size: 1, id: due.number, ..Trade::default() })
            } else {
                MarketBody::Quote(quote)
            };
            events.push(FeedEvent::Market(MarketEvent { index, event_time, receive_time, body }));
        });
        Ok(Flow::More)
    }
}
