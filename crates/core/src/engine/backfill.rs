//! Going further back than the log reaches: what a returning session missed is asked of the bus's history, in parts.
//!
//! Until a part is there, the lossless records of that subscription wait in the topic's log; everything else goes on.
//! A part that does not come in time, or lacks numbers, becomes a gap with exactly these numbers.
//!
//! Invariants: a session holds the records of at most [`PARTS_MAX`] parts; every number behind the grant's is sent once
//! or announced once, so a late response is dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tickwire_wire::GapCause;

use super::Engine;
use super::fill::write_gap;
use super::session::{Session, SessionKey};
use super::sub::{Sub, SubRef};
use super::topic::Topic;
use crate::vocabulary::{BackfillAsk, Backfilled, TopicInterest, Update};

/// Parts of one session that are asked for or held at the same time.
pub const PARTS_MAX: usize = 4;

/// Limits of going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillLimits {
    /// Numbers that one resumed subscription is sent from history, at most; those before are announced as a gap.
    pub records_max: u64,
    /// How long a part may take to come, in nanoseconds. Below the 5 s after which clients stop waiting by themselves.
    pub timeout_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Is to be asked, when the session's turn comes.
    Queued,
    Asked,
    /// `records` are to be sent, then everything up to `upto` is settled.
    Here,
}

/// What a subscription still needs from history.
#[derive(Debug)]
pub(crate) struct Backfill {
    stage: Stage,
    ticket: u64,
    /// Counts among the session's parts.
    is_active: bool,
    records: VecDeque<Arc<Update>>,
    upto: u64,
    /// What comes behind this number is in the log.
    last: u64,
    cursor: u64,
    /// Numbers that may still be added to `last`.
    spare: u64,
}

impl Backfill {
    /// Goes back from `last`, as far as the limit allows; returns it with the number behind which it starts.
    pub(crate) fn new(behind: u64, last: u64, limits: BackfillLimits) -> (Box<Self>, u64) {
        let start = behind.max(last.saturating_sub(limits.records_max));
        let backfill = Self {
            stage: Stage::Queued,
            ticket: 0,
            is_active: false,
            records: VecDeque::new(),
            upto: start,
            last,
            cursor: 0,
            spare: limits.records_max - (last - start),
        };
        (Box::new(backfill), start)
    }

    /// Whether the subscription can go on.
    pub(crate) fn is_here(&self) -> bool {
        self.stage == Stage::Here
    }

    fn give_up(&mut self) {
        self.stage = Stage::Here;
        self.upto = self.last;
    }
}

/// Of one session: how many parts it has, and which subscriptions wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    active: usize,
    queue: VecDeque<u32>,
}

impl Turns {
    /// A subscription needs its next part.
    pub(crate) fn queue(&mut self, sub: u32) {
        self.queue.push_back(sub);
    }

    /// A subscription ended. Returns whether it may be in the queue: see [`Turns::sweep`].
    pub(crate) fn forget(&mut self, sub: &Sub) -> bool {
        let Some(backfill) = &sub.backfill else { return false };
        self.active -= usize::from(backfill.is_active);
        backfill.stage == Stage::Queued
    }

    /// Takes those that ended out of the queue.
    pub(crate) fn sweep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.queue.retain(|index| is_there(*index));
    }

    /// Somebody waits, and there is room.
    pub(crate) fn is_due(&self) -> bool {
        self.active < PARTS_MAX && !self.queue.is_empty()
    }
}

/// Of one engine: what is open.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) limits: Option<BackfillLimits>,
    tickets: u64,
    /// By ticket; may name a subscription that ended.
    open: HashMap<u64, SubRef>,
    /// Deadlines of the requests, in order, because each may take the same time; also of those that were answered.
    due: VecDeque<(u64, u64)>,
}

impl Engine {
    /// Lets sessions go back further than the logs reach. Without it, what is not in a log is announced as a gap.
    pub fn set_backfill(&mut self, limits: BackfillLimits) {
        self.desk.limits = Some(limits);
    }

    /// Parts of history that are asked for and not there yet.
    pub fn backfills(&self) -> usize {
        self.desk.open.len()
    }

    /// Asks for the next parts that a session's subscriptions need, as many as may be under way.
    pub(super) fn ask_backfills(&mut self, key: SessionKey, now: u64) {
        let Some(limits) = self.desk.limits else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        while session.turns.is_due() && !session.is_ending() {
            let Some(index) = session.turns.queue.pop_front() else { break };
            let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            let (topic, epoch, sent) = (sub.topic, sub.epoch, sub.sent);
            let Some(backfill) = sub.backfill.as_deref_mut().filter(|b| b.stage == Stage::Queued) else {
                continue;
            };
            self.desk.tickets += 1;
            backfill.stage = Stage::Asked;
            backfill.ticket = self.desk.tickets;
            session.turns.active += usize::from(!std::mem::replace(&mut backfill.is_active, true));
            let (ticket, last, cursor) = (backfill.ticket, backfill.last, backfill.cursor);
            self.desk.open.insert(ticket, SubRef { session: key, sub: index });
            self.desk.due.push_back((now + limits.timeout_ns, ticket));
            self.interests.push(TopicInterest::Backfill(BackfillAsk {
                ticket,
                topic,
                epoch,
                first: sent + 1,
                last,
                cursor,
            }));
        }
    }

    /// A part of history came. What nobody waits for any more is dropped.
    pub(super) fn on_backfill(&mut self, response: &Backfilled) {
        let Some(place) = self.desk.open.remove(&response.ticket) else { return };
        let Some(backfill) = self.open_backfill(place, response.ticket) else { return };
        backfill.stage = Stage::Here;
        backfill.records = response.updates.iter().cloned().collect();
        // A response without progress would be asked for again, for ever.
        let is_stuck = response.upto <= backfill.upto;
        backfill.upto = if is_stuck { backfill.last } else { response.upto.min(backfill.last) };
        backfill.cursor = response.cursor;
        self.mark(place);
    }

    fn open_backfill(&mut self, place: SubRef, ticket: u64) -> Option<&mut Backfill> {
        let backfill = self.sessions.get_mut(place.session)?.sub_mut(place.sub)?.backfill.as_deref_mut()?;
        (backfill.stage == Stage::Asked && backfill.ticket == ticket).then_some(backfill)
    }

    /// Gives up what did not come in time, and asks for what may be asked now.
    pub(super) fn tick_backfills(&mut self, now: u64) {
        while let Some((_, ticket)) = self.desk.due.pop_front_if(|(deadline, _)| *deadline <= now) {
            let Some(place) = self.desk.open.remove(&ticket) else { continue };
            if let Some(backfill) = self.open_backfill(place, ticket) {
                backfill.give_up();
                self.mark(place);
            }
            self.ask_backfills(place.session, now);
        }
    }
}

/// Emits the next record of what history brought, or what is missing before it; at the end of a part the subscription
/// goes on with its log, or needs another part. Returns the cause of what was announced.
pub(super) fn emit(session: &mut Session, index: u32, topic: &Topic, out: &mut Vec<u8>) -> Option<GapCause> {
    let form = &session.form;
    let sub = session.subs.get_mut(index as usize).and_then(Option::as_mut)?;
    let mut backfill = sub.backfill.take()?;
    let next = backfill.records.front().map_or(backfill.upto + 1, |update| update.first);
    if next > sub.sent + 1 {
        write_gap(topic, GapCause::Resume, (sub.sent + 1, next - 1), sub.epoch, form, out);
        sub.announce(sub.sent + 1, next - 1);
        sub.backfill = Some(backfill);
        return Some(GapCause::Resume);
    }
    if let Some(update) = backfill.records.pop_front() {
        out.extend_from_slice(update.bytes(form));
        let cause = update.gap_cause();
        if cause.is_some() {
            sub.announce(update.first, update.last);
        } else {
            sub.deliver(update.last);
        }
        sub.backfill = Some(backfill);
        return cause;
    }
    if backfill.upto >= backfill.last {
        backfill.extend(sub, topic);
    }
    if backfill.upto < backfill.last {
        backfill.stage = Stage::Queued;
        session.turns.active -= usize::from(std::mem::take(&mut backfill.is_active));
        sub.backfill = Some(backfill);
        session.turns.queue.push_back(index);
    } else {
        session.turns.active -= usize::from(backfill.is_active);
    }
    None
}

impl Backfill {
    /// The log may have moved on meanwhile: what it does not hold any more is needed too.
    fn extend(&mut self, sub: &Sub, topic: &Topic) {
        let Some(next) = topic.log_after(sub.stamp).next() else { return };
        let missing = next.update.first.saturating_sub(sub.sent + 1);
        if next.update.epoch == sub.epoch
            && next.update.last != 0
            && next.stamp > sub.shed_to
            && missing <= self.spare
        {
            self.last += missing;
            self.spare -= missing;
        }
    }
}
