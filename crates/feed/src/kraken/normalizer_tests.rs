use tickwire_wire::Instrument;

use super::*;
use crate::adapter::MarketBody;
use crate::supply::Supply;

const RECEIVED: u64 = 1_700_000_000_000_000_000;
const TIME: &str = "2023-11-14T22:13:20.500000Z";

fn normalizer(depth: usize) -> Normalizer {
    let mut normalizer = Normalizer::new(depth);
    let definition = Instrument {
        symbol: "BTC/USD".to_owned(),
        price_decimals: 1,
        size_decimals: 8,
        ..Instrument::default()
    };
    assert_eq!(normalizer.instruments.define(&definition), 0);
    normalizer
}

/// Makes a message of a book. `digits` is what the checksum is of.
fn book(kind: &str, bids: &str, asks: &str, digits: &str) -> String {
    let checksum = crc32fast::hash(digits.as_bytes());
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{asks}],"checksum":{checksum},"timestamp":"{TIME}"}}]}}"#
    )
}

fn level(price: &str, qty: &str) -> String {
    format!(r#"{{"price":{price},"qty":{qty}}}"#)
}

#[track_caller]
fn take(normalizer: &mut Normalizer, text: &str) -> (Said, Vec<MarketBody>) {
    let mut events = Vec::new();
    let said = normalizer.message(RECEIVED, text, &mut events).unwrap();
    let body = |event| match event {
        FeedEvent::Market(event) => event.body,
        other => panic!("{other:?}"),
    };
    (said, events.into_iter().map(body).collect())
}

fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
    let side =
        |side: &[(i64, u64)]| side.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    Levels { bids: side(bids), asks: side(asks) }
}

const GAP: MarketBody = MarketBody::UpstreamGap { channel: Channel::Book, count: None };

#[test]
fn books_are_proven_by_their_checksums() {
    let mut normalizer = normalizer(2);
    let name = || "BTC/USD".to_owned();
    let (bid, ask) = (level("45283.5", "0.10000000"), level("45285.2", "0.00100000"));
    let snapshot = book("snapshot", &bid, &ask, "45285210000045283510000000");
    let (said, told) = take(&mut normalizer, &snapshot);
    assert_eq!(said, Said::Data(Channel::Book, name()));
    assert_eq!(told, [MarketBody::BookSnapshot(levels(&[(452_835, 10_000_000)], &[(452_852, 100_000)]))]);
    let more = [level("45283.4", "1.00000000"), level("45283.6", "2.00000000")].join(",");
    let digits = "45285210000045283620000000045283510000000";
    let (said, told) = take(&mut normalizer, &book("update", &more, "", digits));
    assert_eq!(said, Said::Data(Channel::Book, name()));
    let changed = levels(&[(452_836, 200_000_000), (452_834, 0)], &[]);
    assert_eq!(told, [MarketBody::BookDelta(changed)], "the third level was pushed out");
    // A change after which the checksum is wrong is not told.
    let (said, told) = take(&mut normalizer, &book("update", &bid, "", "another book"));
    assert_eq!((said, told), (Said::Broken(name(), None), vec![GAP]));
    let (said, told) = take(&mut normalizer, &book("update", &bid, "", "another book"));
    assert_eq!((said, told), (Said::NoBook(name()), vec![]), "until its snapshot there is no book to change");
    let (said, told) = take(&mut normalizer, &book("snapshot", &bid, &ask, "wrong"));
    assert_eq!((said, told), (Said::Broken(name(), None), vec![]));
    assert_eq!(take(&mut normalizer, &snapshot).1.len(), 1);
    let mut events = Vec::new();
    normalizer.instruments.supply("BTC/USD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    normalizer.instruments.supply("BTC/USD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    assert_eq!(events.len(), 1);
}

#[test]
fn a_book_that_cannot_be_read_is_broken() {
    let mut normalizer = normalizer(2);
    let (bid, ask) = (level("45283.5", "0.10000000"), level("45285.2", "0.00100000"));
    let right = book("snapshot", &bid, &ask, "45285210000045283510000000");
    let finer = level("45283.55", "1");
    let odd = [
        book("update", &finer, "", ""),
        book("update", "7", "", ""),
        right.replace("45283.5", "x"),
        right.replace(r#""checksum""#, r#""no""#),
    ];
    for text in odd {
        let (said, told) = take(&mut normalizer, &right);
        assert_eq!((said, told.len()), (Said::Data(Channel::Book, "BTC/USD".to_owned()), 1));
        let mut events = Vec::new();
        let is_text = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let said = normalizer.message(RECEIVED, &text, &mut events);
        if is_text {
            let is_broken = matches!(&said, Ok(Said::Broken(name, Some(_))) if name == "BTC/USD");
            assert!(is_broken && events.len() == 1, "{text}: {said:?} {events:?}");
        } else {
            assert!(said.is_err(), "{text}: {said:?}");
        }
    }
    // One that has no name at all is missed with the next change.
    let nameless = book("snapshot", &bid, &ask, "").replace(r#""symbol""#, r#""no""#);
    assert!(normalizer.message(RECEIVED, &nameless, &mut Vec::new()).is_err());
}

fn trade(id: u64, second: u32) -> String {
    format!(
        r#"{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"sell","price":45283.5,"qty":0.00100000,"ord_type":"market","trade_id":{id},"timestamp":"2023-11-14T22:13:{second}.5Z"}}]}}"#
    )
}

#[test]
fn missing_trades_are_counted() {
    let mut normalizer = normalizer(10);
    let (said, told) = take(&mut normalizer, &trade(7, 20));
    assert_eq!(said, Said::Data(Channel::Trade, "BTC/USD".to_owned()));
    let trade_of = |id| {
        let aggressor = Side::Sell.into();
        MarketBody::Trade(Trade { price: 452_835, size: 100_000, aggressor, id, id_text: String::new() })
    };
    assert_eq!(told, [trade_of(7)]);
    let gap = MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(2) };
    assert_eq!(take(&mut normalizer, &trade(10, 21)).1, [gap, trade_of(10)]);
    let past = trade(3, 22).replace("update", "snapshot");
    assert_eq!(take(&mut normalizer, &past), (Said::Nothing, vec![]));
}

#[test]
fn quotes_and_what_is_no_data() {
    let mut normalizer = normalizer(10);
    let ticker = r#"{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":45283.5,"bid_qty":1.5,"ask":45285.2,"ask_qty":0.0,"last":1.0}]}"#;
    let (said, told) = take(&mut normalizer, ticker);
    assert_eq!(said, Said::Data(Channel::Quote, "BTC/USD".to_owned()));
    let quote = Quote { bid: Some(Level { price: 452_835, size: 150_000_000 }), ask: None };
    assert_eq!(told, [MarketBody::Quote(quote)]);
    let granted = r#"{"method":"subscribe","req_id":3,"result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"x"}"#;
    let response = |refusal: Option<&str>, channel: &str| {
        let refusal = refusal.map(str::to_owned);
        let (channel, symbol) = (channel.to_owned(), "BTC/USD".to_owned());
        Said::Response(CommandResponse { id: 3, channel, symbol, refusal })
    };
    assert_eq!(take(&mut normalizer, granted).0, response(None, "book"));
    let refused = r#"{"error":"Currency pair not supported BTC/USD","method":"subscribe","req_id":3,"success":false,"symbol":"BTC/USD"}"#;
    assert_eq!(take(&mut normalizer, refused).0, response(Some("Currency pair not supported BTC/USD"), ""));
    assert_eq!(take(&mut normalizer, r#"{"channel":"heartbeat"}"#).0, Said::Alive);
    let status = r#"{"channel":"status","type":"update","data":[{"system":"online","version":"2.0.0"}]}"#;
    assert_eq!(take(&mut normalizer, status).0, Said::Nothing);
    let status = status.replace("online", "maintenance");
    assert_eq!(take(&mut normalizer, &status).0, Said::Offline("maintenance".to_owned()));
    assert!(normalizer.message(RECEIVED, "{}", &mut Vec::new()).is_err());
    assert!(normalizer.message(RECEIVED, &trade(1, 1).replace("BTC", "X"), &mut Vec::new()).is_err());
}
