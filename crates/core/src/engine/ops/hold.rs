//! Topics are held for those who want them: a live one is asked of the hub, a delayed view is made of a live one, and a book to a depth of
//! a whole one.
//!
//! A book that was given up, because all books together were too large, is tried again by whoever asks for it when a while has passed, and
//! there is room.

use std::sync::Arc;

use tickwire_wire::GapCause;

use super::arrive::take_state;
use super::close::tried_again_from;
use super::delay::start_view;
use super::release::let_idle;
use crate::engine::data::delays::bit;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::late::Late;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{TopicId, TopicInterest};

/// The prospect of a topic for whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Its state is known.
    Known,
    /// It is asked for.
    Awaited,
    /// It cannot be had now.
    None,
}

/// Makes sure that the topic is there or asked for, where it can be had.
pub(crate) fn hold(fanout: &mut Fanout, id: TopicId, now: u64) -> Prospect {
    if !is_live(fanout, id) && (room_from(fanout, id) > now || !make(fanout, id, now)) {
        return Prospect::None;
    }
    let_idle(fanout, id, now);
    match fanout.topics.get(id) {
        Some(topic) if topic.live => Prospect::Known,
        Some(topic) if !topic.is_given_up => Prospect::Awaited,
        _ => Prospect::None,
    }
}

fn is_live(fanout: &Fanout, id: TopicId) -> bool {
    fanout.topics.get(id).is_some_and(|topic| topic.live)
}

/// Returns the time before which a topic is not tried because it, or what it is made of, was given up, in nanoseconds since the Unix epoch;
/// 0 where it was not.
pub(crate) fn room_from(fanout: &Fanout, id: TopicId) -> u64 {
    if fanout.given_up.is_empty() || is_live(fanout, id) || starts_at(fanout, id).is_some() {
        return 0;
    }
    let own = fanout.given_up.get(&id).copied().unwrap_or_default();
    if id.view().is_live() { own } else { own.max(room_from(fanout, fanout.source(id))) }
}

/// Returns when a view will start that has not started, in nanoseconds since the Unix epoch; `None` where that is not known.
pub(crate) fn starts_at(fanout: &Fanout, id: TopicId) -> Option<u64> {
    let topic = fanout.topics.get(id).filter(|topic| !topic.live && !topic.is_given_up)?;
    if id.view().is_shallow() {
        return starts_at(fanout, fanout.source(id));
    }
    topic.late.as_ref().map(|late| late.starts_at).filter(|at| *at > 0)
}

/// Makes a topic, or makes it again where it was given up. Returns whether it is there or asked for.
fn make(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    match fanout.topics.get(id).map(|topic| topic.is_given_up) {
        None => begin(fanout, id, now),
        Some(true) => begin_again(fanout, id, now),
        // A view waits for what it is made of, which may have been given up.
        Some(false) if id.view().is_live() || starts_at(fanout, id).is_some() => true,
        Some(false) => is_live(fanout, fanout.source(id)) || make(fanout, fanout.source(id), now),
    }
}

fn begin(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    let index = id.instrument_index();
    let Some(info) = fanout.instruments.get(index as usize).cloned().flatten() else { return false };
    let is_over = fanout.endings.contains_key(&index);
    let mut topic = Box::new(Topic::new(info, id.channel()));
    if id.view().is_live() {
        if !is_over {
            fanout.interests.push(TopicInterest::Want(id));
            fanout.topics.put(id, topic);
        }
        return !is_over;
    }
    let source = fanout.source(id);
    // A delayed view cannot be made of what has ended: nothing of it is here any more.
    let has_source = fanout.topics.get(source).is_some();
    if is_over && !(has_source && id.view().is_shallow())
        || (!is_live(fanout, source) && !make(fanout, source, now))
    {
        return false;
    }
    if let Some(depth) = fanout.depths.get_mut(id.view()) {
        depth.topics += 1;
        topic.depth = depth.levels;
    } else {
        let Some(delay) = fanout.delays.get_mut(id.view()) else { return false };
        delay.topics += 1;
        topic.late = Some(Box::new(Late::new(delay.next_order())));
    }
    fanout.topics.put(id, topic);
    let Some(whole) = fanout.topics.get_mut(source) else { return false };
    whole.views |= bit(id.view());
    whole.idle_since = None;
    start(fanout, id, source, now);
    true
}

/// Tries a book again that was given up. Returns whether it is asked for.
fn begin_again(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    if fanout.logs.levels() > fanout.limits.book_levels {
        fanout.given_up.insert(id, tried_again_from(now));
        return false;
    }
    let source = fanout.source(id);
    let is_over = fanout.endings.contains_key(&id.instrument_index());
    if id.view().is_live() {
        fanout.interests.push(TopicInterest::Want(id));
    } else if is_over || (!is_live(fanout, source) && !make(fanout, source, now)) {
        return false;
    }
    let Some(topic) = fanout.topics.get_mut(id) else { return false };
    topic.is_given_up = false;
    if let (Some(late), Some(delay)) = (&mut topic.late, fanout.delays.get_mut(id.view())) {
        // What is queued is not for what begins now.
        delay.forget(id, late);
        **late = Late::new(delay.next_order());
    }
    start(fanout, id, source, now);
    true
}

/// Starts a view where the topic that it is made of is live.
fn start(fanout: &mut Fanout, id: TopicId, source: TopicId, now: u64) {
    let levels = fanout.topics.get(id).map_or(0, |topic| topic.depth);
    let Some(whole) = fanout.topics.get(source).filter(|whole| whole.live) else { return };
    if id.view().is_shallow() {
        let state = whole.state_to(id.live(), levels);
        take_state(fanout, id, &state, GapCause::Bus);
    } else if !id.view().is_live() {
        let state = Arc::new(whole.state(id.live()));
        start_view(fanout, id, &state, now);
    }
}
