//! The bus and the events of the tests of the ingester.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prost::Message as _;
use tickwire_bus::{PublishError, Subject};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Channel, Encoding, FeedState, Instrument, Level, Message, Record, Trade, pb};

use crate::adapter::{Levels, MarketBody, MarketEvent};
use crate::ingest::intervals::BarIntervals;
use crate::ingest::publisher::{BusSink, Publisher, RUN_RECORDS_MAX};
use crate::ingest::respond::Responder;
use crate::ingest::sequencer::Sequencer;

pub(super) const EPOCH: u64 = 1_000;
pub(super) const NATS_PAYLOAD_MAX: usize = 1 << 20;

/// A bus that keeps what it takes, or refuses.
#[derive(Clone, Default)]
pub(super) struct FakeBus(pub(super) Arc<Mutex<FakeBusState>>);

#[derive(Default)]
pub(super) struct FakeBusState {
    pub(super) is_full: bool,
    /// The largest payload; 0 stands for the one that NATS has.
    pub(super) payload_max: usize,
    pub(super) messages: Vec<(String, Bytes)>,
}

impl FakeBusState {
    fn payload_max(&self) -> usize {
        if self.payload_max == 0 { NATS_PAYLOAD_MAX } else { self.payload_max }
    }
}

impl FakeBus {
    pub(super) fn set_full(&self, is_full: bool) {
        self.0.lock().unwrap().is_full = is_full;
    }

    pub(super) fn take(&self) -> Vec<(BusHeader, Vec<Record>)> {
        let messages = std::mem::take(&mut self.0.lock().unwrap().messages);
        messages.iter().map(|(subject, bytes)| read(subject, bytes)).collect()
    }

    pub(super) fn take_records(&self) -> Vec<Record> {
        self.take().into_iter().flat_map(|(_, records)| records).collect()
    }
}

impl BusSink for FakeBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        let mut bus = self.0.lock().unwrap();
        if bus.is_full {
            return Err(PublishError::Full);
        }
        assert!(payload.len() <= bus.payload_max(), "{} bytes for {subject}", payload.len());
        bus.messages.push((subject.as_str().to_owned(), payload));
        Ok(())
    }

    fn payload_max(&self) -> usize {
        self.0.lock().unwrap().payload_max()
    }
}

/// Reads a bus message and checks what must hold for every one.
pub(super) fn read(subject: &str, bytes: &[u8]) -> (BusHeader, Vec<Record>) {
    let (header, rest) = BusHeader::parse(bytes).unwrap();
    assert!(subject.starts_with(&format!("tw.v1.sim.{}.", header.channel.name())), "{subject}");
    let mut records = Vec::new();
    for part in header.split(rest) {
        let (_, last, bytes) = part.unwrap();
        for message in Batch::new(header.encoding, bytes) {
            let Message::Record(record) = message.unwrap() else { panic!("not a record") };
            assert_eq!((record.instrument, record.sequence), (header.instrument, last));
            assert_eq!(record.channel(), header.channel);
            records.push(record);
        }
    }
    assert_eq!(records.last().unwrap().sequence, header.last_sequence);
    assert!(records.len() <= RUN_RECORDS_MAX);
    (header, records)
}

pub(super) fn sequencer(encoding: Encoding) -> (Sequencer<FakeBus>, FakeBus) {
    sequencer_of(encoding, BarIntervals::default())
}

/// Makes a sequencer with these intervals of bars.
pub(super) fn sequencer_of(encoding: Encoding, bars: BarIntervals) -> (Sequencer<FakeBus>, FakeBus) {
    let bus = FakeBus::default();
    let publisher = Publisher::new(bus.clone(), EPOCH, encoding);
    (Sequencer::new("sim".to_owned(), publisher, bars), bus)
}

/// Makes one instrument, `A/B`, with its definition already published.
pub(super) fn one_instrument() -> (Sequencer<FakeBus>, FakeBus) {
    let (mut sequencer, bus) = sequencer(Encoding::Proto);
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.end_turn();
    let [record] = bus.take_records().try_into().unwrap();
    assert_eq!((record.instrument, record.sequence), (id(&sequencer, 0), 1));
    (sequencer, bus)
}

pub(super) fn id(sequencer: &Sequencer<FakeBus>, index: usize) -> u32 {
    sequencer.instruments[index].as_ref().unwrap().id
}

pub(super) fn definition(symbol: &str) -> Instrument {
    Instrument { symbol: symbol.to_owned(), price_decimals: 2, size_decimals: 3, ..Instrument::default() }
}

pub(super) fn happens(sequencer: &mut Sequencer<FakeBus>, body: MarketBody) {
    sequencer.event(MarketEvent { index: 0, event_time: 5_000, receive_time: 5_010, body }).unwrap();
}

pub(super) fn trade(id: u64) -> MarketBody {
    MarketBody::Trade(Trade { price: 10, size: 1, id, ..Trade::default() })
}

pub(super) fn level(price: i64, size: u64) -> Level {
    Level { price, size }
}

pub(super) fn snapshot() -> MarketBody {
    MarketBody::BookSnapshot(Levels { bids: vec![level(9, 1)], asks: vec![level(11, 2)] })
}

pub(super) fn bid(price: i64, size: u64) -> MarketBody {
    MarketBody::BookDelta(Levels { bids: vec![level(price, size)], asks: vec![] })
}

/// Makes a request as a gateway does: what does not fit into one message is fetched in pieces.
pub(super) fn request(
    responder: &mut Responder,
    sequencer: &Sequencer<FakeBus>,
    request: pb::feed_request::Request,
) -> pb::FeedResponse {
    let mut raw = |request: pb::feed_request::Request| {
        let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        let response = responder.respond(sequencer, &ask, FeedState::Live, 0);
        assert!(response.len() <= sequencer.publisher.bus.payload_max());
        pb::FeedResponse::decode(response.as_slice()).unwrap()
    };
    let response = raw(request);
    let Some(parts) = response.parts else { return response };
    let piece = |index| raw(pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index })).piece;
    let whole: Vec<u8> = (0..parts.count).flat_map(piece).collect();
    assert_eq!(whole.len() as u64, parts.bytes);
    pb::FeedResponse::decode(whole.as_slice()).unwrap()
}

pub(super) fn ask_all(sequencer: &Sequencer<FakeBus>, topics: &[(Channel, &str)]) -> pb::FeedResponse {
    let topic = |(channel, symbol): &(Channel, &str)| pb::Topic {
        channel: (*channel).into(),
        symbol: (*symbol).to_owned(),
    };
    let topics = topics.iter().map(topic).collect();
    request(
        &mut Responder::default(),
        sequencer,
        pb::feed_request::Request::Snapshots(pb::Snapshots { topics }),
    )
}

pub(super) fn ask(sequencer: &Sequencer<FakeBus>, channel: Channel, symbol: &str) -> pb::Snapshot {
    let mut response = ask_all(sequencer, &[(channel, symbol)]);
    assert_eq!((response.epoch, response.error.as_str(), response.state()), (EPOCH, "", FeedState::Live));
    response.snapshots.pop().unwrap()
}

pub(super) fn records_of(frame: &[u8]) -> Vec<Record> {
    let records = Batch::new(Encoding::Proto, frame).map(|message| match message.unwrap() {
        Message::Record(record) => record,
        other => panic!("not a record: {other:?}"),
    });
    records.collect()
}
