//! Events from the bus side, and what each of them changes.

use std::sync::Arc;

use tickwire_wire::{FeedState, GapCause};

use super::arrive::{shallow_views, take_state, take_update};
use super::backfill::on_backfill;
use super::delay::{queue_feed, queue_instrument, queue_state, queue_update, start_view};
use super::ending::on_ended;
use super::grant::{refuse_waiters, resolve_all_waiters, resolve_waiters_before};
use super::heartbeat::tell_feeds;
use super::hold::starts_at;
use super::listing::{extend_wildcards, prepare_views};
use super::refill::on_refill;
use super::throttle::open_window;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::{Names, Seen};
use crate::vocabulary::{Event, FeedStatus, InstrumentInfo, TopicId, TopicState, Update, View};

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
            on_unavailable(fanout, *topic, reason, *is_unknown, now);
        }
        Event::Backfill(response) => {
            if !on_refill(fanout, response, now) {
                on_backfill(fanout, response);
            }
        }
    }
}

fn on_update(fanout: &mut Fanout, update: &Arc<Update>, now: u64) {
    let since = if update.arrived() == 0 { now } else { update.arrived() };
    if take_update(fanout, update.topic, update, since, now) {
        queue_update(fanout, update, now);
    }
}

fn on_state(fanout: &mut Fanout, state: &Arc<TopicState>, now: u64) {
    take_state(fanout, state.topic, state, GapCause::Bus);
    resolve_all_waiters(fanout, state.topic, now);
    for view in queue_state(fanout, state, now) {
        if start_view(fanout, view, state, now) {
            resolve_all_waiters(fanout, view, now);
        } else if let Some(at) = starts_at(fanout, view) {
            for view in shallow_views(fanout, view).into_iter().chain([view]) {
                resolve_waiters_before(fanout, view, at, now);
            }
        }
    }
}

fn on_instrument(fanout: &mut Fanout, info: &Arc<InstrumentInfo>, now: u64) {
    let index = info.index as usize;
    if fanout.instruments.len() <= index {
        fanout.instruments.resize(index + 1, None);
        fanout.topics.grow(TopicId::count(index + 1));
    }
    let is_new = fanout.instruments[index].replace(Arc::clone(info)).is_none();
    let names = fanout.names.entry(info.name.venue.clone()).or_insert_with(|| Names::new(now));
    names.since = names.since.min(info.listed);
    let is_taken = names.get(&info.name.symbol).is_some_and(|other| other != info.index);
    names.insert(&info.name.symbol, info.index);
    if is_new {
        extend_wildcards(fanout, info, View::LIVE, now);
        prepare_views(fanout, info, now);
        for view in queue_instrument(fanout, info, is_taken, now) {
            list(fanout, info, view, now);
        }
    }
}

/// Shows an instrument in a delayed view.
pub(crate) fn list(fanout: &mut Fanout, info: &Arc<InstrumentInfo>, view: View, now: u64) {
    let Some(delay) = fanout.delays.get_mut(view) else { return };
    let names = delay.names.entry(info.name.venue.clone()).or_default();
    names.insert(&info.name.symbol, info.index);
    extend_wildcards(fanout, info, view, now);
}

fn on_feed(fanout: &mut Fanout, feed: &Arc<FeedStatus>, now: u64) {
    let index = usize::from(feed.venue.0);
    if fanout.feeds.len() <= index {
        fanout.feeds.resize(index + 1, None);
    }
    let names = fanout.names.entry(feed.name.to_string()).or_insert_with(|| Names::new(now));
    names.venue = Some(feed.venue);
    fanout.feeds[index] = Some(Arc::clone(feed));
    queue_feed(fanout, feed, now);
    show_feed(fanout, feed, View::LIVE, now);
}

/// Tells those who see a venue by a view the state of its feed.
pub(crate) fn show_feed(fanout: &mut Fanout, feed: &FeedStatus, view: View, now: u64) {
    for key in fanout.index.viewers(Seen { venue: feed.venue, view }) {
        tell_feeds(fanout, key, now);
        if feed.state == FeedState::Live {
            // The losses before it are told with it: until then old values would be shown as live.
            open_window(fanout, key);
        }
    }
}

/// Tells those who wait for a topic that it cannot be had now. Views say no more than that: why it is so is news.
fn on_unavailable(fanout: &mut Fanout, topic: TopicId, reason: &str, is_unknown: bool, now: u64) {
    for id in shallow_views(fanout, topic).into_iter().chain([topic]) {
        refuse_waiters(fanout, id, reason, is_unknown, now);
    }
    for view in fanout.delays.views() {
        let id = topic.seen_as(view);
        let is_waiting =
            fanout.topics.get(id).is_some_and(|topic| !topic.live) && starts_at(fanout, id).is_none();
        for id in shallow_views(fanout, id).into_iter().chain([id]).filter(|_| is_waiting) {
            refuse_waiters(fanout, id, "it cannot be had now; retry", false, now);
        }
    }
}
