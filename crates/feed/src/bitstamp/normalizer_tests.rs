use tickwire_wire::{Instrument, Level};

use super::*;
use crate::adapter::MarketBody;

const RECEIVED: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn definition(price_decimals: u32) -> Instrument {
    Instrument { symbol: "BTCUSD".to_owned(), price_decimals, size_decimals: 3, ..Instrument::default() }
}

fn normalizer() -> Normalizer {
    let mut normalizer = Normalizer::new(60 * SECOND);
    normalizer.instruments.define(&definition(1));
    normalizer
}

/// Makes a change at a time; `at` is in microseconds.
fn change(at: u64, bids: &str, asks: &str) -> String {
    format!(r#"{{"data":{},"channel":"diff_order_book_btcusd","event":"data"}}"#, book(at, bids, asks))
}

fn book(at: u64, bids: &str, asks: &str) -> String {
    format!(r#"{{"timestamp":"1","microtimestamp":"{at}","bids":[{bids}],"asks":[{asks}]}}"#)
}

fn trade(id: u64, kind: &str) -> String {
    format!(
        r#"{{"data":{{"id":{id},"timestamp":"1","amount":0.25,"amount_str":"0.25000000","price":9.5,"price_str":"9.5","type":{kind},"microtimestamp":"1641343699596000","buy_order_id":1,"sell_order_id":2}},"channel":"live_trades_btcusd","event":"trade"}}"#
    )
}

/// Returns what came in words.
fn words(events: Vec<FeedEvent>) -> Vec<String> {
    let side = |levels: &[Level]| {
        let all: Vec<_> = levels.iter().map(|level| format!("{}x{}", level.price, level.size)).collect();
        all.join(",")
    };
    let word = |event: FeedEvent| match event {
        FeedEvent::Repeat => "repeat".to_owned(),
        FeedEvent::Market(event) => match event.body {
            MarketBody::BookSnapshot(it) => format!("book {} {}", side(&it.bids), side(&it.asks)),
            MarketBody::BookDelta(it) => format!("change {} {}", side(&it.bids), side(&it.asks)),
            MarketBody::UpstreamGap { channel, count } => format!("gap {} {count:?}", channel.name()),
            MarketBody::Trade(it) => format!("trade {} {}x{} {}", it.id, it.price, it.size, it.aggressor),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    events.into_iter().map(word).collect()
}

#[track_caller]
fn take_at(normalizer: &mut Normalizer, receive: u64, text: &str) -> Vec<String> {
    let mut events = Vec::new();
    normalizer.message(receive, text, &mut events).unwrap();
    words(events)
}

#[track_caller]
fn take(normalizer: &mut Normalizer, text: &str) -> Vec<String> {
    take_at(normalizer, RECEIVED, text)
}

#[track_caller]
fn snapshot(normalizer: &mut Normalizer, text: &str) -> (bool, Vec<String>) {
    let mut events = Vec::new();
    let is_done = normalizer.snapshot("BTCUSD", RECEIVED, text, &mut events).unwrap();
    (is_done, words(events))
}

/// Makes a normalizer with a book of 10.0 x 1 and 11.0 x 1 at 101.
fn with_book() -> Normalizer {
    let mut normalizer = normalizer();
    take(&mut normalizer, &change(100, "", ""));
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
    let (is_done, told) = snapshot(&mut normalizer, &book(101, r#"["10.0","1"]"#, r#"["11.0","1"]"#));
    assert_eq!((is_done, &told[..]), (true, &["book 100x1000 110x1000".to_owned()][..]));
    normalizer
}

#[test]
fn a_book_is_a_snapshot_and_the_changes_behind_it() {
    let mut normalizer = normalizer();
    assert_eq!(take(&mut normalizer, &change(100, r#"["9.0","1"]"#, "")), [""; 0]);
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
    assert_eq!(take(&mut normalizer, &change(105, r#"["9.5","2.5"]"#, r#"["11.0","0"]"#)), [""; 0]);
    assert_eq!(normalizer.take_wanted(), [], "it was asked for");
    let at = |at| book(at, r#"["9.0","1"],["8.0","1"]"#, r#"["11.0","3"],["12.0","1"]"#);
    assert_eq!(
        snapshot(&mut normalizer, &at(99)),
        (false, vec![]),
        "changes before the first one are missing"
    );
    let (is_done, told) = snapshot(&mut normalizer, &at(100));
    assert_eq!((is_done, &told[..]), (true, &["book 95x2500,90x1000,80x1000 120x1000".to_owned()][..]));
    assert_eq!(take(&mut normalizer, &change(106, r#"["9.0","0.000"]"#, "")), ["change 90x0 "]);
}

#[test]
fn what_a_snapshot_has_is_not_taken_again() {
    let mut normalizer = with_book();
    assert_eq!(take(&mut normalizer, &change(101, r#"["10.0","7"]"#, "")), [""; 0]);
    assert_eq!(take(&mut normalizer, &change(102, r#"["10.0","7"]"#, "")), ["change 100x7000 "]);
    assert_eq!(take(&mut normalizer, &change(102, r#"["10.0","7"]"#, "")), ["repeat"]);
    let other = take(&mut normalizer, &change(102, r#"["9.0","1"]"#, ""));
    assert_eq!(other, ["change 90x1000 "], "two changes may have one time");
}

#[test]
fn a_change_that_comes_too_late_breaks_the_book() {
    let mut normalizer = with_book();
    take(&mut normalizer, &change(110, r#"["10.0","2"]"#, ""));
    assert_eq!(take(&mut normalizer, &change(105, r#"["10.0","3"]"#, "")), ["gap book None"]);
    assert_eq!(take(&mut normalizer, &change(111, r#"["9.0","1"]"#, "")), [""; 0]);
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
    assert_eq!(snapshot(&mut normalizer, &book(110, "", "")), (false, vec![]));
    assert!(snapshot(&mut normalizer, &book(111, r#"["9.0","1"]"#, "")).0);
}

#[test]
fn a_change_that_cannot_be_read_breaks_the_book() {
    let mut normalizer = with_book();
    let mut events = Vec::new();
    let odd = change(110, r#"["10.01","2"]"#, "");
    normalizer.message(RECEIVED, &odd, &mut events).unwrap_err();
    assert_eq!(words(events), ["gap book None"]);
    take(&mut normalizer, &change(112, "", ""));
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
}

#[test]
fn a_book_that_is_the_same_goes_on() {
    let mut normalizer = with_book();
    let later = RECEIVED + 61 * SECOND;
    assert_eq!(take_at(&mut normalizer, later, &change(200, r#"["9.0","1"]"#, "")), ["change 90x1000 "]);
    assert_eq!(normalizer.take_wanted(), [(0, Need::Deeper)]);
    take_at(&mut normalizer, later, &change(201, r#"["9.5","1"]"#, ""));
    let same = |at| book(at, r#"["10.0","1"],["9.0","1"]"#, r#"["11.0","1"]"#);
    assert_eq!(snapshot(&mut normalizer, &same(199)), (false, vec![]));
    assert_eq!(snapshot(&mut normalizer, &same(202)), (false, vec![]), "the stream is not there yet");
    assert_eq!(snapshot(&mut normalizer, &same(200)), (true, vec![]));
    // It was compared at the time of its receipt.
    take_at(&mut normalizer, RECEIVED + 59 * SECOND, &change(300, "", ""));
    assert_eq!(normalizer.take_wanted(), []);
    take_at(&mut normalizer, later, &change(301, "", ""));
    assert_eq!(normalizer.take_wanted(), [(0, Need::Deeper)]);
    let fewer = book(301, r#"["10.0","1"],["9.5","1"]"#, r#"["11.0","1"]"#);
    assert_eq!(snapshot(&mut normalizer, &fewer), (true, vec![]), "fewer levels are no difference");
}

#[test]
fn a_lost_change_is_found_by_the_next_comparison() {
    let mut normalizer = with_book();
    let later = RECEIVED + 61 * SECOND;
    take_at(&mut normalizer, later, &change(200, r#"["9.0","1"]"#, ""));
    let (is_done, told) =
        snapshot(&mut normalizer, &book(200, r#"["10.0","4"],["9.0","1"]"#, r#"["11.0","1"]"#));
    assert!(is_done);
    assert_eq!(told, ["gap book None", "book 100x4000,90x1000 110x1000"]);
}

#[test]
fn a_book_may_be_crossed_for_the_moment_of_a_match() {
    let mut normalizer = with_book();
    assert_eq!(take(&mut normalizer, &change(1_000, r#"["11.0","1"]"#, "")), ["change 110x1000 "]);
    assert_eq!(take(&mut normalizer, &change(2_000_000, "", r#"["12.0","1"]"#)).len(), 1);
    assert_eq!(take(&mut normalizer, &change(2_001_001, "", r#"["13.0","1"]"#)), ["gap book None"]);
    take(&mut normalizer, &change(2_001_002, "", ""));
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
}

#[test]
fn trades_and_what_else_comes() {
    let mut normalizer = normalizer();
    assert_eq!(take(&mut normalizer, &trade(7, "0")), [format!("trade 7 95x250 {}", i32::from(Side::Buy))]);
    assert_eq!(take(&mut normalizer, &trade(7, "0")), ["repeat"]);
    // Ids are shared by all instruments.
    assert_eq!(
        take(&mut normalizer, &trade(11, "1")),
        [format!("trade 11 95x250 {}", i32::from(Side::Sell))]
    );
    let mut said = |text: &str| normalizer.message(RECEIVED, text, &mut Vec::new());
    let of = |event: &str, channel: &str, data: &str| {
        format!(r#"{{"event":"bts:{event}","channel":"{channel}","data":{data}}}"#)
    };
    let granted = of("subscription_succeeded", "diff_order_book_btcusd", "{}");
    assert_eq!(said(&granted).unwrap(), Said::Subscribed(Channel::Book, "BTCUSD".to_owned()));
    assert_eq!(
        said(&of("unsubscription_succeeded", "live_trades_btcusd", "{}")).unwrap(),
        Said::Unsubscribed
    );
    assert_eq!(said(&of("request_reconnect", "", r#""""#)).unwrap(), Said::Reconnect);
    assert_eq!(said(&of("heartbeat", "", r#"{"status":"success"}"#)).unwrap(), Said::Alive);
    let error = of("error", "", r#"{"code":null,"message":"Bad subscription string."}"#);
    assert_eq!(said(&error).unwrap(), Said::Refused("Bad subscription string.".to_owned()));
    assert!(said("{}").is_err() && said("[]").is_err());
    assert!(said(&trade(12, "0").replace("btcusd", "ethusd")).is_err(), "there is no such symbol");
}

#[test]
fn nothing_is_kept_of_an_instrument_that_ended() {
    let mut normalizer = with_book();
    take(&mut normalizer, &trade(7, "0"));
    assert_eq!(normalizer.instruments.name(0), Some("BTCUSD"));
    assert_eq!(normalizer.instruments.end("BTCUSD"), Some(0));
    assert_eq!(normalizer.instruments.name(0), None);
    normalizer.instruments.define(&definition(1));
    assert_eq!(take(&mut normalizer, &trade(7, "0")).len(), 1);
    assert_eq!(take(&mut normalizer, &change(50, "", "")), [""; 0], "it begins anew");
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
}

#[test]
fn what_a_lost_connection_brought_is_forgotten() {
    let mut normalizer = with_book();
    let mut events = Vec::new();
    normalizer.supply("BTCUSD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    assert_eq!(words(events), ["gap book None"]);
    take(&mut normalizer, &change(50, "", ""));
    assert_eq!(normalizer.take_wanted(), [(0, Need::Whole)]);
    assert!(snapshot(&mut normalizer, &book(50, "", "")).0);
}
