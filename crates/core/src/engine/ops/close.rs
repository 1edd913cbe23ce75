//! Sessions are closed: because somebody says so, or because they hold what others need.

use tickwire_wire::{CloseCode, Message};

use super::budget::{note_log, note_session};
use super::ledger::ledger;
use super::ready::queue;
use super::waiting::stop_waiting;
use crate::engine::data::decisions::Decision;
use crate::engine::data::delays::views_in;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::{Ending, Session};
use crate::vocabulary::TopicId;

/// The time before which a book that was given up is not tried again, in nanoseconds: to ask for it costs its ingester and the hub, and
/// it was too large just now.
const BOOK_BACK_OFF_NS: u64 = 10_000_000_000;

/// Ends a session: it gets its ledger and a close frame as soon as its socket takes them.
pub(crate) fn close(fanout: &mut Fanout, key: SessionKey, code: CloseCode) {
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.is_ending()) else { return };
    let ledger = ledger(fanout, session, 0);
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    // This does not go by `say`: these bytes are reserved, whatever the pressure.
    session.dialect.say(&Message::Ledger(ledger), &mut session.control);
    session.ending = Ending::Asked(code);
    session.decided(fanout.now, Decision::Closing { code });
    session.dirty.clear();
    session.lossless_bytes = 0;
    stop_waiting(fanout, key);
    queue(fanout, key);
    note_session(fanout, key);
}

/// Returns why a session is being closed, if it is.
pub(crate) fn closing(fanout: &Fanout, key: SessionKey) -> Option<CloseCode> {
    match fanout.sessions.get(key)?.ending {
        Ending::No => None,
        Ending::Asked(code) | Ending::Told(code) => Some(code),
    }
}

/// Closes sessions while all of them hold more than their share: what this one holds may have changed.
pub(crate) fn weigh_session(fanout: &mut Fanout, key: SessionKey) {
    note_session(fanout, key);
    while fanout.private_bytes > fanout.limits.private_bytes {
        let fair = fanout.limits.private_bytes / fanout.sessions.len().max(1);
        let is_open = |session: &&Session| !session.is_ending();
        let held = fanout.sessions.get(key).filter(is_open).map_or(0, |session| session.private);
        let heaviest = fanout.heavy.last().map(|(_, key)| *key).filter(|_| held <= fair);
        let Some(greedy) = heaviest.or((held > 0).then_some(key)) else { return };
        close(fanout, greedy, CloseCode::SlowConsumer);
    }
}

/// Gives up a book that has changed where all books together have grown far beyond what is granted. Those who take it
/// are closed: a part of it would be wrong. Whoever asks for it before it is tried again is refused.
pub(crate) fn weigh_book(fanout: &mut Fanout, id: TopicId) {
    if fanout.logs.levels <= fanout.limits.book_levels_max() {
        return;
    }
    let views = views_in(fanout.topics.get(id).map_or(0, |topic| topic.views));
    // Books to a depth that are made of it end with it.
    for id in views.filter(|view| view.is_shallow()).map(|view| id.seen_as(view)).chain([id]) {
        let Some(topic) = fanout.topics.get_mut(id) else { continue };
        topic.give_up_book();
        fanout.given_up.insert(id, tried_again_from(fanout.now));
        for subscriber in topic.subscribers.clone() {
            close(fanout, subscriber.at.session, CloseCode::Internal);
        }
        note_log(fanout, id);
    }
}

/// Returns when a book that is given up now may be tried again, in nanoseconds since the Unix epoch.
pub(crate) fn tried_again_from(now: u64) -> u64 {
    now.saturating_add(BOOK_BACK_OFF_NS)
}
