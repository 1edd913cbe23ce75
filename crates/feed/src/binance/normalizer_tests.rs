use tickwire_wire::{Channel, Level, Side, Status, TradingState};

use super::*;
use crate::adapter::{Levels, MarketEvent};
use crate::normalize_error::NormalizeError;

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

/// Checks what the messages come to; of the last one, when there are several.
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
    FeedEvent::Market(MarketEvent { index, event_time, receive_time: RECEIVED, body })
}

fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
    let side =
        |side: &[(i64, u64)]| side.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    Levels { bids: side(bids), asks: side(asks) }
}

#[test]
fn mark_prices_are_as_fine_as_they_stand() {
    let mark = |rest: &str| {
        stream(
            "markPrice@1s",
            &format!(r#"{{"e":"markPriceUpdate","E":1700000000100,"s":"ABUSD","p":"11794.15000000"{rest}}}"#),
        )
    };
    let derivative = Derivative { mark_price: Some(1_179_415), price_decimals: 2, ..Derivative::default() };
    let event = |derivative| at(0, 1_700_000_000_100_000_000, MarketBody::Derivative(derivative));
    check(
        Market::Usdm,
        &[&mark(r#","i":"11784.62659091","P":"11784.25641265","r":"-0.00038167","T":1700006400000"#)],
        &[event(Derivative {
            mark_price: Some(1_179_415_000_000),
            index_price: Some(1_178_462_659_091),
            price_decimals: 8,
            funding_rate: Some(-38_167),
            rate_decimals: 8,
            next_funding_time: 1_700_006_400_000_000_000,
            open_interest: None,
        })],
    );
    // A future with a delivery has no funding.
    check(Market::Cm, &[&mark(r#","r":"","T":0"#)], &[event(derivative)]);
    check(Market::Usdm, &[&mark("")], &[event(derivative)]);
    let mut events = Vec::new();
    let bad =
        normalizer(Market::Usdm).message(RECEIVED, &mark(r#","r":"x""#), None, &mut events).unwrap_err();
    assert_eq!((bad.to_string().contains("funding rate"), events.len()), (true, 0), "{bad}");
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
    // An id that is no trade leaves no gap behind.
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
    // One that is late is known as such when the next one comes.
    let late = ticker(4, "3", "");
    check(Market::Spot, &[&ticker(5, "2", ""), &late], &[]);
    check(
        Market::Spot,
        &[&ticker(5, "2", ""), &late, &ticker(6, "2", "")],
        &[FeedEvent::Repeat, quote(RECEIVED, ask)],
    );
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
    check(Market::Spot, &[SNAPSHOT, SNAPSHOT], std::slice::from_ref(&snapshot));
    check(Market::Spot, &[SNAPSHOT, &SNAPSHOT.replace("10,", "9,")], &[FeedEvent::Repeat]);
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
    normalizer.supply("ABUSD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    normalizer.supply("ABUSD", Channel::Trade, Supply::Lost, RECEIVED, &mut events);
    normalizer.supply("XYUSD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    normalizer.supply("ABUSD", Channel::Book, Supply::Back, RECEIVED, &mut events);
    normalizer.supply("ABUSD", Channel::Trade, Supply::Back, RECEIVED, &mut events);
    normalizer.supply("ABUSD", Channel::Trade, Supply::Back, RECEIVED, &mut events);
    normalizer.message(RECEIVED, &trade(9), None, &mut events).unwrap();
    let status = |reason: &str| {
        let state = TradingState::Unknown.into();
        at(0, RECEIVED, MarketBody::Status(Status { state, reason: reason.to_owned() }))
    };
    let gap = |time, channel, count| at(0, time, MarketBody::UpstreamGap { channel, count });
    let expected = [
        gap(RECEIVED, Channel::Book, None),
        status("the connection is lost (trade)"),
        status(""),
        gap(1_700_000_000_100_000_000, Channel::Trade, Some(1)),
    ];
    assert_eq!(events[..4], expected);
    assert_eq!(normalizer.wanting_snapshot().count(), 0, "no change of the new connection came yet");
    normalizer.message(RECEIVED, &depth("20-21", NO_LEVELS), None, &mut events).unwrap();
    assert_eq!(normalizer.wanting_snapshot().collect::<Vec<_>>(), ["ABUSD"]);
}

#[test]
fn what_a_lost_connection_brought_is_not_current_and_is_told_once() {
    let mut normalizer = normalizer(Market::Spot);
    let mut events = Vec::new();
    let mut lost = |normalizer: &mut Normalizer, symbol: &str, channel| {
        events.clear();
        normalizer.supply(symbol, channel, Supply::Lost, RECEIVED, &mut events);
        std::mem::take(&mut events)
    };
    let gap = |channel| vec![at(1, RECEIVED, MarketBody::UpstreamGap { channel, count: None })];
    assert_eq!(lost(&mut normalizer, "XYUSD", Channel::Quote), [], "there was no quote yet");
    let quote = ticker(7, "1", "");
    normalizer.message(RECEIVED, &quote, None, &mut Vec::new()).unwrap();
    assert_eq!(lost(&mut normalizer, "XYUSD", Channel::Book), []);
    assert_eq!(lost(&mut normalizer, "ABUSD", Channel::Quote), [], "another symbol's quote stays");
    assert_eq!(lost(&mut normalizer, "XYUSD", Channel::Quote), gap(Channel::Quote));
    assert_eq!(lost(&mut normalizer, "XYUSD", Channel::Quote), []);
    let quote = ticker(8, "1", "");
    normalizer.message(RECEIVED, &quote, None, &mut Vec::new()).unwrap();
    assert_eq!(lost(&mut normalizer, "XYUSD", Channel::Quote), gap(Channel::Quote));
}

#[test]
fn instruments_come_and_go() {
    let mut normalizer = normalizer(Market::Spot);
    let definition = |symbol: &str, price_decimals| Instrument {
        symbol: symbol.to_owned(),
        price_decimals,
        size_decimals: 3,
        ..Instrument::default()
    };
    let has_book = |normalizer: &mut Normalizer, symbol: &str| {
        let took = normalizer.message(RECEIVED, SNAPSHOT, Some(symbol), &mut Vec::new());
        took.is_ok().then(|| normalizer.need(0).is_none())
    };
    assert_eq!(normalizer.define(&definition("NEW", 2)), 2);
    assert_eq!(has_book(&mut normalizer, "ABUSD"), Some(true));
    assert_eq!(normalizer.define(&definition("ABUSD", 2)), 0);
    assert_eq!(normalizer.need(0), None, "nothing changed");
    assert_eq!(normalizer.define(&definition("ABUSD", 4)), 0);
    assert_eq!(normalizer.need(0), Some(Need::Whole), "its prices were of another scale");
    assert_eq!(normalizer.end("ABUSD"), Some(0));
    assert_eq!(normalizer.end("ABUSD"), None);
    assert_eq!(has_book(&mut normalizer, "ABUSD"), None, "messages that come late are refused");
    assert_eq!((normalizer.define(&definition("LATER", 2)), normalizer.name(0)), (0, Some("LATER")));
}

#[test]
fn a_snapshot_is_wanted_once_until_there_is_a_book() {
    let mut normalizer = normalizer(Market::Spot);
    let wanted = |normalizer: &mut Normalizer, text: &str| {
        normalizer.message(RECEIVED, text, Some("ABUSD"), &mut Vec::new()).unwrap();
        normalizer.take_wanted()
    };
    assert_eq!(wanted(&mut normalizer, &depth("20-21", NO_LEVELS)), [(0, Need::Whole)]);
    let none: [(u32, Need); 0] = [];
    assert_eq!(wanted(&mut normalizer, &depth("22-23", NO_LEVELS)), none);
    assert_eq!(wanted(&mut normalizer, SNAPSHOT), none, "it is too old; whoever fetches them tries again");
    assert_eq!(wanted(&mut normalizer, &depth("24-24", NO_LEVELS)), none);
    let helpful = SNAPSHOT.replace("10,", "22,");
    assert_eq!(wanted(&mut normalizer, &helpful), none);
    assert_eq!(normalizer.need(0), None);
    assert_eq!(wanted(&mut normalizer, &depth("26-26", NO_LEVELS)), [(0, Need::Whole)], "the book broke");
    normalizer.supply("ABUSD", Channel::Book, Supply::Lost, RECEIVED, &mut Vec::new());
    assert_eq!(
        wanted(&mut normalizer, &depth("30-30", NO_LEVELS)),
        [(0, Need::Whole)],
        "the connection is a new one"
    );
}

/// Makes a snapshot of four bids from 10.00 downwards and one ask, up to an update.
fn four_bids(best: u32, update: u64) -> String {
    let bid = |n: u32| format!(r#"["{}.{:02}","1.000"]"#, (best - n) / 100, (best - n) % 100);
    let bids: Vec<_> = (0..4).map(bid).collect();
    format!(r#"{{"lastUpdateId":{update},"bids":[{}],"asks":[["11.00","3"]]}}"#, bids.join(","))
}

fn bids(levels: &[(&str, &str)]) -> String {
    let levels: Vec<_> = levels.iter().map(|(price, size)| format!(r#"["{price}","{size}"]"#)).collect();
    format!(r#""b":[{}],"a":[]"#, levels.join(","))
}

#[test]
fn a_book_is_told_as_far_as_its_snapshot_proves_it() {
    let mut normalizer = normalizer(Market::Spot);
    normalizer.snapshots_have(4);
    let take = |normalizer: &mut Normalizer, text: &str| {
        let mut events = Vec::new();
        normalizer.message(RECEIVED, text, Some("ABUSD"), &mut events).unwrap();
        let told = |event: FeedEvent| match event {
            FeedEvent::Market(MarketEvent { body: MarketBody::BookSnapshot(levels), .. }) => {
                format!("all {:?}", levels.bids.iter().map(|level| level.price).collect::<Vec<_>>())
            }
            FeedEvent::Market(MarketEvent { body: MarketBody::BookDelta(levels), .. }) => {
                format!("{:?}", levels.bids.iter().map(|level| level.price).collect::<Vec<_>>())
            }
            FeedEvent::Market(MarketEvent { body: MarketBody::UpstreamGap { .. }, .. }) => "gap".to_owned(),
            other => format!("{other:?}"),
        };
        (events.into_iter().map(told).collect::<Vec<_>>(), normalizer.take_wanted())
    };
    let mut take = |text: &str| take(&mut normalizer, text);
    assert_eq!(take(&four_bids(1_000, 10)), (vec!["all [1000, 999, 998, 997]".to_owned()], vec![]));
    // 9.95 is beyond the snapshot: 9.96 may be there, too, and nobody said so.
    let change = depth("11-11", &bids(&[("9.95", "1"), ("9.99", "0"), ("10.00", "0")]));
    assert_eq!(take(&change), (vec!["[1000, 999]".to_owned()], vec![]));
    let change = depth("12-12", &bids(&[("9.98", "0")]));
    assert_eq!(take(&change), (vec!["[998]".to_owned()], vec![(0, Need::Deeper)]), "one level is left");
    let change = depth("13-13", &bids(&[("9.95", "0"), ("9.94", "2"), ("10.05", "3")]));
    assert_eq!(take(&change), (vec!["[1005]".to_owned()], vec![]), "it is asked for once");
    // The snapshot is older than the book, which does not go back.
    let snapshot = four_bids(997, 12).replace("1.000", "4");
    assert_eq!(take(&snapshot), (vec!["all [1005, 997, 996, 994]".to_owned()], vec![]));
    let change =
        depth("14-14", &bids(&[("10.05", "0"), ("9.97", "0"), ("9.96", "0"), ("9.94", "0"), ("9.90", "1")]));
    assert_eq!(
        take(&change),
        (vec!["gap".to_owned()], vec![(0, Need::Whole)]),
        "an empty side would be wrong"
    );
    assert_eq!(take(&four_bids(990, 14)).0, ["all [990, 989, 988, 987]"]);
}

#[test]
fn other_streams_and_responses_are_passed_over() {
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
    check_error(spot, &stream("trade", "{}"), "s, the symbol, is missing");
    check_error(spot, &trade(1).replace("ABUSD", "NOPE"), "symbol `NOPE` is not among the instruments");
    check_error(spot, &trade(1).replace("10.50000000", "10.505"), "price: `10.505` has more than 2 decimals");
    check_error(spot, &trade(1).replace("10.50000000", "1O.5"), "price: `1O.5` is not a decimal number");
    check_error(spot, &trade(1).replace("0.25000000", "-1"), "quantity: `-1` is negative");
    check_error(spot, &ticker(1, "99999999999999999999", ""), "does not fit into 64 bits");
    check_error(spot, &depth("12-9", NO_LEVELS), "update ids 12 to 9 are no range");
    check_error(spot, &depth("9-12", r#""b":[["1"]],"a":[]"#), "invalid length 1");
    check_error(Market::Usdm, &depth("9-12", NO_LEVELS), "pu, where the message before ended, is missing");
    check_error(spot, SNAPSHOT, "does not say of which symbol");
    check_error(spot, r#"{"lastUpdateId":1,"bids":[]}"#, "asks is missing");
    check_error(
        spot,
        &depth("9-12<8", NO_LEVELS),
        "a change of depth of binance-usdm, and the recording is taken as",
    );
    check_error(
        spot,
        &trade(1).replace("\"t\":1", "\"t\":1.5"),
        "t, the trade id,: `1.5` is not a whole number",
    );
    check_error(spot, &trade(1).replace("\"10.50000000\"", "null"), "p, the price, is missing");
    check_error(spot, &trade(1).replace("ABUSD", "\\ud800"), "s, the symbol, is no text");
    check_error(spot, r#"{"code":-1121,"msg":"Invalid symbol."}"#, "with an error: \"Invalid symbol.\"");
}

#[test]
fn numbers_and_texts_may_be_written_in_every_way() {
    let mut normalizer = normalizer(Market::Spot);
    let mut take = |text: &str| {
        let mut events = Vec::new();
        normalizer.message(RECEIVED, text, Some("ABUSD"), &mut events).unwrap();
        events
    };
    let plain = take(&trade(1));
    let text = trade(1).replace("\"t\":1", "\"t\":\"2\"").replace("\"10.50000000\"", "1.05e1");
    let odd =
        take(&text.replace("\"0.25000000\"", "\".25\"").replace("1700000000100", "\"1700000000100.0\""));
    let price_and_time = |events: &[FeedEvent]| match events {
        [FeedEvent::Market(MarketEvent { event_time, body: MarketBody::Trade(trade), .. })] => {
            (*event_time, trade.price, trade.size)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(price_and_time(&odd), price_and_time(&plain));
    // There is no time of the venue at all.
    let text = trade(3).replace("1700000000100", "null").replace("1700000000200", "null");
    assert_eq!(price_and_time(&take(&text)).0, RECEIVED);
    assert_eq!(normalizer.counts().odd_event_times, 0);
    let text = trade(4).replace("1700000000100", "5").replace("1700000000200", "\"x\"");
    normalizer.message(RECEIVED, &text, None, &mut Vec::new()).unwrap();
    assert_eq!(normalizer.counts().odd_event_times, 1);
    let definition = Instrument {
        symbol: "\u{5e01}USD".to_owned(),
        price_decimals: 2,
        size_decimals: 3,
        ..Instrument::default()
    };
    let mut normalizer = Normalizer::new(Market::Spot, &[definition]);
    for symbol in ["\\u5e01USD", "\u{5e01}USD"] {
        normalizer.message(RECEIVED, &trade(1).replace("ABUSD", symbol), None, &mut Vec::new()).unwrap();
    }
}

#[test]
fn of_a_price_said_twice_the_last_one_counts() {
    let snapshot =
        SNAPSHOT.replace(r#"["9.99","2.5"]"#, r#"["10.0","7"],["9.99","0"],["9.98","0"],["9.98","3"]"#);
    let book = levels(&[(1_000, 7_000), (998, 3_000)], &[(1_001, 3_000)]);
    check(Market::Spot, &[&snapshot], &[at(0, RECEIVED, MarketBody::BookSnapshot(book))]);
    let changes = depth("11-11", r#""b":[["9.99","1"],["9.990","0"]],"a":[["10.01","0"],["10.01","2"]]"#);
    let changed = levels(&[(999, 0)], &[(1_001, 2_000)]);
    let time = 1_700_000_000_300_000_000;
    check(Market::Spot, &[SNAPSHOT, &changes], &[at(0, time, MarketBody::BookDelta(changed))]);
}

#[test]
fn aggregates_are_trades_where_it_was_asked_for() {
    let aggregate = trade(7)
        .replace("\"e\":\"trade\"", "\"e\":\"aggTrade\"")
        .replace("\"t\":7", "\"a\":7,\"f\":1,\"l\":3");
    check(Market::Spot, &[&aggregate], &[]);
    let mut normalizer = normalizer(Market::Spot);
    normalizer.use_aggregates("ABUSD");
    let mut events = Vec::new();
    for text in [&aggregate, &trade(9)] {
        normalizer.message(RECEIVED, text, None, &mut events).unwrap();
    }
    assert!(
        matches!(&events[..], [FeedEvent::Market(MarketEvent { body: MarketBody::Trade(trade), .. })] if trade.id == 7)
    );
}

#[test]
fn exchange_info_says_whether_symbols_trade() {
    let info = |words: &str| {
        format!(
            r#"{{"serverTime":1700000000100,"symbols":[{{"symbol":"OTHER","status":"BREAK"}},{{"symbol":"ABUSD","status":"{words}"}}]}}"#
        )
    };
    let status = |state: TradingState, reason: &str| {
        let status = Status { state: state.into(), reason: reason.to_owned() };
        at(0, 1_700_000_000_100_000_000, MarketBody::Status(status))
    };
    check(Market::Spot, &[&info("TRADING")], &[status(TradingState::Open, "TRADING")]);
    check(Market::Spot, &[&info("TRADING"), &info("TRADING")], &[]);
    check(Market::Spot, &[&info("TRADING"), &info("BREAK")], &[status(TradingState::Halted, "BREAK")]);
}

/// Plays each message a second after the one before; returns the reasons of the status records, and the other events.
fn played(messages: &[&str]) -> (Normalizer, Vec<String>, Vec<FeedEvent>) {
    let mut normalizer = normalizer(Market::Spot);
    let mut events = Vec::new();
    for (message, second) in messages.iter().zip(0..) {
        normalizer.message(RECEIVED + second * 1_000_000_000, message, Some("ABUSD"), &mut events).unwrap();
    }
    normalizer.finish(&mut events);
    let (mut reasons, mut others) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            FeedEvent::Market(MarketEvent { body: MarketBody::Status(status), .. }) => {
                reasons.push(status.reason);
            }
            other => others.push(other),
        }
    }
    (normalizer, reasons, others)
}

#[test]
fn a_book_that_waits_is_told_until_it_is_there() {
    const WAITS: &str = "the book waits for a snapshot";
    let change = |n: u64| depth(&format!("{n}-{n}"), NO_LEVELS);
    let (normalizer, reasons, others) = played(&[&change(20), &change(21), &change(22)]);
    assert_eq!((reasons, others.len()), (vec![WAITS.to_owned()], 0));
    assert_eq!((normalizer.unused_changes(), normalizer.counts().waiting_books), (3, 1));
    assert_eq!(normalizer.silent().collect::<Vec<_>>(), ["ABUSD", "XYUSD"]);
    assert_eq!(normalizer.bookless().collect::<Vec<_>>(), ["ABUSD"]);
    // It is told even if the recording ends at once.
    assert_eq!(played(&[&change(20)]).1, [WAITS]);
    // This snapshot is too old for what came.
    let (mut normalizer, reasons, _) = played(&[&change(20), SNAPSHOT, &change(21)]);
    assert_eq!((reasons, normalizer.counts().unused_snapshots), (vec![WAITS.to_owned()], 1));
    let notes = normalizer.take_notes();
    assert!(
        notes[0]
            .contains("ABUSD: a depth snapshot is too old to be of use: the changes that came begin with 20")
    );
    assert!(notes[1].contains("ABUSD: the book waits for a snapshot"), "{notes:?}");
    // A snapshot that helps clears it, and leaves the venue's words.
    let late = SNAPSHOT.replace("10,", "21,");
    let info = r#"{"symbols":[{"symbol":"ABUSD","status":"TRADING"}]}"#;
    let (normalizer, reasons, _) = played(&[info, &change(20), &change(21), &late, &change(22)]);
    assert_eq!(reasons, ["TRADING", "TRADING; the book waits for a snapshot", "TRADING"]);
    assert_eq!((normalizer.unused_changes(), normalizer.bookless().count()), (0, 0));
    // A snapshot that comes soon needs no words.
    let (_, reasons, _) = played(&[&change(10), SNAPSHOT, &change(11)]);
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn a_sequence_that_starts_again_is_a_gap_and_then_the_new_one() {
    let late = |text: String, second: u64| {
        let time =
            |text: String, from: u64| text.replace(&from.to_string(), &(from + second * 1_000).to_string());
        time(time(time(text, 1_700_000_000_100), 1_700_000_000_200), 1_700_000_000_300)
    };
    let trades: Vec<_> =
        [7, 8, 1, 2, 4].into_iter().zip(0..).map(|(id, second)| late(trade(id), second)).collect();
    let (normalizer, _, others) = played(&trades.iter().map(String::as_str).collect::<Vec<_>>());
    let ids = |events: &[FeedEvent]| -> Vec<String> {
        let name = |event: &FeedEvent| match event {
            FeedEvent::Market(MarketEvent { body, .. }) => match body {
                MarketBody::Trade(trade) => trade.id.to_string(),
                MarketBody::UpstreamGap { count, .. } => format!("{count:?}"),
                other => format!("{other:?}").chars().take(9).collect(),
            },
            other => format!("{other:?}"),
        };
        events.iter().map(name).collect()
    };
    assert_eq!(ids(&others), ["7", "8", "None", "1", "2", "Some(1)", "4"]);
    assert_eq!(normalizer.counts().new_sequences, 1);
    // Quotes of spot have no time: the distance tells.
    let quotes: Vec<_> = [5_000, 5_001, 3, 5, 6].map(|id| ticker(id, "2", "")).into();
    let (_, _, others) = played(&quotes.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ids(&others), ["Quote(Quo", "Quote(Quo", "None", "Quote(Quo", "Quote(Quo", "Quote(Quo"]);
    // The book goes on from the snapshot that came with the new sequence.
    let change = |n: u64, second| late(depth(&format!("{n}-{n}"), NO_LEVELS), second);
    let messages = [
        SNAPSHOT.replace("10,", "900,"),
        change(901, 1),
        SNAPSHOT.replace("10,", "5,"),
        change(6, 3),
        change(7, 4),
        change(8, 5),
        change(9, 6),
    ];
    let (_, reasons, others) = played(&messages.iter().map(String::as_str).collect::<Vec<_>>());
    let book = [
        "BookSnaps",
        "BookDelta",
        "Repeat",
        "None",
        "BookSnaps",
        "BookDelta",
        "BookDelta",
        "BookDelta",
        "BookDelta",
    ];
    assert_eq!(ids(&others), book);
    assert!(reasons.is_empty(), "{reasons:?}");
}
