//! The memory that all topics and all sessions of a shard may hold together: its share of the process's memory.
//!
//! Logs: their sum is kept, and while it is above the share the longest of a few logs is cut, the one that grew among
//! them. So every step ends below the share, but for the newest records of each log, which stay. What a session still
//! waited for is announced as shed, as it is when the session lags by more than one log holds.
//!
//! Private bytes: these wait for one session alone, in its control lane, behind its socket, in its resume vector.
//! Their sum over the sessions that are not being closed is kept; above the share, a session that holds more than its
//! part of it is closed (`close`). What that session still holds is gone soon: it is sent, or the connection is cut
//! after a grace of seconds.

use tickwire_wire::Channel;

use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::log_budget::LogBudget;
use crate::engine::data::topic::Topic;
use crate::vocabulary::TopicId;

/// The count of logs that are looked at for one cut.
const LOOKED_AT: usize = 8;

/// Entries that stay in the log of a critical channel, whatever the budget.
const CRITICAL_KEPT: usize = 16;

/// The bytes that one write may carry when the share of sessions is used up.
const WRITE_BYTES_LEAST: usize = 1 << 10;

/// Sessions that hold less are not closed for what others need while there are any that hold more.
const HEAVY: usize = 4 << 10;

/// Cuts logs where their sum is above the share: a topic's log may have grown.
pub(crate) fn weigh_log(fanout: &mut Fanout, id: TopicId) {
    note_log(fanout, id);
    while fanout.logs.total > fanout.limits.log_bytes {
        let Some(longest) = longest_log(fanout, id) else { return };
        if let Some(topic) = fanout.topics.get_mut(longest) {
            topic.cut_oldest();
        }
        note_log(fanout, longest);
    }
}

/// Brings the sum up to date with one log.
pub(crate) fn note_log(fanout: &mut Fanout, id: TopicId) {
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    let bytes = topic.log_bytes();
    let before = std::mem::replace(&mut topic.weighed.bytes, bytes);
    fanout.logs.total = fanout.logs.total + bytes - before;
    if topic.channel == Channel::Book {
        let levels = topic.book.bids().len() + topic.book.asks().len();
        let before = std::mem::replace(&mut topic.weighed.levels, levels);
        fanout.logs.levels = fanout.logs.levels + levels - before;
    }
    if bytes > 0 && topic.weighed.place.is_none() {
        topic.weighed.place = Some(fanout.logs.topics.len() as u32);
        fanout.logs.topics.push(id);
    }
}

/// Takes the log of a topic, which is about to go, out of the sum.
pub(crate) fn forget_log(fanout: &mut Fanout, id: TopicId) {
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    let weighed = std::mem::take(&mut topic.weighed);
    fanout.logs.total -= weighed.bytes;
    fanout.logs.levels -= weighed.levels;
    let Some(place) = weighed.place else { return };
    fanout.logs.topics.swap_remove(place as usize);
    if let Some(moved) = fanout.logs.topics.get(place as usize).copied()
        && let Some(moved) = fanout.topics.get_mut(moved)
    {
        moved.weighed.place = Some(place);
    }
}

/// Finds, of some logs and this one among them, the longest that can be cut.
fn longest_log(fanout: &mut Fanout, id: TopicId) -> Option<TopicId> {
    let mut longest: Option<(usize, TopicId)> = None;
    let LogBudget { topics, hand, .. } = &mut fanout.logs;
    for at in 0..=LOOKED_AT.min(topics.len()) {
        let candidate = if at == 0 {
            id
        } else {
            *hand = (*hand + 1) % topics.len();
            topics[*hand]
        };
        let Some(topic) = fanout.topics.get(candidate) else {
            continue;
        };
        let bytes = topic.log_bytes();
        if can_be_cut(topic) && longest.is_none_or(|(most, _)| bytes > most) {
            longest = Some((bytes, candidate));
        }
    }
    longest.map(|(_, id)| id)
}

/// Brings the sum up to date with one session.
pub(crate) fn note_session(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let resume = if session.seldom.is_none() { 0 } else { session.seldom.resume_bytes() };
    let waits = session.control.len() + session.unsent_bytes + resume;
    let bytes = if session.is_ending() { 0 } else { waits };
    let before = std::mem::replace(&mut session.private, bytes);
    weighed(fanout, key, before, bytes);
}

/// Brings the sum up to date where what one session holds has changed.
pub(crate) fn weighed(fanout: &mut Fanout, key: SessionKey, before: usize, after: usize) {
    fanout.private_bytes = fanout.private_bytes + after - before;
    if before == after {
        return;
    }
    if before >= HEAVY {
        fanout.heavy.remove(&(before, key));
    }
    if after >= HEAVY {
        fanout.heavy.insert((after, key));
    }
}

/// Returns how many bytes one write may carry now.
pub(crate) fn write_budget(fanout: &Fanout) -> usize {
    let left = fanout.limits.private_bytes.saturating_sub(fanout.private_bytes);
    fanout.limits.write_bytes.min(left.max(WRITE_BYTES_LEAST))
}

/// Returns how many subscriptions may still be asked for.
pub(crate) fn subscriptions_left(fanout: &Fanout) -> usize {
    fanout.limits.subscriptions.saturating_sub(fanout.subscribed + fanout.asked)
}

/// Returns the bytes of all logs, counted anew, and those of them that stay whatever the budget. It looks at every
/// topic.
pub(crate) fn count_log_bytes(fanout: &Fanout) -> (usize, usize) {
    let topics = fanout.topics.iter();
    topics.fold((0, 0), |(all, staying), topic| {
        (all + topic.log_bytes(), staying + topic.newest_bytes(kept(topic)))
    })
}

/// Returns how many entries of a topic's log stay, whatever the budget.
fn kept(topic: &Topic) -> usize {
    match topic.channel {
        // The book itself is kept beside the log, but a gap that says that the book is lost is not.
        Channel::Book => usize::from(topic.log.back().is_some_and(|newest| newest.update.is_gap())),
        channel if channel.is_critical() => CRITICAL_KEPT,
        _ => 1,
    }
}

fn can_be_cut(topic: &Topic) -> bool {
    topic.log.len() > kept(topic)
}
