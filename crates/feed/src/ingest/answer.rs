//! Answers to the questions of gateways: the state between two published records.
//!
//! An answer may be of any length. One that does not fit into a message of the bus is kept for a while, and fetched in
//! pieces.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use tickwire_wire::{Channel, Encoding, FeedState, Message, Record, Scale, encode_message, pb};

use super::publisher::Outlet;
use super::sequencer::Sequencer;

/// Topics in one question.
pub const TOPICS_PER_ASK_MAX: usize = 64;
/// Bytes of one piece: a large message holds up those behind it.
const PIECE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of an answer beside its piece.
const ENVELOPE_BYTES: usize = 64;
/// How long an answer in pieces can be fetched, in nanoseconds.
const KEPT_NS: u64 = 10_000_000_000;
/// Bytes of all answers that are kept.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Answers questions, and keeps those answers that are fetched in pieces.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    tickets: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    ticket: u64,
    at: u64,
    bytes: Bytes,
    /// A catalogue, by its number: asked for again, it is the same one.
    catalogue: Option<u64>,
}

impl Desk {
    /// Answers one `Ask`. To be called when no run is open.
    pub(crate) fn answer<O: Outlet>(
        &mut self,
        sequencer: &Sequencer<O>,
        question: &[u8],
        state: FeedState,
        now: u64,
    ) -> Vec<u8> {
        use pb::ask::Question;
        let epoch = sequencer.publisher.epoch;
        let piece_max = sequencer.publisher.outlet.payload_max().min(PIECE_BYTES_MAX) - ENVELOPE_BYTES;
        self.forget(now);
        let mut answer = pb::Answer { epoch, state: state.into(), ..pb::Answer::default() };
        let mut catalogue = None;
        match pb::Ask::decode(question).map(|ask| ask.question) {
            Err(error) => answer.error = format!("not a question: {error}"),
            Ok(None) => {
                "no question in it, or one that this version does not know".clone_into(&mut answer.error);
            }
            Ok(Some(Question::Part(part))) => match self.piece(&part, piece_max) {
                Some(piece) => answer.piece = piece.to_vec(),
                None => "that answer is not kept any more; ask again".clone_into(&mut answer.error),
            },
            Ok(Some(Question::Catalogue(_))) => {
                let known = self.kept.iter().find(|kept| kept.catalogue == Some(sequencer.catalogue));
                if let Some(kept) = known {
                    answer.parts = Some(parts(kept.ticket, kept.bytes.len(), piece_max));
                    return answer.encode_to_vec();
                }
                catalogue = Some(sequencer.catalogue);
                answer.catalogue = sequencer.catalogue;
                let definitions = sequencer.instruments.iter().flatten();
                answer.frame = frame(definitions.filter_map(|state| state.definition.clone()));
            }
            Ok(Some(Question::Snapshots(asked))) if asked.topics.len() > TOPICS_PER_ASK_MAX => {
                answer.error = format!(
                    "{} topics in one question; ask for {TOPICS_PER_ASK_MAX} at most",
                    asked.topics.len()
                );
            }
            Ok(Some(Question::Snapshots(asked))) => {
                answer.snapshots = asked.topics.iter().map(|topic| snapshot(sequencer, topic)).collect();
            }
        }
        let bytes = answer.encode_to_vec();
        if bytes.len() <= piece_max + ENVELOPE_BYTES {
            return bytes;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let parts = Some(parts(ticket, bytes.len(), piece_max));
        self.keep(Kept { ticket, at: now, bytes: bytes.into(), catalogue });
        pb::Answer { epoch, state: state.into(), parts, ..pb::Answer::default() }.encode_to_vec()
    }

    fn piece(&self, part: &pb::Part, piece_max: usize) -> Option<Bytes> {
        let kept = self.kept.iter().find(|kept| kept.ticket == part.ticket)?;
        let from = (part.index as usize).checked_mul(piece_max).filter(|from| *from < kept.bytes.len())?;
        Some(kept.bytes.slice(from..kept.bytes.len().min(from + piece_max)))
    }

    fn keep(&mut self, kept: Kept) {
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

fn snapshot<O: Outlet>(sequencer: &Sequencer<O>, topic: &pb::Topic) -> pb::Snapshot {
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
    let sequence = state.numbering(channel).sequence;
    pb::Snapshot { sequence, frame: frame(state.last_records(channel)), ..pb::Snapshot::default() }
}

fn frame(records: impl IntoIterator<Item = Record>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), &mut bytes);
    }
    bytes
}
