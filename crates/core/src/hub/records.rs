//! Records of topics, as they come from the bus.

use std::sync::Arc;

use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Channel, GapCause, Message, Record, Scale, encode_message};

use super::data::Hub;
use super::follow::Followed;
use super::progress::note;
use crate::vocabulary::{InstrumentInfo, TopicId, Update};

/// Takes a message of a topic.
pub(super) fn on_records(hub: &mut Hub, id: TopicId, payload: &[u8], arrived: u64, now: u64) {
    hub.counts.messages += 1;
    hub.counts.bytes += payload.len() as u64;
    let source = hub.instruments.source(id);
    let Some(topic) = hub.topics.get_mut(id) else { return };
    let Ok((header, records)) = BusHeader::parse(payload) else {
        hub.counts.malformed += 1;
        tracing::debug!(symbol = %symbol(topic), "bus message without a header that can be read");
        return;
    };
    if header.epoch != hub.venues[usize::from(topic.info.venue.0)].claims.epoch() {
        hub.counts.foreign += 1;
        return;
    }
    // Before the followed run has said what it calls the instrument and how its prices read, nothing of it is used;
    // it is asked for its state after that.
    let Some(source) = source else { return };
    if header.instrument != source || header.channel != topic.channel {
        hub.counts.malformed += 1;
        tracing::debug!(symbol = %symbol(topic), number = header.instrument, "bus message of another topic");
        return;
    }
    match read_message(&topic.info, source, topic.channel, &header, (arrived, records), &mut hub.scratch) {
        Ok(()) => {
            hub.counts.records += hub.scratch.len() as u64;
            for update in hub.scratch.drain(..) {
                topic.on_update(update, &mut hub.events);
            }
        }
        Err(reason) => {
            hub.scratch.clear();
            hub.counts.malformed += 1;
            tracing::debug!(symbol = %symbol(topic), reason, "bus message is damaged");
            topic.on_position(header.epoch, header.last_sequence, now);
        }
    }
    note(hub, id);
}

fn symbol(topic: &Followed) -> &str {
    &topic.info.scale.symbol
}

/// Appends the records of a message of the bus, with the time at which it came: all of them, or none where one is damaged.
/// `source` is what the ingester calls the instrument.
///
/// # Errors
/// It says what is wrong with the message.
pub fn read_message(
    info: &Arc<InstrumentInfo>,
    source: u32,
    channel: Channel,
    header: &BusHeader,
    (arrived, records): (u64, &[u8]),
    into: &mut Vec<Arc<Update>>,
) -> Result<(), String> {
    for record in header.split(records) {
        let (first, last, bytes) = record.map_err(|error| error.to_string())?;
        let (numbers, came) = ((first, last), (header.encoding, bytes));
        let is_right = |record: &Record| check(record, numbers, source, channel);
        let mut update = Update::checked(Arc::clone(info), channel, header.epoch, numbers, came, is_right)?;
        if source != info.id {
            // Another instrument has that number here: the record is written anew once, for all sessions.
            let record = Record { instrument: info.id, ..update.record().clone() };
            let mut bytes = Vec::new();
            encode_message(header.encoding, &Message::Record(record), &Scale::default(), &mut bytes);
            let came = (header.encoding, &bytes[..]);
            update = Update::checked(Arc::clone(info), channel, header.epoch, numbers, came, |_| {
                Ok::<_, String>(())
            })?;
        }
        into.push(Arc::new(update.at(arrived)));
    }
    Ok(())
}

/// Compares a record with what the header says of it.
fn check(record: &Record, (first, last): (u64, u64), source: u32, channel: Channel) -> Result<(), String> {
    use tickwire_wire::Body;
    let numbers = match &record.body {
        // What cannot be decoded has become a gap on the bus.
        Body::Gap(gap) if gap.cause() == GapCause::Bus => return Err("a record cannot be decoded".to_owned()),
        Body::Gap(gap) => (gap.first_sequence, gap.last_sequence),
        _ => (record.sequence, record.sequence),
    };
    let is_right = record.instrument == source
        && record.channel() == channel
        && record.sequence == last
        && numbers == (first, last);
    if is_right { Ok(()) } else { Err(format!("record {} is not what the header says", record.sequence)) }
}
