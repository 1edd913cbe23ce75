//! Topics that were touched: what they have to do next, and whether their feed has caught up.

use std::cmp::Reverse;

use tickwire_wire::Subject;

use super::data::{Action, Hub};
use super::feeds::tell_feed;
use super::follow::{Ask, Followed};
use crate::vocabulary::{TopicId, VenueIndex};

/// Queues what a topic that was touched has to do, and tells when its feed has caught up.
pub(super) fn note(hub: &mut Hub, id: TopicId) {
    let Some(topic) = hub.topics.get_mut(id) else { return };
    hub.counts.lost += std::mem::take(&mut topic.lost);
    if let Ask::Due { at, .. } = topic.ask
        && topic.queued.0 != Some(at)
    {
        topic.queued.0 = Some(at);
        hub.requests.push(Reverse((at, id)));
    }
    if let Some(deadline) = topic.deadline()
        && topic.queued.1 != Some(deadline)
    {
        topic.queued.1 = Some(deadline);
        hub.pending_gap_deadlines.push(Reverse((deadline, id)));
    }
    if topic.recovering && topic.is_settled() {
        recovered(hub, id);
    }
}

/// Notes that the feed does not wait for this topic any more.
pub(super) fn recovered(hub: &mut Hub, id: TopicId) {
    let Some(topic) = hub.topics.get_mut(id) else { return };
    if std::mem::take(&mut topic.recovering) {
        let venue = topic.info.venue;
        hub.venues[usize::from(venue.0)].recovering -= 1;
        tell_feed(hub, venue);
    }
}

pub(super) fn ask_about(hub: &mut Hub, id: TopicId) {
    if let Some(topic) = hub.topics.get_mut(id) {
        topic.ask_now();
        note(hub, id);
    }
}

/// Compares every topic, of one venue or of all, with what its ingester has; until then its feed is stale.
pub(super) fn recover(hub: &mut Hub, of: Option<VenueIndex>) {
    let mut touched = Vec::new();
    for (id, topic) in hub.topics.iter_mut() {
        let venue = topic.info.venue;
        if of.is_none_or(|of| of == venue) {
            topic.ask_anew();
            if !std::mem::replace(&mut topic.recovering, true) {
                hub.venues[usize::from(venue.0)].recovering += 1;
            }
            touched.push(id);
        }
    }
    for id in touched {
        note(hub, id);
    }
    for at in 0..hub.venues.len() as u16 {
        if of.is_none_or(|of| of.0 == at) {
            hub.venues[usize::from(at)].ask_catalogue_now();
            tell_feed(hub, VenueIndex(at));
        }
    }
}

pub(super) fn unfollow(hub: &mut Hub, id: TopicId) {
    recovered(hub, id);
    if let Some(topic) = hub.topics.remove(id) {
        hub.actions.extend(subject(&topic).map(Action::Unsubscribe));
    }
}

/// Returns the subject that a topic is published on.
pub(super) fn subject(topic: &Followed) -> Option<Subject> {
    let name = &topic.info.name;
    Subject::data(&name.venue, topic.channel.name(), &name.symbol).ok()
}
