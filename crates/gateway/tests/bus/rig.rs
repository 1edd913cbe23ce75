//! Everything between a scripted venue and a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::{Backplane, MemoryBus, Subject};
use tickwire_client::{Backoff, Client, Event};
use tickwire_feed::adapter::{
    Adapter, AdapterError, FeedEvent, Flow, Levels, MarketBody, MarketEvent, SourceState,
};
use tickwire_feed::{IngestConfig, IngestStats, Ingester};
use tickwire_gateway::{AuthSettings, Gateway, GatewayConfig, NoPages};
use tickwire_wire::{Channel, Instrument, Level, Quote, Status, Trade, TradingState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The time after which a test ends that would wait for ever; nothing is measured by it.
const HANG: Duration = Duration::from_mins(1);
pub(crate) const SYMBOL: &str = "sim:A";

/// A venue that says what it is told to say.
struct Script(mpsc::Receiver<FeedEvent>);

impl Adapter for Script {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        match self.0.recv().await {
            Some(event) => {
                events.push(event);
                Ok(Flow::More)
            }
            None => Ok(Flow::Ended),
        }
    }
}

pub(crate) struct Rig {
    pub(crate) bus: MemoryBus,
    pub(crate) gateway: Gateway,
    ingester: IngestStats,
    script: mpsc::Sender<FeedEvent>,
    stop: CancellationToken,
}

impl Rig {
    /// Starts everything with `sim:A`, and a state on every channel.
    pub(crate) async fn start(config: GatewayConfig) -> Self {
        Self::start_on(MemoryBus::default(), config).await
    }

    pub(crate) async fn start_on(bus: MemoryBus, config: GatewayConfig) -> Self {
        let (script, stop, stats) = ingester(&bus);
        let backplane: Arc<dyn Backplane> = Arc::new(bus.clone());
        let gateway = gateway(config, backplane).await;
        let rig = Self { bus, gateway, ingester: stats, script, stop };
        rig.say(FeedEvent::Define { index: 0, definition: definition(1) }).await;
        rig.say(FeedEvent::Source(SourceState::Live)).await;
        rig.happens(1, MarketBody::BookSnapshot(levels(1))).await;
        rig.happens(1, quote(1)).await;
        rig.happens(1, trade(1)).await;
        rig.happens(1, status(1)).await;
        rig
    }

    /// Puts another ingester in the place of this one, whose sequences begin at 1 again.
    pub(crate) async fn replace_ingester(&mut self) {
        self.stop.cancel();
        self.script.closed().await;
        (self.script, self.stop, self.ingester) = ingester(&self.bus);
        self.say(FeedEvent::Define { index: 0, definition: definition(1) }).await;
        self.say(FeedEvent::Source(SourceState::Live)).await;
    }

    pub(crate) async fn say(&self, event: FeedEvent) {
        self.script.send(event).await.unwrap();
    }

    pub(crate) async fn happens(&self, time: u64, body: MarketBody) {
        let time = 1_000_000_000 * time;
        let event = MarketEvent { index: 0, event_time: time, receive_time: time, body };
        self.say(FeedEvent::Market(event)).await;
    }

    /// Waits until the ingester has published so many records of a channel.
    pub(crate) async fn published(&self, channel: Channel, count: u64) {
        while self.ingester.report().tally.channels[channel as usize - 1] < count {
            tokio::task::yield_now().await;
        }
    }

    /// Opens a client with one channel that has been granted, and whose feed is live.
    pub(crate) async fn client(&self, channel: Channel) -> Watcher {
        client(self.gateway.listen_address(), channel).await
    }

    /// Starts one more gateway on the same bus.
    pub(crate) async fn second(&self, config: GatewayConfig) -> Gateway {
        gateway(config, Arc::new(self.bus.clone())).await
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.gateway.drain().await;
    }
}

fn ingester(bus: &MemoryBus) -> (mpsc::Sender<FeedEvent>, CancellationToken, IngestStats) {
    let (script, scripted) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let ingester = Ingester::new(IngestConfig::default(), Script(scripted), Arc::new(bus.clone()));
    let stats = ingester.stats();
    tokio::spawn(ingester.run(stop.clone()));
    (script, stop, stats)
}

/// Starts a gateway on free ports.
async fn gateway(config: GatewayConfig, bus: Arc<dyn Backplane>) -> Gateway {
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig {
        listen: free,
        admin_listen: free,
        drain_window: Duration::ZERO,
        auth: AuthSettings::anonymous(),
        ..config
    };
    Gateway::start(config, bus, Arc::new(NoPages)).await.unwrap()
}

/// Opens a client with one channel that has been granted, and whose feed is live.
pub(crate) async fn client(address: SocketAddr, channel: Channel) -> Watcher {
    let url = format!("ws://{address}/v1/stream");
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(20));
    let client = Client::builder(url).backoff(backoff).subscribe(channel, [SYMBOL]).start().unwrap();
    let mut watcher = Watcher { client, seen: Vec::new() };
    watcher.until("live", |watcher| watcher.client.is_live(SYMBOL)).await;
    watcher
}

pub(crate) struct Watcher {
    pub(crate) client: Client,
    pub(crate) seen: Vec<Event>,
}

impl Watcher {
    pub(crate) async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let reading = async {
            while !is_so(self) {
                let batch = self.client.next().await.expect("the client goes on");
                self.seen.extend(batch.iter().cloned());
            }
        };
        let in_time = tokio::time::timeout(HANG, reading).await.is_ok();
        assert!(in_time, "never: {what}; seen: {:#?}", self.seen);
        assert_eq!(self.client.counters().violations, 0, "no loss that nobody announced");
    }

    /// Returns the sequence numbers that were announced as lost.
    pub(crate) fn gaps(&self) -> Vec<(u64, Option<u64>)> {
        let gaps =
            self.seen.iter().filter_map(|event| if let Event::Gap(gap) = event { Some(gap) } else { None });
        gaps.map(|gap| (gap.first, gap.last)).collect()
    }

    /// Returns the sequence numbers of the records that came.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        let numbers = self.seen.iter().filter_map(|event| match event {
            Event::Record(update) => Some(update.record.sequence),
            _ => None,
        });
        numbers.collect()
    }
}

pub(crate) fn subject(channel: Channel) -> Subject {
    Subject::data("sim", channel.name(), "A").unwrap()
}

pub(crate) fn definition(tick_size: u64) -> Instrument {
    Instrument { symbol: "A".to_owned(), price_decimals: 2, tick_size, ..Instrument::default() }
}

pub(crate) fn levels(price: i64) -> Levels {
    Levels { bids: vec![Level { price, size: 5 }], asks: vec![Level { price: price + 1000, size: 5 }] }
}

pub(crate) fn quote(price: i64) -> MarketBody {
    MarketBody::Quote(Quote { bid: Some(Level { price, size: 5 }), ask: None })
}

pub(crate) fn trade(price: i64) -> MarketBody {
    MarketBody::Trade(Trade { price, size: 1, ..Trade::default() })
}

pub(crate) fn status(number: u64) -> MarketBody {
    let state = if number % 2 == 1 { TradingState::Open } else { TradingState::Halted };
    MarketBody::Status(Status { state: state as i32, reason: number.to_string() })
}
