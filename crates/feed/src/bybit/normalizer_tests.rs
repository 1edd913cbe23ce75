use tickwire_wire::{Instrument, Level};

use super::*;
use crate::adapter::{Levels, MarketBody};
use crate::supply::Supply;

const RECEIVED: u64 = 1_700_000_000_000_000_000;

fn normalizer() -> Normalizer {
    let mut normalizer = Normalizer::new(2);
    let symbol = "BTCUSDT".to_owned();
    let definition = Instrument { symbol, price_decimals: 2, size_decimals: 3, ..Instrument::default() };
    normalizer.instruments.define(&definition);
    normalizer
}

fn message(topic: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"topic":"{topic}.BTCUSDT","type":"{kind}","ts":1700000000123,"data":{data},"cts":1700000000100}}"#
    )
}

fn book(kind: &str, number: u64, bids: &str) -> String {
    message("orderbook.50", kind, &format!(r#"{{"s":"BTCUSDT","b":[{bids}],"a":[],"u":{number},"seq":77}}"#))
}

#[track_caller]
fn take(normalizer: &mut Normalizer, text: &str) -> (Said, Vec<MarketBody>) {
    let mut events = Vec::new();
    let said = normalizer.message(RECEIVED, text, &mut events).unwrap();
    let body = |event| if let FeedEvent::Market(event) = event { Some(event.body) } else { None };
    (said, events.into_iter().filter_map(body).collect())
}

fn bids(levels: &[(i64, u64)]) -> Levels {
    let bids = levels.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    Levels { bids, asks: Vec::new() }
}

const GAP: MarketBody = MarketBody::UpstreamGap { channel: Channel::Book, count: None };

#[test]
fn changes_of_a_book_are_numbered_and_snapshots_may_come_at_any_time() {
    let mut normalizer = normalizer();
    let name = || "BTCUSDT".to_owned();
    let data = || Said::Data(Channel::Book, name());
    let mut take = |text: &str| take(&mut normalizer, text);
    let snapshot = |levels: &[(i64, u64)]| vec![MarketBody::BookSnapshot(bids(levels))];
    let delta = |levels: &[(i64, u64)]| vec![MarketBody::BookDelta(bids(levels))];
    let one = r#"["100.50","0.25"]"#;
    assert_eq!(take(&book("delta", 6, one)), (Said::NoBook(name()), vec![]), "there is no book yet");
    assert_eq!(take(&book("snapshot", 10, one)), (data(), snapshot(&[(10_050, 250)])));
    assert_eq!(take(&book("delta", 11, r#"["100.40","1"]"#)), (data(), delta(&[(10_040, 1_000)])));
    assert_eq!(take(&book("delta", 11, one)), (Said::Nothing, vec![]), "it is repeated");
    let told = delta(&[(10_060, 2_000), (10_040, 0)]);
    assert_eq!(
        take(&book("delta", 12, r#"["100.60","2"]"#)),
        (data(), told),
        "the third level was pushed out"
    );
    // A new snapshot is no loss, and neither is the one of a service that began anew, whatever its kind.
    assert_eq!(take(&book("snapshot", 40, one)), (data(), snapshot(&[(10_050, 250)])));
    assert_eq!(take(&book("delta", 41, r#"["100.50","0"]"#)), (data(), delta(&[(10_050, 0)])));
    assert_eq!(take(&book("delta", 1, one)), (data(), snapshot(&[(10_050, 250)])));
    assert_eq!(take(&book("delta", 2, one)), (data(), delta(&[(10_050, 250)])));
    assert_eq!(take(&book("delta", 4, one)), (Said::Broken(name(), None), vec![GAP]));
    assert_eq!(take(&book("delta", 5, one)), (Said::NoBook(name()), vec![]));
    // Where the snapshot of a service that began anew is lost, its changes are none of the book before.
    take(&book("snapshot", 900, one));
    assert_eq!(take(&book("delta", 2, one)), (Said::Broken(name(), None), vec![GAP]));
    take(&book("snapshot", 950, one));
    let (said, told) = take(&book("delta", 951, r#"["100.505","1"]"#));
    assert!(matches!(said, Said::Broken(_, Some(_))) && told == [GAP], "{said:?}");
    let (said, told) = take(&book("snapshot", 960, "7"));
    assert!(matches!(said, Said::Broken(_, Some(_))) && told.is_empty(), "{said:?}");
}

fn trade(id: &str) -> String {
    let data = format!(
        r#"[{{"T":1700000000090,"s":"BTCUSDT","S":"Sell","v":"0.250","p":"100.50","L":"PlusTick","i":"{id}","BT":false,"seq":1}}]"#
    );
    message("publicTrade", "snapshot", &data)
}

#[test]
fn trades_have_names_and_a_lost_connection_is_a_gap_of_them() {
    let mut normalizer = normalizer();
    let of = |id, id_text: &str| {
        let aggressor = Side::Sell.into();
        let id_text = id_text.to_owned();
        MarketBody::Trade(Trade { price: 10_050, size: 250, aggressor, id, id_text })
    };
    let said = Said::Data(Channel::Trade, "BTCUSDT".to_owned());
    assert_eq!(
        take(&mut normalizer, &trade("2290000000036455162")),
        (said.clone(), vec![of(2_290_000_000_036_455_162, "")])
    );
    let name = "20f43950-d8dd-5b31-9112-a178eb6023af";
    assert_eq!(take(&mut normalizer, &trade(name)), (said.clone(), vec![of(0, name)]));
    assert_eq!(take(&mut normalizer, &trade(name)), (said, vec![]), "it is repeated");
    let mut events = Vec::new();
    let mut lose = |events: &mut Vec<FeedEvent>| {
        normalizer.instruments.supply("BTCUSDT", Channel::Trade, Supply::Lost, RECEIVED, events);
    };
    lose(&mut events);
    let gap = MarketBody::UpstreamGap { channel: Channel::Trade, count: None };
    assert!(
        matches!(&events[..], [FeedEvent::Market(told), FeedEvent::Market(_)] if told.body == gap),
        "{events:?}"
    );
    lose(&mut events);
    assert_eq!(events.len(), 2, "it is told once");
}

#[test]
fn tickers_say_what_changed() {
    let mut normalizer = normalizer();
    let ticker = |kind: &str, data: &str| message("tickers", kind, data);
    let change = ticker("delta", r#"{"symbol":"BTCUSDT","markPrice":"100.5"}"#);
    assert_eq!(take(&mut normalizer, &change), (Said::Nothing, vec![]), "there is nothing to change");
    let all = r#"{"symbol":"BTCUSDT","markPrice":"100.50","indexPrice":"100.4","fundingRate":"-0.0001","nextFundingTime":"1700000000000","bid1Price":"1"}"#;
    let said = Said::Data(Channel::Derivative, "BTCUSDT".to_owned());
    let told = Derivative {
        mark_price: Some(1_005),
        index_price: Some(1_004),
        price_decimals: 1,
        funding_rate: Some(-1),
        rate_decimals: 4,
        next_funding_time: RECEIVED,
        open_interest: None,
    };
    let (heard, events) = take(&mut normalizer, &ticker("snapshot", all));
    let [MarketBody::Derivative(first)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((heard, first.mark_price, first.index_price), (said.clone(), Some(1_005), Some(1_004)));
    assert_eq!(*first, told);
    let best = ticker("delta", r#"{"symbol":"BTCUSDT","bid1Price":"2"}"#);
    assert_eq!(take(&mut normalizer, &best), (said.clone(), vec![]), "other channels tell it");
    let (_, events) = take(&mut normalizer, &change);
    assert!(
        matches!(&events[..], [MarketBody::Derivative(told)] if told.index_price.is_some()),
        "{events:?}"
    );
    let mut events = Vec::new();
    normalizer.instruments.supply("BTCUSDT", Channel::Derivative, Supply::Lost, RECEIVED, &mut events);
    assert_eq!(events.len(), 1, "it is not current any more");
}

#[test]
fn what_is_no_data() {
    let mut normalizer = normalizer();
    let mut said = |text: &str| take(&mut normalizer, text).0;
    let granted = r#"{"success":true,"ret_msg":"","conn_id":"a","req_id":"7","op":"subscribe"}"#;
    assert_eq!(said(granted), Said::Granted(7));
    let refused = r#"{"success":false,"ret_msg":"error:handler not found,topic:orderbook.50.X","conn_id":"a","req_id":"8","op":"subscribe"}"#;
    assert_eq!(
        said(refused),
        Said::Refused(Some(8), "error:handler not found,topic:orderbook.50.X".to_owned())
    );
    assert_eq!(said(r#"{"success":true,"ret_msg":"pong","conn_id":"a","op":"ping"}"#), Said::Alive);
    assert_eq!(said(r#"{"req_id":"1","op":"pong","args":["1"],"conn_id":"a"}"#), Said::Alive);
    assert!(normalizer.message(RECEIVED, "{}", &mut Vec::new()).is_err());
    assert!(normalizer.message(RECEIVED, &trade("1").replace("BTCUSDT", "X"), &mut Vec::new()).is_err());
    assert_eq!(trading_state("Trading"), TradingState::Open);
}

#[test]
fn nothing_is_kept_of_an_instrument_that_ended() {
    let mut normalizer = normalizer();
    let trade = message(
        "publicTrade",
        "snapshot",
        r#"[{"T":1700000000100,"s":"BTCUSDT","S":"Buy","v":"0.5","p":"10.1","i":"a-1","BT":false}]"#,
    );
    let ticker = |kind: &str| message("tickers", kind, r#"{"symbol":"BTCUSDT","markPrice":"10.1"}"#);
    assert_eq!(take(&mut normalizer, &trade).1.len(), 1);
    assert_eq!(take(&mut normalizer, &ticker("snapshot")).1.len(), 1);
    normalizer.instruments.end("BTCUSDT");
    let symbol = "BTCUSDT".to_owned();
    normalizer.instruments.define(&Instrument {
        symbol,
        price_decimals: 2,
        size_decimals: 3,
        ..Instrument::default()
    });
    let later = ticker("delta").replace("10.1", "10.2");
    assert_eq!(take(&mut normalizer, &later), (Said::Nothing, vec![]), "there is nothing to change");
    assert_eq!(take(&mut normalizer, &trade).1.len(), 1, "it is no repetition");
}
