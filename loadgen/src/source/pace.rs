//! The pace of a source: it waits until updates are due by the plan, and obeys what the run tells it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::schedule::Schedule;
use super::wait::Alarm;
use super::{Orders, Published, Turns};
use crate::clock::now;
use crate::scenario::Scenario;

/// So many updates are taken at once, and no more.
const UPDATES_MAX: usize = 512;

/// One update that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) symbol: u32,
    pub(super) is_trade: bool,
    /// The sequence number of a quote.
    pub(super) sequence: u64,
    /// Its place among all updates, from 1.
    pub(super) number: u64,
    pub(super) intended_time: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    schedule: Schedule,
    turns: Turns,
    trades: f64,
    began: Option<u64>,
    orders: watch::Receiver<Orders>,
    in_force: Orders,
    published: Arc<Mutex<Published>>,
    alarm: Alarm,
}

impl Pace {
    /// It must be called within a runtime.
    ///
    /// # Errors
    /// When the system has no timer left.
    pub(super) fn new(
        scenario: &Scenario,
        orders: watch::Receiver<Orders>,
        published: Arc<Mutex<Published>>,
    ) -> std::io::Result<Self> {
        let source = &scenario.source;
        *lock(&published) = Published::new(source.symbols);
        Ok(Self {
            schedule: Schedule::new(source.rates(), source.tick.unwrap_or_default()),
            turns: Turns::new(source.symbols, source.skew, scenario.seed),
            trades: source.trades,
            began: None,
            orders,
            in_force: Orders::default(),
            published,
            alarm: Alarm::new()?,
        })
    }

    /// Returns when updates are due; false when nobody gives orders any more.
    ///
    /// # Errors
    /// When the timer fails.
    ///
    /// # Cancel safety
    /// Cancel-safe: what is due stays due.
    pub(super) async fn wait(&mut self) -> std::io::Result<bool> {
        let began = *self.began.get_or_insert_with(now);
        loop {
            match self.orders.has_changed() {
                Ok(true) => self.obey(began),
                Ok(false) => {}
                Err(_) => return Ok(false),
            }
            let wait = self.schedule.pause(now().saturating_sub(began));
            match wait.filter(|_| !self.in_force.is_stopped) {
                Some(0) => return Ok(true),
                Some(ns) => tokio::select! {
                    rung = self.alarm.sleep(Duration::from_nanos(ns)) => rung?,
                    _ = self.orders.changed() => self.obey(began),
                },
                None => {
                    let _ = self.orders.changed().await;
                    self.obey(began);
                }
            }
        }
    }

    /// Takes what is due now, and counts it as published.
    pub(super) fn take(&mut self, now: u64, mut each: impl FnMut(Due)) {
        let began = self.began.unwrap_or(now);
        let mut published = lock(&self.published);
        for _ in 0..UPDATES_MAX {
            let due = self.schedule.due().map(|due| began + due);
            let Some(intended_time) = due.filter(|due| *due <= now) else { break };
            self.schedule.advance();
            let symbol = self.turns.next();
            let is_trade = self.turns.is_trade(self.trades);
            let sequence = published.add(symbol, is_trade, intended_time, now, self.in_force.window);
            each(Due { symbol, is_trade, sequence, number: published.total, intended_time });
        }
    }

    fn obey(&mut self, began: u64) {
        let orders = *self.orders.borrow_and_update();
        if let Some(rate) = orders.rate.filter(|_| orders.rate != self.in_force.rate) {
            self.schedule.set_rate(rate, now().saturating_sub(began));
        }
        if orders.window != self.in_force.window {
            lock(&self.published).count_anew();
        }
        self.in_force = orders;
    }
}

fn lock(published: &Mutex<Published>) -> MutexGuard<'_, Published> {
    published.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "../../tests/units/pace.rs"]
mod tests;
