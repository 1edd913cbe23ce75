//! The reasons why a subscription was not sent something: what was passed over is kept with its reason.

use tickwire_wire::{CloseCode, GapCause};

use crate::engine::data::decisions::{BlockedBy, Fate, Run};
use crate::engine::data::session::Session;
use crate::engine::data::sub::{Standing, Sub};
use crate::engine::data::topic::Topic;
use crate::engine::dialect::Loss;

/// The kind of what was emitted for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emitted {
    /// There was nothing to emit.
    Nothing,
    /// A record of a conflated channel, or changes of a book.
    Record,
    /// A whole book.
    Snapshot,
    /// A gap of a conflated channel or of a book.
    Gap,
    /// A record of a lossless channel, or a gap of one.
    Logged,
    /// A record of the bus's history.
    FromHistory,
    /// Sequence numbers that neither history nor the log has were announced.
    Missing(GapCause),
}

/// Keeps what became of the sequence numbers that were passed since the subscription stood `before`, where that is worth
/// an entry. Returns the code with which the session ends where its dialect has no word for a loss.
#[inline]
pub(super) fn note_reason(
    session: &mut Session,
    topic: &Topic,
    index: u32,
    before: Standing,
    emitted: Emitted,
    now: u64,
) -> Option<CloseCode> {
    let is_notable = session.sub(index).is_some_and(|sub| is_notable(before, session.blocked_by, sub));
    match emitted {
        Emitted::FromHistory => {}
        Emitted::Missing(cause) => note_missing(session, index, before, cause, now),
        _ if is_notable => {
            let loss = session.sub(index).and_then(|sub| loss(before, sub));
            let code = loss.and_then(|loss| session.dialect.on_loss(loss));
            note_passed(session, topic, index, before, emitted == Emitted::Snapshot, now);
            return code;
        }
        _ => {}
    }
    None
}

/// Returns what the session lost since.
fn loss(before: Standing, sub: &Sub) -> Option<Loss> {
    let is_restart = sub.epoch != before.epoch;
    let is_loss = is_restart || sub.dropped_since(before) > 0;
    is_loss.then_some(Loss { channel: sub.channel(), is_restart })
}

/// Returns whether what became of the sequence numbers since is worth an entry.
fn is_notable(before: Standing, blocked_by: BlockedBy, sub: &Sub) -> bool {
    sub.dropped_since(before) > 0
        || sub.epoch != before.epoch
        || (!blocked_by.is_empty() && sub.conflated_since(before) > 0)
}

/// Keeps sequence numbers that were announced, for one cause, in front of what the log holds.
fn note_missing(session: &mut Session, index: u32, before: Standing, cause: GapCause, now: u64) {
    let Some(sub) = session.sub(index) else { return };
    let (id, count) = (sub.topic, sub.dropped_since(before));
    let (first, last) = (before.sent + 1, sub.sent);
    let run = Run { since: now, until: now, first, last, count, delivered: 0, fate: Fate::Gap(cause) };
    session.seldom.decisions.get_or_insert_default().note_run(id, run);
}

/// Keeps what became of sequence numbers that the topic's log or its newest records told of.
fn note_passed(
    session: &mut Session,
    topic: &Topic,
    index: u32,
    before: Standing,
    is_snapshot: bool,
    now: u64,
) {
    let Some(sub) = session.sub(index) else { return };
    let (id, sent) = (sub.topic, sub.sent);
    let (blocked_by, is_same) = (session.blocked_by, sub.epoch == before.epoch);
    let conflated = sub.conflated_since(before);
    let dropped = sub.dropped_since(before);
    let decisions = session.seldom.decisions.get_or_insert_default();
    let first = if is_same { before.sent + 1 } else { 1 };
    let run = |fate, first, last, count, delivered| Run {
        since: now,
        until: now,
        first,
        last,
        count,
        delivered,
        fate,
    };
    let entry = topic.log_after(before.stamp).next().filter(|entry| entry.update.is_gap());
    let announced = entry.and_then(|entry| Some((&entry.update, entry.update.gap_cause()?)));
    match announced {
        _ if !is_same => {
            let cause = announced.map_or(GapCause::Ingest, |(_, cause)| cause);
            decisions.note_run(id, run(Fate::Gap(cause), before.sent + 1, 0, dropped.max(1), 0));
        }
        Some((gap, cause)) if dropped > 0 => {
            let of_gap = (gap.last + 1).saturating_sub(gap.first.max(first)).min(dropped);
            if dropped > of_gap {
                let shed = run(Fate::Gap(GapCause::Shed), first, gap.first - 1, dropped - of_gap, 0);
                decisions.note_run(id, shed);
            }
            decisions.note_run(id, run(Fate::Gap(cause), gap.first, gap.last, of_gap, 0));
        }
        _ if dropped > 0 => {
            decisions.note_run(id, run(Fate::Gap(GapCause::Shed), first, first + dropped - 1, dropped, 0));
        }
        _ => {}
    }
    if conflated > 0 && !blocked_by.is_empty() && dropped == 0 && sent >= first {
        // A book's changes are not lost when they are merged; a snapshot says that they were too many.
        let fate = if is_snapshot { Fate::Snapshot(blocked_by) } else { Fate::Superseded(blocked_by) };
        decisions.note_run(id, run(fate, first, sent, conflated, 1));
    }
}
