//! Pending records: the one that a subscription is to be sent next.

use tickwire_wire::Channel;

use crate::engine::data::entry::Stamp;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topics::Topics;

/// Finds, of the subscriptions to the same instrument, the one whose next record arrived first.
pub(super) fn oldest_pending(session: &Session, topics: &Topics, index: u32) -> Option<(Stamp, u32)> {
    let mut oldest: Option<(Stamp, u32)> = None;
    let mut at = index;
    loop {
        let sub = session.sub(at)?;
        if let Some(stamp) = pending_stamp(sub, topics)
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

/// Returns when the record arrived that the subscription is to be sent next. A record that a rate holds back does not
/// count, and does not hold back the siblings' records either.
pub(super) fn pending_stamp(sub: &Sub, topics: &Topics) -> Option<Stamp> {
    let topic = topics.get(sub.topic)?;
    if let Some(backfill) = sub.backfill() {
        // History is older than anything that is known here.
        return backfill.is_here().then_some(0);
    }
    if topic.channel == Channel::Book {
        return match topic.next_after(sub.announced_to()) {
            Some(entry) if entry.is_gap => Some(entry.stamp),
            _ => (topic.book.is_synced() && topic.stamp > sub.stamp && topic.stamp <= sub.horizon())
                .then_some(topic.stamp),
        };
    }
    if topic.is_lossless {
        return topic.next_after(sub.stamp).map(|entry| entry.stamp);
    }
    let gap = topic.next_after(sub.announced_to()).map(|entry| entry.stamp);
    let latest = topic.latest_after(sub.stamp).map(|entry| entry.stamp);
    let latest = latest.filter(|stamp| *stamp <= sub.horizon());
    gap.into_iter().chain(latest).min()
}
