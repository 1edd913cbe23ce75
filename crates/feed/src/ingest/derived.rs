//! Bars and running figures, made from trades.

use tickwire_wire::{Bar, Record, Stat};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// The current bar is published at most this often, in nanoseconds.
pub const BAR_PERIOD: u64 = SECOND / 4;
/// Running figures are published at most this often, in nanoseconds.
pub const STAT_PERIOD: u64 = SECOND / 2;

/// The bars of one interval. An interval without trades has no bar.
#[derive(Debug)]
pub(crate) struct BarSeries {
    pub(crate) interval: u64,
    current: Option<Bar>,
    is_changed: bool,
    published: u64,
    pub(crate) last: Option<Record>,
}

impl BarSeries {
    pub(crate) fn new(seconds: u64) -> Self {
        Self { interval: seconds * SECOND, current: None, is_changed: false, published: 0, last: None }
    }

    /// Returns the bar that this trade closed. A trade of an interval that is over counts to the current bar.
    pub(crate) fn trade(&mut self, time: u64, price: i64, size: u64) -> Option<Bar> {
        let open_time = time - time % self.interval;
        let closed = self.close_before(open_time);
        let interval = self.interval;
        let bar = self.current.get_or_insert(Bar {
            interval,
            open_time,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            trades: 0,
            closed: false,
        });
        bar.high = bar.high.max(price);
        bar.low = bar.low.min(price);
        bar.close = price;
        bar.volume = bar.volume.saturating_add(size);
        bar.trades = bar.trades.saturating_add(1);
        self.is_changed = true;
        closed
    }

    /// What is to be published: the current bar when it changed and was not just published, or closed by the time
    /// that the venue has reached.
    pub(crate) fn due(&mut self, venue_time: u64, now: u64) -> Option<Bar> {
        let closed = self.close_before(venue_time - venue_time % self.interval);
        if closed.is_some() {
            return closed;
        }
        if !self.is_changed || now < self.published + BAR_PERIOD {
            return None;
        }
        (self.is_changed, self.published) = (false, now);
        self.current
    }

    fn close_before(&mut self, open_time: u64) -> Option<Bar> {
        let bar = self.current.take_if(|bar| bar.open_time < open_time)?;
        self.is_changed = false;
        Some(Bar { closed: true, ..bar })
    }
}

/// Running figures of the UTC day, or since the first trade seen.
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
        if self.stat.trades == 0 || day > self.day {
            let since = if self.stat.trades == 0 { time } else { day * DAY };
            self.stat =
                Stat { since, open: Some(price), high: Some(price), low: Some(price), ..Stat::default() };
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

    pub(crate) fn due(&mut self, now: u64) -> Option<Stat> {
        if !self.is_changed || now < self.published + STAT_PERIOD {
            return None;
        }
        (self.is_changed, self.published) = (false, now);
        Some(self.stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_close_with_the_next_interval() {
        let mut bars = BarSeries::new(1);
        for (time, price) in [(5, 10), (6, 14), (7, 8), (8, 9)] {
            assert_eq!(bars.trade(3 * SECOND + time, price, 2), None);
        }
        let open = bars.due(3 * SECOND + 9, 1_000 * SECOND).unwrap();
        assert_eq!((open.open, open.high, open.low, open.close, open.closed), (10, 14, 8, 9, false));
        assert_eq!((open.volume, open.trades, open.open_time), (8, 4, 3 * SECOND));
        assert_eq!(bars.due(3 * SECOND + 9, 2_000 * SECOND), None, "nothing new");
        let closed = bars.trade(4 * SECOND, 20, 1).unwrap();
        assert_eq!(closed, Bar { closed: true, ..open });
        assert_eq!(bars.due(5 * SECOND, 0).map(|bar| (bar.open, bar.closed)), Some((20, true)));
        assert_eq!(bars.due(9 * SECOND, 9_000 * SECOND), None, "an interval without trades has no bar");
    }

    #[test]
    fn the_current_bar_is_not_published_too_often() {
        let mut bars = BarSeries::new(60);
        let now = 1_000 * SECOND;
        bars.trade(0, 1, 1);
        assert!(bars.due(0, now).is_some());
        bars.trade(1, 2, 1);
        assert_eq!(bars.due(1, now + BAR_PERIOD - 1), None);
        assert_eq!(bars.due(1, now + BAR_PERIOD).map(|bar| bar.trades), Some(2));
    }

    #[test]
    fn a_late_trade_counts_to_the_current_bar() {
        let mut bars = BarSeries::new(1);
        bars.trade(5 * SECOND, 10, 1);
        assert_eq!(bars.trade(4 * SECOND, 12, 1), None);
        assert_eq!(
            bars.due(5 * SECOND, SECOND).map(|bar| (bar.open_time, bar.trades)),
            Some((5 * SECOND, 2))
        );
    }

    #[test]
    fn figures_begin_anew_each_day() {
        let mut figures = StatSeries::default();
        figures.trade(DAY - 5, 10, 1);
        figures.trade(DAY - 4, 7, 1);
        let stat = figures.due(SECOND).unwrap();
        assert_eq!((stat.since, stat.open, stat.low, stat.trades), (DAY - 5, Some(10), Some(7), 2));
        assert_eq!(figures.due(9 * SECOND), None, "nothing new");
        figures.trade(DAY + 1, 20, 3);
        assert_eq!(figures.due(SECOND + STAT_PERIOD - 1), None, "too soon");
        let stat = figures.due(SECOND + STAT_PERIOD).unwrap();
        assert_eq!((stat.since, stat.open, stat.low, stat.trades), (DAY, Some(20), Some(20), 1));
    }
}
