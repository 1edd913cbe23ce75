//! The end of an instrument, as sessions see it.
//!
//! Whoever subscribes to one that ended is sent what is still owed, then told that the subscription is over and what became
//! of its numbers. Until the last one was told, the instrument keeps its index and its number; so nothing that a client
//! was granted ever comes to stand for another instrument.

use std::sync::Arc;

use tickwire_wire::{Channel, Ledger, Message, Refused, Subscribed};

use super::command::refused;
use super::session::SessionKey;
use super::{Engine, fill};
use crate::vocabulary::TopicInterest;
use crate::vocabulary::{Ended, InstrumentInfo, TopicId};

impl Engine {
    pub(super) fn on_ended(&mut self, ended: &Arc<Ended>, now: u64) {
        let index = ended.instrument;
        let Some(info) = self.instruments.get(index as usize).cloned().flatten() else {
            // It was never heard of here, so there is nothing to let go.
            self.interests.push(TopicInterest::LetGo(index));
            return;
        };
        self.endings.insert(index, Arc::clone(ended));
        if let Some(names) = self.names.get_mut(&info.name.venue) {
            names.remove(&info.name.symbol, index);
        }
        for channel in Channel::ALL {
            let id = TopicId::new(index, channel);
            // `ended` is said of what was granted.
            let code = "unknown_symbol".to_owned();
            let refusal = Refused { code, ..self.refusal_of_ended(&info, channel) };
            self.refuse_pending(id, &refusal, now);
            self.wake_all(id);
            let Some(topic) = self.topics.get(id.0 as usize).and_then(Option::as_deref) else { continue };
            for subscriber in topic.subscribers.clone() {
                if let Some(session) = self.sessions.get_mut(subscriber.at.session) {
                    session.leaving.push(subscriber.at.sub);
                    self.mark(subscriber.at);
                }
            }
        }
        self.let_go(index);
    }

    /// Ends the subscriptions of a session that are over and have nothing owed to them any more. Returns whether there are
    /// any.
    pub(super) fn part(&mut self, key: SessionKey, now: u64) -> bool {
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.is_ending()) else {
            return false;
        };
        let topics = &self.topics;
        let is_settled = |index: &mut u32| {
            session
                .subs
                .get(*index as usize)
                .and_then(Option::as_ref)
                .is_none_or(|sub| sub.backfill.is_none() && fill::pending(sub, topics).is_none())
        };
        let settled: Vec<_> = session.leaving.extract_if(.., is_settled).collect();
        if settled.is_empty() {
            return false;
        }
        let form = session.form;
        let (mut refusals, mut entries) = (Vec::new(), Vec::new());
        for sub in session.remove(&settled) {
            let id = sub.topic;
            if let Some(info) = self.topics[id.0 as usize].as_deref().map(|topic| Arc::clone(&topic.info)) {
                refusals.push(self.refusal_of_ended(&info, id.channel()));
            }
            entries.extend(self.take_leave(key, &sub, &form, now));
        }
        self.say(key, &Message::Subscribed(Subscribed { refused: refusals, ..Subscribed::default() }));
        self.say(key, &Message::Ledger(Ledger { id: 0, entries }));
        true
    }

    fn refusal_of_ended(&self, info: &InstrumentInfo, channel: Channel) -> Refused {
        let ended = self.endings.get(&info.index);
        let reason = ended.map_or("it is over", |ended| &ended.reason);
        let symbol = info.scale.symbol.clone();
        let may_retry = ended.is_some_and(|ended| ended.may_retry);
        let message = format!("`{symbol}` ended: {reason}");
        Refused { may_retry, ..refused(channel, symbol, "ended", message) }
    }

    /// Lets go of an instrument that ended when nobody has anything of it.
    pub(super) fn let_go(&mut self, index: u32) {
        if self.endings.is_empty() || !self.endings.contains_key(&index) {
            return;
        }
        let mut is_wanted = false;
        for channel in Channel::ALL {
            let id = TopicId::new(index, channel);
            let slot = &self.topics[id.0 as usize];
            if slot.as_deref().is_some_and(|topic| !topic.subscribers.is_empty()) {
                is_wanted = true;
            } else if slot.is_some() {
                self.forget_log(id);
                self.topics[id.0 as usize] = None;
            }
        }
        if !is_wanted {
            self.endings.remove(&index);
            self.instruments[index as usize] = None;
            self.interests.push(TopicInterest::LetGo(index));
        }
    }
}
