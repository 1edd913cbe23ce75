//! What a session is to be sent next.

use tickwire_wire::Channel;

use crate::engine::data::entry::Stamp;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::{Topics, topic_of};

/// Subscriptions that are touched before the first is sent.
const LOOK_AHEAD: usize = 16;

/// Touches what the next records are found by. One after another each would be waited for: the system call before has
/// taken the caches.
pub(crate) fn look_ahead(session: &Session, topics: &Topics) {
    let subs = session.dirty.iter().take(LOOK_AHEAD).filter_map(|index| session.sub(index));
    let stamps = subs.map(|sub| sub.stamp ^ topic_of(topics, sub.topic).map_or(0, |topic| topic.stamp));
    std::hint::black_box(stamps.fold(0, |all, stamp| all ^ stamp));
}

/// Of the subscriptions to the same instrument, the one whose next record arrived first.
pub(crate) fn oldest_pending(session: &Session, topics: &Topics, index: u32) -> Option<(Stamp, u32)> {
    let mut oldest: Option<(Stamp, u32)> = None;
    let mut at = index;
    loop {
        let sub = session.sub(at)?;
        if let Some(stamp) = pending(sub, topics)
            && oldest.is_none_or(|(known, _)| stamp < known)
        {
            oldest = Some((stamp, at));
        }
        at = sub.sibling;
        if at == index {
            return oldest;
        }
    }
}

/// Arrival of the record that the subscription is to be sent next. What a rate holds back is not it, for its siblings
/// neither.
pub(crate) fn pending(sub: &Sub, topics: &Topics) -> Option<Stamp> {
    let topic = topic_of(topics, sub.topic)?;
    if let Some(backfill) = &sub.backfill {
        // Older than anything that is known here.
        return backfill.is_here().then_some(0);
    }
    if topic.channel == Channel::Book {
        return match topic.next_after(sub.stamp.max(sub.since)) {
            Some(entry) if entry.is_gap => Some(entry.stamp),
            _ => (topic.book.is_synced() && topic.stamp > sub.stamp && topic.stamp <= sub.horizon())
                .then_some(topic.stamp),
        };
    }
    if topic.channel.is_lossless() {
        return topic.next_after(sub.stamp).map(|entry| entry.stamp);
    }
    let gap = topic.next_after(sub.stamp.max(sub.since)).map(|entry| entry.stamp);
    let latest = topic.latest_after(sub.stamp).map(|entry| entry.stamp);
    let latest = latest.filter(|stamp| *stamp <= sub.horizon());
    gap.into_iter().chain(latest).min()
}
