//! Topics and instruments that nobody wants any more are let go.

use tickwire_wire::Channel;

use super::budget::forget_log;
use crate::engine::data::delays::bit;
use crate::engine::data::fanout::Fanout;
use crate::vocabulary::{TopicId, TopicInterest, View};

/// The time between two looks at a view that somebody still waits for, in nanoseconds.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// Notes that nobody wants a topic from now on: it is let go after the linger time.
pub(crate) fn let_idle(fanout: &mut Fanout, id: TopicId, now: u64) {
    let linger = linger_ns(fanout, id);
    if let Some(topic) = fanout.topics.get_mut(id)
        && topic.is_unused()
    {
        topic.idle_since = Some(now);
        // Each topic stands there once, however often it comes and goes.
        if !std::mem::replace(&mut topic.is_listed, true) {
            fanout.idle.insert((now.saturating_add(linger), id));
        }
    }
}

/// Returns how long a topic stays that nobody wants. A view stays for as long as its delay at least: a new one would need that
/// time before it shows what this one does.
fn linger_ns(fanout: &Fanout, id: TopicId) -> u64 {
    fanout.limits.linger_ns.max(fanout.delays.delay_ns(id.view()))
}

pub(crate) fn let_go_of_idle_topics(fanout: &mut Fanout, now: u64) {
    while let Some((_, id)) = fanout.idle.first().copied().filter(|(due, _)| *due <= now) {
        fanout.idle.pop_first();
        let linger = linger_ns(fanout, id);
        let Some(topic) = fanout.topics.get_mut(id) else { continue };
        topic.is_listed = false;
        let Some(since) = topic.idle_since.filter(|_| topic.is_unused()) else { continue };
        let mut due = since.saturating_add(linger);
        if fanout.index.is_waited_for(id) {
            due = due.max(now + if id.view().is_live() { 1 } else { LOOK_AGAIN_NS });
        }
        if due > now {
            topic.is_listed = true;
            fanout.idle.insert((due, id));
            continue;
        }
        forget(fanout, id, now);
    }
    let_go_of_delays(fanout);
    fanout.given_up.retain(|_, until| *until > now);
}

/// Lets go of a topic that is not live and that nobody waits for.
pub(crate) fn forget_unused(fanout: &mut Fanout, id: TopicId, now: u64) {
    let topic = fanout.topics.get(id);
    if topic.is_some_and(|topic| !topic.live && topic.is_unused()) && !fanout.index.is_waited_for(id) {
        forget(fanout, id, now);
    }
}

/// Takes a topic out. Of a view, the topic that it is made of is let go when nobody else has it.
fn forget(fanout: &mut Fanout, id: TopicId, now: u64) {
    let source = fanout.source(id);
    take_out(fanout, id);
    if id.view().is_live() {
        fanout.interests.push(TopicInterest::Drop(id));
    } else if let Some(whole) = fanout.topics.get_mut(source) {
        whole.views &= !bit(id.view());
        let_idle(fanout, source, now);
    }
}

fn take_out(fanout: &mut Fanout, id: TopicId) {
    forget_log(fanout, id);
    let topic = fanout.topics.remove(id);
    if topic.is_some()
        && let Some(depth) = fanout.depths.get_mut(id.view())
    {
        depth.topics -= 1;
    }
    if let Some(topic) = topic
        && let Some(delay) = fanout.delays.get_mut(id.view())
    {
        delay.topics -= 1;
        topic.late.iter().for_each(|late| delay.forget(id, late));
    }
}

/// Takes out all topics of a view that nobody holds.
pub(crate) fn empty_view(fanout: &mut Fanout, view: View, now: u64) {
    for id in fanout.topics.of_view(view) {
        forget(fanout, id, now);
    }
}

/// Lets go of depths and delays that nobody holds, and whose views have no topics.
pub(crate) fn let_go_of_delays(fanout: &mut Fanout) {
    let unused = |fanout: &Fanout| {
        let mut idle = fanout.depths.iter().filter(|depth| depth.topics == 0).map(|depth| depth.view);
        idle.find(|view| !fanout.index.holders.has(*view))
    };
    while let Some(view) = unused(fanout) {
        fanout.depths.remove(view);
        fanout.topics.forget_view(view);
    }
    let unused = |fanout: &Fanout| {
        let is_idle = |view| !fanout.index.holders.has(view);
        let mut idle = fanout.delays.iter().filter(|delay| delay.topics == 0 && is_idle(delay.view));
        idle.find(|delay| fanout.depths.made_of(delay.view).is_empty()).map(|delay| delay.view)
    };
    while let Some(view) = unused(fanout) {
        fanout.delays.remove(view);
        fanout.topics.forget_view(view);
        let owed = fanout.endings.iter_mut().filter(|(_, ending)| ending.owed & bit(view) != 0);
        let told: Vec<_> = owed.map(|(index, ending)| (*index, ending.owed &= !bit(view)).0).collect();
        for index in told {
            let_go(fanout, index);
        }
    }
}

/// Lets go of an instrument that ended when nobody has anything of it, and every delay has shown its end.
pub(crate) fn let_go(fanout: &mut Fanout, index: u32) {
    let Some(owed) = fanout.endings.get(&index).map(|ending| ending.owed) else { return };
    let mut is_wanted = owed != 0;
    let shallow = fanout.depths.iter().map(|depth| depth.view);
    let views: Vec<_> = shallow.chain([View::LIVE]).chain(fanout.delays.views()).collect();
    // A view that has not shown the end yet goes on until then.
    for view in views {
        if owed & bit(fanout.depths.base(view)) != 0 {
            continue;
        }
        for channel in Channel::ALL {
            let id = TopicId::new(index, channel).seen_as(view);
            match fanout.topics.get(id) {
                Some(topic) if !topic.subscribers.is_empty() => is_wanted = true,
                Some(_) => take_out(fanout, id),
                None => {}
            }
        }
    }
    if !is_wanted {
        fanout.endings.remove(&index);
        fanout.given_up.retain(|id, _| id.instrument_index() != index);
        fanout.instruments[index as usize] = None;
        fanout.interests.push(TopicInterest::LetGo(index));
    }
}
