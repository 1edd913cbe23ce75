//! The part of a session that most sessions have no need of, most of the time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::{Deref, DerefMut};

use tickwire_wire::{Channel, SymbolName};

use super::account::Account;
use super::backfill::Turns;
use super::decisions::Decisions;
use super::holders::Holders;
use super::resume::Positions;
use crate::engine::principal::{Principal, Sight};
use crate::vocabulary::{TopicId, View};

/// A `subscribe` whose topics are not all known yet.
#[derive(Debug)]
pub(crate) struct PendingSubscribe {
    /// The response, with the id of the command and what was refused at once.
    pub(crate) response: tickwire_wire::Subscribed,
    pub(crate) waiting: Vec<TopicId>,
    /// The granted updates per second of each.
    pub(crate) rate: f64,
    /// The same of those for which another rate was set meanwhile.
    pub(crate) own_rates: HashMap<TopicId, f64>,
    /// Those of `waiting` that are neither live nor given up.
    pub(crate) unknown: HashSet<TopicId>,
    pub(crate) deadline: u64,
}

impl PendingSubscribe {
    /// Returns the granted updates per second of a topic.
    pub(crate) fn rate_of(&self, topic: TopicId) -> f64 {
        self.own_rates.get(&topic).copied().unwrap_or(self.rate)
    }

    /// Changes the granted rates of all topics.
    pub(crate) fn change_rates(&mut self, change: impl Fn(f64) -> f64) {
        for rate in self.own_rates.values_mut().chain([&mut self.rate]) {
            *rate = change(*rate);
        }
    }
}

/// A way in which something is seen, and the view that shows it.
pub(crate) type Shown = (Sight, View);

/// A subscription to all of a venue.
#[derive(Debug)]
pub(crate) struct Wildcard {
    pub(crate) venue: String,
    pub(crate) channel: Channel,
    /// The granted updates per second of each subscription.
    pub(crate) rate: f64,
    /// The ways in which its session sees something of it, and the views that it holds for them.
    pub(crate) shown: Vec<Shown>,
}

impl Wildcard {
    pub(crate) fn is_of(&self, venue: &str, channel: Channel) -> bool {
        self.venue == venue && self.channel == channel
    }

    /// Takes the views that it holds.
    pub(crate) fn take(&self, holders: &mut Holders) {
        self.shown.iter().for_each(|(_, view)| holders.take(*view));
    }

    /// Gives them back.
    pub(crate) fn give_back(&self, holders: &mut Holders) {
        self.shown.iter().for_each(|(_, view)| holders.give_back(*view));
    }

    /// Returns the view by which it shows an instrument; `None` where the principal of its session may not see that, or there was no view
    /// for it.
    pub(crate) fn view_of(&self, principal: &Principal, name: &SymbolName) -> Option<View> {
        let sight = principal.sight(name, self.channel)?;
        self.shown.iter().find(|(known, _)| *known == sight).map(|(_, view)| *view)
    }
}

/// The parts that a session seldom has.
#[derive(Debug)]
pub(crate) struct Seldom {
    /// Pending subscribes by their numbers, which count up. They are boxed, because most sessions have one, once, and
    /// a node of the map holds eleven.
    pub(crate) pending: BTreeMap<u32, Box<PendingSubscribe>>,
    /// The count of topics that these wait for, all together.
    pub(crate) asked: u32,
    /// The positions at which the client left off before.
    pub(crate) resume: Option<Box<Positions>>,
    /// Subscriptions to instruments that ended: they end when nothing is owed to them any more.
    pub(crate) leaving: Vec<u32>,
    /// Subscriptions to all of a venue: what appears later is subscribed, too.
    pub(crate) wildcards: Vec<Wildcard>,
    /// The account of subscriptions that ended.
    pub(crate) ended: Account,
    /// Places of subscriptions that ended.
    pub(crate) free: Vec<u32>,
    /// Its subscriptions that go back further than their logs.
    pub(crate) turns: Turns,
    /// When it is closed, because the gateway goes away.
    pub(crate) close_at: Option<u64>,
    /// The payloads of the pongs that are owed, in the order of their pings.
    pub(crate) pongs: VecDeque<Box<[u8]>>,
    /// Whether it was told that its token will end.
    pub(crate) was_warned: bool,
    /// The decisions for it; they are made with the first one.
    pub(crate) decisions: Option<Box<Decisions>>,
}

impl Seldom {
    const NONE: Self = Self {
        pending: BTreeMap::new(),
        asked: 0,
        resume: None,
        leaving: Vec::new(),
        wildcards: Vec::new(),
        ended: Account::NONE,
        free: Vec::new(),
        turns: Turns::NONE,
        close_at: None,
        pongs: VecDeque::new(),
        was_warned: false,
        decisions: None,
    };

    /// Returns what the positions count for, in bytes.
    pub(crate) fn resume_bytes(&self) -> usize {
        self.resume.as_ref().map_or(0, |positions| positions.bytes())
    }

    fn is_none(&self) -> bool {
        self.pending.is_empty()
            && self.asked == 0
            && self.resume.is_none()
            && self.leaving.is_empty()
            && self.wildcards.is_empty()
            && self.ended == Account::NONE
            && self.free.is_empty()
            && self.turns.is_none()
            && self.close_at.is_none()
            && self.pongs.is_empty()
            && !self.was_warned
            && self.decisions.is_none()
    }
}

/// A [`Seldom`] that takes no memory while there is nothing in it. It is made when it is written to.
#[derive(Debug, Default)]
pub(crate) struct AtNeed(Option<Box<Seldom>>);

impl AtNeed {
    /// Returns it where it was made: to look into it, and to change what is in it.
    #[inline]
    pub(crate) fn made(&mut self) -> Option<&mut Seldom> {
        self.0.as_deref_mut()
    }

    /// Returns whether it was never made: then there is nothing in it.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Gives its memory back where there is nothing in it any more.
    pub(crate) fn release(&mut self) {
        self.0.take_if(|seldom| seldom.is_none());
    }
}

impl Deref for AtNeed {
    type Target = Seldom;

    fn deref(&self) -> &Seldom {
        static NONE: Seldom = Seldom::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for AtNeed {
    fn deref_mut(&mut self) -> &mut Seldom {
        self.0.get_or_insert_with(|| Box::new(Seldom::NONE))
    }
}
