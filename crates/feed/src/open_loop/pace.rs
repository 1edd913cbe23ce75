//! The pace of a source: it waits until updates are due by the plan, and obeys what it is told.

use std::time::Duration;

use tickwire_machine::{Timer, now};
use tokio::sync::watch;

use super::Plan;
use super::schedule::Schedule;
use super::symbols::Turns;

/// So many updates are taken at once, and no more.
const UPDATES_MAX: usize = 512;

/// One update that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The index of its symbol, from 0.
    pub symbol: u32,
    /// It is a trade, and no quote.
    pub is_trade: bool,
    /// The sequence number of the symbol's newest quote, this one among them, from 1; 0: there is none yet.
    pub sequence: u64,
    /// Its place among all updates, from 1.
    pub number: u64,
    /// The time at which it is due, in nanoseconds since the Unix epoch.
    pub intended_time: u64,
}

/// A running source is told this.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Orders {
    /// Updates per second from now on, instead of the plan's.
    pub rate: Option<f64>,
    /// It publishes no more.
    pub is_stopped: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Pace {
    schedule: Schedule,
    turns: Turns,
    trades: f64,
    began: Option<u64>,
    orders: watch::Receiver<Orders>,
    in_force: Orders,
    /// The number of quotes that each symbol had.
    quotes: Vec<u64>,
    count: u64,
    timer: Timer,
}

impl Pace {
    /// Makes the pace of a plan. It must be called within a runtime.
    pub fn new(plan: &Plan, orders: watch::Receiver<Orders>) -> Self {
        Self {
            schedule: Schedule::new(plan.rates.clone(), plan.tick),
            turns: Turns::new(plan.symbols, plan.skew, plan.seed),
            trades: plan.trades,
            began: None,
            orders,
            in_force: Orders::default(),
            quotes: vec![0; plan.symbols],
            count: 0,
            timer: Timer::new(),
        }
    }

    /// Returns when updates are due; false when nobody gives orders any more.
    ///
    /// # Cancel safety
    /// Cancel-safe: what is due stays due.
    pub async fn wait(&mut self) -> bool {
        let began = *self.began.get_or_insert_with(now);
        loop {
            match self.orders.has_changed() {
                Ok(true) => self.obey(began),
                Ok(false) => {}
                Err(_) => return false,
            }
            let wait = self.schedule.pause(now().saturating_sub(began));
            match wait.filter(|_| !self.in_force.is_stopped) {
                Some(0) => return true,
                Some(ns) => tokio::select! {
                    () = self.timer.wait(Duration::from_nanos(ns)) => {}
                    _ = self.orders.changed() => self.obey(began),
                },
                None => {
                    let _ = self.orders.changed().await;
                    self.obey(began);
                }
            }
        }
    }

    /// Takes what is due now, and no more than 512 at once; the rest is due again.
    pub fn take(&mut self, now: u64, mut each: impl FnMut(Due)) {
        let began = self.began.unwrap_or(now);
        for _ in 0..UPDATES_MAX {
            let due = self.schedule.due().map(|due| began + due);
            let Some(intended_time) = due.filter(|due| *due <= now) else { break };
            self.schedule.advance();
            let symbol = self.turns.next();
            let is_trade = self.turns.is_trade(self.trades);
            let quotes = &mut self.quotes[symbol as usize];
            *quotes += u64::from(!is_trade);
            self.count += 1;
            each(Due { symbol, is_trade, sequence: *quotes, number: self.count, intended_time });
        }
    }

    fn obey(&mut self, began: u64) {
        let orders = *self.orders.borrow_and_update();
        if let Some(rate) = orders.rate.filter(|_| orders.rate != self.in_force.rate) {
            self.schedule.set_rate(rate, now().saturating_sub(began));
        }
        self.in_force = orders;
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
