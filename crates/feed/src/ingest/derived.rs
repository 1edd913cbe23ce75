//! Bars and ticker statistics, made from trades.

use std::collections::VecDeque;

use tickwire_wire::{Bar, Record, Stat};

use super::intervals::{BarInterval, DAY, SECOND};

/// The least time between two records of a running bar, in nanoseconds.
pub const BAR_PERIOD: u64 = SECOND / 4;
/// The least time between two records of ticker statistics, in nanoseconds.
pub const STAT_PERIOD: u64 = SECOND / 2;

/// The bars of one interval. An interval without trades has no bar.
///
/// A bar is closed once, when the time of the source has passed its end by the delay that trades have (see
/// [`super::times`]). A trade that comes later corrects its own bar, and the correction says that it is one.
#[derive(Debug)]
pub(crate) struct BarSeries {
    interval: BarInterval,
    /// The bars that are open, and closed ones that may still be corrected; by time.
    bars: VecDeque<Slot>,
    /// The time before which all bars are closed.
    closed_to: u64,
    /// The time up to which trades are missing: a bar that opened before is incomplete.
    lost_to: u64,
    published: u64,
    /// The last record of the running or closed bars, and the last correction.
    pub(crate) last: [Option<Record>; 2],
}

#[derive(Debug)]
struct Slot {
    bar: Bar,
    /// The event time of the trade that gave the open.
    opened: u64,
    /// The event time of the trade that gave the close.
    closed: u64,
    is_changed: bool,
}

impl BarSeries {
    pub(crate) fn new(interval: BarInterval) -> Self {
        Self { interval, bars: VecDeque::new(), closed_to: 0, lost_to: 0, published: 0, last: [None, None] }
    }

    /// Returns whether a bar is one of this series.
    pub(crate) fn has(&self, bar: &Bar) -> bool {
        self.interval.nanoseconds() == bar.interval
    }

    /// Counts a trade to the bar of its own time.
    pub(crate) fn trade(&mut self, time: u64, price: i64, size: u64) {
        let slot = self.slot(self.interval.begin(time), time, price);
        let bar = &mut slot.bar;
        if time < slot.opened {
            (slot.opened, bar.open) = (time, price);
        }
        if time >= slot.closed {
            (slot.closed, bar.close) = (time, price);
        }
        bar.high = bar.high.max(price);
        bar.low = bar.low.min(price);
        bar.volume = bar.volume.saturating_add(size);
        bar.trades = bar.trades.saturating_add(1);
        slot.is_changed = true;
    }

    fn slot(&mut self, open_time: u64, time: u64, price: i64) -> &mut Slot {
        // It is the last bar, as a rule.
        let behind = self.bars.iter().rev().take_while(|slot| slot.bar.open_time > open_time).count();
        let at = self.bars.len() - behind;
        if at == 0 || self.bars[at - 1].bar.open_time != open_time {
            let bar = Bar {
                interval: self.interval.nanoseconds(),
                open_time,
                open: price,
                high: price,
                low: price,
                close: price,
                closed: open_time < self.closed_to,
                incomplete: open_time <= self.lost_to,
                ..Bar::default()
            };
            self.bars.insert(at, Slot { bar, opened: time, closed: time, is_changed: true });
            return &mut self.bars[at];
        }
        &mut self.bars[at - 1]
    }

    /// Marks bars as incomplete: trades are missing somewhere between two times, both included.
    pub(crate) fn lose(&mut self, from: u64, to: u64) {
        self.lost_to = self.lost_to.max(to);
        let interval = self.interval;
        let is_hit = |bar: &Bar| bar.open_time <= to && interval.end(bar.open_time) > from;
        for slot in self.bars.iter_mut().filter(|slot| is_hit(&slot.bar) && !slot.bar.incomplete) {
            slot.bar.incomplete = true;
            slot.is_changed = true;
        }
    }

    /// Hands out what is to be published. Intervals that end at `over_to` or before are over; those that ended
    /// `corrected_ns` earlier are forgotten. `now` paces the running bar.
    pub(crate) fn due(&mut self, over_to: u64, corrected_ns: u64, now: u64, mut publish: impl FnMut(Bar)) {
        self.closed_to = self.closed_to.max(self.interval.begin(over_to));
        let mut is_late = false;
        for slot in &mut self.bars {
            if !slot.is_changed && (slot.bar.closed || slot.bar.open_time >= self.closed_to) {
                continue;
            }
            if slot.bar.closed {
                publish(Bar { correction: true, ..slot.bar });
            } else if slot.bar.open_time < self.closed_to {
                slot.bar.closed = true;
                publish(slot.bar);
            } else {
                if !is_late && now < self.published.saturating_add(BAR_PERIOD) {
                    break;
                }
                publish(slot.bar);
                self.published = now;
                slot.is_changed = false;
                // The bars behind it wait until this one is closed: the newest record is of the newest bar.
                break;
            }
            slot.is_changed = false;
            is_late = true;
        }
        let forgotten =
            self.closed_to.saturating_sub(corrected_ns.saturating_add(self.interval.nanoseconds()));
        while self.bars.pop_front_if(|slot| slot.bar.closed && slot.bar.open_time < forgotten).is_some() {}
    }
}

/// The ticker statistics of the UTC day, or since the first trade seen.
#[derive(Debug, Default)]
pub(crate) struct StatSeries {
    stat: Stat,
    day: u64,
    is_changed: bool,
    published: u64,
    pub(crate) last: Option<Record>,
}

impl StatSeries {
    pub(crate) fn trade(&mut self, time: u64, price: i64, size: u64) {
        let day = time / DAY;
        if self.stat.trades > 0 && day < self.day {
            // A late trade of yesterday is none of today's.
            return;
        }
        if self.stat.trades == 0 || day > self.day {
            let is_first = self.stat.trades == 0;
            let since = if is_first { time } else { day * DAY };
            let incomplete = is_first && self.stat.incomplete;
            self.stat = Stat {
                since,
                open: Some(price),
                high: Some(price),
                low: Some(price),
                incomplete,
                ..Stat::default()
            };
            self.day = day;
        }
        let stat = &mut self.stat;
        stat.high = stat.high.max(Some(price));
        stat.low = stat.low.min(Some(price));
        stat.last = Some(price);
        stat.volume = stat.volume.saturating_add(size);
        stat.trades += 1;
        self.is_changed = true;
    }

    /// Takes in that trades are missing.
    pub(crate) fn lose(&mut self) {
        self.is_changed |= self.stat.trades > 0 && !self.stat.incomplete;
        self.stat.incomplete = true;
    }

    pub(crate) fn due(&mut self, now: u64) -> Option<Stat> {
        if !self.is_changed || now < self.published.saturating_add(STAT_PERIOD) {
            return None;
        }
        (self.is_changed, self.published) = (false, now);
        Some(self.stat)
    }
}

#[cfg(test)]
#[path = "derived_tests.rs"]
mod tests;
