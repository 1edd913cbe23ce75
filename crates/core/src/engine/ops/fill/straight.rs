//! The usual case of emptying an outbox, without what only unusual ones need: one subscription alone on its instrument,
//! nothing announced, nothing shed, no new sequence, no rate. It does what the steps for unusual cases would do; the
//! property tests hold both to the same model.

use tickwire_wire::Channel;

use crate::engine::data::entry::Entry;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{Form, TopicId};

/// The least count of waiting records that are taken from the encoded log. The newest few are in a cache as they are.
const FROM_ENCODED_LOG: usize = 4;

/// Emits what the subscription has pending of the topic that `find` finds. Returns whether something is left; `None` where, or as far as, this is not
/// the usual case: then nothing more is emitted here.
// To inline it saves a tenth of all instructions of a delivery, and the compiler's own choice changes with the code around the call.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(super) fn emit_usual<'a>(
    session: &mut Session,
    find: impl FnOnce(TopicId) -> Option<&'a Topic>,
    index: u32,
    end: usize,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let (form, is_blocked) = (&session.form, !session.blocked_by.is_empty());
    let sub = session.subs.get_mut(index as usize)?.as_mut()?;
    if sub.sibling != index || is_blocked || !sub.is_plain() {
        return None;
    }
    let topic = find(sub.topic)?;
    if topic.channel == Channel::Book {
        return None;
    }
    if topic.is_lossless {
        let waiting = topic.logged_after(sub.stamp);
        if waiting >= FROM_ENCODED_LOG {
            let (settled, is_left) = from_encoded_log(sub, topic, waiting, end, form, out)?;
            session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
            return is_left;
        }
        let mut left = topic.log_last(waiting);
        let mut settled = 0;
        let is_left = loop {
            let Some(entry) = left.next() else { break false };
            if out.len() >= end {
                break true;
            }
            let update = &entry.update;
            if !is_usual(entry, sub) {
                session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
                return None;
            }
            let bytes = update.bytes(form);
            out.extend_from_slice(bytes);
            sub.deliver(update.last);
            sub.stamp = entry.stamp;
            settled += sub.settle(bytes.len());
        };
        if !is_left {
            // What was cut off the log while it waited is settled with the last record.
            settled += sub.settle_all();
        }
        session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
        return Some(is_left);
    }
    let [(_, latest)] = topic.latest.as_slice() else { return None };
    let is_usual = latest.update.epoch == sub.epoch && topic.is_logged_up_to(sub.stamp);
    if !is_usual || latest.stamp <= sub.stamp {
        return None;
    }
    if out.len() >= end {
        return Some(true);
    }
    out.extend_from_slice(latest.update.bytes(form));
    sub.deliver(latest.update.last);
    sub.stamp = latest.stamp;
    Some(false)
}

/// Returns whether this is the record that follows on what was sent, and nothing has to be announced before it.
#[inline]
fn is_usual(entry: &Entry, sub: &Sub) -> bool {
    let is_next = entry.update.first == sub.sent + 1 && entry.update.epoch == sub.epoch;
    is_next && !entry.is_gap && !sub.is_shed(entry.stamp)
}

/// Emits the log as far as it goes without a gap, by one copy. Returns how many waiting bytes that settles, and what `emit`
/// returns; `None` where the first record is not usual, or not in an encoded log.
fn from_encoded_log(
    sub: &mut Sub,
    topic: &Topic,
    waiting: usize,
    end: usize,
    form: &Form,
    out: &mut Vec<u8>,
) -> Option<(usize, Option<bool>)> {
    let first = topic.log.len() - waiting;
    if !is_usual(&topic.log[first], sub) {
        return None;
    }
    if out.len() >= end {
        return Some((0, Some(true)));
    }
    let (bytes, behind) = topic.stretch(first, end - out.len(), form)?;
    out.extend_from_slice(bytes);
    sub.deliver_next((behind - first) as u64);
    sub.stamp = topic.log[behind - 1].stamp;
    let is_left = behind < topic.log.len();
    // What was cut off the log while it waited is settled with the last record.
    let settled = if is_left { sub.settle(bytes.len()) } else { sub.settle_all() };
    // Where the copy stopped in front of a gap, the gap is next.
    Some((settled, (!is_left || out.len() >= end).then_some(is_left)))
}
