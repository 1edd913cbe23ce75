use tickwire_feed::adapter::MarketBody;

use super::*;
use crate::venue::LinkId;

const TIME: u64 = 1_700_000_000_000_000_000;
const FIRST: Connection = Connection { link: LinkId(0), attempt: 0 };
const LIST: &str = r#"{"code":"0","msg":"","data":[
    {"instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT","tickSz":"0.1","lotSz":"0.00000001","state":"live"},
    {"instId":"OLD-USDT","baseCcy":"OLD","quoteCcy":"USDT","tickSz":"0.1","lotSz":"1","state":"expired"},
    {"instId":"ETH-EUR","baseCcy":"ETH","quoteCcy":"EUR","tickSz":"0.1","lotSz":"0.01","state":"live"}]}"#;

fn same(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn commands_and_what_comes_of_them() {
    let config = OKX.config(OKX.stream_url, OKX.rest_url, &["*-usdt".to_owned()]);
    assert_eq!(config.terms.routes[0].url, "wss://ws.okx.com:8443/ws/v5/public");
    let mut venue = Okx::new(config);
    assert_eq!(venue.catalogue().url, "https://www.okx.com/api/v5/public/instruments?instType=SPOT");
    let mut events = Vec::new();
    let changes = venue.take_catalogue(TIME, LIST, &mut events).unwrap();
    let names: Vec<_> = changes.added.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["bbo-tbt BTC-USDT", "books BTC-USDT", "trades BTC-USDT"], "one of them expired");
    events.clear();
    let [_, book, _] = &changes.added[..] else { panic!("three topics") };
    let text = r#"{"id":"7","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#;
    assert_eq!(same(&venue.subscribe(7, &[book])), same(text));
    assert_eq!(same(&venue.unsubscribe(7, &[book])), same(&text.replace("subscribe", "unsubscribe")));
    let mut read = |text: &str| venue.read(FIRST, TIME, text, &mut events).unwrap();
    let granted = r#"{"id":"7","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}"#;
    assert_eq!(read(granted), Said::Granted(7, Some(book.id)));
    assert_eq!(read(&granted.replace("BTC", "OLD")), Said::Granted(7, Some(ENDED)));
    let refused = r#"{"id":"7","event":"error","code":"60018","msg":"no"}"#;
    assert_eq!(read(refused), Said::Refused(7, None, "no (code 60018)".to_owned()));
    let change = |previous: i64| {
        format!(
            r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"ACTION","data":[{{"asks":[],"bids":[["1.5","2","0","1"]],"prevSeqId":{previous},"seqId":9}}]}}"#
        )
    };
    assert_eq!(read(&change(-1).replace("ACTION", "snapshot")), Said::Data(book.id));
    assert_eq!(
        read(&change(8).replace("ACTION", "update").replace(":9", ":10")),
        Said::Broken(book.id, None)
    );
    let gap = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    assert!(matches!(&events[1], FeedEvent::Market(event) if event.body == gap), "{events:?}");
    assert_eq!(venue.ping(), Some("ping"));
    let words = "each change names the one before, checked before it is applied; lost trades are counted; snapshots in the stream";
    assert_eq!(venue.terms().verification.to_string(), words);
}
