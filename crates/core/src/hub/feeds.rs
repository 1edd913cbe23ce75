//! Shards are told the states of feeds.

use std::sync::Arc;

use tickwire_wire::{BookProof, FeedState};

use super::data::{ALL_SHARDS, Hub};
use super::venue::Listing;
use crate::vocabulary::{Event, FeedStatus, VenueIndex};

/// Tells all shards the states of all feeds that changed.
pub(super) fn tell_feeds(hub: &mut Hub) {
    for at in 0..hub.venues.len() as u16 {
        tell_feed(hub, VenueIndex(at));
    }
}

/// Tells all shards the state of a feed, if it is another than before.
pub(super) fn tell_feed(hub: &mut Hub, index: VenueIndex) {
    let now_down = hub.bus_down.clone();
    let venue = &mut hub.venues[usize::from(index.0)];
    let followed = venue.claims.followed();
    let (said, why, since, proof) = match followed {
        Some(claim) => (claim.state, Arc::clone(&claim.reason), claim.heard, claim.proof),
        None => (FeedState::Unknown, "".into(), 0, BookProof::Unknown),
    };
    let (state, reason) = if let Some(reason) = now_down {
        (FeedState::Down, reason)
    } else if venue.is_down {
        (FeedState::Down, "the ingester is not heard".into())
    } else if (venue.recovering > 0 || venue.awaits_heartbeat) && said == FeedState::Live {
        (FeedState::Stale, "catching up after an outage".into())
    } else if venue.listing == Listing::Unknown && said == FeedState::Live {
        (FeedState::Stale, "its instruments are not known yet".into())
    } else {
        (said, why)
    };
    let told = (state, Arc::clone(&reason), proof);
    if venue.told.as_ref() == Some(&told) {
        return;
    }
    let status = FeedStatus {
        venue: index,
        name: Arc::clone(&venue.name),
        state,
        since,
        reason: Arc::clone(&reason),
        proof,
    };
    tracing::info!(venue = %venue.name, state = state.as_str_name(), %reason, "feed");
    venue.told = Some(told);
    hub.events.push((ALL_SHARDS, Event::Feed(Arc::new(status))));
}
