//! Events from the bus side, and what each of them changes.

use std::sync::Arc;

use tickwire_wire::{Channel, FeedState};

use super::backfill::on_backfill;
use super::budget::weigh_log;
use super::close::weigh_book;
use super::ending::on_ended;
use super::grant::{extend_wildcards, refuse_waiters, resolve_waiters};
use super::hand_out::Arrival;
use super::hand_out::{hand_out_each, hand_out_newest};
use super::heartbeat::tell_feeds;
use super::ready::mark;
use super::throttle::{open_window, release_all};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::topic::LogLimits;
use crate::vocabulary::{Event, FeedStatus, InstrumentInfo, TopicId, TopicState, Update};

/// Takes what the bus side has to say.
pub(crate) fn on_event(fanout: &mut Fanout, event: &Event, now: u64) {
    fanout.now = now;
    match event {
        Event::Update(update) => on_update(fanout, update, now),
        Event::State(state) => on_state(fanout, state, now),
        Event::Instrument(info) => on_instrument(fanout, info, now),
        Event::Feed(feed) => on_feed(fanout, feed, now),
        Event::Ended(ended) => on_ended(fanout, ended, now),
        Event::Unavailable { topic, reason, is_unknown } => {
            refuse_waiters(fanout, *topic, reason, *is_unknown, now);
        }
        Event::Backfill(response) => on_backfill(fanout, response),
    }
}

fn log_limits(fanout: &Fanout) -> LogLimits {
    LogLimits { records: fanout.limits.log_records_per_topic, bytes: fanout.limits.log_bytes_per_topic }
}

fn on_update(fanout: &mut Fanout, update: &Arc<Update>, now: u64) {
    let limits = log_limits(fanout);
    let Some(topic) = fanout.topics.get_mut(update.topic.0 as usize).and_then(Option::as_deref_mut) else {
        return;
    };
    if !topic.live {
        return;
    }
    fanout.stamp += 1;
    let stood = (topic.epoch, topic.sequence);
    topic.append(update, fanout.stamp, limits);
    weigh_log(fanout, update.topic);
    if update.topic.channel() == Channel::Book {
        weigh_book(fanout, update.topic);
    }
    let Some(topic) = fanout.topics.get(update.topic.0 as usize).and_then(Option::as_deref) else { return };
    let arrival = Arrival {
        is_gap: update.is_gap(),
        is_sheddable: !topic.channel.is_critical() && !update.is_gap(),
        stood,
        stamp: fanout.stamp,
        now,
        since: if update.arrived() == 0 { now } else { update.arrived() },
    };
    if topic.channel.is_lossless() {
        hand_out_each(fanout, update, &arrival);
    } else {
        hand_out_newest(fanout, update.topic, &arrival);
    }
}

fn on_state(fanout: &mut Fanout, state: &TopicState, now: u64) {
    let limits = log_limits(fanout);
    release_all(fanout, state.topic);
    let Some(topic) = fanout.topics.get_mut(state.topic.0 as usize).and_then(Option::as_deref_mut) else {
        return;
    };
    topic.restart(state, &mut fanout.stamp, limits);
    let subscribers = topic.subscribers.clone();
    weigh_log(fanout, state.topic);
    if state.topic.channel() == Channel::Book {
        weigh_book(fanout, state.topic);
    }
    for subscriber in subscribers {
        mark(fanout, subscriber.at);
    }
    resolve_waiters(fanout, state.topic, now);
}

fn on_instrument(fanout: &mut Fanout, info: &Arc<InstrumentInfo>, now: u64) {
    let index = info.index as usize;
    if fanout.instruments.len() <= index {
        fanout.instruments.resize(index + 1, None);
        fanout.topics.resize_with(TopicId::count(index + 1), || None);
    }
    let is_new = fanout.instruments[index].replace(Arc::clone(info)).is_none();
    let names = fanout.names.entry(info.name.venue.clone()).or_default();
    names.insert(&info.name.symbol, info.index);
    if is_new {
        extend_wildcards(fanout, info, now);
    }
}

fn on_feed(fanout: &mut Fanout, feed: &Arc<FeedStatus>, now: u64) {
    let index = usize::from(feed.venue.0);
    if fanout.feeds.len() <= index {
        fanout.feeds.resize(index + 1, None);
    }
    fanout.names.entry(feed.name.to_string()).or_default().venue = Some(feed.venue);
    fanout.feeds[index] = Some(Arc::clone(feed));
    for key in fanout.index.viewers(feed.venue) {
        tell_feeds(fanout, key, now);
        if feed.state == FeedState::Live {
            // The losses before it are told with it: until then old values would be shown as live.
            open_window(fanout, key);
        }
    }
}
