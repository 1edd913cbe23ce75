//! Topics and instruments that nobody wants any more are let go.

use tickwire_wire::Channel;

use super::budget::forget_log;
use crate::engine::data::fanout::Fanout;
use crate::vocabulary::{TopicId, TopicInterest};

/// Notes that nobody wants a topic from now on: it is let go after the linger time.
pub(crate) fn let_idle(fanout: &mut Fanout, id: TopicId, now: u64) {
    if let Some(topic) = fanout.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut)
        && topic.subscribers.is_empty()
    {
        topic.idle_since = Some(now);
        // Each topic stands there once, however often it comes and goes.
        if !std::mem::replace(&mut topic.is_listed, true) {
            fanout.idle.insert((now.saturating_add(fanout.limits.linger_ns), id));
        }
    }
}

pub(crate) fn let_go_of_idle_topics(fanout: &mut Fanout, now: u64) {
    while let Some((_, id)) = fanout.idle.first().copied().filter(|(due, _)| *due <= now) {
        fanout.idle.pop_first();
        let Some(topic) = fanout.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else {
            continue;
        };
        topic.is_listed = false;
        let Some(since) = topic.idle_since else { continue };
        let mut due = since.saturating_add(fanout.limits.linger_ns);
        if fanout.index.is_waited_for(id) {
            due = due.max(now + 1);
        }
        if due > now {
            topic.is_listed = true;
            fanout.idle.insert((due, id));
            continue;
        }
        forget_log(fanout, id);
        fanout.topics[id.0 as usize] = None;
        fanout.interests.push(TopicInterest::Drop(id));
    }
}

/// Lets go of a topic that is not live and that nobody waits for.
pub(crate) fn forget_unused(fanout: &mut Fanout, id: TopicId) {
    let topic = fanout.topics.get(id.0 as usize).and_then(Option::as_deref);
    if topic.is_some_and(|topic| !topic.live && topic.subscribers.is_empty())
        && !fanout.index.is_waited_for(id)
    {
        forget_log(fanout, id);
        fanout.topics[id.0 as usize] = None;
        fanout.interests.push(TopicInterest::Drop(id));
    }
}

/// Lets go of an instrument that ended when nobody has anything of it.
pub(crate) fn let_go(fanout: &mut Fanout, index: u32) {
    if fanout.endings.is_empty() || !fanout.endings.contains_key(&index) {
        return;
    }
    let mut is_wanted = false;
    for channel in Channel::ALL {
        let id = TopicId::new(index, channel);
        let slot = &fanout.topics[id.0 as usize];
        if slot.as_deref().is_some_and(|topic| !topic.subscribers.is_empty()) {
            is_wanted = true;
        } else if slot.is_some() {
            forget_log(fanout, id);
            fanout.topics[id.0 as usize] = None;
        }
    }
    if !is_wanted {
        fanout.endings.remove(&index);
        fanout.instruments[index as usize] = None;
        fanout.interests.push(TopicInterest::LetGo(index));
    }
}
