//! A hub that follows a venue, and records that come to it, as `scripts/instructions.sh` counts them.

use std::hint::black_box;

use prost::Message as _;
use tickwire_core::hub::{Action, HEARTBEATS, Hub, HubLimits, Target};
use tickwire_core::schedule::by_shard;
use tickwire_core::vocabulary::{TopicId, TopicInterest};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Body, Channel, Encoding, FeedState, Instrument, Message, Record, Scale, encode_message, pb,
};

use crate::{quote, record};

const NOW: u64 = 1_767_623_400_000_000_000;
const EPOCH: u64 = 7;
const VENUE: &str = "sim";
const INSTRUMENTS: u32 = 100;
const ROUNDS: u64 = 4;
/// The number of records of each instrument in a round.
const RECORDS: u64 = 8;

/// Returns the ingester's number of an instrument.
fn number(index: u32) -> u32 {
    index + 1
}

fn encode(record: Record, out: &mut Vec<u8>) {
    encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), out);
}

/// Makes a hub that follows the quotes of all instruments for one shard.
fn following() -> Hub {
    let mut hub = Hub::new(HubLimits {
        shards: 1,
        venues: 1,
        instruments: INSTRUMENTS as usize,
        topics: INSTRUMENTS as usize,
        waiting_bytes: 1 << 20,
        feed_down_ns: u64::MAX,
    });
    hub.on_bus_state(Ok(1), NOW);
    let heartbeat = pb::FeedHeartbeat {
        venue: VENUE.to_owned(),
        epoch: EPOCH,
        state: FeedState::Live as i32,
        time: NOW,
        number: 1,
        catalogue: 1,
        ..pb::FeedHeartbeat::default()
    };
    hub.on_message(HEARTBEATS, &heartbeat.encode_to_vec(), NOW, NOW);
    let mut frame = Vec::new();
    for index in 0..INSTRUMENTS {
        let (venue, symbol) = (VENUE.to_owned(), format!("S{index}"));
        let body = Body::Instrument(Instrument { venue, symbol, price_decimals: 2, ..Instrument::default() });
        encode(Record { instrument: number(index), ..record(1, body) }, &mut frame);
    }
    let state = FeedState::Live as i32;
    let snapshot = || pb::Snapshot { sequence: 1, ..pb::Snapshot::default() };
    // First the catalogue is asked for, then the states of what the shard wants.
    for _ in 0..2 {
        hub.tick(NOW);
        for action in std::mem::take(&mut hub.actions) {
            let Action::Ask(_, _, target) = action else { continue };
            let response = match target {
                Target::Catalogue(..) => pb::FeedResponse {
                    epoch: EPOCH,
                    state,
                    frame: frame.clone(),
                    catalogue: 1,
                    ..pb::FeedResponse::default()
                },
                Target::Topics(batch, _) => pb::FeedResponse {
                    epoch: EPOCH,
                    state,
                    snapshots: hub.asked(batch).map(|_| snapshot()).collect(),
                    ..pb::FeedResponse::default()
                },
            };
            hub.on_response(target, Ok(response), NOW);
        }
        for index in 0..INSTRUMENTS {
            hub.on_interest(0, TopicInterest::Want(TopicId::new(index, Channel::Quote)));
        }
    }
    hub.events.clear();
    hub
}

/// Makes the message of the bus with the quote of an instrument.
fn message(index: u32, sequence: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let header = BusHeader {
        encoding: Encoding::Proto,
        channel: Channel::Quote,
        instrument: number(index),
        epoch: EPOCH,
        first_sequence: sequence,
        last_sequence: sequence,
        publish_time: NOW,
    };
    header.write(&mut payload);
    encode(Record { instrument: number(index), ..record(sequence, quote()) }, &mut payload);
    payload
}

/// Does the work that is counted: a turn of the hub, whose events are handed to the shard.
#[inline(never)]
fn counted(hub: &mut Hub, messages: &[(u64, Vec<u8>)]) {
    for (token, payload) in messages {
        hub.on_message(*token, payload, NOW, NOW);
    }
    black_box(by_shard(&mut hub.events, 1));
}

/// Lets quotes come to a hub. Returns how many came.
///
/// # Panics
/// When the hub does not pass all of them on.
pub fn records() -> usize {
    let mut hub = following();
    for round in 0..ROUNDS {
        let first = 2 + round * RECORDS;
        let sequences = first..first + RECORDS;
        let each = sequences.flat_map(|sequence| (0..INSTRUMENTS).map(move |index| (index, sequence)));
        let token = |index| u64::from(TopicId::new(index, Channel::Quote).0);
        let messages: Vec<_> =
            each.map(|(index, sequence)| (token(index), message(index, sequence))).collect();
        counted(&mut hub, &messages);
    }
    let records = ROUNDS * RECORDS * u64::from(INSTRUMENTS);
    assert_eq!((hub.counts.records, hub.counts.malformed, hub.counts.lost), (records, 0, 0));
    records as usize
}
