//! The running ingester: heartbeats, responses, pause, stop, an outage of the bus, sources that end.

use std::time::Duration;

use tickwire_feed::adapter::{
    Adapter, AdapterError, Fault, FeedEvent, Flow, MarketBody, MarketEvent, SourceState,
};
use tickwire_feed::sim::{Sim, SimAdapter, SimConfig};
use tickwire_feed::{AtEnd, Clock, HEARTBEAT_PERIOD, IngestConfig, IngestError, Ingester, Pace};
use tickwire_wire::{Body, Channel, Encoding, FeedState, Instrument, Quote, Trade, pb};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::{EPOCH, Heard, World, records};

const START: u64 = 1_800_000_000_000_000_000;

fn config() -> IngestConfig {
    IngestConfig { clock: Clock::starting_at(START), ..IngestConfig::default() }
}

fn sim(pace: Pace) -> SimAdapter {
    let config = SimConfig { instruments: 3, events_per_second: 500.0, ..SimConfig::default() };
    SimAdapter::new(Sim::new(config).unwrap(), pace, Clock::starting_at(START))
}

/// A source that says what it is told to, then waits for ever, ends or fails.
struct Script {
    events: Vec<FeedEvent>,
    then: Then,
}

enum Then {
    Wait,
    End,
    Fail,
}

impl Adapter for Script {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if !self.events.is_empty() {
            events.append(&mut self.events);
            return Ok(Flow::More);
        }
        match self.then {
            Then::Wait => std::future::pending().await,
            Then::End => Ok(Flow::Ended),
            Then::Fail => Err(AdapterError("the line is dead".to_owned())),
        }
    }
}

fn script(then: Then) -> Script {
    let definition = Instrument { symbol: "A B.>*".to_owned(), ..Instrument::default() };
    let market =
        |body| FeedEvent::Market(MarketEvent { index: 0, event_time: START, receive_time: START, body });
    let events = vec![
        FeedEvent::Define { index: 0, definition },
        FeedEvent::Source(SourceState::Live),
        market(MarketBody::Trade(Trade { price: 5, size: 1, id: 1, ..Trade::default() })),
        market(MarketBody::Quote(Quote::default())),
        FeedEvent::Fault(Fault { source: "x".to_owned(), line: 3, reason: "bad".to_owned() }),
        FeedEvent::Repeat,
    ];
    Script { events, then }
}

fn is(state: FeedState, reason: &str) -> impl Fn(&pb::FeedHeartbeat) -> bool {
    move |heartbeat| heartbeat.state() == state && heartbeat.reason == reason
}

#[tokio::test(start_paused = true)]
async fn the_simulator_arrives_on_the_bus_whole_and_in_order() {
    let mut world = World::start(config(), sim(Pace::Speed(1.0)));
    let mut heard = Heard::default();
    world.hear_until(&mut heard, |heard| heard.records.len() > 5_000).await;
    let before = world.ask_topic(Channel::Book, "BTC-USD").await;
    world.shutdown.cancel();
    world
        .hear_until(&mut heard, |heard| heard.heartbeats.iter().any(is(FeedState::Stale, "ingester stopped")))
        .await;
    let summary = world.run.await.unwrap().unwrap();
    let last = heard.check_numbers();
    let id = heard.id("BTC-USD");
    assert_eq!(summary.report.tally.records, heard.records.len() as u64);
    assert_eq!(summary.report.instruments, 3);
    // Nothing there is a derivative.
    for channel in Channel::ALL.into_iter().filter(|channel| *channel != Channel::Derivative) {
        assert!(last.contains_key(&(id, channel)), "{channel:?} of BTC-USD");
    }
    // The book that was answered is the one that came over the bus up to that sequence number.
    let Body::Book(answered) = &before.1[0].body else { panic!("{before:?}") };
    heard.records.retain(|record| record.sequence <= before.0.sequence);
    let followed = heard.book(id);
    assert_eq!((followed.sequence(), &followed.to_snapshot()), (before.0.sequence, answered));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_regularly_and_know_every_last_number() {
    let mut world = World::start(config(), script(Then::Wait));
    let mut heard = Heard::default();
    let began = Instant::now();
    world.hear_until(&mut heard, |heard| heard.heartbeats.len() >= 20).await;
    let passed = began.elapsed();
    assert!(passed >= HEARTBEAT_PERIOD * 17 && passed <= HEARTBEAT_PERIOD * 22, "{passed:?}");
    let positions = heard.heartbeats.iter().flat_map(|heartbeat| &heartbeat.positions);
    let last: std::collections::HashMap<_, _> =
        positions.map(|position| ((position.instrument, position.channel()), position.sequence)).collect();
    assert_eq!(last, heard.check_numbers());
    assert!(heard.heartbeats.iter().all(|heartbeat| heartbeat.venue == "sim" && heartbeat.epoch == EPOCH));
    let tally = world.stats.report().tally;
    assert_eq!((tally.faults, tally.repeats, tally.channel(Channel::Trade)), (1, 1, 1));
    assert_eq!(world.stats.report().last_fault.as_deref(), Some("x, line 3: bad"));
}

#[tokio::test(start_paused = true)]
async fn the_catalogue_names_every_instrument() {
    let mut world = World::start(config(), script(Then::Wait));
    world.hear_heartbeat(is(FeedState::Live, "")).await;
    let response = world.ask(pb::feed_request::Request::Catalogue(pb::Catalogue {})).await;
    assert_eq!((response.epoch, response.catalogue, response.state()), (EPOCH, 1, FeedState::Live));
    let definitions = records(Encoding::Proto, &response.frame);
    assert!(matches!(&definitions[0].body, Body::Instrument(i) if i.symbol == "A B.>*" && i.venue == "sim"));
    let (response, _) = world.ask_topic(Channel::Trade, "NOPE").await;
    assert_eq!(response.error, "unknown symbol `NOPE` at venue `sim`");
}

#[tokio::test(start_paused = true)]
async fn a_paused_ingester_says_so_and_publishes_nothing() {
    let mut world = World::start(config(), sim(Pace::Speed(1.0)));
    world.hear_heartbeat(is(FeedState::Live, "")).await;
    world.control.pause();
    let began = Instant::now();
    world.hear_heartbeat(is(FeedState::Stale, "paused")).await;
    assert!(began.elapsed() < HEARTBEAT_PERIOD, "a change of state is told at once");
    // The records that were on their way when it paused settle: bars and ticker statistics of the trades before.
    let mut heard = Heard::default();
    world.hear_until(&mut heard, |heard| heard.heartbeats.len() >= 4).await;
    let mut heard = Heard::default();
    world.hear_until(&mut heard, |heard| heard.heartbeats.len() >= 10).await;
    assert!(heard.records.is_empty(), "{:?}", heard.records);
    world.control.resume();
    let heard = world.hear_heartbeat(is(FeedState::Live, "")).await;
    let mut later = Heard::default();
    world.hear_until(&mut later, |heard| heard.records.len() > 100).await;
    let times: Vec<_> = heard.records.iter().chain(&later.records).map(|record| record.event_time).collect();
    assert!(times.iter().all(|time| *time > START + 4_000_000_000), "no storm of what was missed");
}

#[tokio::test(start_paused = true)]
async fn the_state_follows_the_source() {
    let mut world = World::start(config(), script(Then::Wait));
    world.hear_heartbeat(is(FeedState::Live, "")).await;
    world.hear_heartbeat(is(FeedState::Stale, "no data for 30 s")).await;
    let mut world = World::start(config(), script(Then::End));
    world.hear_heartbeat(is(FeedState::Stale, "source ended")).await;
    let (response, _) = world.ask_topic(Channel::Trade, "A B.>*").await;
    assert_eq!(response.sequence, 1);
    let mut world = World::start(config(), script(Then::Fail));
    world.hear_heartbeat(is(FeedState::Stale, "the line is dead")).await;
    world.shutdown.cancel();
    assert_eq!(world.run.await.unwrap().unwrap().lost.as_deref(), Some("the line is dead"));
}

#[tokio::test(start_paused = true)]
async fn an_ended_source_stops_the_ingester_where_asked() {
    let mut world = World::start(IngestConfig { at_end: AtEnd::Stop, ..config() }, script(Then::End));
    let heard = world.hear_heartbeat(is(FeedState::Stale, "ingester stopped")).await;
    assert!(heard.records.iter().any(|record| record.channel() == Channel::Stat), "nothing is left behind");
    assert_eq!(world.run.await.unwrap().unwrap().report.state, FeedState::Stale);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_in_an_outage_stays_for_those_who_missed_its_end() {
    let second = Duration::from_secs(1);
    let stops = IngestConfig { at_end: AtEnd::Stop, ..config() };
    let mut world = World::start(stops.clone(), script(Then::End));
    world.bus.set_down(true);
    tokio::time::sleep(20 * second).await;
    world.bus.set_down(false);
    world.hear_heartbeat(is(FeedState::Stale, "source ended")).await;
    tokio::time::sleep(3 * second).await;
    let (response, _) = world.ask_topic(Channel::Trade, "A B.>*").await;
    assert_eq!(response.sequence, 1);
    let back = Instant::now();
    world.hear_heartbeat(is(FeedState::Stale, "ingester stopped")).await;
    assert!(back.elapsed() < 3 * second, "{:?}", back.elapsed());
    assert_eq!(world.run.await.unwrap().unwrap().report.state, FeedState::Stale);

    // A bus that does not come back is not waited for without end.
    let start = Instant::now();
    let world = World::start(stops, script(Then::End));
    world.bus.set_down(true);
    world.run.await.unwrap().unwrap();
    assert!((25 * second..40 * second).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_bus_is_made_good_for() {
    let mut world = World::start(config(), sim(Pace::Speed(1.0)));
    let mut heard = Heard::default();
    world.hear_until(&mut heard, |heard| heard.records.len() > 500).await;
    world.bus.set_down(true);
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.bus.set_down(false);
    let marked = heard.records.len();
    world.hear_until(&mut heard, |heard| heard.records.len() > marked + 1_000).await;
    let mut last = std::collections::HashMap::new();
    let mut gaps = 0;
    for header in heard.headers.iter().filter(|header| header.channel.is_lossless()) {
        let last = last.entry((header.instrument, header.channel)).or_insert(0);
        assert_eq!(header.first_sequence, *last + 1, "{:?} has a hole", header.channel);
        *last = header.last_sequence;
    }
    for record in &heard.records {
        gaps += usize::from(matches!(record.body, Body::Gap(_)));
    }
    assert!(gaps > 0);
    assert!(world.stats.report().tally.missed_numbers > 0);
    world.shutdown.cancel();
    world
        .hear_until(&mut heard, |heard| heard.heartbeats.iter().any(is(FeedState::Stale, "ingester stopped")))
        .await;
    let id = heard.id("BTC-USD");
    // Changes after the hole do not apply until the fresh snapshot; then all do.
    let mut book = tickwire_wire::BookState::new();
    for record in heard.records.iter().filter(|record| record.instrument == id) {
        if let Body::Book(body) = &record.body {
            let _ = book.apply(record.sequence, body);
        }
    }
    assert!(book.is_synced());
    assert_eq!(world.run.await.unwrap().unwrap().report.tally.crossed_books, 0);
}

/// Checks that heartbeats say every position: what the bus accepted before it broke may be lost all the same, and then
/// only positions tell.
#[tokio::test(start_paused = true)]
async fn after_an_outage_heartbeats_say_every_position() {
    let mut world = World::start(config(), script(Then::Wait));
    let mut before = Heard::default();
    // Bars close within two seconds.
    world.hear_until(&mut before, |heard| heard.heartbeats.len() >= 16).await;
    assert!(before.heartbeats[15].positions.is_empty(), "nothing moves any more");
    // The outage is so short that no heartbeat was refused, and longer.
    for length in [Duration::ZERO, HEARTBEAT_PERIOD * 2] {
        world.bus.set_down(true);
        tokio::time::sleep(length).await;
        world.bus.set_down(false);
        let mut heard = Heard::default();
        world.hear_until(&mut heard, |heard| heard.heartbeats.len() >= 3).await;
        let positions = heard.heartbeats.iter().flat_map(|heartbeat| &heartbeat.positions);
        let said: std::collections::HashSet<_> = positions.map(|p| (p.instrument, p.channel)).collect();
        assert_eq!(said.len(), before.check_numbers().len());
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_publishes_the_same_records() {
    async fn records() -> Vec<tickwire_wire::Record> {
        let adapter = sim(Pace::FlatOut).with_steps(2_000);
        let mut world = World::start(IngestConfig { encoding: Encoding::MsgPack, ..config() }, adapter);
        let mut heard = world.hear_heartbeat(is(FeedState::Stale, "source ended")).await;
        heard.records.retain(|record| {
            matches!(record.channel(), Channel::Quote | Channel::Trade | Channel::Book | Channel::Status)
        });
        heard.records
    }
    let (one, two) = (records().await, records().await);
    assert!(one.len() > 2_000);
    assert_eq!(one, two);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_start_says_why() {
    async fn check(config: IngestConfig, adapter: impl Adapter, expected: &str) {
        let bus = tickwire_bus::MemoryBus::new(tickwire_bus::MemoryLimits::default());
        let ingester = Ingester::new(config, adapter, std::sync::Arc::new(bus));
        let error: IngestError = ingester.run(CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let json = IngestConfig { encoding: Encoding::Json, ..config() };
    check(json, script(Then::Wait), "proto or msgpack, not as json").await;
}
