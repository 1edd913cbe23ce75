//! Many gateways that request thousands of topics at once, beside a source that always has data; and a catalogue of
//! many instruments over buses with small messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use prost::Message as _;
use tickwire_bus::{
    Backplane, BusState, MemoryBus, MemoryLimits, NatsBus, NatsConfig, RequestError, Subject,
};
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent};
use tickwire_feed::{IngestConfig, Ingester, TOPICS_PER_REQUEST_MAX};
use tickwire_testkit::{NatsServer, NatsServerConfig};
use tickwire_wire::{Body, Channel, Encoding, Instrument, Level, Quote, Record, pb};
use tokio_util::sync::CancellationToken;

use crate::world::{EPOCH, records};

const VENUE: &str = "sim";
const GATEWAYS: usize = 4;
const TOPICS: u32 = 5_000;
/// The instrument whose sequence number counts the turns of the source.
const BUSY: u32 = TOPICS;

fn name(index: u32) -> String {
    format!("S{index}")
}

/// A source that defines instruments with one quote each; then each turn is one more quote of the last one, or there
/// are no more turns.
struct Source {
    instruments: u32,
    is_defined: bool,
    is_busy: bool,
}

fn quote(index: u32) -> FeedEvent {
    let bid = Some(Level { price: i64::from(index), size: 1 });
    let (event_time, body) = (1_800_000_000_000_000_000, MarketBody::Quote(Quote { bid, ask: None }));
    FeedEvent::Market(MarketEvent { index, event_time, receive_time: event_time, body })
}

impl Adapter for Source {
    fn venue(&self) -> &'static str {
        VENUE
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if !self.is_defined {
            self.is_defined = true;
            for index in 0..self.instruments {
                let definition = Instrument { symbol: name(index), ..Instrument::default() };
                events.extend([FeedEvent::Define { index, definition }, quote(index)]);
            }
        } else if self.is_busy {
            events.push(quote(self.instruments - 1));
        } else {
            std::future::pending::<()>().await;
        }
        Ok(Flow::More)
    }
}

async fn ask(bus: &dyn Backplane, request: pb::feed_request::Request) -> pb::FeedResponse {
    try_ask(bus, request, Duration::from_secs(20)).await.unwrap()
}

/// Makes a request as a gateway does: again where no response came. A bus whose queue is full of records refuses a
/// response, too.
async fn ask_again(bus: &dyn Backplane, request: &pb::feed_request::Request) -> pb::FeedResponse {
    for _ in 0..20 {
        match try_ask(bus, request.clone(), Duration::from_secs(1)).await {
            Ok(response) => return response,
            Err(error) => assert_eq!(error, RequestError::TimedOut),
        }
    }
    panic!("no response to {request:?}");
}

async fn try_ask(
    bus: &dyn Backplane,
    request: pb::feed_request::Request,
    timeout: Duration,
) -> Result<pb::FeedResponse, RequestError> {
    let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
    assert!(ask.len() <= bus.payload_max());
    let subject = Subject::request(VENUE, EPOCH).unwrap();
    let response = bus.request(&subject, ask.into(), timeout).await?;
    assert!(response.len() <= bus.payload_max());
    Ok(pb::FeedResponse::decode(response).unwrap())
}

fn bid(records: &[Record]) -> i64 {
    let [Record { body: Body::Quote(quote), .. }] = records else { panic!("{records:?}") };
    quote.bid.unwrap().price
}

#[tokio::test(start_paused = true)]
async fn the_source_is_read_between_any_two_responses() {
    let bus = MemoryBus::new(MemoryLimits::default());
    let source = Source { instruments: TOPICS + 1, is_defined: false, is_busy: true };
    let config = IngestConfig { epoch: Some(EPOCH), ..IngestConfig::default() };
    let ingester = Ingester::new(config, source, Arc::new(bus.clone()));
    let (stats, shutdown) = (ingester.stats(), CancellationToken::new());
    let run = tokio::spawn(ingester.run(shutdown.clone()));
    while stats.report().instruments <= TOPICS as usize {
        tokio::task::yield_now().await;
    }
    let topic = |index| pb::Topic { channel: Channel::Quote.into(), symbol: name(index) };
    // Each batch requests the busy one, too.
    let batches: Vec<Vec<u32>> =
        (0..TOPICS).collect::<Vec<_>>().chunks(TOPICS_PER_REQUEST_MAX - 1).map(<[u32]>::to_vec).collect();
    let requests = (0..GATEWAYS).flat_map(|gateway| batches.iter().map(move |batch| (gateway, batch)));
    let responses = join_all(requests.map(async |(gateway, batch)| {
        let topics = batch.iter().copied().chain([BUSY]).map(topic).collect();
        let response = ask(&bus, pb::feed_request::Request::Snapshots(pb::Snapshots { topics })).await;
        assert!(response.error.is_empty() && response.parts.is_none(), "{}", response.error);
        (gateway, batch, response.snapshots)
    }))
    .await;
    shutdown.cancel();
    run.await.unwrap().unwrap();
    assert_eq!(stats.report().tally.responses, responses.len() as u64);
    let (mut answered, mut turns) = (BTreeSet::new(), BTreeSet::new());
    for (gateway, batch, mut snapshots) in responses {
        turns.insert(snapshots.pop().unwrap().sequence);
        assert_eq!(snapshots.len(), batch.len());
        for (index, snapshot) in batch.iter().zip(snapshots) {
            assert_eq!(bid(&records(Encoding::Proto, &snapshot.frame)), i64::from(*index));
            assert!(answered.insert((gateway, *index)), "answered twice");
        }
    }
    assert_eq!(answered.len(), GATEWAYS * TOPICS as usize);
    // Two responses of one number of turns would be two requests with no turn of the source between them.
    let asked = GATEWAYS * batches.len();
    assert_eq!(turns.len(), asked);
    // Nor does the source keep the requests waiting.
    let passed = turns.last().unwrap() - turns.first().unwrap();
    assert!(passed <= 2 * asked as u64, "{passed} turns of the source for {asked} requests");
}

/// The number of instruments that a large venue has.
const LISTED: u32 = 15_400;

async fn check_catalogue(bus: Arc<dyn Backplane>) {
    let source = Source { instruments: LISTED, is_defined: false, is_busy: false };
    let config = IngestConfig { epoch: Some(EPOCH), ..IngestConfig::default() };
    let ingester = Ingester::new(config, source, Arc::clone(&bus));
    let (stats, shutdown) = (ingester.stats(), CancellationToken::new());
    let run = tokio::spawn(ingester.run(shutdown.clone()));
    while stats.report().instruments < LISTED as usize {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let request = pb::feed_request::Request::Catalogue(pb::Catalogue {});
    let parts = ask_again(bus.as_ref(), &request).await.parts.expect("pieces");
    let mut whole = Vec::new();
    for index in 0..parts.count {
        let part = pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index });
        whole.extend(ask_again(bus.as_ref(), &part).await.piece);
    }
    assert_eq!(whole.len() as u64, parts.bytes);
    let response = pb::FeedResponse::decode(whole.as_slice()).unwrap();
    let symbols: BTreeSet<_> = records(Encoding::Proto, &response.frame)
        .into_iter()
        .map(|record| match record.body {
            Body::Instrument(instrument) => instrument.symbol,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(symbols, (0..LISTED).map(name).collect());
    // Definitions leave in parts: the queue of the bus never overflows, and no response is lost to it.
    let tally = stats.report().tally;
    assert_eq!((tally.refused_messages, tally.refused_responses, tally.refused_heartbeats), (0, 0, 0));
    shutdown.cancel();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_large_catalogue_comes_in_pieces_over_small_messages() {
    for payload_bytes_max in [4_096, 1 << 20] {
        check_catalogue(Arc::new(MemoryBus::new(MemoryLimits {
            payload_bytes_max,
            ..MemoryLimits::default()
        })))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_catalogue_comes_in_pieces_over_nats() {
    for text in ["max_payload: 4096", ""] {
        let server =
            NatsServer::start(NatsServerConfig { text: text.to_owned(), ..NatsServerConfig::default() });
        let bus =
            NatsBus::connect(&NatsConfig { servers: vec![server.url()], ..NatsConfig::default() }).unwrap();
        let mut state = bus.state();
        state.wait_for(BusState::is_up).await.unwrap();
        check_catalogue(Arc::new(bus)).await;
    }
}
