//! The state of the source as a whole.

use tickwire_feed::adapter::{FeedEvent, SourceState};

use super::data::Data;
use crate::venue::Venue;

/// Tells the state of the source where it changed: it is live as long as one connection brings something.
pub(super) fn tell<V: Venue>(driver: &mut Data<V>, events: &mut Vec<FeedEvent>) {
    let state = match why_stale(driver) {
        None => SourceState::Live,
        Some(reason) => SourceState::Stale { reason },
    };
    if driver.source.as_ref() != Some(&state) {
        events.push(FeedEvent::Source(state.clone()));
        driver.source = Some(state);
    }
}

/// Says again that the source is live, because the venue is there: a market that does not move raises no alarm.
pub(super) fn tell_life<V: Venue>(driver: &Data<V>, events: &mut Vec<FeedEvent>) {
    if driver.source == Some(SourceState::Live) {
        events.push(FeedEvent::Source(SourceState::Live));
    }
}

fn why_stale<V: Venue>(driver: &Data<V>) -> Option<String> {
    let (mut is_open, mut granted, mut silent, mut refused) = (false, 0, 0, 0);
    for link in driver.links.iter().filter(|link| link.open().is_some()) {
        let (all, told) = link.granted();
        (is_open, granted, silent, refused) = (true, granted + all, silent + told, refused + link.refused());
    }
    let (name, trouble) = (driver.venue.terms().name, &driver.trouble);
    if granted > silent {
        return None;
    }
    Some(if granted > 0 {
        "no data since the subscription".to_owned()
    } else if is_open && refused > 0 {
        format!("{name} refuses what is subscribed to: {}", driver.refusal)
    } else if is_open {
        format!("subscribing at {name}")
    } else {
        match (driver.has_catalogue, trouble.is_empty()) {
            (false, true) => format!("asking {name} for its instruments"),
            (false, false) => format!("{name} does not tell its instruments: {trouble}"),
            (true, true) => format!("connecting to {name}"),
            (true, false) => format!("no connection to {name}: {trouble}"),
        }
    })
}
