use tickwire_wire::{Level, Side};

use super::*;
use crate::adapter::Levels;
use crate::binance::parse::NormalizeError;

const RECEIVED: u64 = 1_700_000_000_123_456_789;

fn normalizer(market: Market) -> Normalizer {
    let definition = |symbol: &str| Instrument {
        symbol: symbol.to_owned(),
        price_decimals: 2,
        size_decimals: 3,
        ..Instrument::default()
    };
    Normalizer::new(market, &[definition("ABUSD"), definition("XYUSD")])
}

fn stream(kind: &str, data: &str) -> String {
    format!(r#"{{"stream":"abusd@{kind}","data":{data}}}"#)
}

fn trade(id: u64) -> String {
    let text = r#"{"e":"trade","E":1700000000200,"s":"ABUSD","t":ID,"p":"10.50000000","q":"0.25000000","T":1700000000100,"m":true,"M":true}"#;
    stream("trade", &text.replace("ID", &id.to_string()))
}

fn ticker(update: u64, ask: &str, time: &str) -> String {
    let text = format!(r#"{{"u":{update},"s":"XYUSD","b":"10.00","B":"1.5","a":"10.25","A":"{ask}"{time}}}"#);
    stream("bookTicker", &text)
}

fn depth(range: &str, levels: &str) -> String {
    let (first, last) = range.split_once('-').unwrap();
    let (last, previous) = match last.split_once('<') {
        Some((last, previous)) => (last, format!(r#""pu":{previous},"#)),
        None => (last, String::new()),
    };
    let text = format!(
        r#"{{"e":"depthUpdate","E":1700000000300,"s":"ABUSD","U":{first},"u":{last},{previous}{levels}}}"#
    );
    stream("depth@100ms", &text)
}

const NO_LEVELS: &str = r#""b":[],"a":[]"#;
const SNAPSHOT: &str =
    r#"{"lastUpdateId":10,"bids":[["10.00","1.000"],["9.99","2.5"]],"asks":[["10.01","3"]]}"#;

/// What the messages come to; of the last one, when several.
#[track_caller]
fn check(market: Market, messages: &[&str], expected: &[FeedEvent]) {
    let mut normalizer = normalizer(market);
    let mut events = Vec::new();
    for message in messages {
        events.clear();
        normalizer.message(RECEIVED, message, Some("ABUSD"), &mut events).unwrap();
    }
    assert_eq!(events, expected);
}

fn at(index: u32, event_time: u64, body: MarketBody) -> FeedEvent {
    event(index, event_time, RECEIVED, body)
}

fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
    let side =
        |side: &[(i64, u64)]| side.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    Levels { bids: side(bids), asks: side(asks) }
}

#[test]
fn trades_are_contiguous_or_leave_a_gap() {
    let time = 1_700_000_000_100_000_000;
    let body = |id| {
        let aggressor = Side::Sell.into();
        let trade = tickwire_wire::Trade { price: 1_050, size: 250, aggressor, id, id_text: String::new() };
        at(0, time, MarketBody::Trade(trade))
    };
    let gap = |count| at(0, time, MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(count) });
    check(Market::Spot, &[&trade(7)], &[body(7)]);
    check(Market::Spot, &[&trade(7), &trade(8)], &[body(8)]);
    check(Market::Spot, &[&trade(7), &trade(11)], &[gap(3), body(11)]);
    check(Market::Spot, &[&trade(7), &trade(7)], &[FeedEvent::Repeat]);
    check(Market::Spot, &[&trade(7), &trade(3)], &[FeedEvent::Repeat]);
    // A number that is no trade leaves no gap behind.
    let none = trade(8).replace("0.25000000", "0.0");
    check(Market::Usdm, &[&trade(7), &none], &[]);
    check(Market::Usdm, &[&trade(7), &none, &trade(9)], &[body(9)]);
}

#[test]
fn quotes_are_new_or_ignored() {
    let ask = Some(Level { price: 1_025, size: 2_000 });
    let bid = Some(Level { price: 1_000, size: 1_500 });
    let quote = |time, ask| at(1, time, MarketBody::Quote(Quote { bid, ask }));
    check(Market::Spot, &[&ticker(5, "2", "")], &[quote(RECEIVED, ask)]);
    check(Market::Spot, &[&ticker(5, "0.00000000", "")], &[quote(RECEIVED, None)]);
    let with_time = ticker(5, "2", r#","T":1700000000100"#);
    check(Market::Usdm, &[&with_time], &[quote(1_700_000_000_100_000_000, ask)]);
    let in_microseconds = ticker(5, "2", r#","T":1700000000100222"#);
    check(Market::Usdm, &[&in_microseconds], &[quote(1_700_000_000_100_222_000, ask)]);
    check(Market::Spot, &[&ticker(5, "2", ""), &ticker(5, "3", "")], &[FeedEvent::Repeat]);
    check(Market::Spot, &[&ticker(5, "2", ""), &ticker(4, "3", "")], &[FeedEvent::Repeat]);
}

#[test]
fn books_begin_with_a_snapshot_and_break_at_a_hole() {
    let time = 1_700_000_000_300_000_000;
    let snapshot =
        at(0, RECEIVED, MarketBody::BookSnapshot(levels(&[(1_000, 1_000), (999, 2_500)], &[(1_001, 3_000)])));
    let broken = at(0, time, MarketBody::UpstreamGap { channel: Channel::Book, count: None });
    let changed = levels(&[(1_002, 0), (998, 1_000)], &[(1_003, 2_000), (1_004, 0)]);
    let change = at(0, time, MarketBody::BookDelta(changed));
    // The futures send the lowest price first on both sides.
    let text = r#""b":[["9.98","1"],["10.02","0"]],"a":[["10.03","2"],["10.04","0.000"]]"#;
    check(Market::Spot, &[&depth("9-12", text)], &[]);
    check(Market::Spot, &[SNAPSHOT], std::slice::from_ref(&snapshot));
    check(Market::Spot, &[&depth("9-12", text), SNAPSHOT], &[snapshot.clone(), change.clone()]);
    check(Market::Spot, &[SNAPSHOT, &depth("8-10", NO_LEVELS)], &[FeedEvent::Repeat]);
    check(Market::Spot, &[SNAPSHOT, &depth("12-12", text)], std::slice::from_ref(&broken));
    check(Market::Usdm, &[SNAPSHOT, &depth("9-12<8", text)], std::slice::from_ref(&change));
    check(
        Market::Usdm,
        &[SNAPSHOT, &depth("9-12<8", text), &depth("15-16<14", NO_LEVELS)],
        std::slice::from_ref(&broken),
    );
    check(Market::Spot, &[SNAPSHOT, SNAPSHOT], &[FeedEvent::Repeat]);
    let named = SNAPSHOT.replace(r#""bids""#, r#""symbol":"XYUSD","T":1700000000100,"bids""#);
    let FeedEvent::Market(MarketEvent { body, .. }) = snapshot else { unreachable!() };
    check(Market::Cm, &[&named], &[at(1, 1_700_000_000_100_000_000, body)]);
}

#[test]
fn a_lost_connection_breaks_books_and_is_seen_in_the_trades() {
    let mut normalizer = normalizer(Market::Spot);
    let mut events = Vec::new();
    for message in [SNAPSHOT, &trade(7)] {
        normalizer.message(RECEIVED, message, Some("ABUSD"), &mut events).unwrap();
    }
    events.clear();
    normalizer.reconnected(RECEIVED, &mut events);
    normalizer.message(RECEIVED, &trade(9), None, &mut events).unwrap();
    let gap = |time, channel, count| at(0, time, MarketBody::UpstreamGap { channel, count });
    let expected =
        [gap(RECEIVED, Channel::Book, None), gap(1_700_000_000_100_000_000, Channel::Trade, Some(1))];
    assert_eq!(events[..2], expected);
    assert_eq!(normalizer.wanting_snapshot().count(), 0, "no change of the new connection came yet");
    normalizer.message(RECEIVED, &depth("20-21", NO_LEVELS), None, &mut events).unwrap();
    assert_eq!(normalizer.wanting_snapshot().collect::<Vec<_>>(), ["ABUSD"]);
}

#[test]
fn other_streams_and_answers_are_passed_over() {
    check(Market::Spot, &[&stream("kline_1m", "{}")], &[]);
    check(Market::Spot, &[&stream("depth20@100ms", "{}")], &[]);
    check(Market::Spot, &[r#"{"result":null,"id":1}"#], &[]);
    check(Market::Spot, &[r#"{"timezone":"UTC","symbols":[]}"#], &[]);
}

#[test]
fn who_wants_a_snapshot_is_known() {
    let mut normalizer = normalizer(Market::Spot);
    assert_eq!(normalizer.wanting_snapshot().count(), 0);
    let take = |normalizer: &mut Normalizer, text: &str| {
        normalizer.message(RECEIVED, text, Some("ABUSD"), &mut Vec::new()).unwrap();
        normalizer.wanting_snapshot().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(take(&mut normalizer, &depth("10-12", NO_LEVELS)), ["ABUSD"]);
    assert!(take(&mut normalizer, SNAPSHOT).is_empty());
    assert_eq!(take(&mut normalizer, &depth("15-15", NO_LEVELS)), ["ABUSD"]);
    normalizer.restart();
    assert_eq!(take(&mut normalizer, &trade(1)), ["ABUSD"]);
    assert!(take(&mut normalizer, SNAPSHOT).is_empty());
}

#[track_caller]
fn check_error(market: Market, message: &str, expected: &str) {
    let mut normalizer = normalizer(market);
    let mut events = Vec::new();
    let error: NormalizeError = normalizer.message(RECEIVED, message, None, &mut events).unwrap_err();
    assert!(error.to_string().contains(expected), "`{error}` does not say `{expected}`");
    assert!(events.is_empty());
    assert_eq!(normalizer.wanting_snapshot().count(), 0, "a bad message changed something");
}

#[test]
fn what_is_wrong_is_named() {
    let spot = Market::Spot;
    check_error(spot, "{\"stream\":", "EOF while parsing");
    check_error(spot, "{}", "neither a stream message nor a depth snapshot");
    check_error(spot, &stream("trade", "{}"), "missing field `s`");
    check_error(spot, &trade(1).replace("ABUSD", "NOPE"), "symbol `NOPE` is not among the instruments");
    check_error(spot, &trade(1).replace("10.50000000", "10.505"), "price: `10.505` has more than 2 decimals");
    check_error(spot, &trade(1).replace("10.50000000", "1O.5"), "price: `1O.5` is not a decimal number");
    check_error(spot, &trade(1).replace("0.25000000", "-1"), "quantity is negative: -1000");
    check_error(spot, &ticker(1, "99999999999999999999", ""), "does not fit into 64 bits");
    check_error(spot, &depth("12-9", NO_LEVELS), "update ids 12 to 9 are no range");
    check_error(spot, &depth("9-12", r#""b":[["1"]],"a":[]"#), "invalid length 1");
    check_error(Market::Usdm, &depth("9-12", NO_LEVELS), "pu, where the message before ended, is missing");
    check_error(spot, SNAPSHOT, "does not say of which symbol");
    check_error(spot, r#"{"lastUpdateId":1,"bids":[]}"#, "asks is missing");
}
