use std::time::Duration;

use tickwire_feed::adapter::MarketBody;
use tickwire_wire::{Channel, TradingState};

use super::*;
use crate::venue::LinkId;

const TIME: u64 = 1_700_000_000_000_000_000;
const FIRST: Connection = Connection { link: LinkId(0), attempt: 0 };

fn venue(market: Market, symbols: &[&str]) -> Binance {
    let symbols: Vec<_> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    Binance::new(market, row(market).config("wss://s/", "https://r/", &symbols))
}

/// Makes a list of instruments: `NAME`, `NAME/STATUS`, `NAME/STATUS/TICK`.
fn list(symbols: &[&str]) -> String {
    let symbol = |text: &&str| {
        let mut parts = text.split('/');
        let name = parts.next().unwrap();
        let (status, tick) = (parts.next().unwrap_or("TRADING"), parts.next().unwrap_or("0.01000000"));
        format!(
            r#"{{"symbol":"{name}","status":"{status}","baseAsset":"B","quoteAsset":"Q","filters":[{{"filterType":"PRICE_FILTER","tickSize":"{tick}"}},{{"filterType":"LOT_SIZE","stepSize":"0.001"}}]}}"#
        )
    };
    let symbols: Vec<_> = symbols.iter().map(symbol).collect();
    format!(r#"{{"serverTime":1700000000000,"symbols":[{}]}}"#, symbols.join(","))
}

/// Takes a list; returns the events in words, the topics that are new, and how many ended.
#[track_caller]
fn take(venue: &mut Binance, symbols: &[&str]) -> (Vec<String>, Vec<Topic>, usize) {
    let mut events = Vec::new();
    let changes = venue.take_catalogue(TIME, &list(symbols), &mut events).unwrap();
    let word = |event: &FeedEvent| match event {
        FeedEvent::Define { index, definition } => {
            format!("{index}={}.{}", definition.symbol, definition.price_decimals)
        }
        FeedEvent::End { index } => format!("-{index}"),
        FeedEvent::Market(event) => match &event.body {
            MarketBody::Status(status) => {
                let state = TradingState::try_from(status.state).unwrap();
                format!("{}:{}", event.index, state.as_str_name())
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    (events.iter().map(word).collect(), changes.added, changes.ended.len())
}

#[test]
fn instruments_are_those_that_are_meant_and_alive() {
    let mut venue = venue(Market::Spot, &["*USDT", "OLD"]);
    let listed = ["AUSDT", "BUSDT/BREAK", "CUSD", "OLD/BREAK"];
    let (events, added, ended) = take(&mut venue, &listed);
    let open = |index| format!("{index}:TRADING_STATE_OPEN");
    let halted = |index| format!("{index}:TRADING_STATE_HALTED");
    assert_eq!(events, ["0=AUSDT.2", "1=OLD.2", &open(0), &halted(1)]);
    let names: Vec<_> = added.iter().map(|topic| topic.name.as_str()).collect();
    let of_a = ["ausdt@bookTicker", "ausdt@depth@100ms", "ausdt@trade"];
    assert_eq!((&names[..3], names.len(), ended), (&of_a[..], 6, 0));
    assert!(added.iter().all(|topic| topic.route == 0));
    assert_eq!(take(&mut venue, &listed).0, [""; 0], "nothing is new");
    let (events, added, ended) = take(&mut venue, &["AUSDT/BREAK/0.1", "NEWUSDT"]);
    assert_eq!(events, ["-1", "0=AUSDT.1", "1=NEWUSDT.2", &halted(0), &open(1)]);
    assert_eq!((added.len(), ended), (3, 3));
    assert!(added.iter().all(|topic| topic.id.0 >= 6), "numbers are not used again");
}

#[test]
fn sizes_at_spot_are_as_fine_as_they_are_written() {
    let definition = |market| {
        let mut events = Vec::new();
        venue(market, &["AUSDT"]).take_catalogue(TIME, &list(&["AUSDT"]), &mut events).unwrap();
        let FeedEvent::Define { definition, .. } = events.remove(0) else { panic!("a definition") };
        (definition.size_decimals, definition.lot_size)
    };
    assert_eq!(definition(Market::Spot), (8, 100_000));
    assert_eq!(definition(Market::Usdm), (3, 1));
    let mut pieces = Instrument { lot_size: 1, ..Instrument::default() };
    refine(&mut pieces);
    assert_eq!((pieces.size_decimals, pieces.lot_size), (0, 1));
}

#[test]
fn a_list_without_what_is_meant_is_refused() {
    let mut venue = venue(Market::Spot, &["BTCUSDT", "ETH*"]);
    let mut refused = |text: &str| venue.take_catalogue(TIME, text, &mut Vec::new()).unwrap_err();
    assert_eq!(refused(&list(&["AUSDT"])), "none of its 1 symbols is one of BTCUSDT, ETH*");
    assert!(refused("<html>").contains("JSON"));
    assert!(refused("{}").contains("neither"));
    take(&mut venue, &["ETHUSDT"]);
    assert_eq!(venue.take_notes(), ["binance does not list BTCUSDT"]);
}

#[test]
fn the_futures_have_two_routes() {
    let mut venue = venue(Market::Usdm, &["btcusdt"]);
    let (_, added, _) = take(&mut venue, &["BTCUSDT"]);
    let topics: Vec<_> =
        added.iter().map(|topic| (topic.route, topic.name.as_str(), topic.channel)).collect();
    let expected = [
        (0, "btcusdt@bookTicker", Channel::Quote),
        (0, "btcusdt@depth@100ms", Channel::Book),
        (1, "btcusdt@aggTrade", Channel::Trade),
        (1, "btcusdt@markPrice@1s", Channel::Derivative),
    ];
    assert_eq!(topics, expected);
    let urls: Vec<_> = venue.terms().routes.iter().map(|route| route.url.as_str()).collect();
    assert_eq!(urls, ["wss://s/public/stream", "wss://s/market/stream"]);
    assert_eq!(venue.catalogue(), Call { url: "https://r/fapi/v1/exchangeInfo".to_owned(), weight: 1 });
    let call = Call { url: "https://r/fapi/v1/depth?symbol=BTCUSDT&limit=1000".to_owned(), weight: 20 };
    assert_eq!((venue.snapshot(0), venue.snapshot(1)), (Some(call), None));
    assert_eq!(added[0].silent_after, Duration::from_secs(30));
    assert_eq!(added[2].silent_after, Duration::from_secs(600), "trades may be rare");
    let text = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1700000000000,"s":"BTCUSDT","a":5,"p":"1.5","q":"2","f":5,"l":6,"T":1700000000000,"m":true}}"#;
    let mut events = Vec::new();
    assert_eq!(venue.read(FIRST, TIME, text, &mut events), Ok(Said::Data(added[2].id)));
    let is_trade = |event: &FeedEvent| matches!(event, FeedEvent::Market(event) if matches!(event.body, MarketBody::Trade(_)));
    assert!(matches!(&events[..], [event] if is_trade(event)), "{events:?}");
}

#[test]
fn commands_and_what_comes_of_them() {
    let mut venue = venue(Market::Spot, &["BTCUSDT"]);
    let (_, added, _) = take(&mut venue, &["BTCUSDT"]);
    let topics: Vec<_> = added.iter().take(2).collect();
    let text = r#"{"id":3,"method":"SUBSCRIBE","params":["btcusdt@bookTicker","btcusdt@depth@100ms"]}"#;
    let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(same(&venue.subscribe(3, &topics)), same(text));
    assert_eq!(same(&venue.unsubscribe(3, &topics)), same(&text.replace("SUB", "UNSUB")));
    let mut events = Vec::new();
    assert_eq!(venue.read(FIRST, TIME, r#"{"result":null,"id":3}"#, &mut events), Ok(Said::Granted(3, None)));
    let late = r#"{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"s":"ETHUSDT","t":1,"p":"1","q":"1","T":1,"m":true,"M":true}}"#;
    assert_eq!(venue.read(FIRST, TIME, late, &mut events), Ok(Said::Nothing));
    let bad = r#"{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}"#;
    assert!(venue.read(FIRST, TIME, bad, &mut events).unwrap_err().starts_with("btcusdt@trade: "));
    assert_eq!(events, []);
    let words = "sequence numbers per symbol, checked before it is applied; lost trades are counted; snapshots by REST";
    assert_eq!(venue.terms().verification.to_string(), words);
}
