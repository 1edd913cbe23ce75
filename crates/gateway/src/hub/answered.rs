//! Reading what an ingester answered: all of it is checked before any of it is used.

use std::sync::Arc;

use tickwire_wire::{Batch, Body, BookState, Channel, Encoding, Message, Record, Scale, SymbolName, pb};

use crate::engine::{InstrumentInfo, Update, VenueIndex};

/// The state of a topic, as its ingester answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// Without gaps: a book that is broken at its source has no state.
    pub(crate) records: Vec<Arc<Update>>,
    /// What the records of a book come to.
    pub(crate) book: BookState,
}

impl Answered {
    /// Fails when the records are not of this topic, contradict `sequence`, or cannot be read.
    pub(crate) fn read(
        info: &Arc<InstrumentInfo>,
        channel: Channel,
        answer: pb::Answer,
    ) -> Result<Self, String> {
        let pb::Answer { epoch, sequence, frame, .. } = answer;
        let mut book = BookState::new();
        let mut updates = Vec::new();
        for record in records(frame)? {
            if record.instrument != info.id || record.channel() != channel {
                return Err(format!("record {} is of another topic", record.sequence));
            }
            if record.sequence > sequence {
                return Err(format!("record {} is beyond the answer's {sequence}", record.sequence));
            }
            match &record.body {
                Body::Gap(_) => continue,
                Body::Book(body) => {
                    book.apply(sequence, body).map_err(|error| error.to_string())?;
                }
                _ => {}
            }
            let number = record.sequence;
            updates.push(Arc::new(Update::from_record(Arc::clone(info), epoch, number, record)));
        }
        Ok(Self { epoch, sequence, records: updates, book })
    }
}

/// The records of an answer.
pub(crate) fn records(frame: Option<pb::Frame>) -> Result<Vec<Record>, String> {
    let bytes = frame.map(|frame| prost::Message::encode_to_vec(&frame)).unwrap_or_default();
    let mut records = Vec::new();
    for message in Batch::new(Encoding::Proto, &bytes) {
        match message {
            Ok(Message::Record(record)) => records.push(record),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(records)
}

/// An instrument as its definition says.
pub(crate) fn info_of(index: u32, venue: VenueIndex, record: &Record) -> Option<InstrumentInfo> {
    let Body::Instrument(definition) = &record.body else { return None };
    let name = SymbolName { venue: definition.venue.clone(), symbol: definition.symbol.clone() };
    let scale = Scale {
        symbol: name.to_string(),
        price_decimals: definition.price_decimals,
        size_decimals: definition.size_decimals,
    };
    Some(InstrumentInfo { index, id: record.instrument, venue, name, scale })
}
