use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60 * SECOND;

fn due(bars: &mut BarSeries, over_to: u64, now: u64) -> Vec<Bar> {
    let mut published = Vec::new();
    bars.due(over_to, MINUTE, now, |bar| published.push(bar));
    published
}

#[test]
fn a_bar_closes_when_its_interval_is_over() {
    let mut bars = BarSeries::new(1);
    for (time, price) in [(5, 10), (6, 14), (7, 8), (8, 9)] {
        bars.trade(3 * SECOND + time, price, 2);
    }
    let [open] = due(&mut bars, 3 * SECOND, 1_000 * SECOND)[..] else { panic!("one") };
    assert_eq!((open.open, open.high, open.low, open.close, open.closed), (10, 14, 8, 9, false));
    assert_eq!((open.volume, open.trades, open.open_time), (8, 4, 3 * SECOND));
    assert_eq!(due(&mut bars, 4 * SECOND - 1, 2_000 * SECOND), [], "nothing new");
    assert_eq!(due(&mut bars, 4 * SECOND, 2_000 * SECOND), [Bar { closed: true, ..open }]);
    assert_eq!(due(&mut bars, 9 * SECOND, 9_000 * SECOND), [], "an interval without trades has no bar");
}

#[test]
fn the_running_bar_is_not_published_too_often() {
    let mut bars = BarSeries::new(60);
    let now = 1_000 * SECOND;
    bars.trade(0, 1, 1);
    assert_eq!(due(&mut bars, 0, now).len(), 1);
    bars.trade(1, 2, 1);
    assert_eq!(due(&mut bars, 0, now + BAR_PERIOD - 1), []);
    assert_eq!(due(&mut bars, 0, now + BAR_PERIOD)[0].trades, 2);
}

#[test]
fn a_trade_that_comes_out_of_order_counts_to_its_own_bar() {
    let mut bars = BarSeries::new(1);
    bars.trade(5 * SECOND, 10, 1);
    bars.trade(4 * SECOND + 7, 12, 1);
    bars.trade(4 * SECOND + 3, 11, 1);
    let published = due(&mut bars, 5 * SECOND, SECOND);
    let brief: Vec<_> =
        published.iter().map(|b| (b.open_time / SECOND, b.open, b.close, b.trades, b.closed)).collect();
    assert_eq!(brief, [(4, 11, 12, 2, true), (5, 10, 10, 1, false)]);
}

#[test]
fn a_late_trade_corrects_its_bar_and_says_so() {
    let mut bars = BarSeries::new(1);
    bars.trade(4 * SECOND, 10, 1);
    assert!(due(&mut bars, 5 * SECOND, 0)[0].closed);
    bars.trade(5 * SECOND, 20, 1);
    due(&mut bars, 5 * SECOND, SECOND);
    bars.trade(4 * SECOND + 1, 12, 1);
    // The interval is incomplete even where there was no trade before.
    bars.trade(2 * SECOND, 7, 1);
    let published = due(&mut bars, 5 * SECOND + 1, SECOND + 1);
    let brief: Vec<_> =
        published.iter().map(|b| (b.open_time / SECOND, b.trades, b.closed, b.correction)).collect();
    assert_eq!(brief, [(2, 1, true, true), (4, 2, true, true)]);
    assert_eq!(due(&mut bars, 5 * SECOND + 2, SECOND + 2), [], "once");
}

#[test]
fn a_bar_with_missing_trades_says_so() {
    let mut bars = BarSeries::new(1);
    bars.trade(4 * SECOND, 10, 1);
    due(&mut bars, 4 * SECOND, 0);
    bars.lose(4 * SECOND, 6 * SECOND + 5);
    bars.trade(6 * SECOND + 5, 11, 1);
    bars.trade(7 * SECOND, 11, 1);
    let published = due(&mut bars, 8 * SECOND, SECOND);
    let brief: Vec<_> = published.iter().map(|b| (b.open_time / SECOND, b.closed, b.incomplete)).collect();
    assert_eq!(brief, [(4, true, true), (6, true, true), (7, true, false)]);
    bars.lose(7 * SECOND + 1, 8 * SECOND);
    let [again] = due(&mut bars, 8 * SECOND, SECOND)[..] else { panic!("a correction") };
    assert!(again.incomplete && again.correction);
}

#[test]
fn statistics_begin_anew_each_day() {
    let mut stats = StatSeries::default();
    stats.trade(DAY - 5, 10, 1);
    stats.trade(DAY - 4, 7, 1);
    let stat = stats.due(SECOND).unwrap();
    assert_eq!((stat.since, stat.open, stat.low, stat.trades), (DAY - 5, Some(10), Some(7), 2));
    assert_eq!(stats.due(9 * SECOND), None, "nothing new");
    stats.lose();
    assert!(stats.due(9 * SECOND).unwrap().incomplete);
    stats.trade(DAY + 1, 20, 3);
    stats.trade(DAY - 1, 1, 1);
    assert_eq!(stats.due(9 * SECOND + STAT_PERIOD - 1), None, "too soon");
    let stat = stats.due(9 * SECOND + STAT_PERIOD).unwrap();
    assert_eq!((stat.since, stat.open, stat.low, stat.trades), (DAY, Some(20), Some(20), 1));
    assert!(!stat.incomplete);
}

proptest! {
    /// Checks bars whatever the order and the delays: each interval is closed once, what is published last of it is the
    /// bar of all of its trades, and everything behind the close is a correction.
    #[test]
    fn every_bar_is_closed_once_and_right_in_the_end(
        trades in prop::collection::vec((0..20_000_u64, 0..3_000_u64, 1..100_i64), 1..200),
        lateness in 0..1_000_u64,
    ) {
        const MS: u64 = 1_000_000;
        let mut bars = BarSeries::new(1);
        // They are in the order of receipt; the event was so many milliseconds before.
        let mut received: Vec<_> =
            trades.iter().map(|(at, delay, price)| (at + 3_000, at + 3_000 - delay, *price)).collect();
        received.sort_unstable();
        let mut published = Vec::new();
        let mut now = 0;
        let mut tick = |bars: &mut BarSeries, now: u64| {
            bars.due(now.saturating_sub(lateness) * MS, MINUTE, now * MS, |bar| published.push(bar));
        };
        for (at, event, price) in &received {
            while now + 50 <= *at {
                now += 50;
                tick(&mut bars, now);
            }
            bars.trade(event * MS, *price, 1);
        }
        tick(&mut bars, 40_000);
        let mut intervals: Vec<_> = received.iter().map(|(_, event, _)| event / 1_000).collect();
        intervals.sort_unstable();
        intervals.dedup();
        for interval in intervals {
            let of: Vec<_> =
                published.iter().filter(|bar| bar.open_time == interval * SECOND).collect();
            let closes = of.iter().filter(|bar| bar.closed && !bar.correction).count();
            let mut own: Vec<_> = received.iter().filter(|(_, event, _)| event / 1_000 == interval).collect();
            own.sort_by_key(|(at, event, _)| (*event, *at));
            let last = of.last().expect("it was published");
            prop_assert!(last.closed);
            // An interval that was over before its first trade came is told by a correction only.
            prop_assert!(closes == 1 || (closes == 0 && of.iter().all(|bar| bar.correction)));
            let first = of.iter().position(|bar| bar.closed).expect("it is closed");
            prop_assert!(of[..first].iter().all(|bar| !bar.correction));
            prop_assert!(of[first + 1..].iter().all(|bar| bar.correction));
            prop_assert_eq!(last.trades as usize, own.len());
            prop_assert_eq!(last.high, own.iter().map(|(_, _, price)| *price).max().unwrap());
            prop_assert_eq!(last.low, own.iter().map(|(_, _, price)| *price).min().unwrap());
            let first_time = own[0].1;
            let last_time = own[own.len() - 1].1;
            prop_assert!(own.iter().any(|(_, event, price)| *event == first_time && *price == last.open));
            prop_assert!(own.iter().any(|(_, event, price)| *event == last_time && *price == last.close));
        }
    }
}
