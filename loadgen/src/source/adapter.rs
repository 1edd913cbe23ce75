//! The own source as the ingester sees it: an adapter like any other, so that records, beats and answers are real.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tickwire_feed::Clock;
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent, SourceState};
use tickwire_wire::{Instrument, Trade};
use tokio::sync::watch;

use super::schedule::Schedule;
use super::wait::Alarm;
use super::{Orders, Published, Turns, quote, symbol_name};
use crate::scenario::{Scenario, VENUE};

/// Events of one call.
const EVENTS_MAX: usize = 512;

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    schedule: Schedule,
    turns: Turns,
    trades: f64,
    symbols: u32,
    defined: u32,
    began: Option<u64>,
    orders: watch::Receiver<Orders>,
    in_force: Orders,
    published: Arc<Mutex<Published>>,
    alarm: Alarm,
}

impl OpenLoop {
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// When the system has no timer left.
    pub(crate) fn new(
        scenario: &Scenario,
        orders: watch::Receiver<Orders>,
        published: Arc<Mutex<Published>>,
    ) -> std::io::Result<Self> {
        let source = &scenario.source;
        *published.lock().unwrap_or_else(PoisonError::into_inner) = Published::new(source.symbols);
        Ok(Self {
            schedule: Schedule::new(source.shape.clone()),
            turns: Turns::new(source.symbols, source.skew, scenario.seed),
            trades: source.trades,
            symbols: source.symbols as u32,
            defined: 0,
            began: None,
            orders,
            in_force: Orders::default(),
            published,
            alarm: Alarm::new()?,
        })
    }

    fn define(&mut self, events: &mut Vec<FeedEvent>) {
        let until = self.symbols.min(self.defined + EVENTS_MAX as u32);
        for index in self.defined..until {
            let definition = Instrument {
                symbol: symbol_name(index),
                price_decimals: 2,
                size_decimals: 3,
                tick_size: 1,
                lot_size: 1,
                ..Instrument::default()
            };
            events.push(FeedEvent::Define { index, definition });
        }
        self.defined = until;
        if self.defined == self.symbols {
            events.push(FeedEvent::Source(SourceState::Live));
        }
    }

    fn emit(&mut self, began: u64, events: &mut Vec<FeedEvent>) {
        let now = Clock::system().now();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EVENTS_MAX {
            let Some(event_time) = self.schedule.due().map(|due| began + due).filter(|due| *due <= now)
            else {
                break;
            };
            self.schedule.advance();
            let index = self.turns.next();
            let is_trade = self.turns.is_trade(self.trades);
            published.add(index, is_trade, event_time, now, self.in_force.window);
            let body = if is_trade {
                let price = quote(index, event_time).bid.map_or(0, |bid| bid.price);
                MarketBody::Trade(Trade { price, size: 1, id: published.total, ..Trade::default() })
            } else {
                MarketBody::Quote(quote(index, event_time))
            };
            events.push(FeedEvent::Market(MarketEvent { index, event_time, receive_time: now, body }));
        }
    }

    fn obey(&mut self, began: u64) {
        let orders = *self.orders.borrow_and_update();
        if orders.rate != self.in_force.rate
            && let Some(rate) = orders.rate
        {
            self.schedule.set_rate(rate, Clock::system().now().saturating_sub(began));
        }
        if orders.window != self.in_force.window {
            self.published.lock().unwrap_or_else(PoisonError::into_inner).count_anew();
        }
        self.in_force = orders;
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
        let began = *self.began.get_or_insert_with(|| Clock::system().now());
        if self.orders.has_changed().unwrap_or(false) {
            self.obey(began);
        }
        let now = Clock::system().now().saturating_sub(began);
        let wait = self.schedule.pause(now).filter(|_| !self.in_force.is_stopped);
        if wait != Some(0) {
            let alarm = async {
                match wait {
                    Some(ns) => self.alarm.sleep(Duration::from_nanos(ns)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                rung = alarm => rung.map_err(|error| AdapterError(format!("the timer failed: {error}")))?,
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return Ok(Flow::Ended);
                    }
                    self.obey(began);
                    return Ok(Flow::More);
                }
            }
        }
        self.emit(began, events);
        Ok(Flow::More)
    }
}
