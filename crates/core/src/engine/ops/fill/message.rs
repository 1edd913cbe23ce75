//! One message: the control lane, and records as far as there is room.

use super::instrument::emit_instrument;
use super::straight::emit_usual;
use crate::engine::data::fanout::Noted;
use crate::engine::data::session::Session;
use crate::engine::data::topics::Topics;
use crate::engine::framing::Framing;

/// So many subscriptions are touched before the first is sent.
const LOOK_AHEAD: usize = 16;

/// Appends a message with the control lane and about `budget` bytes of records; appends nothing where there is neither.
/// Returns whether there are records.
#[inline]
pub(super) fn append_message(
    session: &mut Session,
    topics: &mut Topics,
    (budget, now): (usize, u64),
    noted: &mut Noted,
    framing: &dyn Framing,
    out: &mut Vec<u8>,
) -> bool {
    let head = out.len();
    framing.begin(out);
    let start = out.len();
    let end = start + budget;
    if !session.control.is_empty() {
        // A session that has nothing to say keeps no buffer.
        out.append(&mut std::mem::take(&mut session.control));
    }
    let data = out.len();
    look_ahead(session, topics);
    let may_leave = !session.is_ending() && !session.delivery.is_shut();
    while may_leave && out.len() < end {
        let Some(index) = session.dirty.pop() else { break };
        let is_sampled = noted.latency_samples.is_turn();
        if is_sampled {
            noted.latency_samples.look_at(session, index);
        }
        let is_left = match emit_usual(session, |id| topics.live(id), index, end, out) {
            Some(is_left) => is_left,
            None => emit_instrument(session, topics, index, end, now, noted, out),
        };
        if is_sampled {
            noted.latency_samples.note(session, topics, now);
        }
        if is_left {
            session.dirty.mark(index);
        }
    }
    let has_data = out.len() > data;
    if out.len() > start {
        session.dialect.end(framing, head, start, now, out);
    } else {
        out.truncate(head);
    }
    has_data
}

/// Touches what the next records are found by. One after another, each of them would be waited for: the system call
/// before has emptied the caches.
fn look_ahead(session: &Session, topics: &Topics) {
    let subs = session.dirty.iter().take(LOOK_AHEAD).filter_map(|index| session.sub(index));
    let stamps = subs.map(|sub| sub.stamp ^ topics.live(sub.topic).map_or(0, |topic| topic.stamp));
    std::hint::black_box(stamps.fold(0, |all, stamp| all ^ stamp));
}
