//! The end of an instrument, as sessions see it.
//!
//! Whoever subscribes to an instrument that ended is sent what is still owed, and is then told that the subscription
//! is over and what became of its sequence numbers (`fill/leaving.rs`). Until the last one was told, the instrument
//! keeps its index and its number; so nothing that a client was granted ever comes to stand for another instrument.
//! A delayed view is told of the end when that is old enough.

use std::sync::Arc;

use tickwire_wire::{Channel, Refused};

use super::delay::queue_end;
use super::grant::refuse_pending;
use super::ready::mark;
use super::refusal::refusal_of_ended;
use super::release::let_go;
use super::throttle::release_all;
use crate::engine::data::delays::bit;
use crate::engine::data::fanout::{Ending, Fanout};
use crate::vocabulary::{Ended, InstrumentInfo, TopicId, TopicInterest, View};

/// Marks the subscriptions to an instrument that ended, and refuses those that are not granted yet.
pub(crate) fn on_ended(fanout: &mut Fanout, ended: &Arc<Ended>, now: u64) {
    let index = ended.instrument;
    let Some(info) = fanout.instruments.get(index as usize).cloned().flatten() else {
        // It was never heard of here, so there is nothing to let go.
        fanout.interests.push(TopicInterest::LetGo(index));
        return;
    };
    fanout.delays.note_end(&info, now);
    let owed = queue_end(fanout, &info, now);
    fanout.endings.insert(index, Ending { ended: Arc::clone(ended), owed });
    if let Some(names) = fanout.names.get_mut(&info.name.venue) {
        names.remove(&info.name.symbol, index);
    }
    end_view(fanout, &info, View::LIVE, now);
    let_go(fanout, index);
}

/// Shows the end of an instrument in a delayed view.
pub(crate) fn on_ended_late(fanout: &mut Fanout, index: u32, view: View, now: u64) {
    let Some(ending) = fanout.endings.get_mut(&index) else { return };
    ending.owed &= !bit(view);
    let Some(info) = fanout.instruments.get(index as usize).cloned().flatten() else { return };
    if let Some(delay) = fanout.delays.get_mut(view) {
        delay.end_shown(&info.name);
        if let Some(names) = delay.names.get_mut(&info.name.venue) {
            names.remove(&info.name.symbol, index);
        }
    }
    end_view(fanout, &info, view, now);
    let_go(fanout, index);
}

fn end_view(fanout: &mut Fanout, info: &InstrumentInfo, view: View, now: u64) {
    let views = fanout.depths.made_of(view).into_iter().chain([view]);
    let topics = views.flat_map(|view| Channel::ALL.map(|channel| (channel, view)));
    for (channel, view) in topics {
        let id = TopicId::new(info.index, channel).seen_as(view);
        // The code `ended` is for what was granted.
        let code = "unknown_symbol".to_owned();
        let refusal = Refused { code, ..refusal_of_ended(fanout, info, channel) };
        refuse_pending(fanout, id, &refusal, now);
        release_all(fanout, id);
        let Some(topic) = fanout.topics.get(id) else { continue };
        for subscriber in topic.subscribers.clone() {
            if let Some(session) = fanout.sessions.get_mut(subscriber.at.session) {
                session.seldom.leaving.push(subscriber.at.sub);
                mark(fanout, subscriber.at);
            }
        }
    }
}
