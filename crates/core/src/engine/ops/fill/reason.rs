//! Keeping why a subscription was not sent something.

use tickwire_wire::GapCause;

use crate::engine::data::decisions::{Fate, Held, Run};
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;

/// Where a subscription stood before something was emitted for it.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    stamp: u64,
    sent: u64,
    epoch: u64,
    conflated: u64,
    dropped: u64,
}

impl Before {
    pub(crate) fn of(sub: &Sub) -> Self {
        let (stamp, sent, epoch, account) = (sub.stamp, sub.sent, sub.epoch, sub.account());
        let (conflated, dropped) = (account.conflated, account.dropped);
        Self { stamp, sent, epoch, conflated, dropped }
    }

    /// Whether what was emitted since is worth an entry.
    pub(crate) fn is_notable(&self, held: Held, sub: &Sub) -> bool {
        sub.account().dropped != self.dropped
            || sub.epoch != self.epoch
            || (!held.is_empty() && sub.account().conflated != self.conflated)
    }

    /// Numbers that were announced, for one cause, in front of what the log holds.
    pub(crate) fn note_missing(self, session: &mut Session, index: u32, cause: GapCause, now: u64) {
        let Some(sub) = session.sub(index) else { return };
        let (id, count) = (sub.topic, sub.account().dropped - self.dropped);
        let (first, last) = (self.sent + 1, sub.sent);
        let run = Run { since: now, until: now, first, last, count, delivered: 0, fate: Fate::Gap(cause) };
        session.decisions.get_or_insert_default().note_run(id, run);
    }

    /// Keeps what became of the numbers that were passed.
    pub(crate) fn note(self, session: &mut Session, topic: &Topic, index: u32, is_snapshot: bool, now: u64) {
        let Some(sub) = session.sub(index) else { return };
        let (id, sent) = (sub.topic, sub.sent);
        let (held, is_same) = (session.held, sub.epoch == self.epoch);
        let conflated = sub.account().conflated - self.conflated;
        let dropped = sub.account().dropped - self.dropped;
        let decisions = session.decisions.get_or_insert_default();
        let first = if is_same { self.sent + 1 } else { 1 };
        let run = |fate, first, last, count, delivered| Run {
            since: now,
            until: now,
            first,
            last,
            count,
            delivered,
            fate,
        };
        let entry = topic.log_after(self.stamp).next().filter(|entry| entry.update.is_gap());
        let announced = entry.and_then(|entry| Some((&entry.update, entry.update.gap_cause()?)));
        match announced {
            _ if !is_same => {
                let cause = announced.map_or(GapCause::Ingest, |(_, cause)| cause);
                decisions.note_run(id, run(Fate::Gap(cause), self.sent + 1, 0, dropped.max(1), 0));
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
                decisions
                    .note_run(id, run(Fate::Gap(GapCause::Shed), first, first + dropped - 1, dropped, 0));
            }
            _ => {}
        }
        if conflated > 0 && !held.is_empty() && dropped == 0 && sent >= first {
            // A book's changes are not lost when they are merged; a snapshot says that they were too many.
            let fate = if is_snapshot { Fate::Snapshot(held) } else { Fate::Superseded(held) };
            decisions.note_run(id, run(fate, first, sent, conflated, 1));
        }
    }
}
