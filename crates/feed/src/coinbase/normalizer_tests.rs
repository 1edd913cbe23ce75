use tickwire_wire::Instrument;

use super::*;
use crate::adapter::MarketBody;
use crate::supply::Supply;

const RECEIVED: u64 = 1_700_000_000_000_000_000;
const FIRST: (usize, u64) = (0, 0);

fn normalizer() -> Normalizer {
    let mut normalizer = Normalizer::default();
    for symbol in ["BTC-USD", "ETH-USD"] {
        let symbol = symbol.to_owned();
        let definition = Instrument { symbol, price_decimals: 2, size_decimals: 8, ..Instrument::default() };
        normalizer.instruments.define(&definition);
    }
    normalizer
}

fn message(channel: &str, number: u64, events: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","client_id":"","timestamp":"2023-11-14T22:13:20.123456789Z","sequence_num":{number},"events":[{events}]}}"#
    )
}

fn book(kind: &str, symbol: &str, levels: &[(&str, &str, &str)]) -> String {
    let level = |(side, price, size): &(&str, &str, &str)| {
        format!(
            r#"{{"side":"{side}","event_time":"2023-11-14T22:13:20Z","price_level":"{price}","new_quantity":"{size}"}}"#
        )
    };
    let levels: Vec<_> = levels.iter().map(level).collect();
    format!(r#"{{"type":"{kind}","product_id":"{symbol}","updates":[{}]}}"#, levels.join(","))
}

fn trades(kind: &str, ids: &[u64]) -> String {
    let trade = |id: &u64| {
        format!(
            r#"{{"trade_id":"{id}","product_id":"BTC-USD","price":"100.5","size":"0.25","side":"BUY","time":"2023-11-14T22:13:20.5Z"}}"#
        )
    };
    format!(r#"{{"type":"{kind}","trades":[{}]}}"#, ids.iter().map(trade).collect::<Vec<_>>().join(","))
}

#[track_caller]
fn take(normalizer: &mut Normalizer, connection: (usize, u64), text: &str) -> (Said, Vec<MarketBody>) {
    let mut events = Vec::new();
    let said = normalizer.message(connection, RECEIVED, text, &mut events).unwrap();
    let body = |event| if let FeedEvent::Market(event) = event { Some(event.body) } else { None };
    (said, events.into_iter().filter_map(body).collect())
}

fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
    let side =
        |side: &[(i64, u64)]| side.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    Levels { bids: side(bids), asks: side(asks) }
}

#[test]
fn books_begin_with_a_snapshot_and_go_on() {
    let mut normalizer = normalizer();
    let data = |symbol: &str| Said::Data(Channel::Book, vec![symbol.to_owned()]);
    let early = message("l2_data", 0, &book("update", "BTC-USD", &[("bid", "1", "1")]));
    assert_eq!(take(&mut normalizer, FIRST, &early), (Said::Data(Channel::Book, vec![]), vec![]));
    let side =
        [("bid", "99.5", "1"), ("offer", "101", "2"), ("bid", "100.25", "0.5"), ("offer", "100.5", "3")];
    let snapshot = message("l2_data", 1, &book("snapshot", "BTC-USD", &side));
    let whole = levels(
        &[(10_025, 50_000_000), (9_950, 100_000_000)],
        &[(10_050, 300_000_000), (10_100, 200_000_000)],
    );
    assert_eq!(
        take(&mut normalizer, FIRST, &snapshot),
        (data("BTC-USD"), vec![MarketBody::BookSnapshot(whole)])
    );
    // A level that nobody has is removed without harm.
    let change = [("bid", "42", "0"), ("offer", "100.5", "0.1")];
    let change = message("l2_data", 2, &book("update", "BTC-USD", &change));
    let told = MarketBody::BookDelta(levels(&[(4_200, 0)], &[(10_050, 10_000_000)]));
    assert_eq!(take(&mut normalizer, FIRST, &change), (data("BTC-USD"), vec![told]));
    let mut events = Vec::new();
    normalizer.instruments.supply("BTC-USD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    normalizer.instruments.supply("BTC-USD", Channel::Book, Supply::Lost, RECEIVED, &mut events);
    assert_eq!(events.len(), 1, "it is told once");
}

#[test]
fn every_message_of_a_connection_counts() {
    let mut normalizer = normalizer();
    let heartbeat = |number| message("heartbeats", number, r#"{"heartbeat_counter":1}"#);
    let mut said = |connection, number| take(&mut normalizer, connection, &heartbeat(number)).0;
    assert_eq!(said(FIRST, 0), Said::Alive);
    assert_eq!(said(FIRST, 1), Said::Alive);
    assert_eq!(said(FIRST, 1), Said::Nothing, "it is repeated");
    assert_eq!(said((1, 0), 0), Said::Alive, "each connection has its own numbers");
    assert_eq!(said(FIRST, 2), Said::Alive);
    assert_eq!(said(FIRST, 5), Said::Missing(2));
    assert_eq!(said(FIRST, 0), Said::Renumbered);
    assert_eq!(said((0, 1), 0), Said::Alive, "they begin anew with each connection");
    assert_eq!(said((1, 4), 1), Said::Missing(1), "the first one has the number 0");
}

#[test]
fn a_change_that_cannot_be_read_is_not_passed_over() {
    let mut normalizer = normalizer();
    let snapshot =
        |number, symbol| message("l2_data", number, &book("snapshot", symbol, &[("bid", "1", "1")]));
    for (number, symbol) in [(0, "BTC-USD"), (1, "ETH-USD")] {
        take(&mut normalizer, FIRST, &snapshot(number, symbol));
    }
    for (number, bad) in
        [(2, ("bid", "1.001", "1")), (3, ("bid", "1", "0.000000001")), (4, ("bid", "x", "1"))]
    {
        let text = message("l2_data", number, &book("update", "BTC-USD", &[("bid", "1", "2"), bad]));
        let (said, told) = take(&mut normalizer, FIRST, &text);
        assert!(matches!(&said, Said::Unreadable(reason) if reason.starts_with("BTC-USD: ")), "{said:?}");
        assert_eq!(told, []);
    }
    let said = take(&mut normalizer, FIRST, &message("l2_data", 5, "7")).0;
    assert!(matches!(said, Said::Unreadable(_)), "{said:?}");
    // An unknown name harms no other book of the message.
    let both = [book("update", "X-USD", &[]), book("update", "ETH-USD", &[("bid", "1", "2")])].join(",");
    let mut events = Vec::new();
    assert!(normalizer.message(FIRST, RECEIVED, &message("l2_data", 6, &both), &mut events).is_err());
    assert_eq!(events.len(), 1);
}

#[test]
fn numbers_may_be_as_large_as_they_like() {
    let mut normalizer = normalizer();
    let said = |normalizer: &mut Normalizer, number| {
        take(normalizer, FIRST, &message("heartbeats", number, r#"{"heartbeat_counter":1}"#)).0
    };
    assert_eq!(said(&mut normalizer, u64::MAX), Said::Missing(u64::MAX));
    assert_eq!(said(&mut normalizer, u64::MAX), Said::Nothing, "it is repeated");
    assert_eq!(said(&mut normalizer, 0), Said::Renumbered);
}

#[test]
fn trades_are_told_in_their_order_and_counted() {
    let mut normalizer = normalizer();
    let past = message("market_trades", 0, &trades("snapshot", &[5, 4]));
    assert_eq!(take(&mut normalizer, FIRST, &past), (Said::Data(Channel::Trade, vec![]), vec![]));
    let news = message("market_trades", 1, &trades("update", &[9, 7, 6]));
    let (said, told) = take(&mut normalizer, FIRST, &news);
    assert_eq!(said, Said::Data(Channel::Trade, vec!["BTC-USD".to_owned()]));
    let trade = |id| {
        // The maker bought, so the aggressor sold.
        let aggressor = Side::Sell.into();
        MarketBody::Trade(Trade { price: 10_050, size: 25_000_000, aggressor, id, id_text: String::new() })
    };
    let gap = MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(1) };
    assert_eq!(told, [trade(6), trade(7), gap, trade(9)]);
}

#[test]
fn what_is_no_data() {
    let mut normalizer = normalizer();
    let all = r#"{"subscriptions":{"level2":["BTC-USD","ETH-USD"],"market_trades":["BTC-USD"],"heartbeats":["heartbeats"]}}"#;
    let named = [(Channel::Book, "BTC-USD"), (Channel::Book, "ETH-USD"), (Channel::Trade, "BTC-USD")];
    let named = named.map(|(channel, symbol)| (channel, symbol.to_owned())).to_vec();
    assert_eq!(take(&mut normalizer, FIRST, &message("subscriptions", 0, all)).0, Said::Subscriptions(named));
    let refused = r#"{"type":"error","message":"channel is not supported"}"#;
    assert_eq!(take(&mut normalizer, FIRST, refused).0, Said::Refused("channel is not supported".to_owned()));
    assert!(normalizer.message(FIRST, RECEIVED, "{}", &mut Vec::new()).is_err());
    let unknown = message("l2_data", 1, &book("update", "X-USD", &[]));
    assert!(normalizer.message(FIRST, RECEIVED, &unknown, &mut Vec::new()).is_err());
    assert_eq!(trading_state("cancel only"), TradingState::Halted);
}
