use std::time::Duration;

use tickwire_feed::adapter::{MarketBody, SourceState};

use super::*;
use crate::driver::{Driver, Input, LinkId, Moment, Output, Response, Timings};

const LIST: &str = r#"{"products":[
    {"product_id":"BTC-USD","base_increment":"0.00000001","quote_increment":"0.01","status":"online"},
    {"product_id":"ETH-USD","base_increment":"0.00000001","quote_increment":"0.01","status":"online"},
    {"product_id":"ETH-EUR","base_increment":"0.00000001","quote_increment":"0.01","status":"online"}]}"#;

struct World {
    driver: Driver<Coinbase>,
    now: Moment,
    events: Vec<FeedEvent>,
    attempt: u64,
    number: u64,
}

impl World {
    fn new() -> Self {
        let symbols = ["*-USD".to_owned()];
        let config = COINBASE.config(COINBASE.stream_url, COINBASE.rest_url, &symbols);
        let driver = Driver::new(Coinbase::new(config), Timings::default(), 1);
        let now = Moment { elapsed: Duration::ZERO, time: 1_700_000_000_000_000_000 };
        Self { driver, now, events: Vec::new(), attempt: 0, number: 0 }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.driver.next_output()).collect()
    }

    /// Takes a message with the next number; returns the texts that are sent because of it.
    fn message(&mut self, channel: &str, events: &str) -> Vec<Output> {
        let number = self.number;
        self.number += 1;
        let text = format!(r#"{{"channel":"{channel}","sequence_num":{number},"events":[{events}]}}"#);
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Vec<Output> {
        let input = Input::Message { link: LinkId(0), attempt: self.attempt, text };
        self.driver.handle(self.now, input, &mut self.events);
        self.outputs()
    }

    fn open(&mut self) -> Vec<Output> {
        self.number = 0;
        self.driver.handle(
            self.now,
            Input::Opened { link: LinkId(0), attempt: self.attempt },
            &mut self.events,
        );
        self.outputs()
    }

    /// Takes the bodies of the market's events, but for states.
    fn told(&mut self) -> Vec<MarketBody> {
        let body = |event| match event {
            FeedEvent::Market(event) if !matches!(event.body, MarketBody::Status(_)) => Some(event.body),
            _ => None,
        };
        self.events.drain(..).filter_map(body).collect()
    }
}

fn texts(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| match output {
        Output::Send { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    };
    outputs.iter().map(text).collect()
}

#[test]
fn a_missing_message_condemns_the_connection() {
    let mut world = World::new();
    world.driver.advance(world.now, &mut world.events);
    let [Output::Fetch { request, url }] = &world.outputs()[..] else { panic!("a request") };
    assert_eq!(url, "https://api.coinbase.com/api/v3/brokerage/market/products");
    let response = Response { status: 200, retry_after: None, used_weight: None, body: LIST.to_owned() };
    let input = Input::Response { request: *request, outcome: Ok(response) };
    world.driver.handle(world.now, input, &mut world.events);
    assert!(matches!(&world.outputs()[..], [Output::Connect { url, .. }] if url == COINBASE.stream_url));
    let sent = texts(&world.open());
    let level2 = r#"{"channel":"level2","product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#;
    let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(sent[0], r#"{"type":"subscribe","channel":"heartbeats"}"#);
    assert_eq!((same(&sent[1]), sent.len()), (same(level2), 2));
    // The list of subscriptions is the response, once all is in it that was asked for.
    assert_eq!(world.message("subscriptions", r#"{"subscriptions":{"heartbeats":["heartbeats"]}}"#), []);
    let sent =
        texts(&world.message("subscriptions", r#"{"subscriptions":{"level2":["BTC-USD","ETH-USD"]}}"#));
    assert_eq!(same(&sent[0]), same(&level2.replace("level2", "market_trades")));
    let all = r#"{"subscriptions":{"level2":["BTC-USD","ETH-USD"],"market_trades":["BTC-USD","ETH-USD"]}}"#;
    assert_eq!(world.message("subscriptions", all), []);
    assert!(world.events.contains(&FeedEvent::Source(SourceState::Live)));
    world.told();

    let side = r#"{"side":"bid","price_level":"1.5","new_quantity":"2"}"#;
    let book = |kind: &str| format!(r#"{{"type":"{kind}","product_id":"BTC-USD","updates":[{side}]}}"#);
    world.message("l2_data", &book("snapshot"));
    assert!(matches!(world.told()[..], [MarketBody::BookSnapshot(_)]));
    world.message("l2_data", &book("update"));
    assert!(matches!(world.told()[..], [MarketBody::BookDelta(_)]));
    assert_eq!(world.message("heartbeats", r#"{"heartbeat_counter":1}"#), []);
    assert_eq!(world.events, [FeedEvent::Source(SourceState::Live)], "a quiet market raises no alarm");
    world.number += 1;
    assert_eq!(world.message("l2_data", &book("update")), [Output::Close { link: LinkId(0) }]);
    let gap = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    let reason = |event: &FeedEvent| matches!(event, FeedEvent::Fault(fault) if fault.reason == "the connection is lost: 1 of its messages are missing");
    assert!(world.events.iter().any(reason));
    assert_eq!(world.told(), [gap], "what came with it is not told");
    world.attempt = 1;
    while world.outputs().is_empty() {
        world.now.elapsed = world.driver.wake_at().unwrap();
        world.driver.advance(world.now, &mut world.events);
    }
    assert_eq!(texts(&world.open()).len(), 2, "it begins anew, with numbers from 0");
    assert_eq!(world.message("subscriptions", all).len(), 1);
    assert_eq!((world.driver.counts().incomplete_connections, world.driver.counts().unreadable), (1, 0));
}

#[test]
fn a_command_that_is_refused_is_tried_in_parts() {
    let mut world = World::new();
    world.driver.advance(world.now, &mut world.events);
    let [Output::Fetch { request, .. }] = &world.outputs()[..] else { panic!("a request") };
    let response = Response { status: 200, retry_after: None, used_weight: None, body: LIST.to_owned() };
    let input = Input::Response { request: *request, outcome: Ok(response) };
    world.driver.handle(world.now, input, &mut world.events);
    world.outputs();
    world.open();
    let refused = r#"{"type":"error","message":"it is so"}"#;
    let mut refusals = 0;
    for _ in 0..140 {
        world.text(refused);
        refusals = world.driver.counts().refused_topics;
        world.now.elapsed += Duration::from_millis(100);
        world.driver.advance(world.now, &mut world.events);
        world.outputs();
    }
    assert_eq!(refusals, 4, "each topic alone, in the end");
    assert_eq!(world.driver.counts().losses, 0);
}

#[test]
fn what_proves_a_book_is_told() {
    let config = COINBASE.config(COINBASE.stream_url, COINBASE.rest_url, &[]);
    let words = "sequence numbers per connection, checked before it is applied; lost trades are counted; snapshots in the stream";
    assert_eq!(Coinbase::new(config).terms().verification.to_string(), words);
}
