//! Operations as methods, for commands and grants.

use tickwire_wire::{CloseCode, Ledger, LedgerEntry, Message};

use super::{
    backfill, budget, close, heartbeat, leave, ledger, ready, release, say, session, throttle, waiting,
};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef};
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::vocabulary::{Form, TopicId};

impl Fanout {
    pub(crate) fn close(&mut self, key: SessionKey, code: CloseCode) {
        close::close(self, key, code);
    }

    pub(crate) fn queue(&mut self, key: SessionKey) {
        ready::queue(self, key);
    }

    pub(crate) fn mark(&mut self, at: SubRef) {
        ready::mark(self, at);
    }

    pub(crate) fn reply(&mut self, key: SessionKey, bytes: &[u8]) {
        say::reply(self, key, bytes);
    }

    pub(crate) fn say(&mut self, key: SessionKey, message: &Message) {
        say::say(self, key, message);
    }

    pub(crate) fn reopen(&mut self, key: SessionKey, now: u64) {
        session::reopen(self, key, now);
    }

    pub(crate) fn ask_backfills(&mut self, key: SessionKey, now: u64) {
        backfill::ask_backfills(self, key, now);
    }

    pub(crate) fn weigh_session(&mut self, key: SessionKey) {
        close::weigh_session(self, key);
    }

    pub(crate) fn set_sub_rate(&mut self, key: SessionKey, id: TopicId, per_second: f64) {
        throttle::set_sub_rate(self, key, id, per_second);
    }

    pub(crate) fn tell_feeds(&mut self, key: SessionKey, now: u64) {
        heartbeat::tell_feeds(self, key, now);
    }

    pub(crate) fn let_idle(&mut self, id: TopicId, now: u64) {
        release::let_idle(self, id, now);
    }

    pub(crate) fn forget_unused(&mut self, id: TopicId) {
        release::forget_unused(self, id);
    }

    pub(crate) fn forget_waiter(&mut self, key: SessionKey, number: u32, topics: &[TopicId]) {
        waiting::forget_waiter(self, key, number, topics);
    }

    pub(crate) fn subscriptions_left(&self) -> usize {
        budget::subscriptions_left(self)
    }

    pub(crate) fn ledger(&self, session: &Session, id: u64) -> Ledger {
        ledger::ledger(self, session, id)
    }

    pub(crate) fn take_leave(
        &mut self,
        key: SessionKey,
        sub: &Sub,
        form: &Form,
        now: u64,
    ) -> Option<LedgerEntry> {
        leave::take_leave(self, key, sub, form, now)
    }
}
