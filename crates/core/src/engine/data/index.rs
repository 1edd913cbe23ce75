//! Indexes, so that nothing has to be scanned: symbols of a venue, sessions by their ids, sessions that see a venue,
//! sessions that wait for a topic.

use std::collections::{BTreeSet, HashMap};

use super::by_id::ById;
use super::holders::Holders;
use super::key::SessionKey;
use crate::vocabulary::{TopicId, VenueIndex, View};

/// The names of one venue.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Its place among the venues, once its feed was heard of.
    pub(crate) venue: Option<VenueIndex>,
    /// When it was first heard of, or the first of its instruments was listed, in nanoseconds since the Unix epoch. The names of a
    /// delayed view do not have it.
    pub(crate) since: u64,
    by_symbol: HashMap<String, u32>,
    /// Instruments by the symbol in small letters, for those who misspell it.
    folded: HashMap<String, u32>,
    /// The indexes of all instruments.
    all: BTreeSet<u32>,
}

impl Names {
    /// Begins the names of a venue that is heard of now.
    pub(crate) fn new(now: u64) -> Self {
        Self { since: now, ..Self::default() }
    }

    pub(crate) fn insert(&mut self, symbol: &str, index: u32) {
        self.folded.insert(symbol.to_ascii_lowercase(), index);
        self.all.insert(index);
        self.by_symbol.insert(symbol.to_owned(), index);
    }

    pub(crate) fn remove(&mut self, symbol: &str, index: u32) {
        if self.by_symbol.get(symbol) == Some(&index) {
            self.by_symbol.remove(symbol);
        }
        let folded = symbol.to_ascii_lowercase();
        if self.folded.get(&folded) == Some(&index) {
            self.folded.remove(&folded);
        }
        self.all.remove(&index);
    }

    pub(crate) fn get(&self, symbol: &str) -> Option<u32> {
        self.by_symbol.get(symbol).copied()
    }

    /// Returns an instrument whose symbol is written alike.
    pub(crate) fn alike(&self, symbol: &str) -> Option<u32> {
        self.folded.get(&symbol.to_ascii_lowercase()).copied()
    }

    /// Returns the indexes of all instruments, in order.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = u32> {
        self.all.iter().copied()
    }
}

/// A venue as a view shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) venue: VenueIndex,
    pub(crate) view: View,
}

/// Sessions by what they have to do with something.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// All sessions, in the order in which they were opened.
    pub(crate) by_id: ById,
    /// Sessions that have subscriptions to a venue, by the venue and the view.
    viewers: HashMap<Seen, BTreeSet<SessionKey>>,
    /// Sessions that asked for all of a venue, whatever the channel.
    wildcards: HashMap<String, BTreeSet<SessionKey>>,
    /// Sessions, and which of their pending subscribes, that have not been granted a topic yet.
    waiters: HashMap<TopicId, BTreeSet<(SessionKey, u32)>>,
    /// Those who hold views, the waiters among them.
    pub(crate) holders: Holders,
}

impl Index {
    pub(crate) fn sees(&mut self, key: SessionKey, seen: Seen) {
        self.viewers.entry(seen).or_default().insert(key);
    }

    pub(crate) fn sees_no_more(&mut self, key: SessionKey, seen: Seen) {
        if let Some(viewers) = self.viewers.get_mut(&seen) {
            viewers.remove(&key);
        }
    }

    pub(crate) fn viewers(&self, seen: Seen) -> Vec<SessionKey> {
        self.viewers.get(&seen).into_iter().flatten().copied().collect()
    }

    pub(crate) fn wants_all(&mut self, key: SessionKey, venue: &str) {
        match self.wildcards.get_mut(venue) {
            Some(sessions) => drop(sessions.insert(key)),
            None => drop(self.wildcards.insert(venue.to_owned(), BTreeSet::from([key]))),
        }
    }

    pub(crate) fn wants_all_no_more(&mut self, key: SessionKey, venue: &str) {
        if let Some(sessions) = self.wildcards.get_mut(venue) {
            sessions.remove(&key);
            if sessions.is_empty() {
                self.wildcards.remove(venue);
            }
        }
    }

    pub(crate) fn wanting_all(&self, venue: &str) -> Vec<SessionKey> {
        self.wildcards.get(venue).into_iter().flatten().copied().collect()
    }

    pub(crate) fn waits(&mut self, key: SessionKey, pending: u32, topic: TopicId) {
        if self.waiters.entry(topic).or_default().insert((key, pending)) {
            self.holders.take(topic.view());
        }
    }

    pub(crate) fn waits_no_more(&mut self, key: SessionKey, pending: u32, topic: TopicId) {
        if let Some(waiters) = self.waiters.get_mut(&topic) {
            if waiters.remove(&(key, pending)) {
                self.holders.give_back(topic.view());
            }
            if waiters.is_empty() {
                self.waiters.remove(&topic);
            }
        }
    }

    pub(crate) fn is_waited_for(&self, topic: TopicId) -> bool {
        self.waiters.contains_key(&topic)
    }

    /// Returns the pending subscribes that wait for a topic.
    pub(crate) fn waiters(&self, topic: TopicId) -> Vec<(SessionKey, u32)> {
        self.waiters.get(&topic).into_iter().flatten().copied().collect()
    }
}
