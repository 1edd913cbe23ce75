use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60 * SECOND;

fn series(interval: &str) -> BarSeries {
    BarSeries::new(interval.parse().unwrap())
}

fn due(bars: &mut BarSeries, over_to: u64, now: u64) -> Vec<Bar> {
    let mut published = Vec::new();
    bars.due(over_to, MINUTE, now, |bar| published.push(bar));
    published
}

#[test]
fn a_bar_closes_when_its_interval_is_over() {
    let mut bars = series("1s");
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
    let mut bars = series("1m");
    let now = 1_000 * SECOND;
    bars.trade(0, 1, 1);
    assert_eq!(due(&mut bars, 0, now).len(), 1);
    bars.trade(1, 2, 1);
    assert_eq!(due(&mut bars, 0, now + BAR_PERIOD - 1), []);
    assert_eq!(due(&mut bars, 0, now + BAR_PERIOD)[0].trades, 2);
}

#[test]
fn a_trade_that_comes_out_of_order_counts_to_its_own_bar() {
    let mut bars = series("1s");
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
    let mut bars = series("1s");
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
    let mut bars = series("1s");
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

/// A trade as it is told: the times of receipt and of the event in milliseconds, and the price.
type Told = (u64, u64, i64);

/// Plays trades to one series, and returns what it publishes.
fn play(interval: &str, from: u64, received: &[Told], lateness: u64) -> Vec<Bar> {
    const MS: u64 = 1_000_000;
    let mut bars = series(interval);
    let mut published = Vec::new();
    let mut tick = |bars: &mut BarSeries, now: u64| {
        bars.due(now.saturating_sub(lateness) * MS, MINUTE, now * MS, |bar| published.push(bar));
    };
    let mut now = from;
    for (at, event, price) in received {
        while now + 50 <= *at {
            now += 50;
            tick(&mut bars, now);
        }
        bars.trade(event * MS, *price, 1);
    }
    // The end of the source closes all.
    tick(&mut bars, now + 2 * 86_400_000);
    published
}

/// Returns when the intervals of two days begin, in seconds: by steps from each midnight.
fn naive_begins(seconds: u64) -> Vec<u64> {
    let days = [19_999 * 86_400, 20_000 * 86_400];
    days.into_iter().flat_map(|midnight| (midnight..midnight + 86_400).step_by(seconds as usize)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Checks bars whatever the order and the delays, around midnight, for several intervals: each is closed once, what is published
    /// last of it is the bar of all of its trades, and everything behind the close is a correction.
    #[test]
    fn every_bar_is_closed_once_and_right_in_the_end(
        trades in prop::collection::vec((0..20_000_u64, 0..3_000_u64, 1..100_i64), 1..200),
        lateness in 0..1_000_u64,
        before_midnight in 0..20_000_u64,
    ) {
        let from = 20_000 * 86_400_000 - before_midnight;
        // They are in the order of receipt; the event was so many milliseconds before.
        let mut received: Vec<_> =
            trades.iter().map(|(at, delay, price)| (from + at + 3_000, from + at + 3_000 - delay, *price)).collect();
        received.sort_unstable();
        for (interval, seconds) in [("1s", 1), ("7s", 7), ("1m", 60), ("1000s", 1_000), ("1h", 3_600), ("1d", 86_400)] {
            let published = play(interval, from, &received, lateness);
            prop_assert!(published.iter().all(|bar| bar.interval == seconds * SECOND));
            let all = naive_begins(seconds);
            let begin = |event: u64| all[all.partition_point(|begin| *begin <= event / 1_000) - 1];
            let mut begins: Vec<_> = received.iter().map(|(_, event, _)| begin(*event)).collect();
            begins.sort_unstable();
            begins.dedup();
            let mut told: Vec<_> = published.iter().map(|bar| bar.open_time).collect();
            told.sort_unstable();
            told.dedup();
            prop_assert_eq!(told, begins.iter().map(|begin| begin * SECOND).collect::<Vec<_>>());
            for at in begins {
                let of: Vec<_> = published.iter().filter(|bar| bar.open_time == at * SECOND).collect();
                let mut own: Vec<_> = received.iter().filter(|(_, event, _)| begin(*event) == at).collect();
                own.sort_by_key(|(at, event, _)| (*event, *at));
                check(&of, &own)?;
            }
        }
    }
}

/// Checks all that was published of one interval against its trades, which are in the order of their own times.
fn check(of: &[&Bar], own: &[&Told]) -> Result<(), TestCaseError> {
    let closes = of.iter().filter(|bar| bar.closed && !bar.correction).count();
    let last = of.last().expect("it was published");
    prop_assert!(last.closed);
    // An interval that was over before its first trade came is told by a correction only.
    prop_assert!(closes == 1 || (closes == 0 && of.iter().all(|bar| bar.correction)));
    let first = of.iter().position(|bar| bar.closed).expect("it is closed");
    prop_assert!(of[..first].iter().all(|bar| !bar.correction));
    prop_assert!(of[first + 1..].iter().all(|bar| bar.correction));
    prop_assert_eq!((last.trades as usize, last.volume as usize), (own.len(), own.len()));
    prop_assert_eq!(last.high, own.iter().map(|(_, _, price)| *price).max().unwrap());
    prop_assert_eq!(last.low, own.iter().map(|(_, _, price)| *price).min().unwrap());
    let (first_time, last_time) = (own[0].1, own[own.len() - 1].1);
    prop_assert!(own.iter().any(|(_, event, price)| *event == first_time && *price == last.open));
    prop_assert!(own.iter().any(|(_, event, price)| *event == last_time && *price == last.close));
    Ok(())
}
