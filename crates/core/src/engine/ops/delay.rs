//! Everything that arrives is queued for the views that are to have it later.
//!
//! The queues of all delays have one maximum. Above half of it, a topic that has more than its part of that half is cut: a gap
//! says so where the record that had no room would have come, and what follows is not queued. When there is room again, the
//! view goes on from the state as it is then, with what was not queued announced as shed. Where the bus has a history, records of
//! lossless channels are looked up there instead (`refill`). So a few busy topics do not take the
//! room of the others, and no view shows an old value as the newest.

use std::sync::Arc;

use tickwire_wire::GapCause;

use super::arrive::take_state;
use crate::engine::data::delays::{Delays, Held, bit, views_in};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::late::Late;
use crate::vocabulary::{FeedStatus, InstrumentInfo, TopicId, TopicState, Update, View};

/// So many records of a topic are queued within the length of a delay where there is no room for all of them.
const MARKS: u64 = 64;

/// Returns when a state became what it is, as far as it says so, in nanoseconds since the Unix epoch: the latest of the records that it
/// contains says when it came. Numbers are not enough to find it: of bars of several intervals, one with a lower number may be of a later time. Of a
/// state that does not have its last record, or one of which nobody knows when it came, it is known only that it is so now.
fn so_since(state: &TopicState, now: u64) -> u64 {
    if state.sequence == 0 {
        return 0;
    }
    let has_last = state.records.iter().any(|update| update.last == state.sequence && !update.is_gap());
    let came: Vec<_> = state.records.iter().map(|update| update.known_since()).collect();
    match came.iter().max() {
        Some(latest) if has_last && !came.contains(&0) => (*latest).min(now),
        _ => now,
    }
}

/// Starts a view from the state of its live topic: now where that is old enough, otherwise when it is. Returns whether the view
/// has started. Who waits for it is still to be told.
pub(crate) fn start_view(fanout: &mut Fanout, id: TopicId, state: &Arc<TopicState>, now: u64) -> bool {
    let Some(delay) = fanout.delays.get_mut(id.view()) else { return false };
    let since = so_since(state, now);
    let due = since.saturating_add(delay.age_ns);
    let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else {
        return false;
    };
    late.starts_at = due.max(1);
    if due > now {
        let held = Held::State(Arc::clone(state));
        late.bytes += held.bytes();
        delay.push_early(held, since);
        return false;
    }
    take_state(fanout, id, state, GapCause::Bus);
    true
}

/// Queues a record of a live topic for its views.
#[cold]
#[inline(never)]
pub(crate) fn queue_update(fanout: &mut Fanout, update: &Arc<Update>, now: u64) {
    let views = fanout.topics.get(update.topic).map_or(0, |topic| topic.views);
    let is_critical = update.topic.channel().is_critical();
    let has_history = fanout.desk.limits.is_some();
    for view in views_in(views) {
        let id = update.topic.seen_as(view);
        let held = Held::Update(Arc::clone(update));
        let bytes = held.bytes();
        let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else {
            continue;
        };
        let is_marked = has_history && update.topic.channel().is_lossless();
        if late.is_cut && is_marked {
            // What was announced is not in the history under its number.
            if update.is_gap() {
                push(&mut fanout.delays, view, late, held, now);
            }
        } else if late.is_cut {
            fanout.delays.dropped += 1;
        } else if is_critical || has_room(&fanout.delays, late, bytes, fanout.limits.delayed_bytes) {
            push(&mut fanout.delays, view, late, held, now);
        } else {
            late.is_cut = true;
            late.marked_at = now;
            // A gap that arrived says itself that what is shown is not current. What is looked up is not lost.
            let held = if update.is_gap() || is_marked {
                held
            } else {
                fanout.delays.dropped += 1;
                let (info, channel) = (Arc::clone(update.info()), update.topic.channel());
                let (first, last) = (update.first, update.last);
                Held::Update(Arc::new(Update::gap(info, channel, GapCause::Shed, first, last, update.epoch)))
            };
            push(&mut fanout.delays, view, late, held, now);
            if let Some(delay) = fanout.delays.get_mut(view) {
                delay.cut.push(id);
            }
        }
    }
}

/// Queues a state of a live topic for its views that have started, or have a state from which they will. Returns the views that
/// have none yet.
pub(crate) fn queue_state(fanout: &mut Fanout, state: &Arc<TopicState>, now: u64) -> Vec<TopicId> {
    let views = fanout.topics.get(state.topic).map_or(0, |topic| topic.views);
    let mut without = Vec::new();
    for view in views_in(views) {
        let id = state.topic.seen_as(view);
        let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else {
            continue;
        };
        if late.starts_at == 0 {
            without.push(id);
        } else if !late.is_cut {
            push(&mut fanout.delays, view, late, Held::State(Arc::clone(state)), now);
        }
    }
    without
}

/// Goes on with topics that were cut, where there is room again.
pub(crate) fn mend_cut(fanout: &mut Fanout, now: u64) {
    for view in fanout.delays.views() {
        let Some(delay) = fanout.delays.get_mut(view).filter(|delay| !delay.cut.is_empty()) else { continue };
        for id in std::mem::take(&mut delay.cut) {
            if !mend(fanout, id, false, now)
                && let Some(delay) = fanout.delays.get_mut(view)
            {
                delay.cut.push(id);
            }
        }
    }
}

/// Goes on with the topics of an instrument that were cut, whatever room there is: it ends, so nothing follows.
fn mend_ending(fanout: &mut Fanout, index: u32, now: u64) {
    for view in fanout.delays.views() {
        let Some(delay) = fanout.delays.get_mut(view) else { continue };
        let cut: Vec<_> = delay.cut.extract_if(.., |id| id.instrument_index() == index).collect();
        for id in cut {
            mend(fanout, id, true, now);
        }
    }
}

/// Goes on with a topic that was cut, from the state of the live one. Returns whether nothing is left to do. `is_last` says that it
/// is done in any case.
fn mend(fanout: &mut Fanout, id: TopicId, is_last: bool, now: u64) -> bool {
    // Where there is hardly any room, it would be cut again at once.
    let has_room_again = is_last || fanout.delays.bytes() <= fanout.limits.delayed_bytes / 8 * 3;
    if fanout.desk.limits.is_some() && id.channel().is_lossless() {
        return set_mark(fanout, id, has_room_again, now);
    }
    if !has_room_again {
        return false;
    }
    let live = fanout.topics.get(id.live()).filter(|live| live.live);
    let Some(state) = live.map(|live| live.state(id.live())) else {
        // Its instrument has ended: nothing follows.
        return fanout.topics.get(id.live()).is_none();
    };
    let held = Held::Mended(Arc::new(state));
    let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else {
        return true;
    };
    if !is_last && !has_room(&fanout.delays, late, held.bytes(), fanout.limits.delayed_bytes) {
        return false;
    }
    late.is_cut = false;
    push(&mut fanout.delays, id.view(), late, held, now);
    true
}

/// Queues the newest record of a topic that is cut, some times in the length of the delay: when that is old enough, the ones before
/// it are looked up in the bus's history. Returns whether the topic is not cut any more.
fn set_mark(fanout: &mut Fanout, id: TopicId, has_room_again: bool, now: u64) -> bool {
    let interval = fanout.delays.delay_ns(id.view()) / MARKS;
    let newest =
        fanout.topics.get(id.live()).and_then(|live| live.latest.last()).map(|(_, e)| Arc::clone(&e.update));
    let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else {
        return true;
    };
    if !has_room_again && now < late.marked_at.saturating_add(interval) {
        return false;
    }
    late.marked_at = now;
    late.is_cut = !has_room_again;
    // It may have been queued already: nothing came since.
    if let Some(newest) = newest.filter(|newest| (newest.epoch, newest.last) != late.marked) {
        late.marked = (newest.epoch, newest.last);
        push(&mut fanout.delays, id.view(), late, Held::Update(newest), now);
    }
    has_room_again
}

/// Returns whether there is room for so many bytes more of a topic.
fn has_room(delays: &Delays, late: &Late, bytes: usize, max: usize) -> bool {
    let half = max / 2;
    let topics: usize = delays.iter().map(|delay| delay.topics).sum();
    delays.bytes() + bytes <= half || late.bytes + bytes <= half / topics.max(1)
}

fn push(delays: &mut Delays, view: View, late: &mut Late, held: Held, now: u64) {
    late.bytes += held.bytes();
    if let Some(delay) = delays.get_mut(view) {
        delay.push(held, now);
    }
}

/// Queues an instrument for all delays: each knows it when its definition is old enough. Where its name stands for another one
/// before, which `is_taken` says of the live view, that comes to an end first, whatever the time of listing says: ingesters that take over
/// from each other may date it before. Returns the views that know it now.
pub(crate) fn queue_instrument(
    fanout: &mut Fanout,
    info: &Arc<InstrumentInfo>,
    is_taken: bool,
    now: u64,
) -> Vec<View> {
    let mut known = Vec::new();
    for delay in fanout.delays.iter_mut() {
        let listed = info.listed.min(now);
        if is_taken || delay.is_ending(&info.name) {
            delay.push(Held::Instrument(Arc::clone(info)), now);
        } else if listed.saturating_add(delay.age_ns) <= now {
            known.push(delay.view);
        } else {
            delay.push_early(Held::Instrument(Arc::clone(info)), listed);
        }
    }
    known
}

/// Queues the end of an instrument for all delays. Returns their views, a bit for each.
pub(crate) fn queue_end(fanout: &mut Fanout, info: &InstrumentInfo, now: u64) -> u64 {
    mend_ending(fanout, info.index, now);
    let mut owed = 0;
    for delay in fanout.delays.iter_mut() {
        delay.push_end(info, now);
        owed |= bit(delay.view);
    }
    owed
}

/// Queues the state of a feed for all delays.
pub(crate) fn queue_feed(fanout: &mut Fanout, feed: &Arc<FeedStatus>, now: u64) {
    fanout.delays.note_feed(feed, now);
    for delay in fanout.delays.iter_mut() {
        delay.push(Held::Feed(Arc::clone(feed)), now);
    }
}
