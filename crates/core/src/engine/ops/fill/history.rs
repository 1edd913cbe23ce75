//! Records of the bus's history leave for a subscription that goes back further than its log.

use tickwire_wire::GapCause;

use super::reason::Emitted;
use super::record::write_gap;
use crate::engine::data::backfill::{Backfill, Stage};
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;

/// Emits the next record of what history brought, or announces what is missing before it. At the end of a part the
/// subscription goes on with its log, or needs another part.
pub(super) fn emit_from_history(
    session: &mut Session,
    index: u32,
    topic: &Topic,
    out: &mut Vec<u8>,
) -> Emitted {
    let form = &session.form;
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else {
        return Emitted::Nothing;
    };
    let Some(mut backfill) = sub.take_backfill() else { return Emitted::Nothing };
    let next = backfill.records.front().map_or(backfill.upto + 1, |update| update.first);
    if next > sub.sent + 1 {
        write_gap(topic, GapCause::Resume, (sub.sent + 1, next - 1), sub.epoch, form, out);
        sub.announce(sub.sent + 1, next - 1);
        sub.set_backfill(backfill);
        return Emitted::Missing(GapCause::Resume);
    }
    if let Some(update) = backfill.records.pop_front() {
        out.extend_from_slice(update.bytes(form));
        let cause = update.gap_cause();
        if cause.is_some() {
            sub.announce(update.first, update.last);
        } else {
            sub.deliver(update.last);
        }
        sub.set_backfill(backfill);
        return cause.map_or(Emitted::FromHistory, Emitted::Missing);
    }
    if backfill.upto >= backfill.last {
        extend(&mut backfill, sub, topic);
    }
    if backfill.upto < backfill.last {
        backfill.stage = Stage::Queued;
        session.seldom.turns.active -= usize::from(std::mem::take(&mut backfill.is_active));
        sub.set_backfill(backfill);
        session.seldom.turns.queue.push_back(index);
    } else {
        session.seldom.turns.active -= usize::from(backfill.is_active);
    }
    Emitted::FromHistory
}

/// Needs from history, too, what the log does not hold any more because it has moved on meanwhile.
fn extend(backfill: &mut Backfill, sub: &Sub, topic: &Topic) {
    let Some(next) = topic.log_after(sub.stamp).next() else { return };
    let missing = next.update.first.saturating_sub(sub.sent + 1);
    if next.update.epoch == sub.epoch
        && next.update.last != 0
        && next.stamp > sub.shed_to()
        && missing <= backfill.spare
    {
        backfill.last += missing;
        backfill.spare -= missing;
    }
}
