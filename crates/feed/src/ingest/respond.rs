//! Responses to the requests of gateways: the state between two published records.
//!
//! A response may be of any length. One that does not fit into a message of the bus is kept for a while, and fetched in
//! pieces.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use tickwire_wire::{Channel, Encoding, FeedState, Message, Record, Scale, encode_message, pb};

use super::publisher::BusSink;
use super::sequencer::Sequencer;

/// The most topics in one request.
pub const TOPICS_PER_REQUEST_MAX: usize = 64;
/// The most bytes of one piece: a large message holds up those behind it.
const PIECE_BYTES_MAX: usize = 128 * 1024;
/// The bytes of a response beside its piece.
const ENVELOPE_BYTES: usize = 64;
/// The time for which a response in pieces can be fetched, in nanoseconds.
const KEPT_NS: u64 = 10_000_000_000;
/// The most bytes of all responses that are kept.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A responder, which answers requests, and keeps those responses that are fetched in pieces.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    tickets: u64,
    kept: VecDeque<KeptResponse>,
    kept_bytes: usize,
}

#[derive(Debug)]
struct KeptResponse {
    ticket: u64,
    at: u64,
    bytes: Bytes,
    /// The number of the catalogue in it: a second request for that gets the same one.
    catalogue: Option<u64>,
}

impl Responder {
    /// Answers one `FeedRequest`. It must not be called while a run is open.
    pub(crate) fn respond<O: BusSink>(
        &mut self,
        sequencer: &Sequencer<O>,
        request: &[u8],
        state: FeedState,
        now: u64,
    ) -> Vec<u8> {
        use pb::feed_request::Request;
        let epoch = sequencer.publisher.epoch;
        let piece_max = sequencer.publisher.bus.payload_max().min(PIECE_BYTES_MAX) - ENVELOPE_BYTES;
        self.forget(now);
        let mut response = pb::FeedResponse { epoch, state: state.into(), ..pb::FeedResponse::default() };
        let mut catalogue = None;
        match pb::FeedRequest::decode(request).map(|ask| ask.request) {
            Err(error) => response.error = format!("this is not a request: {error}"),
            Ok(None) => {
                "there is no request in it, or one that this version does not know"
                    .clone_into(&mut response.error);
            }
            Ok(Some(Request::Part(part))) => match self.piece(&part, piece_max) {
                Some(piece) => response.piece = piece.to_vec(),
                None => {
                    "that response is not kept any more; request it again".clone_into(&mut response.error);
                }
            },
            Ok(Some(Request::Catalogue(_))) => {
                let known = self.kept.iter().find(|kept| kept.catalogue == Some(sequencer.catalogue));
                if let Some(kept) = known {
                    response.parts = Some(parts(kept.ticket, kept.bytes.len(), piece_max));
                    return response.encode_to_vec();
                }
                catalogue = Some(sequencer.catalogue);
                response.catalogue = sequencer.catalogue;
                let definitions = sequencer.instruments.iter().flatten();
                let definitions = definitions.filter_map(|state| state.definition.clone());
                response.frame = frame(sequencer.ends.iter().cloned().chain(definitions));
            }
            Ok(Some(Request::Snapshots(asked))) if asked.topics.len() > TOPICS_PER_REQUEST_MAX => {
                response.error = format!(
                    "{} topics in one request; name {TOPICS_PER_REQUEST_MAX} at most",
                    asked.topics.len()
                );
            }
            Ok(Some(Request::Snapshots(asked))) => {
                response.snapshots = asked.topics.iter().map(|topic| snapshot(sequencer, topic)).collect();
            }
        }
        let bytes = response.encode_to_vec();
        if bytes.len() <= piece_max + ENVELOPE_BYTES {
            return bytes;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let parts = Some(parts(ticket, bytes.len(), piece_max));
        self.keep(KeptResponse { ticket, at: now, bytes: bytes.into(), catalogue });
        pb::FeedResponse { epoch, state: state.into(), parts, ..pb::FeedResponse::default() }.encode_to_vec()
    }

    fn piece(&self, part: &pb::Part, piece_max: usize) -> Option<Bytes> {
        let kept = self.kept.iter().find(|kept| kept.ticket == part.ticket)?;
        let from = (part.index as usize).checked_mul(piece_max).filter(|from| *from < kept.bytes.len())?;
        Some(kept.bytes.slice(from..kept.bytes.len().min(from + piece_max)))
    }

    fn keep(&mut self, kept: KeptResponse) {
        self.kept_bytes += kept.bytes.len();
        self.kept.push_back(kept);
        while self.kept_bytes > KEPT_BYTES_MAX && self.kept.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget(&mut self, now: u64) {
        while self.kept.front().is_some_and(|kept| now.saturating_sub(kept.at) > KEPT_NS) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.kept_bytes -= self.kept.pop_front().map_or(0, |kept| kept.bytes.len());
    }
}

fn parts(ticket: u64, bytes: usize, piece_max: usize) -> pb::Parts {
    pb::Parts { ticket, count: bytes.div_ceil(piece_max) as u32, bytes: bytes as u64 }
}

fn snapshot<O: BusSink>(sequencer: &Sequencer<O>, topic: &pb::Topic) -> pb::Snapshot {
    let failed = |error: String| pb::Snapshot { error, ..pb::Snapshot::default() };
    let channel = topic.channel();
    if channel == Channel::Unknown {
        return failed("unknown channel".to_owned());
    }
    let index = sequencer.by_symbol.get(&topic.symbol);
    let Some(state) = index.and_then(|index| sequencer.instruments.get(*index as usize)?.as_ref()) else {
        let error = format!("unknown symbol `{}` at venue `{}`", topic.symbol, sequencer.venue);
        return pb::Snapshot { is_unknown: true, ..failed(error) };
    };
    let sequence = state.sequence(channel).last;
    pb::Snapshot { sequence, frame: frame(state.last_records(channel)), ..pb::Snapshot::default() }
}

fn frame(records: impl IntoIterator<Item = Record>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), &mut bytes);
    }
    bytes
}
