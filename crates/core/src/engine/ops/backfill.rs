//! Going further back than the log reaches: what a returning session missed is asked of the bus's history, in parts.
//!
//! Until a part is there, the lossless records of that subscription wait in the topic's log; everything else goes on.
//! A part that does not come in time, or lacks sequence numbers, becomes a gap with exactly these numbers.
//!
//! Invariants: a session holds the records of at most [`PARTS_MAX`](crate::engine::BACKFILL_PARTS_MAX) parts; every
//! sequence number behind the grant's is sent once or announced once, so a late response is dropped.

use super::ready::mark;
use crate::engine::data::backfill::{Backfill, Stage};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef};
use crate::vocabulary::{BackfillAsk, Backfilled, TopicInterest};

/// Asks for the next parts that a session's subscriptions need, as many as may be under way.
pub(crate) fn ask_backfills(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(limits) = fanout.desk.limits else { return };
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    while !session.seldom.is_none() && session.seldom.turns.is_due() && !session.is_ending() {
        let Some(index) = session.seldom.turns.queue.pop_front() else { break };
        let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { continue };
        let (topic, epoch, sent) = (sub.topic, sub.epoch, sub.sent);
        let Some(backfill) = sub.backfill_mut().filter(|b| b.stage == Stage::Queued) else {
            continue;
        };
        fanout.desk.tickets += 1;
        backfill.stage = Stage::Asked;
        backfill.ticket = fanout.desk.tickets;
        session.seldom.turns.active += usize::from(!std::mem::replace(&mut backfill.is_active, true));
        let (ticket, last, cursor) = (backfill.ticket, backfill.last, backfill.cursor);
        fanout.desk.open.insert(ticket, SubRef { session: key, sub: index });
        fanout.desk.due.push_back((now + limits.timeout_ns, ticket));
        fanout.interests.push(TopicInterest::Backfill(BackfillAsk {
            ticket,
            topic: topic.live(),
            epoch,
            first: sent + 1,
            last,
            cursor,
        }));
    }
}

/// Takes a part of history. What nobody waits for any more is dropped.
pub(crate) fn on_backfill(fanout: &mut Fanout, response: &Backfilled) {
    let Some(place) = fanout.desk.open.remove(&response.ticket) else { return };
    let Some(backfill) = open_backfill(fanout, place, response.ticket) else { return };
    backfill.stage = Stage::Here;
    backfill.records = response.updates.iter().cloned().collect();
    // A response without progress would be asked for again, for ever.
    let is_stuck = response.upto <= backfill.upto;
    backfill.upto = if is_stuck { backfill.last } else { response.upto.min(backfill.last) };
    backfill.cursor = response.cursor;
    mark(fanout, place);
}

fn open_backfill(fanout: &mut Fanout, place: SubRef, ticket: u64) -> Option<&mut Backfill> {
    let backfill = fanout.sessions.get_mut(place.session)?.sub_mut(place.sub)?.backfill_mut()?;
    (backfill.stage == Stage::Asked && backfill.ticket == ticket).then_some(backfill)
}

/// Gives up what did not come in time, and asks for what may be asked now.
pub(crate) fn tick_backfills(fanout: &mut Fanout, now: u64) {
    while let Some((_, ticket)) = fanout.desk.due.pop_front_if(|(deadline, _)| *deadline <= now) {
        let Some(place) = fanout.desk.open.remove(&ticket) else { continue };
        if let Some(backfill) = open_backfill(fanout, place, ticket) {
            backfill.give_up();
            mark(fanout, place);
        }
        ask_backfills(fanout, place.session, now);
    }
}
