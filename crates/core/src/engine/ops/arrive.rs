//! Records and states come to a topic: to a live one when they come to the shard, to a view when they are old enough.

use std::sync::Arc;

use tickwire_wire::{Channel, GapCause};

use super::budget::weigh_log;
use super::close::weigh_book;
use super::hand_out::{Arrival, hand_out_each, hand_out_newest};
use super::ready::mark;
use super::throttle::release_all;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::topic::LogLimits;
use crate::vocabulary::{TopicId, TopicState, Update};

fn log_limits(fanout: &Fanout) -> LogLimits {
    LogLimits { records: fanout.limits.log_records_per_topic, bytes: fanout.limits.log_bytes_per_topic }
}

/// Takes the next record of a topic, and hands it to its subscribers. `since` is when it was first known to be theirs, in
/// nanoseconds. Returns whether views are made of the topic, which are to have it later.
#[inline]
pub(crate) fn take_update(
    fanout: &mut Fanout,
    id: TopicId,
    update: &Arc<Update>,
    since: u64,
    now: u64,
) -> bool {
    let limits = log_limits(fanout);
    let Some(topic) = fanout.topics.get_mut(id) else { return false };
    let has_views = topic.views != 0;
    if !topic.live {
        return has_views;
    }
    fanout.stamp += 1;
    let stood = (topic.epoch, topic.sequence);
    topic.append(update, fanout.stamp, limits);
    weigh_log(fanout, id);
    if id.channel() == Channel::Book {
        weigh_book(fanout, id);
    }
    let Some(topic) = fanout.topics.get(id) else { return false };
    let arrival = Arrival {
        is_gap: update.is_gap(),
        is_sheddable: !topic.channel.is_critical() && !update.is_gap(),
        stood,
        stamp: fanout.stamp,
        now,
        since,
    };
    if topic.channel.is_lossless() {
        hand_out_each(fanout, id, update, &arrival);
    } else {
        hand_out_newest(fanout, id, &arrival);
    }
    has_views
}

/// Starts a topic, or starts it again, from a state. What that passes over was lost for this cause. Who waits for the topic
/// is still to be told.
pub(crate) fn take_state(fanout: &mut Fanout, id: TopicId, state: &TopicState, cause: GapCause) {
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
