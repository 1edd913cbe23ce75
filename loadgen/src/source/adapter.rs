//! The own source as the ingester sees it: an adapter like any other, so that records, heartbeats and responses are real.

use std::sync::{Arc, Mutex};

use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent, SourceState};
use tickwire_wire::{Instrument, Trade};
use tokio::sync::watch;

use super::pace::Pace;
use super::{Orders, Published, quote, symbol_name};
use crate::clock::now;
use crate::scenario::{Scenario, VENUE};

/// Definitions of one call.
const DEFINED_MAX: u32 = 512;

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    pace: Pace,
    symbols: u32,
    defined: u32,
}

impl OpenLoop {
    /// It must be called within a runtime.
    ///
    /// # Errors
    /// When the system has no timer left.
    pub(crate) fn new(
        scenario: &Scenario,
        orders: watch::Receiver<Orders>,
        published: Arc<Mutex<Published>>,
    ) -> std::io::Result<Self> {
        let pace = Pace::new(scenario, orders, published)?;
        Ok(Self { pace, symbols: scenario.source.symbols as u32, defined: 0 })
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

impl Adapter for OpenLoop {
    fn venue(&self) -> &'static str {
        VENUE
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if self.defined < self.symbols {
            self.define(events);
            return Ok(Flow::More);
        }
        let is_due = self.pace.wait().await;
        if !is_due.map_err(|error| AdapterError(format!("the timer failed: {error}")))? {
            return Ok(Flow::Ended);
        }
        let receive_time = now();
        self.pace.take(receive_time, |due| {
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
