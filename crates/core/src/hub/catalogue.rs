//! Instruments: catalogues and definitions say which ones there are, and which ended.

use std::collections::HashSet;
use std::sync::Arc;

use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, FeedState, Message, Record, SymbolName, pb};

use super::data::{ALL_SHARDS, Hub};
use super::feeds::tell_feed;
use super::progress::{note, unfollow};
use super::records::on_records;
use super::responded::{records, scale_of};
use super::retry::retry_ns;
use super::venue::{Catalogue, Listing};
use crate::vocabulary::{Ended, Event, TopicId, VenueIndex};

/// The reason of an end that its ingester told, with the last sequence numbers.
const DELISTED: &str = "the venue does not list it any more";

/// The reason of an end that is known only because the instrument is not listed: it ended under another run, or long ago.
/// Records that came just before it may have been lost without a gap.
const UNLISTED: &str =
    "its ingester does not list it any more; the last that was published of it may be missing";

/// Takes the response to a request for a catalogue.
pub(super) fn on_catalogue(
    hub: &mut Hub,
    index: VenueIndex,
    epoch: u64,
    response: Result<pb::FeedResponse, String>,
    now: u64,
) {
    let at = usize::from(index.0);
    let venue = &mut hub.venues[at];
    let is_again = matches!(venue.catalogue, Catalogue::Asked { again: true });
    venue.catalogue = if is_again { Catalogue::Due(0) } else { Catalogue::Known };
    if venue.claims.epoch() != epoch {
        // Another run is followed meanwhile.
        venue.ask_catalogue_now();
        return;
    }
    let read = response.and_then(|response| Ok((records(&response.frame)?, response)));
    let (definitions, response) = match read {
        Ok(read) => read,
        Err(reason) => {
            if venue.attempts == 0 {
                tracing::debug!(venue = %venue.name, reason, "no catalogue yet");
            } else if venue.attempts.is_power_of_two() {
                tracing::warn!(venue = %venue.name, reason, attempts = venue.attempts, "no catalogue");
            }
            if !is_again {
                venue.catalogue = Catalogue::Due(now + retry_ns(venue.attempts));
            }
            venue.attempts = venue.attempts.saturating_add(1);
            return;
        }
    };
    venue.attempts = 0;
    if response.catalogue < venue.revision {
        // Definitions overtook this response.
        venue.ask_catalogue_now();
        return;
    }
    venue.revision = response.catalogue;
    if venue.announced > venue.revision {
        venue.ask_catalogue_now();
    }
    // An ingester that is starting may not know all of its instruments yet: it says so by not being live.
    let is_complete = response.state() == FeedState::Live;
    venue.listing = if is_complete { Listing::Whole } else { Listing::Some };
    let (ends, definitions): (Vec<_>, Vec<_>) = definitions.into_iter().partition(is_end);
    for record in &ends {
        if let Some(known) = hub.venues[at].numbers.get(&record.instrument).copied() {
            settle_end(hub, known, epoch, record);
        }
    }
    let ended: HashSet<_> = ends.iter().map(|record| record.instrument).collect();
    let listed: HashSet<_> = definitions.iter().map(|record| record.instrument).collect();
    let named: HashSet<_> = definitions.iter().filter_map(symbol_of).collect();
    // Instruments that ended go first: their numbers may be those of others now.
    let gone = hub
        .instruments
        .of_venue(index)
        .filter(|(_, source)| !listed.contains(source) && (is_complete || *source > 0));
    for (instrument, source) in gone.collect::<Vec<_>>() {
        // An instrument that is listed under another number, or with other decimals, is dealt with where it is
        // defined.
        let slot = hub.instruments.get(instrument);
        if slot.is_some_and(|slot| !named.contains(&*slot.info.name.symbol)) {
            end(hub, instrument, if ended.contains(&source) { DELISTED } else { UNLISTED }, false);
        }
    }
    for record in definitions {
        define(hub, index, &record, now);
    }
    tell_feed(hub, index);
}

/// Takes definitions as they are published, those of all symbols of a venue.
pub(super) fn on_definitions(hub: &mut Hub, index: VenueIndex, payload: &[u8], arrived: u64, now: u64) {
    let Ok((header, records)) = BusHeader::parse(payload) else {
        hub.counts.malformed += 1;
        return;
    };
    let at = usize::from(index.0);
    if hub.venues.get(at).is_none_or(|venue| header.epoch != venue.claims.epoch()) {
        hub.counts.foreign += 1;
        return;
    }
    for message in Batch::new(header.encoding, records) {
        let Ok(Message::Record(Record { body: Body::Instrument(definition), .. })) = &message else {
            hub.counts.malformed += u64::from(message.is_err());
            continue;
        };
        let venue = &mut hub.venues[at];
        venue.announced = venue.announced.max(definition.revision);
        if venue.revision == 0 || definition.revision <= venue.revision {
            // The catalogue is on its way, or had this definition already.
            continue;
        }
        if definition.revision > venue.revision + 1 {
            // A definition before it did not come.
            venue.ask_catalogue_now();
            continue;
        }
        venue.revision = definition.revision;
        // The same message may still be to come for the followed topic: what it says is passed on before it takes
        // effect.
        let known = hub.venues[at].numbers.get(&header.instrument).copied();
        let topic = known.map(|known| TopicId::new(known, Channel::Instrument));
        if let Some(id) = topic.filter(|id| hub.topics.get_mut(*id).is_some()) {
            on_records(hub, id, payload, arrived, now);
        }
        if let Ok(Message::Record(record)) = message {
            define(hub, index, &record, now);
        }
    }
}

/// Takes up an instrument, what changed of it, or its end, as the followed run of its venue says.
fn define(hub: &mut Hub, index: VenueIndex, record: &Record, now: u64) {
    let Body::Instrument(definition) = &record.body else { return };
    let at = usize::from(index.0);
    let name = SymbolName { venue: definition.venue.clone(), symbol: definition.symbol.clone() };
    if *hub.venues[at].name != *name.venue || SymbolName::parse(&name.to_string()).is_err() {
        hub.counts.malformed += 1;
        return;
    }
    let source = record.instrument;
    let epoch = hub.venues[at].claims.epoch();
    let scale = scale_of(&name, definition);
    let listed = hub.venues[at].claims.by_our_clock(record.receive_time, now);
    if let Some(known) = hub.venues[at].numbers.get(&source).copied() {
        let slot = hub.instruments.get(known);
        let is_it = slot.is_some_and(|slot| slot.info.name == name && slot.info.scale == scale);
        if definition.ended {
            settle_end(hub, known, epoch, record);
            end(hub, known, DELISTED, false);
            return;
        }
        if is_it {
            ask_waiting(hub, known);
            return;
        }
        // A run gives a number once. A run that contradicts itself is believed in what it says last.
        tracing::error!(instrument = source, %name, "the ingester uses the number of another instrument");
        end(hub, known, "its ingester gave its number away", true);
    }
    if definition.ended {
        return;
    }
    if let Some(known) = hub.instruments.find(&name) {
        let Some(slot) = hub.instruments.alive_mut(known) else { return };
        if slot.source == 0 && slot.info.scale == scale && slot.may_be(epoch, source) {
            // The run that is followed now has this instrument, too.
            slot.name(epoch, source);
            hub.venues[at].numbers.insert(source, known);
            ask_named(hub, known);
            return;
        }
        let is_listed_anew = slot.info.scale == scale;
        let reason = if is_listed_anew { "it was listed anew" } else { "it has other decimals now" };
        end(hub, known, reason, true);
    }
    if hub.instruments.len() >= hub.limits.instruments {
        hub.counts.over_limit += 1;
        if hub.counts.over_limit.is_power_of_two() {
            let (limit, refused) = (hub.limits.instruments, hub.counts.over_limit);
            tracing::error!(
                %name, limit, refused,
                "this gateway knows as many instruments as it may; raise gateway.limits.instruments"
            );
        }
        return;
    }
    if let Some(info) = hub.instruments.add(index, name, scale, (epoch, source), listed) {
        hub.venues[at].numbers.insert(source, info.index);
        hub.events.push((ALL_SHARDS, Event::Instrument(info)));
    }
}

/// Announces what was lost of an instrument before its end: the last definition says how far each channel went.
fn settle_end(hub: &mut Hub, instrument: u32, epoch: u64, last: &Record) {
    let Body::Instrument(definition) = &last.body else { return };
    for (channel, last) in Channel::ALL.into_iter().zip(&definition.last_sequences) {
        if let Some(topic) = hub.topics.get_mut(TopicId::new(instrument, channel)).filter(|_| *last > 0) {
            topic.on_end(epoch, *last, &mut hub.events);
            hub.counts.lost += std::mem::take(&mut topic.lost);
        }
    }
}

/// Ends an instrument: shards are told, and let go of it. What was published of it before was passed on.
fn end(hub: &mut Hub, instrument: u32, reason: &str, may_retry: bool) {
    let Some(slot) = hub.instruments.get(instrument) else { return };
    let (info, source) = (Arc::clone(&slot.info), slot.source);
    let venue = &mut hub.venues[usize::from(info.venue.0)];
    if venue.numbers.get(&source) == Some(&instrument) {
        venue.numbers.remove(&source);
    }
    hub.counts.ended += 1;
    tracing::info!(symbol = %info.scale.symbol, reason, "an instrument ended");
    let ended = Ended { instrument, reason: reason.into(), may_retry };
    hub.events.push((ALL_SHARDS, Event::Ended(Arc::new(ended))));
    // This comes after the word that it ended: the feed may be live now that this one is not waited for any more.
    for channel in Channel::ALL {
        unfollow(hub, TopicId::new(instrument, channel));
    }
    let shards = u64::MAX >> (64 - hub.limits.shards.clamp(1, 64));
    hub.instruments.end(instrument, shards);
}

/// Asks about the topics of an instrument that the followed run named just now.
fn ask_named(hub: &mut Hub, instrument: u32) {
    for channel in Channel::ALL {
        let id = TopicId::new(instrument, channel);
        if let Some(topic) = hub.topics.get_mut(id) {
            topic.ask_anew();
            note(hub, id);
        }
    }
}

/// Asks again about the topics of an instrument that was asked for in vain: it may be there now.
fn ask_waiting(hub: &mut Hub, instrument: u32) {
    for channel in Channel::ALL {
        let id = TopicId::new(instrument, channel);
        if let Some(topic) = hub.topics.get_mut(id).filter(|topic| topic.is_waiting()) {
            topic.ask_anew();
            note(hub, id);
        }
    }
}

/// Returns whether a definition is the last one of its instrument.
fn is_end(record: &Record) -> bool {
    matches!(&record.body, Body::Instrument(definition) if definition.ended)
}

/// Returns the symbol that a definition is about.
fn symbol_of(record: &Record) -> Option<&str> {
    match &record.body {
        Body::Instrument(definition) => Some(&definition.symbol),
        _ => None,
    }
}
