use tickwire_wire::Instrument;

use super::*;
use crate::adapter::{Levels, MarketBody};

const RECEIVED: u64 = 1_700_000_000_000_000_000;

fn normalizer() -> Normalizer {
    let mut normalizer = Normalizer::default();
    let symbol = "BTC-USDT".to_owned();
    let definition = Instrument { symbol, price_decimals: 1, size_decimals: 8, ..Instrument::default() };
    normalizer.instruments.define(&definition);
    normalizer
}

fn message(channel: &str, action: &str, data: &str) -> String {
    let arg = format!(r#"{{"channel":"{channel}","instId":"BTC-USDT"}}"#);
    format!(r#"{{"arg":{arg},"action":"{action}","data":[{data}]}}"#)
}

fn book(action: &str, previous: i64, number: i64, bids: &str) -> String {
    let data = format!(
        r#"{{"asks":[],"bids":[{bids}],"ts":"1700000000123","checksum":0,"prevSeqId":{previous},"seqId":{number}}}"#
    );
    message("books", action, &data)
}

const LEVEL: &str = r#"["100.5","0.25","0","3"]"#;

#[track_caller]
fn take(normalizer: &mut Normalizer, text: &str) -> (Said, Vec<MarketBody>) {
    let mut events = Vec::new();
    let said = normalizer.message(RECEIVED, text, &mut events).unwrap();
    let body = |event| if let FeedEvent::Market(event) = event { Some(event.body) } else { None };
    (said, events.into_iter().filter_map(body).collect())
}

#[test]
fn each_change_of_a_book_names_the_one_before() {
    let mut normalizer = normalizer();
    let name = || "BTC-USDT".to_owned();
    let data = || Said::Data(Channel::Book, name());
    let levels = Levels { bids: vec![Level { price: 1_005, size: 25_000_000 }], asks: vec![] };
    let delta = || vec![MarketBody::BookDelta(levels.clone())];
    let mut take = |text: &str| take(&mut normalizer, text);
    assert_eq!(take(&book("update", 5, 6, LEVEL)), (Said::NoBook(name()), vec![]), "there is no book yet");
    let snapshot = vec![MarketBody::BookSnapshot(levels.clone())];
    assert_eq!(take(&book("snapshot", -1, 10, LEVEL)), (data(), snapshot));
    assert_eq!(take(&book("update", 10, 17, LEVEL)), (data(), delta()));
    assert_eq!(take(&book("update", 10, 17, LEVEL)), (Said::Nothing, vec![]), "it is repeated");
    assert_eq!(take(&book("update", 17, 17, "")), (data(), vec![]), "nothing changed for a minute");
    assert_eq!(
        take(&book("update", 17, 3, LEVEL)),
        (data(), delta()),
        "the numbers begin anew, and nothing is lost"
    );
    let gap = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    assert_eq!(take(&book("update", 4, 5, LEVEL)), (Said::Broken(name(), None), vec![gap]));
    assert_eq!(take(&book("update", 5, 6, LEVEL)), (Said::NoBook(name()), vec![]));
}

#[test]
fn a_book_without_its_proof_is_not_taken() {
    let mut normalizer = normalizer();
    let gap = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    for proof in ["", r#","seqId":0"#, r#","prevSeqId":0"#, r#","seqId":1,"prevSeqId":0,"asks":7"#] {
        take(&mut normalizer, &book("snapshot", -1, 0, LEVEL));
        let data = format!(r#"{{"asks":[],"bids":[{LEVEL}],"ts":"1700000000123"{proof}}}"#);
        let (said, told) = take(&mut normalizer, &message("books", "update", &data));
        assert!(matches!(&said, Said::Broken(name, Some(_)) if name == "BTC-USDT"), "{proof}: {said:?}");
        assert_eq!(told, std::slice::from_ref(&gap), "{proof}");
    }
    let unreadable = book("snapshot", -1, 5, LEVEL).replace("100.5", "x");
    assert!(
        matches!(take(&mut normalizer, &unreadable), (Said::Broken(_, Some(_)), told) if told.is_empty())
    );
}

#[test]
fn trades_may_be_several_in_one() {
    let mut normalizer = normalizer();
    let trade = |id: u64, count: &str| {
        let data = format!(
            r#"{{"instId":"BTC-USDT","tradeId":"{id}","px":"100.5","sz":"0.25","side":"sell","ts":"1700000000123"{count}}}"#
        );
        message("trades", "update", &data)
    };
    let trade_of = |id| {
        let aggressor = Side::Sell.into();
        MarketBody::Trade(Trade { price: 1_005, size: 25_000_000, aggressor, id, id_text: String::new() })
    };
    let said = Said::Data(Channel::Trade, "BTC-USDT".to_owned());
    assert_eq!(take(&mut normalizer, &trade(7, r#","count":"1""#)), (said.clone(), vec![trade_of(7)]));
    assert_eq!(take(&mut normalizer, &trade(10, r#","count":"3""#)), (said, vec![trade_of(10)]));
    let gap = MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(2) };
    assert_eq!(take(&mut normalizer, &trade(13, "")).1, [gap, trade_of(13)]);
}

#[test]
fn quotes_and_what_is_no_data() {
    let mut normalizer = normalizer();
    let quote = format!(r#"{{"asks":[],"bids":[{LEVEL}],"ts":"1700000000123","seqId":7}}"#);
    let bid = Some(Level { price: 1_005, size: 25_000_000 });
    let told = vec![MarketBody::Quote(Quote { bid, ask: None })];
    let said = Said::Data(Channel::Quote, "BTC-USDT".to_owned());
    assert_eq!(take(&mut normalizer, &message("bbo-tbt", "", &quote)), (said, told));
    let mut said = |text: &str| take(&mut normalizer, text).0;
    let granted =
        r#"{"id":"7","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a"}"#;
    assert_eq!(said(granted), Said::Granted(7, Some((Channel::Book, "BTC-USDT".to_owned()))));
    let refused = r#"{"id":"7","event":"error","code":"60018","msg":"it does not exist","connId":"a"}"#;
    assert_eq!(said(refused), Said::Refused(Some(7), "it does not exist (code 60018)".to_owned()));
    assert_eq!(said(r#"{"event":"notice","code":"64008","msg":"soon","connId":"a"}"#), Said::GoingDown);
    assert_eq!(said("pong"), Said::Alive);
    assert!(normalizer.message(RECEIVED, "{}", &mut Vec::new()).is_err());
    assert_eq!(trading_state("suspend"), TradingState::Halted);
}
