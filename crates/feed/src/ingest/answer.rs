//! Answers to the questions of gateways: the state between two published records.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use tickwire_wire::{Channel, Encoding, FeedState, Message, Record, Scale, encode_message, pb};

use super::publisher::Outlet;
use super::sequencer::Sequencer;

/// Of `Answer.frame` in `bus.proto`.
const FRAME_FIELD: u32 = 2;

/// Answers one `Ask`. To be called when no run is open.
pub(crate) fn answer<O: Outlet>(sequencer: &Sequencer<O>, question: &[u8], state: FeedState) -> Vec<u8> {
    let (records, sequence, error) = match find(sequencer, question) {
        Ok((records, sequence)) => (records, sequence, String::new()),
        Err(error) => (Vec::new(), 0, error),
    };
    let epoch = sequencer.publisher.epoch;
    let answer = pb::Answer { epoch, frame: None, sequence, error, state: state.into() };
    let mut bytes = answer.encode_to_vec();
    // Records are encoded as frames that concatenate, so the frame is written here and not built first.
    let mut frame = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), &mut frame);
    }
    encode_key(FRAME_FIELD, WireType::LengthDelimited, &mut bytes);
    encode_varint(frame.len() as u64, &mut bytes);
    bytes.extend_from_slice(&frame);
    bytes
}

fn find<O: Outlet>(sequencer: &Sequencer<O>, question: &[u8]) -> Result<(Vec<Record>, u64), String> {
    use pb::ask::Question;
    let ask = pb::Ask::decode(question).map_err(|error| format!("not a question: {error}"))?;
    match ask.question {
        Some(Question::Catalogue(_)) => {
            let definitions = sequencer.instruments.iter().flatten();
            Ok((definitions.filter_map(|state| state.definition.clone()).collect(), 0))
        }
        Some(Question::Snapshot(topic)) => {
            let channel = topic.channel();
            if channel == Channel::Unknown {
                return Err("unknown channel".to_owned());
            }
            let index = sequencer.by_symbol.get(&topic.symbol);
            let state = index.and_then(|index| sequencer.instruments.get(*index as usize)?.as_ref());
            let state = state
                .ok_or_else(|| format!("unknown symbol `{}` at venue `{}`", topic.symbol, sequencer.venue))?;
            Ok((state.last_records(channel), state.numbering(channel).sequence))
        }
        None => Err("no question in it, or one that this version does not know".to_owned()),
    }
}
