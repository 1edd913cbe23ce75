use super::*;
use crate::venue::LinkId;

const TIME: u64 = 1_700_000_000_000_000_000;
const FIRST: Connection = Connection { link: LinkId(0), attempt: 0 };
const LIST: &str = r#"[{"name":"BTC/USD","url_symbol":"btcusd","base_decimals":8,"counter_decimals":2,"trading":"Enabled"},
    {"name":"ETH/EUR","url_symbol":"etheur","base_decimals":8,"counter_decimals":2,"trading":"Enabled"}]"#;

#[test]
fn commands_and_what_comes_of_them() {
    let config = BITSTAMP.config(BITSTAMP.stream_url, BITSTAMP.rest_url, &["*usd".to_owned()]);
    assert_eq!(config.terms.routes[0].url, "wss://ws.bitstamp.net");
    let mut venue = (BITSTAMP.make)(config);
    assert_eq!(venue.catalogue().url, "https://www.bitstamp.net/api/v2/trading-pairs-info/");
    let mut events = Vec::new();
    let added = venue.take_catalogue(TIME, LIST, &mut events).unwrap().added;
    let names: Vec<_> = added.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["diff_order_book BTCUSD", "live_trades BTCUSD"]);
    let text = r#"{"data":{"channel":"live_trades_btcusd"},"event":"bts:subscribe"}"#;
    assert_eq!(venue.subscribe(1, &[&added[1]]), text);
    assert_eq!(venue.unsubscribe(2, &[&added[1]]), text.replace("sub", "unsub"));
    let url = "https://www.bitstamp.net/api/v2/order_book/btcusd/?group=1".to_owned();
    assert_eq!((venue.snapshot(0), venue.snapshot(1)), (Some(Call { url, weight: 1 }), None));
    let mut read = |text: &str| venue.read(FIRST, TIME, text, &mut events).unwrap();
    let of = |event: &str, channel: &str| {
        format!(r#"{{"event":"bts:{event}","channel":"{channel}","data":{{"message":"no"}}}}"#)
    };
    let granted = read(&of("subscription_succeeded", "live_trades_btcusd"));
    assert_eq!(granted, Said::Subscriptions(vec![added[1].id]));
    let of_another = read(&of("subscription_succeeded", "live_trades_etheur"));
    assert_eq!(of_another, Said::Subscriptions(vec![]));
    assert_eq!(read(&of("unsubscription_succeeded", "live_trades_btcusd")), Said::Subscriptions(vec![]));
    assert_eq!(read(&of("error", "")), Said::RefusedCommand("no".to_owned()));
    assert_eq!(read(&of("request_reconnect", "")), Said::GoingDown);
    assert_eq!(read(&of("heartbeat", "")), Said::Alive);
    let book = r#"{"timestamp":"1","microtimestamp":"5","bids":[["1.00","2"]],"asks":[]}"#;
    let change = format!(r#"{{"event":"data","channel":"diff_order_book_btcusd","data":{book}}}"#);
    assert_eq!(read(&change), Said::Data(added[0].id));
    assert_eq!(venue.take_wanted(), [(0, Need::Whole)]);
    assert_eq!(venue.take_snapshot(0, TIME, &book.replace(r#""5""#, r#""4""#), &mut events), Ok(false));
    assert_eq!(venue.take_snapshot(0, TIME, book, &mut events), Ok(true));
    assert!(
        venue.take_snapshot(0, TIME, "<html>", &mut events).unwrap_err().starts_with("snapshot of BTCUSD: ")
    );
    assert_eq!(venue.terms().verification.to_string(), "unverifiable");
}
