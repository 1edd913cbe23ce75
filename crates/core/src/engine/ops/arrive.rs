//! Records and states come to a topic: to a live one when they come to the shard, to a delayed view when they are old enough, and to a book to
//! a depth when they come to the whole one.

use std::sync::Arc;

use tickwire_wire::{Channel, GapCause};

use super::budget::weigh_log;
use super::close::weigh_book;
use super::hand_out::{Arrival, hand_out_each, hand_out_newest};
use super::ready::mark;
use super::throttle::release_all;
use crate::engine::data::delays::views_in;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::topic::LogLimits;
use crate::vocabulary::{TopicId, TopicState, Update};

fn log_limits(fanout: &Fanout) -> LogLimits {
    LogLimits { records: fanout.limits.log_records_per_topic, bytes: fanout.limits.log_bytes_per_topic }
}

/// Takes the next record of a topic, and hands it to its subscribers and to those of books to a depth that are made of it. `since`
/// is when it was first known to be theirs, in nanoseconds. Returns whether views are made of the topic; delayed ones are still to
/// have it, later.
#[inline]
pub(crate) fn take_update(
    fanout: &mut Fanout,
    id: TopicId,
    update: &Arc<Update>,
    since: u64,
    now: u64,
) -> bool {
    let has_views = take_one(fanout, id, update, since, now);
    if has_views && id.channel() == Channel::Book {
        take_to_depths(fanout, id, update, since, now);
    }
    has_views
}

/// Takes a record of a whole book for those that are made of its best levels.
#[cold]
#[inline(never)]
fn take_to_depths(fanout: &mut Fanout, id: TopicId, update: &Arc<Update>, since: u64, now: u64) {
    for shallow in shallow_views(fanout, id) {
        let whole = fanout.topics.get(id);
        let derived =
            fanout.topics.get(shallow).zip(whole).and_then(|(topic, whole)| topic.derive(whole, update));
        if let Some(derived) = derived {
            take_one(fanout, shallow, &derived, since, now);
        }
    }
}

/// Returns the books to a depth that are made of a topic.
pub(crate) fn shallow_views(fanout: &Fanout, id: TopicId) -> Vec<TopicId> {
    let views = views_in(fanout.topics.get(id).map_or(0, |topic| topic.views));
    views.filter(|view| view.is_shallow()).map(|view| id.seen_as(view)).collect()
}

#[inline]
fn take_one(fanout: &mut Fanout, id: TopicId, update: &Arc<Update>, since: u64, now: u64) -> bool {
    let limits = log_limits(fanout);
    let Some(topic) = fanout.topics.get_mut(id) else { return false };
    let (has_views, channel, is_lossless) = (topic.views != 0, topic.channel, topic.is_lossless);
    if !topic.live {
        return has_views;
    }
    fanout.stamp += 1;
    let stood = (topic.epoch, topic.sequence);
    topic.append(update, fanout.stamp, limits);
    weigh_log(fanout, id);
    if channel == Channel::Book {
        weigh_book(fanout, id);
    }
    let is_gap = update.is_gap();
    let arrival = Arrival {
        is_gap,
        is_sheddable: !channel.is_critical() && !is_gap,
        stood,
        stamp: fanout.stamp,
        now,
        since,
    };
    if is_lossless {
        hand_out_each(fanout, id, update, &arrival);
    } else {
        hand_out_newest(fanout, id, &arrival);
    }
    has_views
}

/// Starts a topic, or starts it again, from a state, and the books to a depth that are made of it. What that passes over was lost for
/// this cause. Who waits for them is still to be told. Where the state is too large, all of them are given up.
pub(crate) fn take_state(fanout: &mut Fanout, id: TopicId, state: &TopicState, cause: GapCause) {
    start_one(fanout, id, state, cause);
    if fanout.topics.get(id).is_none_or(|topic| !topic.live) {
        return;
    }
    for shallow in shallow_views(fanout, id) {
        let levels = fanout.topics.get(shallow).map_or(0, |topic| topic.depth);
        if let Some(state) = fanout.topics.get(id).map(|whole| whole.state_to(id.live(), levels)) {
            start_one(fanout, shallow, &state, cause);
        }
    }
}

fn start_one(fanout: &mut Fanout, id: TopicId, state: &TopicState, cause: GapCause) {
    let limits = log_limits(fanout);
    release_all(fanout, id);
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    topic.restart(state, cause, &mut fanout.stamp, limits);
    let subscribers = topic.subscribers.clone();
    weigh_log(fanout, id);
    if id.channel() == Channel::Book {
        weigh_book(fanout, id);
    }
    for subscriber in subscribers {
        mark(fanout, subscriber.at);
    }
}
