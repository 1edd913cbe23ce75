//! Topics are held for those who want them: a live one is asked of the hub, a delayed view is made of a live one, and a book to a depth of
//! a whole one.

use std::sync::Arc;

use tickwire_wire::GapCause;

use super::arrive::take_state;
use super::delay::start_view;
use super::release::let_idle;
use crate::engine::data::delays::bit;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::late::Late;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{TopicId, TopicInterest};

/// Makes sure that the topic is there or asked for. Returns whether its state is known.
pub(crate) fn hold(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    if fanout.topics.get(id).is_none() && !begin(fanout, id, now) {
        return false;
    }
    let_idle(fanout, id, now);
    fanout.topics.get(id).is_some_and(|topic| topic.live)
}

/// Returns when a view will start that has not started, in nanoseconds since the Unix epoch; `None` where that is not known.
pub(crate) fn starts_at(fanout: &Fanout, id: TopicId) -> Option<u64> {
    let topic = fanout.topics.get(id).filter(|topic| !topic.live)?;
    if id.view().is_shallow() {
        return starts_at(fanout, fanout.source(id));
    }
    topic.late.as_ref().map(|late| late.starts_at).filter(|at| *at > 0)
}

fn begin(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    let index = id.instrument_index();
    let Some(info) = fanout.instruments.get(index as usize).cloned().flatten() else { return false };
    let mut topic = Box::new(Topic::new(info, id.channel()));
    if id.view().is_live() {
        fanout.interests.push(TopicInterest::Want(id));
        fanout.topics.put(id, topic);
        return true;
    }
    let source = fanout.source(id);
    // A delayed view cannot be made of what has ended: nothing of it is here any more.
    let is_over = fanout.endings.contains_key(&index);
    let has_source = fanout.topics.get(source).is_some();
    if is_over && !(has_source && id.view().is_shallow()) || (!has_source && !begin(fanout, source, now)) {
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
    let levels = topic.depth;
    fanout.topics.put(id, topic);
    let Some(whole) = fanout.topics.get_mut(source) else { return false };
    whole.views |= bit(id.view());
    whole.idle_since = None;
    if !whole.live {
        return true;
    }
    if id.view().is_shallow() {
        let state = whole.state_to(id.live(), levels);
        take_state(fanout, id, &state, GapCause::Bus);
    } else {
        let state = Arc::new(whole.state(id.live()));
        start_view(fanout, id, &state, now);
    }
    true
}
