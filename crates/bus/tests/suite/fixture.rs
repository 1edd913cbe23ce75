//! One bus to test, of either kind, and the waiting that tests do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{
    Backplane, BusEvent, BusState, Inbox, InboxLimits, Interest, MemoryBus, NatsBus, NatsConfig, Subject,
};
use tickwire_testkit::{NatsServer, NatsServerConfig};
use tokio::time::timeout;

/// The longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A publisher's and a consumer's handle: the same bus in memory, two connections with NATS.
pub(crate) struct Fixture {
    pub(crate) publisher: Arc<dyn Backplane>,
    pub(crate) consumer: Arc<dyn Backplane>,
    outage: Outage,
}

enum Outage {
    Memory(MemoryBus),
    Nats(NatsServer),
}

impl Fixture {
    pub(crate) fn memory() -> Self {
        let bus = MemoryBus::default();
        let handle: Arc<dyn Backplane> = Arc::new(bus.clone());
        Self { publisher: Arc::clone(&handle), consumer: handle, outage: Outage::Memory(bus) }
    }

    pub(crate) async fn nats() -> Self {
        let server = NatsServer::start(NatsServerConfig::default());
        let publisher = connect(&nats_config(&server));
        let consumer = connect(&nats_config(&server));
        for bus in [&publisher, &consumer] {
            up(bus.as_ref()).await;
        }
        Self { publisher, consumer, outage: Outage::Nats(server) }
    }

    /// Breaks the bus; returns when both handles know.
    pub(crate) async fn down(&mut self) {
        match &mut self.outage {
            Outage::Memory(bus) => bus.set_down(true),
            Outage::Nats(server) => server.stop(),
        }
        for bus in [&self.publisher, &self.consumer] {
            wait_state(bus.as_ref(), |state| matches!(state, BusState::Down { .. })).await;
        }
    }

    /// Mends the bus; returns when both handles are connected and subscribed again.
    pub(crate) async fn up(&mut self) {
        match &mut self.outage {
            Outage::Memory(bus) => bus.set_down(false),
            Outage::Nats(server) => server.restart(),
        }
        for bus in [&self.publisher, &self.consumer] {
            up(bus.as_ref()).await;
            bus.flush(PATIENCE).await.unwrap();
        }
    }

    /// Opens an inbox of the consumer with these subjects, in force at the server.
    pub(crate) async fn inbox(&self, subjects: &[(&Subject, u64)]) -> (Interest, Inbox) {
        self.inbox_with(InboxLimits::default(), subjects).await
    }

    pub(crate) async fn inbox_with(
        &self,
        limits: InboxLimits,
        subjects: &[(&Subject, u64)],
    ) -> (Interest, Inbox) {
        let (interest, inbox) = self.consumer.inbox(limits);
        for (subject, token) in subjects {
            interest.subscribe(subject, *token).unwrap();
        }
        self.consumer.flush(PATIENCE).await.unwrap();
        (interest, inbox)
    }

    pub(crate) fn publish(&self, subject: &Subject, payload: impl Into<Bytes>) {
        self.publisher.publish(subject, payload.into()).unwrap();
    }
}

pub(crate) fn nats_config(server: &NatsServer) -> NatsConfig {
    NatsConfig {
        servers: vec![server.url()],
        reconnect_min: Duration::from_millis(5),
        reconnect_max: Duration::from_millis(50),
        connect_timeout: Duration::from_secs(1),
        publish_queue: 65_536,
        ..NatsConfig::default()
    }
}

pub(crate) fn connect(config: &NatsConfig) -> Arc<dyn Backplane> {
    Arc::new(NatsBus::connect(config).unwrap())
}

pub(crate) async fn up(bus: &dyn Backplane) -> u64 {
    wait_state(bus, BusState::is_up).await.generation().unwrap()
}

pub(crate) async fn wait_state(bus: &dyn Backplane, wanted: impl FnMut(&BusState) -> bool) -> BusState {
    let mut state = bus.state();
    let found = timeout(PATIENCE, state.wait_for(wanted)).await.map(|found| found.unwrap().clone());
    found.unwrap_or_else(|_| panic!("the state stays {:?}", bus.state().borrow().clone()))
}

pub(crate) fn data(symbol: &str) -> Subject {
    Subject::data("sim", "quote", symbol).unwrap()
}

/// Takes events until `count` messages are there; returns all events.
pub(crate) async fn take(inbox: &mut Inbox, count: usize) -> Vec<BusEvent> {
    take_until(inbox, |events| messages(events).len() >= count).await
}

pub(crate) async fn take_until(inbox: &mut Inbox, done: impl Fn(&[BusEvent]) -> bool) -> Vec<BusEvent> {
    let mut events = Vec::new();
    let taking = async {
        while !done(&events) {
            assert!(inbox.recv_batch(&mut events, 1_000_000).await, "the inbox was closed");
        }
    };
    let in_time = timeout(PATIENCE, taking).await.is_ok();
    assert!(in_time, "after {} events: {:?}", events.len(), events.last());
    events
}

/// Returns tokens and payloads of the messages.
pub(crate) fn messages(events: &[BusEvent]) -> Vec<(u64, &[u8])> {
    let message = |event| match event {
        &BusEvent::Message { token, ref payload, .. } => Some((token, payload.as_ref())),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}
