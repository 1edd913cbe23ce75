use super::*;
use crate::venue::LinkId;

const TIME: u64 = 1_700_000_000_000_000_000;
const FIRST: Connection = Connection { link: LinkId(0), attempt: 0 };
const LIST: &str = r#"{"retCode":0,"retMsg":"OK","result":{"nextPageCursor":"more","list":[
    {"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","status":"Trading","lotSizeFilter":{"qtyStep":"0.001"},"priceFilter":{"tickSize":"0.10"}},
    {"symbol":"OLDUSDT","baseCoin":"OLD","quoteCoin":"USDT","status":"Closed","lotSizeFilter":{"qtyStep":"1"},"priceFilter":{"tickSize":"1"}}]}}"#;

fn same(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn commands_and_what_comes_of_them() {
    let config = LINEAR.config(LINEAR.stream_url, LINEAR.rest_url, &["*usdt".to_owned()]);
    assert_eq!(config.terms.routes[0].url, "wss://stream.bybit.com/v5/public/linear");
    let mut venue = (LINEAR.make)(VenueConfig { depth: 200, ..config });
    let url = "https://api.bybit.com/v5/market/instruments-info?category=linear&limit=1000";
    assert_eq!(venue.catalogue().url, url);
    let mut events = Vec::new();
    let changes = venue.take_catalogue(TIME, LIST, &mut events).unwrap();
    let names: Vec<_> = changes.added.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        ["orderbook BTCUSDT", "publicTrade BTCUSDT", "tickers BTCUSDT"],
        "one of them is closed"
    );
    let notes = venue.take_notes();
    assert!(matches!(&notes[..], [note] if note.contains("more than 1000 instruments")), "{notes:?}");
    let topics: Vec<_> = changes.added.iter().take(2).collect();
    let text = r#"{"req_id":"7","op":"subscribe","args":["orderbook.200.BTCUSDT","publicTrade.BTCUSDT"]}"#;
    assert_eq!(same(&venue.subscribe(7, &topics)), same(text));
    assert_eq!(same(&venue.unsubscribe(7, &topics)), same(&text.replace("subscribe", "unsubscribe")));
    let mut read = |text: &str| venue.read(FIRST, TIME, text, &mut events).unwrap();
    let granted = r#"{"success":true,"ret_msg":"","conn_id":"a","req_id":"7","op":"subscribe"}"#;
    assert_eq!(read(granted), Said::Granted(7, None));
    let refused = granted.replace("true", "false").replace(r#""ret_msg":"""#, r#""ret_msg":"no""#);
    assert_eq!(read(&refused), Said::Refused(7, None, "no".to_owned()));
    assert_eq!(read(&refused.replace(r#""7""#, r#""""#)), Said::RefusedCommand("no".to_owned()));
    let book = r#"{"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":5}}"#;
    assert_eq!(read(book), Said::NoBook(changes.added[0].id));
    assert_eq!(read(&book.replace("delta", "snapshot")), Said::Data(changes.added[0].id));
    assert_eq!(read(&book.replace(":5", ":9")), Said::Broken(changes.added[0].id, None));
    assert_eq!((venue.ping(), venue.ping_every()), (Some(r#"{"op":"ping"}"#), Some(Duration::from_secs(20))));
    let words = "sequence numbers per symbol, checked before it is applied; the size of a loss is not known; snapshots in the stream";
    assert_eq!(venue.terms().verification.to_string(), words);
}
