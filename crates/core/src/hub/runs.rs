//! Heartbeats of ingesters, and which run of an ingester is followed.

use prost::Message as _;
use tickwire_wire::{Channel, FeedState, Subject, is_venue, pb};

use super::claims::Heard;
use super::data::{Action, DEFINITIONS, Hub};
use super::feeds::tell_feed;
use super::progress::{note, recover};
use super::venue::{Catalogue, Listing, Venue};
use crate::vocabulary::{TopicId, VenueIndex};

/// Takes the heartbeat of an ingester.
pub(super) fn on_heartbeat(hub: &mut Hub, payload: &[u8], now: u64) {
    let Ok(heartbeat) = pb::FeedHeartbeat::decode(payload) else {
        hub.counts.malformed += 1;
        return;
    };
    let Some(at) = venue(hub, &heartbeat.venue).filter(|_| heartbeat.epoch != 0) else {
        hub.counts.malformed += u64::from(heartbeat.epoch == 0);
        return;
    };
    let index = VenueIndex(at as u16);
    let heard = hub.venues[at].claims.hear(&heartbeat, now);
    let is_other = choose_run(hub, index, now);
    let venue = &mut hub.venues[at];
    if venue.claims.epoch() != heartbeat.epoch {
        return;
    }
    let is_back = std::mem::take(&mut venue.is_down) && !is_other;
    venue.awaits_heartbeat = false;
    if is_back || heard == (Heard::Followed { has_missed: true }) {
        // Its heartbeats were lost, and with them the positions that they told.
        recover(hub, Some(index));
    }
    let venue = &mut hub.venues[at];
    let is_complete = venue.listing == Listing::Whole || heartbeat.state() != FeedState::Live;
    venue.announced = venue.announced.max(heartbeat.catalogue);
    let is_due = venue.announced > venue.revision || !is_complete;
    if is_due && matches!(venue.catalogue, Catalogue::Known) {
        // A definition did not come, or the run has only now come to know its instruments.
        venue.ask_catalogue_now();
    }
    for position in &heartbeat.positions {
        let Some(instrument) = hub.venues[at].numbers.get(&position.instrument).copied() else {
            // The definition of this instrument is on its way, or it ended.
            continue;
        };
        if position.epoch != heartbeat.epoch || position.channel() == Channel::Unknown {
            hub.counts.malformed += 1;
            continue;
        }
        let id = TopicId::new(instrument, position.channel());
        if let Some(topic) = hub.topics.get_mut(id) {
            topic.on_position(position.epoch, position.sequence, now);
            note(hub, id);
        }
    }
    tell_feed(hub, index);
}

/// Follows another run of a venue's ingester where the rule says so. Returns whether it did.
pub(super) fn choose_run(hub: &mut Hub, index: VenueIndex, now: u64) -> bool {
    let down_after = hub.limits.feed_down_ns;
    let venue = &mut hub.venues[usize::from(index.0)];
    let before = venue.claims.epoch();
    let is_other = venue.claims.choose(now);
    let rivals = venue.claims.rivals(now, down_after);
    if rivals != venue.told_rivals {
        let (name, epoch) = (&venue.name, venue.claims.epoch());
        if rivals > venue.told_rivals {
            tracing::warn!(
                venue = %name, epoch, rivals,
                "several ingesters claim the venue at the same time; this gateway follows the one of this epoch"
            );
        } else if rivals == 0 {
            tracing::info!(venue = %name, epoch, "one ingester claims the venue again");
        }
        venue.told_rivals = rivals;
    }
    if !is_other {
        return false;
    }
    let epoch = venue.claims.epoch();
    (venue.revision, venue.announced) = (0, 0);
    venue.attempts = 0;
    if venue.listing == Listing::Whole {
        venue.listing = Listing::Some;
    }
    venue.numbers.clear();
    venue.ask_catalogue_now();
    tracing::info!(venue = %venue.name, epoch, before, "following a run of the ingester");
    hub.instruments.forget_sources(index);
    if before != 0 {
        hub.counts.takeovers += 1;
        for (_, topic) in hub.topics.iter_mut().filter(|(_, topic)| topic.info.venue == index) {
            topic.on_takeover();
        }
        recover(hub, Some(index));
    }
    true
}

/// Returns the index of the venue, which is new where it was not known.
fn venue(hub: &mut Hub, name: &str) -> Option<usize> {
    if let Some(at) = hub.venues.iter().position(|venue| &*venue.name == name) {
        return Some(at);
    }
    if !is_venue(name) || hub.venues.len() >= hub.limits.venues {
        hub.counts.malformed += 1;
        return None;
    }
    let at = hub.venues.len();
    hub.venues.push(Venue::new(name));
    let definitions = Subject::data_all_symbols(name, Channel::Instrument.name());
    hub.actions.extend(definitions.map(|subject| Action::Subscribe(subject, DEFINITIONS | at as u64)));
    Some(at)
}
