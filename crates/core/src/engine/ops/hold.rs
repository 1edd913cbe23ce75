//! Topics are held for those who want them: a live one is asked of the hub, a view is made of a live one.

use std::sync::Arc;

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
    // A view cannot be made of what has ended: nothing of it is here any more.
    if fanout.endings.contains_key(&index)
        || (fanout.topics.get(id.live()).is_none() && !begin(fanout, id.live(), now))
    {
        return false;
    }
    let Some(delay) = fanout.delays.get_mut(id.view()) else { return false };
    delay.topics += 1;
    topic.late = Some(Box::new(Late::new(delay.next_order())));
    fanout.topics.put(id, topic);
    let Some(live) = fanout.topics.get_mut(id.live()) else { return false };
    live.views |= bit(id.view());
    live.idle_since = None;
    if live.live {
        let state = Arc::new(live.state(id.live()));
        start_view(fanout, id, &state, now);
    }
    true
}
