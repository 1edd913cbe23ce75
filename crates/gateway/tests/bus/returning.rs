//! A client comes back, to another gateway, for more than that one's log holds, on a bus that remembers.

use std::net::SocketAddr;

use tickwire_bus::MemoryBus;
use tickwire_client::{Event, State};
use tickwire_core::engine::BackfillLimits;
use tickwire_gateway::{Gateway, GatewayConfig};
use tickwire_testkit::Relay;
use tickwire_wire::{Channel, GapCause};

use super::rig::{Rig, Watcher, client, trade};

const AWAY: u64 = 500;

/// Makes a log of few records, so that the history is needed.
fn config() -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.limits.engine.log_records_per_topic = 16;
    config.limits.backfill = Some(BackfillLimits { records_max: 100_000, timeout_ns: 3_000_000_000 });
    config
}

/// A client that has the first trades, and then is away while [`AWAY`] more happen.
struct Away {
    rig: Rig,
    second: Gateway,
    relay: Relay,
    client: Watcher,
}

impl Away {
    async fn start(messages_kept: usize, config: GatewayConfig) -> Self {
        let bus = MemoryBus::default();
        bus.keep_history(messages_kept);
        let rig = Rig::start_on(bus, config.clone()).await;
        let second = rig.second(config).await;
        let relay = Relay::start(rig.gateway.listen_address()).await;
        let mut client = client(relay.address(), Channel::Trade).await;
        trades(&rig, 2, 10).await;
        client.until("the first", |client| client.sequences().contains(&10)).await;
        relay.cut();
        client.until("away", |client| !is_connected(client)).await;
        trades(&rig, 11, AWAY).await;
        Self { rig, second, relay, client }
    }

    fn come_back(&self) {
        self.relay.lead_to(self.second.listen_address());
    }

    async fn end(self) {
        self.second.drain().await;
        self.rig.end().await;
    }
}

async fn trades(rig: &Rig, from: u64, to: u64) {
    for number in from..=to {
        rig.happens(number, trade(number as i64)).await;
    }
    rig.published(Channel::Trade, to).await;
}

fn is_connected(client: &Watcher) -> bool {
    let state = client.seen.iter().rev().find_map(|event| match event {
        Event::State(State::Connected { .. }) => Some(true),
        Event::State(State::Disconnected { .. }) => Some(false),
        _ => None,
    });
    state == Some(true)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn everything_that_was_missed_comes_once_and_in_order() {
    run(async {
        let mut away = Away::start(100_000, config()).await;
        away.come_back();
        away.client.until("live", |client| client.sequences().contains(&AWAY)).await;
        trades(&away.rig, AWAY + 1, AWAY + 8).await;
        away.client.until("the end", |client| client.sequences().contains(&(AWAY + 8))).await;
        assert!(away.client.gaps().is_empty(), "{:?}", away.client.gaps());
        assert!(away.client.sequences().into_iter().eq(2..=AWAY + 8), "{:?}", away.client.sequences());
        away.end().await;
    });
}

#[test]
fn what_the_bus_forgot_is_announced_exactly() {
    run(async {
        let mut away = Away::start(100, config()).await;
        away.come_back();
        away.client.until("the end", |client| client.sequences().contains(&AWAY)).await;
        assert_eq!(away.client.gaps(), [(11, Some(AWAY - 100))]);
        assert!(away.client.sequences().into_iter().eq((2..=10).chain(AWAY - 99..=AWAY)));
        away.end().await;
    });
}

#[test]
fn a_history_that_does_not_response_costs_a_gap_and_nothing_else() {
    run(async {
        let mut config = config();
        let backfill = config.limits.backfill.as_mut().unwrap();
        backfill.timeout_ns = 300_000_000;
        let mut away = Away::start(100_000, config).await;
        away.rig.bus.hold_history(true);
        away.come_back();
        away.client.until("announced", |client| !client.gaps().is_empty()).await;
        trades(&away.rig, AWAY + 1, AWAY + 8).await;
        away.client.until("the end", |client| client.sequences().contains(&(AWAY + 8))).await;
        away.rig.bus.hold_history(false);
        trades(&away.rig, AWAY + 9, AWAY + 16).await;
        away.client.until("the end", |client| client.sequences().contains(&(AWAY + 16))).await;
        assert_eq!(away.client.gaps(), [(11, Some(AWAY))]);
        assert!(away.client.sequences().into_iter().eq((2..=10).chain(AWAY + 1..=AWAY + 16)));
        away.end().await;
    });
}

#[test]
fn another_sequence_is_announced_and_followed_from_its_start() {
    run(async {
        let mut away = Away::start(100_000, config()).await;
        away.rig.replace_ingester().await;
        trades(&away.rig, 1, 60).await;
        away.come_back();
        let is_over = |client: &Watcher| client.gaps().len() == 1 && client.sequences().last() == Some(&60);
        away.client.until("the end", is_over).await;
        assert_eq!(away.client.gaps(), [(11, None)], "nobody knows where the old sequence ended");
        assert!(
            away.client.sequences().into_iter().eq((2..=10).chain(1..=60)),
            "{:?}",
            away.client.sequences()
        );
        away.end().await;
    });
}

#[test]
fn a_bus_without_memory_announces_everything() {
    run(async {
        let rig = Rig::start(config()).await;
        let mut witness = rig.client(Channel::Trade).await;
        let relay = Relay::start(rig.gateway.listen_address()).await;
        let mut client = client(relay.address(), Channel::Trade).await;
        trades(&rig, 2, 10).await;
        client.until("the first", |client| client.sequences().contains(&10)).await;
        relay.cut();
        client.until("away", |client| !is_connected(client)).await;
        trades(&rig, 11, AWAY).await;
        let heard = |witness: &Watcher| witness.sequences().last() == Some(&AWAY);
        witness.until("all is in the log that the client comes back to", heard).await;
        let address: SocketAddr = rig.gateway.listen_address();
        relay.lead_to(address);
        client.until("the end", |client| client.sequences().contains(&AWAY)).await;
        assert_eq!(client.gaps(), [(11, Some(AWAY - 16))], "the log of this gateway has the last 16");
        let causes: Vec<_> = client
            .seen
            .iter()
            .filter_map(|event| if let Event::Gap(gap) = event { Some(gap.cause) } else { None })
            .collect();
        assert_eq!(causes, [GapCause::Resume]);
        rig.end().await;
    });
}
