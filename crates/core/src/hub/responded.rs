//! Responses of ingesters are read: all of a response is checked before any of it is used.

use std::sync::Arc;

use tickwire_wire::{
    Batch, Body, BookState, Channel, Encoding, Instrument, Message, Record, Scale, SymbolName, pb,
};

use crate::vocabulary::{InstrumentInfo, Update};

/// The state of a topic, as its ingester told it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// The records of the state without gaps: a book that is broken at its source has no state.
    pub(crate) records: Vec<Arc<Update>>,
    /// The book that the records come to.
    pub(crate) book: BookState,
}

impl Response {
    /// Fails when the records are not of this topic, contradict `sequence`, or cannot be read. `source` is the ingester's
    /// number of the instrument, and `by_our_clock` tells what a time of its clock is by ours.
    pub(crate) fn read(
        info: &Arc<InstrumentInfo>,
        source: u32,
        channel: Channel,
        epoch: u64,
        snapshot: &pb::Snapshot,
        by_our_clock: impl Fn(u64) -> u64,
    ) -> Result<Self, String> {
        let sequence = snapshot.sequence;
        let mut book = BookState::new();
        let mut updates = Vec::new();
        for record in records(&snapshot.frame)? {
            if record.instrument != source || record.channel() != channel {
                return Err(format!("record {} is of another topic", record.sequence));
            }
            if record.sequence > sequence {
                return Err(format!("record {} is beyond the response's {sequence}", record.sequence));
            }
            match &record.body {
                Body::Gap(_) => continue,
                Body::Book(body) => {
                    book.apply(sequence, body).map_err(|error| error.to_string())?;
                }
                _ => {}
            }
            let number = record.sequence;
            let record = Record { instrument: info.id, ..record };
            let received = by_our_clock(record.receive_time);
            let update = Update::from_record(Arc::clone(info), epoch, number, record);
            updates.push(Arc::new(update.dated(received)));
        }
        Ok(Self { epoch, sequence, records: updates, book })
    }
}

/// Returns the records of a frame.
pub(crate) fn records(frame: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for message in Batch::new(Encoding::Proto, frame) {
        match message {
            Ok(Message::Record(record)) => records.push(record),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(records)
}

/// Returns the scale that a definition gives an instrument.
pub(crate) fn scale_of(name: &SymbolName, definition: &Instrument) -> Scale {
    let Instrument { price_decimals, size_decimals, .. } = *definition;
    Scale { symbol: name.to_string(), price_decimals, size_decimals }
}
