//! Holes in delayed views are filled from the bus's history: records for which the queue had no room.
//!
//! What has become old enough behind a hole waits until it is filled. So the view stays in order, and nothing of it is younger
//! than the record behind the hole, which is old enough. What the history does not have is announced as shed.

use std::sync::Arc;

use tickwire_wire::GapCause;

use super::arrive::take_update;
use crate::engine::data::delays::Held;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::late::Hole;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{BackfillAsk, Backfilled, TopicId, TopicInterest, Update};

/// Takes a record that has become old enough for a view.
pub(crate) fn pass_update(fanout: &mut Fanout, id: TopicId, update: &Arc<Update>, now: u64) {
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    let has_hole = has_hole_before(topic, update);
    if let Some(hole) = topic.late.as_deref_mut().and_then(|late| late.hole.as_deref_mut()) {
        hole.waiting.push_back(Arc::clone(update));
        weigh(fanout, id, update, true);
        return;
    }
    if is_known(topic, update) {
        return;
    }
    if has_hole && fanout.desk.limits.is_some() {
        look_up(fanout, id, update, now);
        return;
    }
    take_update(fanout, id, update, now, now);
}

/// Returns whether records of a lossless channel lie between what a view has shown and this one.
fn has_hole_before(topic: &Topic, update: &Update) -> bool {
    let is_same = update.last == 0 || update.epoch == topic.epoch;
    topic.live && topic.channel.is_lossless() && is_same && update.first > topic.sequence + 1
}

/// Returns whether a view is at a record already: the newest one may have been queued twice, and the state from which a view started may
/// contain what was queued for it before.
fn is_known(topic: &Topic, update: &Update) -> bool {
    update.last != 0 && update.epoch == topic.epoch && update.last <= topic.sequence
}

/// Asks for what lies before a record.
fn look_up(fanout: &mut Fanout, id: TopicId, update: &Arc<Update>, now: u64) {
    let most = fanout.desk.limits.map_or(0, |limits| limits.records_max);
    let last = update.first - 1;
    announce(fanout, id, last.saturating_sub(most), now);
    let Some(late) = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut()) else { return };
    let waiting = std::iter::once(Arc::clone(update)).collect();
    late.hole = Some(Box::new(Hole { ticket: 0, last, deadline: 0, waiting }));
    weigh(fanout, id, update, true);
    ask(fanout, id, 0, now);
}

fn ask(fanout: &mut Fanout, id: TopicId, cursor: u64, now: u64) {
    let timeout = fanout.desk.limits.map_or(0, |limits| limits.timeout_ns);
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    let (epoch, first) = (topic.epoch, topic.sequence + 1);
    let Some(hole) = topic.late.as_deref_mut().and_then(|late| late.hole.as_deref_mut()) else { return };
    fanout.desk.tickets += 1;
    (hole.ticket, hole.deadline) = (fanout.desk.tickets, now + timeout);
    let (ticket, last) = (hole.ticket, hole.last);
    fanout.delays.holes.insert(ticket, id);
    fanout.interests.push(TopicInterest::Backfill(BackfillAsk {
        ticket,
        topic: id.live(),
        epoch,
        first,
        last,
        cursor,
    }));
}

/// Takes a part of history where a view asked for it. Returns whether one did.
pub(crate) fn on_refill(fanout: &mut Fanout, response: &Backfilled, now: u64) -> bool {
    let Some(id) = fanout.delays.holes.remove(&response.ticket) else { return false };
    let Some(hole) = hole_of(fanout, id).filter(|hole| hole.ticket == response.ticket) else { return true };
    let last = hole.last;
    let before = fanout.topics.get(id).map_or(0, |topic| topic.sequence);
    for update in response.updates.iter().filter(|update| update.last <= last) {
        announce(fanout, id, update.first - 1, now);
        take_update(fanout, id, update, now, now);
    }
    // A response without progress would be asked for again, for ever.
    let upto = if response.upto <= before { last } else { response.upto.min(last) };
    announce(fanout, id, upto, now);
    if upto < last {
        ask(fanout, id, response.cursor, now);
    } else {
        go_on(fanout, id, now);
    }
    true
}

/// Gives up what did not come in time.
pub(crate) fn tick_holes(fanout: &mut Fanout, now: u64) {
    if fanout.delays.holes.is_empty() {
        return;
    }
    let asked: Vec<_> = fanout.delays.holes.iter().map(|(ticket, id)| (*ticket, *id)).collect();
    for (ticket, id) in asked {
        let hole = hole_of(fanout, id).filter(|hole| hole.ticket == ticket);
        match hole.map(|hole| hole.deadline) {
            Some(deadline) if deadline > now => {}
            Some(_) => give_up(fanout, id, now),
            None => drop(fanout.delays.holes.remove(&ticket)),
        }
    }
}

/// Announces what is left of a hole, and goes on behind it.
pub(crate) fn give_up(fanout: &mut Fanout, id: TopicId, now: u64) {
    while let Some((ticket, last)) = hole_of(fanout, id).map(|hole| (hole.ticket, hole.last)) {
        fanout.delays.holes.remove(&ticket);
        announce(fanout, id, last, now);
        go_on(fanout, id, now);
    }
}

fn hole_of(fanout: &Fanout, id: TopicId) -> Option<&Hole> {
    fanout.topics.get(id)?.late.as_deref()?.hole.as_deref()
}

/// Takes what waited behind a hole. Where there is another one, the rest waits for that.
fn go_on(fanout: &mut Fanout, id: TopicId, now: u64) {
    let late = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut());
    let Some(hole) = late.and_then(|late| late.hole.take()) else { return };
    for update in hole.waiting {
        weigh(fanout, id, &update, false);
        pass_update(fanout, id, &update, now);
    }
}

/// Announces that a view does not get the sequence numbers up to this one.
fn announce(fanout: &mut Fanout, id: TopicId, to: u64, now: u64) {
    let Some(topic) = fanout.topics.get(id).filter(|topic| topic.sequence < to) else { return };
    let (info, first) = (Arc::clone(&topic.info), topic.sequence + 1);
    let gap = Update::gap(info, topic.channel, GapCause::Shed, first, to, topic.epoch);
    fanout.delays.dropped += to + 1 - first;
    take_update(fanout, id, &Arc::new(gap), now, now);
}

/// Counts a record that waits behind a hole as one that is queued.
fn weigh(fanout: &mut Fanout, id: TopicId, update: &Arc<Update>, waits: bool) {
    let bytes = Held::Update(Arc::clone(update)).bytes();
    let late = fanout.topics.get_mut(id).and_then(|topic| topic.late.as_deref_mut());
    let Some((late, delay)) = late.zip(fanout.delays.get_mut(id.view())) else { return };
    if waits {
        (late.bytes, delay.bytes) = (late.bytes + bytes, delay.bytes + bytes);
    } else {
        (late.bytes, delay.bytes) = (late.bytes - bytes, delay.bytes - bytes);
    }
}
