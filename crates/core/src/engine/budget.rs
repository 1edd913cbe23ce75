//! What all topics and all sessions of a shard may hold together: its share of the process's memory.
//!
//! Logs: the sum is kept, and while it is above the share the longest of a few logs is cut, the one that grew among them.
//! So every step ends below the share, but for the newest records of each log, which stay. What a session still waited
//! for is announced as shed, as it is when it lags by more than one log holds.
//!
//! Private bytes: what waits for one session alone, its control lane, what its socket did not take, its resume vector.
//! The sum over sessions that are not being closed is kept; above the share, a session that holds more than its part of
//! it is closed. What that one still holds is gone soon: it is sent, or its connection is cut after a grace of seconds.

use tickwire_wire::{Channel, CloseCode};

use super::Engine;
use super::session::{Session, SessionKey};
use super::topic::Topic;
use crate::vocabulary::TopicId;

/// Logs that are looked at for one cut.
const LOOKED_AT: usize = 8;
/// Entries that stay in the log of a critical channel, whatever the budget.
const CRITICAL_KEPT: usize = 16;
/// What one write may carry when the share of sessions is used up.
const WRITE_BYTES_LEAST: usize = 1 << 10;
/// Sessions that hold less are not among those that may be closed for what others need, while there are any that hold more.
const HEAVY: usize = 4 << 10;

/// The sum of all logs of a shard, and where they are.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    total: usize,
    /// Levels of all books.
    levels: usize,
    /// Topics whose logs were not empty when they were last weighed.
    held: Vec<TopicId>,
    hand: usize,
}

impl LogBudget {
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn levels(&self) -> usize {
        self.levels
    }
}

/// What a topic's log counts for, and its place among those that count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weighed {
    bytes: usize,
    levels: usize,
    place: Option<u32>,
}

impl Topic {
    /// How many entries stay, whatever the budget.
    fn kept(&self) -> usize {
        match self.channel {
            // The book itself is kept beside the log; that it is lost is not.
            Channel::Book => usize::from(self.log.back().is_some_and(|newest| newest.update.is_gap())),
            channel if channel.is_critical() => CRITICAL_KEPT,
            _ => 1,
        }
    }

    fn can_be_cut(&self) -> bool {
        self.log.len() > self.kept()
    }
}

impl Engine {
    /// A topic's log may have grown: others, or it, may have to give.
    pub(super) fn weigh_log(&mut self, id: TopicId) {
        self.note_log(id);
        while self.logs.total > self.limits.log_bytes {
            let Some(longest) = self.longest_log(id) else { return };
            if let Some(topic) = self.topics[longest.0 as usize].as_deref_mut() {
                topic.cut_oldest();
            }
            self.note_log(longest);
        }
    }

    /// Brings the sum up to date with one log.
    fn note_log(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        let bytes = topic.log_bytes();
        let before = std::mem::replace(&mut topic.weighed.bytes, bytes);
        self.logs.total = self.logs.total + bytes - before;
        if topic.channel == Channel::Book {
            let levels = topic.book.bids().len() + topic.book.asks().len();
            let before = std::mem::replace(&mut topic.weighed.levels, levels);
            self.logs.levels = self.logs.levels + levels - before;
        }
        if bytes > 0 && topic.weighed.place.is_none() {
            topic.weighed.place = Some(self.logs.held.len() as u32);
            self.logs.held.push(id);
        }
    }

    /// The log of a topic is about to go.
    pub(super) fn forget_log(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        let weighed = std::mem::take(&mut topic.weighed);
        self.logs.total -= weighed.bytes;
        self.logs.levels -= weighed.levels;
        let Some(place) = weighed.place else { return };
        self.logs.held.swap_remove(place as usize);
        if let Some(moved) = self.logs.held.get(place as usize).copied()
            && let Some(moved) = self.topics[moved.0 as usize].as_deref_mut()
        {
            moved.weighed.place = Some(place);
        }
    }

    /// A book has changed. Where all of them have grown far beyond what is granted, those who take this one are closed, and
    /// it is given up: a part of it would be wrong.
    pub(super) fn weigh_book(&mut self, id: TopicId) {
        if self.logs.levels <= self.limits.book_levels_max() {
            return;
        }
        let Some(topic) = self.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        topic.give_up_book();
        for subscriber in topic.subscribers.clone() {
            self.close(subscriber.at.session, CloseCode::Internal);
        }
        self.note_log(id);
    }

    /// Levels of all books.
    pub fn book_levels(&self) -> usize {
        self.logs.levels()
    }

    /// Of some logs, this one among them, the longest that can be cut.
    fn longest_log(&mut self, id: TopicId) -> Option<TopicId> {
        let mut longest: Option<(usize, TopicId)> = None;
        let LogBudget { held, hand, .. } = &mut self.logs;
        for at in 0..=LOOKED_AT.min(held.len()) {
            let candidate = if at == 0 {
                id
            } else {
                *hand = (*hand + 1) % held.len();
                held[*hand]
            };
            let Some(topic) = self.topics.get(candidate.0 as usize).and_then(Option::as_deref) else {
                continue;
            };
            let bytes = topic.log_bytes();
            if topic.can_be_cut() && longest.is_none_or(|(most, _)| bytes > most) {
                longest = Some((bytes, candidate));
            }
        }
        longest.map(|(_, id)| id)
    }

    /// What a session holds alone may have changed. Above the share of all sessions, some are closed.
    pub(super) fn weigh_session(&mut self, key: SessionKey) {
        self.note_session(key);
        while self.private_bytes > self.limits.private_bytes {
            let fair = self.limits.private_bytes / self.sessions.len().max(1);
            let is_open = |session: &&Session| !session.is_ending();
            let held = self.sessions.get(key).filter(is_open).map_or(0, |session| session.private);
            let heaviest = self.heavy.last().map(|(_, key)| *key).filter(|_| held <= fair);
            let Some(greedy) = heaviest.or((held > 0).then_some(key)) else { return };
            self.close(greedy, CloseCode::SlowConsumer);
        }
    }

    /// Brings the sum up to date with one session.
    pub(super) fn note_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let resume = session.resume.as_ref().map_or(0, |positions| positions.bytes());
        let waits = session.control.len() + session.unsent_bytes + resume;
        let bytes = if session.is_ending() { 0 } else { waits };
        let before = std::mem::replace(&mut session.private, bytes);
        self.weighed(key, before, bytes);
    }

    /// What a session holds alone has changed.
    pub(super) fn weighed(&mut self, key: SessionKey, before: usize, after: usize) {
        self.private_bytes = self.private_bytes + after - before;
        if before == after {
            return;
        }
        if before >= HEAVY {
            self.heavy.remove(&(before, key));
        }
        if after >= HEAVY {
            self.heavy.insert((after, key));
        }
    }

    /// What one write may carry now.
    pub(super) fn write_budget(&self) -> usize {
        let left = self.limits.private_bytes.saturating_sub(self.private_bytes);
        self.limits.write_bytes.min(left.max(WRITE_BYTES_LEAST))
    }

    /// Subscriptions that may still be asked for.
    pub(super) fn subscriptions_left(&self) -> usize {
        self.limits.subscriptions.saturating_sub(self.subscribed + self.asked)
    }

    /// Bytes of all logs, counted anew, and those of them that stay whatever the budget. Looks at every topic.
    pub fn count_log_bytes(&self) -> (usize, usize) {
        let topics = self.topics.iter().flatten();
        topics.fold((0, 0), |(all, kept), topic| {
            (all + topic.log_bytes(), kept + topic.newest_bytes(topic.kept()))
        })
    }

    /// Bytes that wait for single sessions, those that are being closed excepted.
    pub fn private_bytes(&self) -> usize {
        self.private_bytes
    }

    /// Subscriptions, those that are not granted yet included.
    pub fn subscriptions(&self) -> usize {
        self.subscribed + self.asked
    }
}
