//! A bus in memory, an ingester on it, and someone who listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tickwire_bus::{Backplane, BusEvent, Inbox, InboxLimits, MemoryBus, MemoryLimits, Subject};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::{IngestConfig, IngestControl, IngestError, IngestStats, Ingester, Summary};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, BookState, Channel, Encoding, Message, Record, pb};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) bus: MemoryBus,
    pub(crate) shutdown: CancellationToken,
    pub(crate) stats: IngestStats,
    pub(crate) control: IngestControl,
    pub(crate) run: JoinHandle<Result<Summary, IngestError>>,
    pub(crate) venue: String,
    inbox: Inbox,
}

/// The messages that came over the bus.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) heartbeats: Vec<pb::FeedHeartbeat>,
    pub(crate) records: Vec<Record>,
    pub(crate) headers: Vec<BusHeader>,
}

const HEARTBEATS: u64 = 0;
/// The epoch of the run.
pub(crate) const EPOCH: u64 = 71;

impl World {
    /// Listens to everything before the ingester starts.
    pub(crate) fn start<A: Adapter + 'static>(mut config: IngestConfig, adapter: A) -> Self {
        let bus = MemoryBus::new(MemoryLimits::default());
        let limits = InboxLimits { messages_max: 1 << 20, bytes_max: 1 << 30, ..InboxLimits::default() };
        let (interest, inbox) = bus.inbox(limits);
        let venue = adapter.venue().to_owned();
        interest.subscribe(&Subject::heartbeat(&venue).unwrap(), HEARTBEATS).unwrap();
        for channel in Channel::ALL {
            let all = Subject::data_all_symbols(&venue, channel.name()).unwrap();
            interest.subscribe(&all, channel as u64).unwrap();
        }
        config.epoch = Some(EPOCH);
        let ingester = Ingester::new(config, adapter, Arc::new(bus.clone()));
        let (stats, control) = (ingester.stats(), ingester.control());
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(ingester.run(shutdown.clone()));
        Self { bus, shutdown, stats, control, run, venue, inbox }
    }

    /// Listens until something is so.
    pub(crate) async fn hear_until(&mut self, heard: &mut Heard, is_enough: impl Fn(&Heard) -> bool) {
        let mut events = Vec::new();
        while !is_enough(heard) {
            assert!(self.inbox.recv_batch(&mut events, 4_096).await, "the bus was closed");
            events.drain(..).for_each(|event| heard.take(event));
        }
    }

    pub(crate) async fn hear_heartbeat(&mut self, is_it: impl Fn(&pb::FeedHeartbeat) -> bool) -> Heard {
        let mut heard = Heard::default();
        self.hear_until(&mut heard, |heard| heard.heartbeats.iter().any(&is_it)).await;
        heard
    }

    pub(crate) async fn ask(&self, request: pb::feed_request::Request) -> pb::FeedResponse {
        let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        let subject = Subject::request(&self.venue, EPOCH).unwrap();
        let response = self.bus.request(&subject, ask.into(), Duration::from_secs(5)).await.unwrap();
        pb::FeedResponse::decode(response).unwrap()
    }

    pub(crate) async fn ask_topic(&self, channel: Channel, symbol: &str) -> (pb::Snapshot, Vec<Record>) {
        let topics = vec![pb::Topic { channel: channel.into(), symbol: symbol.to_owned() }];
        let mut response = self.ask(pb::feed_request::Request::Snapshots(pb::Snapshots { topics })).await;
        let snapshot = response.snapshots.pop().unwrap();
        let records = records(Encoding::Proto, &snapshot.frame);
        (snapshot, records)
    }
}

impl Heard {
    fn take(&mut self, event: BusEvent) {
        let BusEvent::Message { token, payload, .. } = event else { return };
        if token == HEARTBEATS {
            self.heartbeats.push(pb::FeedHeartbeat::decode(payload).unwrap());
            return;
        }
        let (header, rest) = BusHeader::parse(&payload).unwrap();
        assert_eq!(header.channel as u64, token);
        self.headers.push(header);
        self.records.extend(records(header.encoding, rest));
    }

    /// Returns the instrument number of a symbol.
    pub(crate) fn id(&self, symbol: &str) -> u32 {
        let is_it = |record: &&Record| matches!(&record.body, Body::Instrument(i) if i.symbol == symbol);
        self.records.iter().find(is_it).expect("it was defined").instrument
    }

    /// Checks that of each (instrument, channel) all sequence numbers came, in order; returns the last ones.
    pub(crate) fn check_numbers(&self) -> HashMap<(u32, Channel), u64> {
        let mut last = HashMap::new();
        for header in &self.headers {
            let last = last.entry((header.instrument, header.channel)).or_insert(0);
            assert_eq!(header.first_sequence, *last + 1, "{header:?}");
            *last = header.last_sequence;
        }
        last
    }

    /// Returns the book of an instrument after all records, each of which applied with its checksum.
    pub(crate) fn book(&self, instrument: u32) -> BookState {
        let mut state = BookState::new();
        for record in self.records.iter().filter(|record| record.instrument == instrument) {
            if let Body::Book(book) = &record.body {
                assert!(book.checksum.is_some());
                state.apply(record.sequence, book).unwrap();
            }
        }
        state
    }
}

pub(crate) fn records(encoding: Encoding, bytes: &[u8]) -> Vec<Record> {
    let record = |message| match message {
        Ok(Message::Record(record)) => record,
        other => panic!("not a record: {other:?}"),
    };
    Batch::new(encoding, bytes).map(record).collect()
}
