//! The instruments that were chosen from a venue's list, and the topics of each.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::{Listing, Roster};
use tickwire_wire::{Channel, Instrument, TradingState};

use crate::selection::Selection;
use crate::venue::{Said, Topic, TopicChanges, TopicId};

/// The time within which quotes and changes of depth come as a rule.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(30);
/// Trades of a quiet symbol are so much rarer.
pub(crate) const TRADES_ARE_RARER: u32 = 20;
/// Stands for the topic of a response about a symbol that ended meanwhile: no topic ever has this number.
pub(crate) const ENDED: TopicId = TopicId(u32::MAX);

/// The way in which a channel of each instrument is subscribed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) channel: Channel,
    /// The venue's name of the channel.
    pub(crate) name: &'static str,
    pub(crate) silent_after: Duration,
}

/// The way in which a venue's list is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) venue: &'static str,
    /// Returns which state the venue's words mean.
    pub(crate) state: fn(&str) -> TradingState,
}

/// The instruments that were chosen from a venue's list, and the topics of each. All topics are on the venue's only route.
#[derive(Debug)]
pub(crate) struct Listed {
    selection: Selection,
    plans: Vec<Plan>,
    instruments: BTreeMap<String, Instrument>,
    topics: HashMap<String, Vec<(Channel, TopicId)>>,
    next_topic: u32,
    notes: Vec<String>,
}

impl Listed {
    pub(crate) fn new(symbols: &[String], plans: Vec<Plan>) -> Self {
        Self {
            selection: Selection::new(symbols),
            plans,
            instruments: BTreeMap::new(),
            topics: HashMap::new(),
            next_topic: 0,
            notes: Vec::new(),
        }
    }

    /// Takes the venue's list: events define what is new and end what is not listed any more, or closed.
    pub(crate) fn take<B, K: Default>(
        &mut self,
        reading: Reading,
        all: Vec<Listing>,
        roster: &mut Roster<B, K>,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        let count = all.len();
        let (mut chosen, mut states) = (BTreeMap::new(), Vec::new());
        for Listing { definition, status } in all {
            let symbol = &definition.symbol;
            let is_wanted = self.selection.is_named(symbol) || self.selection.is_meant(symbol);
            let state = (reading.state)(&status);
            if is_wanted && state != TradingState::Closed {
                states.push((symbol.clone(), status, state));
                chosen.insert(symbol.clone(), definition);
            }
        }
        if chosen.is_empty() {
            let meant: Vec<_> = self.selection.texts().collect();
            return Err(format!("none of its {count} symbols is one of {}", meant.join(", ")));
        }
        if self.instruments.is_empty() {
            let missing: Vec<_> = self.selection.names().filter(|name| !chosen.contains_key(*name)).collect();
            if !missing.is_empty() {
                self.notes.push(format!("{} does not list {}", reading.venue, missing.join(", ")));
            }
        }
        let mut changes = TopicChanges::default();
        for symbol in self.instruments.keys().filter(|symbol| !chosen.contains_key(*symbol)) {
            let topics = self.topics.remove(symbol).unwrap_or_default();
            changes.ended.extend(topics.into_iter().map(|(_, topic)| topic));
            events.extend(roster.end(symbol).map(|index| FeedEvent::End { index }));
        }
        self.instruments.retain(|symbol, _| chosen.contains_key(symbol));
        for (symbol, definition) in chosen {
            let known = self.instruments.insert(symbol.clone(), definition.clone());
            if known.as_ref() == Some(&definition) {
                continue;
            }
            let scale = |of: &Instrument| (of.price_decimals, of.size_decimals);
            let is_same_scale = known.is_some_and(|known| scale(&known) == scale(&definition));
            let index = roster.define(&definition);
            events.push(FeedEvent::Define { index, definition });
            if !is_same_scale {
                // What comes in another scale goes on from nothing that was: snapshots are in the streams, which begin anew.
                let topics = self.topics.remove(&symbol).unwrap_or_default();
                changes.ended.extend(topics.into_iter().map(|(_, topic)| topic));
                changes.added.extend(self.subscribe_to(&symbol, index));
            }
        }
        for (symbol, words, state) in states {
            roster.status(&symbol, &words, state, receive_time, events);
        }
        Ok(changes)
    }

    fn subscribe_to(&mut self, symbol: &str, index: u32) -> Vec<Topic> {
        let mut topics = Vec::new();
        for plan in &self.plans {
            let id = TopicId(self.next_topic);
            self.next_topic += 1;
            self.topics.entry(symbol.to_owned()).or_default().push((plan.channel, id));
            topics.push(Topic {
                id,
                route: 0,
                batch: plan.channel as u32,
                name: format!("{} {symbol}", plan.name),
                index,
                symbol: symbol.to_owned(),
                channel: plan.channel,
                silent_after: plan.silent_after,
            });
        }
        topics
    }

    /// Returns whether no list was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.instruments.is_empty()
    }

    /// Returns the topic of a channel of a symbol; none where it ended.
    pub(crate) fn topic(&self, channel: Channel, symbol: &str) -> Option<TopicId> {
        let topics = self.topics.get(symbol)?;
        topics.iter().find(|(known, _)| *known == channel).map(|(_, topic)| *topic)
    }

    /// Returns what data of a channel of a symbol means; nothing where that ended.
    pub(crate) fn data(&self, channel: Channel, symbol: &str) -> Said {
        self.topic(channel, symbol).map_or(Said::Nothing, Said::Data)
    }

    /// Returns what a wrong book of a symbol means.
    pub(crate) fn broken(&self, symbol: &str, reason: Option<String>) -> Said {
        self.topic(Channel::Book, symbol).map_or(Said::Nothing, |topic| Said::Broken(topic, reason))
    }

    /// Returns what a change of a book that is not there means.
    pub(crate) fn no_book(&self, symbol: &str) -> Said {
        self.topic(Channel::Book, symbol).map_or(Said::Nothing, Said::NoBook)
    }

    /// Returns the channel that the venue names so.
    pub(crate) fn channel(&self, name: &str) -> Option<Channel> {
        self.plans.iter().find(|plan| plan.name == name).map(|plan| plan.channel)
    }

    /// Returns the venue's name of a channel.
    pub(crate) fn name(&self, channel: Channel) -> &'static str {
        self.plans.iter().find(|plan| plan.channel == channel).map_or("", |plan| plan.name)
    }

    /// Takes the words for the log since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}
