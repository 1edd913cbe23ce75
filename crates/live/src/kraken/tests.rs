use std::time::Duration;

use tickwire_feed::adapter::{MarketBody, SourceState};

use super::*;
use crate::driver::{Driver, Input, LinkId, Moment, Output, Response, Timings};

const LIST: &str = r#"{"error":[],"result":{
    "XXBTZUSD":{"wsname":"XBT/USD","pair_decimals":1,"lot_decimals":8,"tick_size":"0.1","status":"online"},
    "XETHZUSD":{"wsname":"ETH/USD","pair_decimals":2,"lot_decimals":8,"tick_size":"0.01","status":"online"},
    "XETHZEUR":{"wsname":"ETH/EUR","pair_decimals":2,"lot_decimals":8,"tick_size":"0.01","status":"online"}}}"#;

/// A driver with this venue, in time that stands still unless a test moves it.
struct World {
    driver: Driver<Kraken>,
    now: Moment,
    events: Vec<FeedEvent>,
}

impl World {
    fn new() -> Self {
        let symbols = ["*/USD".to_owned()];
        let config = KRAKEN.config(KRAKEN.stream_url, KRAKEN.rest_url, &symbols);
        let driver = Driver::new(Kraken::new(config), Timings::default(), 1);
        let now = Moment { elapsed: Duration::ZERO, time: 1_700_000_000_000_000_000 };
        Self { driver, now, events: Vec::new() }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.driver.next_output()).collect()
    }

    fn message(&mut self, text: &str) -> Vec<Output> {
        let input = Input::Message { link: LinkId(0), attempt: 0, text };
        self.driver.handle(self.now, input, &mut self.events);
        self.outputs()
    }

    /// Takes the bodies of the market's events.
    fn told(&mut self) -> Vec<MarketBody> {
        let body = |event| if let FeedEvent::Market(event) = event { Some(event.body) } else { None };
        self.events.drain(..).filter_map(body).collect()
    }
}

/// Reads the only command; returns its method, channel, symbols and id.
#[track_caller]
fn command(outputs: &[Output]) -> (String, String, Vec<String>, u64) {
    let [Output::Send { text, .. }] = outputs else { panic!("{outputs:?}") };
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let params = &value["params"];
    let symbols = params["symbol"].as_array().unwrap().iter().map(word).collect();
    (word(&value["method"]), word(&params["channel"]), symbols, value["req_id"].as_u64().unwrap())
}

fn granted(id: u64, channel: &str, symbol: &str) -> String {
    format!(
        r#"{{"method":"subscribe","req_id":{id},"result":{{"channel":"{channel}","symbol":"{symbol}"}},"success":true}}"#
    )
}

fn book(kind: &str, price: &str, digits: &str) -> String {
    let checksum = crc32fast::hash(digits.as_bytes());
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[],"asks":[{{"price":{price},"qty":0.5}}],"checksum":{checksum}}}]}}"#
    )
}

#[test]
fn a_book_that_contradicts_its_checksum_is_subscribed_to_anew() {
    let mut world = World::new();
    world.driver.advance(world.now, &mut world.events);
    let [Output::Fetch { request, url }] = &world.outputs()[..] else { panic!("a request") };
    assert_eq!(url, "https://api.kraken.com/0/public/AssetPairs");
    let response = Response { status: 200, retry_after: None, used_weight: None, body: LIST.to_owned() };
    let input = Input::Response { request: *request, outcome: Ok(response) };
    world.driver.handle(world.now, input, &mut world.events);
    let connect = Output::Connect { link: LinkId(0), attempt: 0, url: "wss://ws.kraken.com/v2".to_owned() };
    assert_eq!(world.outputs(), [connect]);
    world.driver.handle(world.now, Input::Opened { link: LinkId(0), attempt: 0 }, &mut world.events);
    // A command is of one channel, and each symbol of it is answered alone.
    let mut outputs = world.outputs();
    let mut channels = Vec::new();
    while !outputs.is_empty() {
        let (method, channel, symbols, id) = command(&outputs);
        assert_eq!((method.as_str(), symbols.len()), ("subscribe", 2), "{symbols:?}");
        outputs = world.message(&granted(id, &channel, "BTC/USD"));
        assert_eq!(outputs, [], "one response is missing");
        let refused = r#"{"error":"Currency pair not supported ETH/USD","method":"subscribe","req_id":ID,"success":false,"symbol":"ETH/USD"}"#;
        outputs = if channel == "trade" {
            world.message(&refused.replace("ID", &id.to_string()))
        } else {
            world.message(&granted(id, &channel, "ETH/USD"))
        };
        channels.push(channel);
    }
    channels.sort();
    assert_eq!(channels, ["book", "ticker", "trade"]);
    assert_eq!(world.driver.counts().refused_topics, 1);
    let is_refused = |event: &FeedEvent| {
        let text = "`trade ETH/USD` was refused: Currency pair not supported ETH/USD";
        matches!(event, FeedEvent::Fault(fault) if fault.reason == text)
    };
    assert!(
        world.events.iter().any(is_refused) && world.events.contains(&FeedEvent::Source(SourceState::Live))
    );
    world.told();

    assert_eq!(world.message(&book("snapshot", "100.5", "100550000000")), []);
    assert!(matches!(world.told()[..], [MarketBody::BookSnapshot(_)]));
    assert_eq!(world.message(&book("update", "100.6", "100550000000100650000000")), []);
    assert!(matches!(world.told()[..], [MarketBody::BookDelta(_)]));
    world.now.elapsed += Duration::from_secs(2);
    let (method, channel, symbols, id) = command(&world.message(&book("update", "100.7", "not this")));
    assert_eq!(
        (method.as_str(), channel.as_str(), symbols),
        ("unsubscribe", "book", vec!["BTC/USD".to_owned()])
    );
    let gap = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    assert_eq!(world.told(), [gap], "the wrong book is not told");
    assert_eq!(world.message(&book("update", "100.8", "100550000000")), []);
    assert_eq!(world.told(), [], "and nothing of it until its snapshot");
    let ended = granted(id, "book", "BTC/USD").replace("subscribe", "unsubscribe");
    let (method, _, symbols, id) = command(&world.message(&ended));
    assert_eq!((method.as_str(), symbols.len()), ("subscribe", 1));
    world.message(&granted(id, "book", "BTC/USD"));
    world.message(&book("snapshot", "100.9", "100950000000"));
    assert!(matches!(world.told()[..], [MarketBody::BookSnapshot(_)]));
    assert_eq!((world.driver.counts().renewed_topics, world.driver.counts().losses), (1, 0));
}

#[test]
fn what_proves_a_book_is_told() {
    let config = KRAKEN.config(KRAKEN.stream_url, KRAKEN.rest_url, &[]);
    let words = "a checksum per change, checked after it is applied; lost trades are counted; snapshots in the stream";
    assert_eq!(Kraken::new(config).terms().verification.to_string(), words);
}
