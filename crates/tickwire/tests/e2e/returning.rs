//! A client that was away for longer than any gateway's log reaches comes back to another gateway: JetStream has what it
//! missed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tickwire_client::wire::{Body, Channel, Encoding, GapCause, LedgerEntry};
use tickwire_client::{Client, Event, GapEvent, NoticedBy, State};
use tickwire_testkit::{NatsServer, NatsServerConfig, Program, Relay};

use crate::world::{Gateway, TICKWIRE, until};

/// Settings of a bus that remembers, and of gateways that do so for a second: long enough for those who are there.
const HISTORY: [&str; 4] = ["--set", "bus.history.enabled=true", "--set", "gateway.limits.log_records=256"];
const SYMBOL: &str = "sim:BTC-USD";

/// A client that keeps every trade.
struct Collector {
    client: Client,
    /// The prices of trades by sequence number, of the sequence in force.
    trades: BTreeMap<u64, i64>,
    before: Option<u64>,
    gaps: Vec<GapEvent>,
    connected: bool,
    connections: usize,
    /// Trades and announced numbers behind the last grant's number.
    counted: (u64, u64),
    granted: u64,
    /// The ledger with what was counted when it came: records may stand behind it in the same batch.
    ledger: Option<(LedgerEntry, (u64, u64))>,
}

impl Collector {
    fn start(address: SocketAddr, encoding: Encoding) -> Self {
        let builder = Client::builder(format!("ws://{address}/v1/stream")).encoding(encoding);
        let client = builder.subscribe(Channel::Trade, [SYMBOL]).start().unwrap();
        Self {
            client,
            trades: BTreeMap::new(),
            before: None,
            gaps: Vec::new(),
            connected: false,
            connections: 0,
            counted: (0, 0),
            granted: 0,
            ledger: None,
        }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !done(self) {
            let batch = tokio::time::timeout_at(patience, self.client.next()).await;
            let batch = batch
                .unwrap_or_else(|_| panic!("never: {what}; {} trades, {:?}", self.trades.len(), self.gaps));
            for event in batch.expect("the client goes on") {
                self.note(event);
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Subscribed(outcome) => {
                for granted in &outcome.granted {
                    self.before.get_or_insert(granted.sequence);
                    (self.granted, self.counted) = (granted.sequence, (0, 0));
                }
            }
            Event::Record(update) => {
                if let Body::Trade(trade) = update.record.body {
                    let number = update.record.sequence;
                    assert!(self.trades.insert(number, trade.price).is_none(), "trade {number} came twice");
                    let last = *self.trades.last_key_value().unwrap().0;
                    assert_eq!(last, number, "trade {number} came after {last}");
                    self.counted.0 += 1;
                }
            }
            Event::Gap(gap) => {
                if let Some(last) = gap.last {
                    self.counted.1 += (last + 1).saturating_sub(gap.first.max(self.granted + 1));
                } else {
                    self.trades.clear();
                    self.gaps.clear();
                    self.before = Some(0);
                }
                assert_eq!(gap.noticed_by, NoticedBy::Gateway, "{gap:?}");
                self.gaps.push(gap);
            }
            Event::Ledger(ledger) => {
                self.ledger = ledger.entries.into_iter().next().map(|entry| (entry, self.counted));
            }
            Event::State(State::Connected { .. }) => {
                (self.connected, self.connections) = (true, self.connections + 1);
            }
            Event::State(State::Disconnected { .. }) => self.connected = false,
            _ => {}
        }
    }

    fn last(&self) -> u64 {
        self.trades.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Checks that every sequence number since the subscription came once. Only what the ingester could not publish, on a busy machine, is missing,
    /// and announced.
    fn assert_whole(&self, missed: u64) {
        let first = self.before.unwrap() + 1;
        let gaps = self.gaps.iter().filter_map(|gap| Some(gap.first..=gap.last?));
        let announced: BTreeSet<u64> = gaps.flatten().collect();
        assert!(announced.len() as u64 <= missed, "{missed} not published: {:?}", self.gaps);
        let is_there = |number: &u64| self.trades.contains_key(number) != announced.contains(number);
        let missing = (first..=self.last()).find(|number| !is_there(number));
        assert_eq!(missing, None, "neither came nor was announced, or both");
    }
}

/// Ends an ingester; returns how many numbers it could not publish.
fn end(mut ingester: Program) -> u64 {
    ingester.terminate();
    assert!(ingester.ended().success(), "{}", ingester.output());
    let report: serde_json::Value = serde_json::from_str(&ingester.line_with("\"records\"")).unwrap();
    report["missed_numbers"].as_u64().unwrap()
}

fn jetstream() -> NatsServer {
    let text = "no_fast_producer_stall: true".to_owned();
    NatsServer::start(NatsServerConfig { jetstream: true, text, ..NatsServerConfig::default() })
}

fn ingest(nats: &NatsServer) -> Program {
    let rate = ["ingest", "sim", "--instruments", "3", "--rate", "3000", "--json", "--bus"];
    Program::start(TICKWIRE, &[&rate[..], &[&nats.url()], &HISTORY].concat())
}

fn address(gateway: &Gateway) -> SocketAddr {
    gateway.listen.parse().unwrap()
}

/// Returns a figure from the metrics.
async fn figure(gateway: &Gateway, name: &str) -> u64 {
    let (_, metrics) = gateway.get("/metrics").await.unwrap();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("{name} in {metrics}"));
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trade_arrives_once() {
    let nats = jetstream();
    let ingester = ingest(&nats);
    let first = Gateway::start_with(&nats.url(), &HISTORY).await;
    let second = Gateway::start_with(&nats.url(), &HISTORY).await;
    let relay = Relay::start(address(&first)).await;
    let mut clients = [Encoding::Proto, Encoding::MsgPack, Encoding::Json]
        .map(|encoding| Collector::start(relay.address(), encoding));
    for client in &mut clients {
        client.until("the first trades", |client| client.trades.len() > 20).await;
    }
    relay.cut();
    for client in &mut clients {
        client.until("away", |client| !client.connected).await;
    }
    // Another client tells how far the market has come: far more than 256 trades further.
    let mut watching = Collector::start(address(&second), Encoding::Proto);
    let away = clients.iter().map(Collector::last).max().unwrap();
    watching.until("time passes", |client| client.last() > away + 1500).await;
    relay.lead_to(address(&second));
    let now = watching.last();
    for client in &mut clients {
        client.until("caught up, and live", |client| client.last() > now + 100).await;
    }
    assert!(figure(&second, "tickwire_history_records_total ").await >= 3 * 1000);
    assert_eq!(figure(&second, "tickwire_history_failures_total ").await, 0);
    let (_, ready) = second.get("/readyz").await.unwrap();
    assert!(ready.contains(r#""history":"ready""#), "{ready}");
    // The gateway's account of the subscription equals what the client counted since it came back.
    let [client, ..] = &mut clients;
    let handle = client.client.handle();
    let asked = tokio::spawn(async move { handle.ledger().await });
    client.until("a ledger", |client| client.ledger.is_some()).await;
    drop(asked);
    let (ledger, counted) = client.ledger.clone().unwrap();
    assert_eq!(ledger.published, ledger.delivered + ledger.conflated + ledger.dropped + ledger.filtered);
    assert_eq!((ledger.delivered, ledger.dropped), counted, "{ledger:?}");
    let missed = end(ingester);
    for client in &clients {
        println!("{} trades from {:?}, {:?}", client.trades.len(), client.before, client.gaps);
        assert_eq!(client.connections, 2);
        client.assert_whole(missed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_sequence_during_the_absence_is_announced_and_whole() {
    let nats = jetstream();
    let mut ingester = ingest(&nats);
    let first = Gateway::start_with(&nats.url(), &HISTORY).await;
    let second = Gateway::start_with(&nats.url(), &HISTORY).await;
    let relay = Relay::start(address(&first)).await;
    let mut client = Collector::start(relay.address(), Encoding::Proto);
    client.until("the first trades", |client| client.trades.len() > 20).await;
    relay.cut();
    client.until("away", |client| !client.connected).await;
    ingester.kill();
    let ingester = ingest(&nats);
    let mut watching = Collector::start(address(&second), Encoding::Proto);
    watching.until("time passes", |client| client.last() > 500).await;
    relay.lead_to(address(&second));
    let now = watching.last();
    client.until("caught up, and live", |client| client.before == Some(0) && client.last() > now + 100).await;
    let endless = client.gaps.iter().filter(|gap| gap.last.is_none()).count();
    assert_eq!(endless, 1, "nobody knows where the old sequence ended: {:?}", client.gaps);
    client.assert_whole(end(ingester));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_not_there_is_named_and_costs_only_gaps() {
    // JetStream is off.
    let nats = crate::world::nats();
    let ingester = ingest(&nats);
    ingester.line_with("history cannot be used");
    let gateway = Gateway::start_with(&nats.url(), &HISTORY).await;
    let is_told = until(|| async {
        let (status, body) = gateway.get("/readyz").await.unwrap();
        status == 200 && body.contains("unavailable: JetStream does not answer")
    });
    assert!(is_told.await, "{:?}", gateway.get("/readyz").await);
    let relay = Relay::start(address(&gateway)).await;
    let mut client = Collector::start(relay.address(), Encoding::Proto);
    client.until("the first trades", |client| client.trades.len() > 20).await;
    relay.cut();
    client.until("away", |client| !client.connected).await;
    let mut watching = Collector::start(address(&gateway), Encoding::Proto);
    let away = client.last();
    watching.until("time passes", |client| client.last() > away + 600).await;
    relay.lead_to(address(&gateway));
    client.until("live", |client| client.connections == 2 && client.last() > away + 700).await;
    let gap = client.gaps.iter().find(|gap| gap.cause == GapCause::Resume).expect("announced");
    assert_eq!(gap.first, away + 1, "{:?}", client.gaps);
}
