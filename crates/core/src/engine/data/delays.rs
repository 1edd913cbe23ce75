//! The delays of a shard. For each there is a view of all topics, and a queue of what is not old enough for it yet.
//!
//! What arrives stands in the queue with the time at which it is due: its arrival and the delay. Whatever the view shows, its
//! names and the states of its feeds included, went through that queue; so nothing of it is younger.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tickwire_wire::{Body, SymbolName};

use super::index::Names;
use super::late::Late;
use crate::vocabulary::{FeedStatus, InstrumentInfo, TopicId, TopicState, Update, VenueIndex, View};

/// The bytes that an entry of a queue counts for beside its record's own.
const ENTRY_OVERHEAD: usize = 256;

/// The bytes that a level of a book in a state counts for.
const LEVEL_BYTES: usize = 16;

/// The most states of one feed that are remembered, for delays that begin later.
const PAST_FEEDS_MAX: usize = 64;

/// The most ends of instruments that are remembered, for those who may not know of them yet.
const PAST_ENDS_MAX: usize = 4096;

/// Something that is not old enough yet.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Update(Arc<Update>),
    State(Arc<TopicState>),
    /// A state behind records for which there was no room.
    Mended(Arc<TopicState>),
    Instrument(Arc<InstrumentInfo>),
    /// The end of the instrument with this index.
    Ended(u32),
    Feed(Arc<FeedStatus>),
}

impl Held {
    /// Returns the bytes that it counts for.
    pub(crate) fn bytes(&self) -> usize {
        let of_update = |update: &Update| match &update.record_if_decoded() {
            Some(Body::Book(book)) => (book.bids.len() + book.asks.len()) * LEVEL_BYTES,
            _ => 0,
        };
        ENTRY_OVERHEAD
            + match self {
                Self::Update(update) => update.source_bytes() + of_update(update),
                Self::State(state) | Self::Mended(state) => {
                    let of_record =
                        |update: &Arc<Update>| ENTRY_OVERHEAD + update.source_bytes() + of_update(update);
                    state.records.iter().map(of_record).sum()
                }
                Self::Instrument(_) | Self::Ended(_) | Self::Feed(_) => 0,
            }
    }
}

/// An entry of a queue.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Its place in the order in which everything was queued.
    pub(crate) order: u64,
    due: u64,
    pub(crate) held: Held,
}

/// One delay with its view; see the module.
#[derive(Debug)]
pub(crate) struct Delay {
    pub(crate) view: View,
    /// The age that everything has which the view shows, in nanoseconds, at least.
    pub(crate) age_ns: u64,
    /// When it began, in nanoseconds since the Unix epoch.
    pub(crate) began: u64,
    /// The records and events that arrived since, in order.
    queue: VecDeque<Queued>,
    /// The things that had arrived before something wanted them, by the time at which each is due and its place in the order.
    early: BTreeMap<(u64, u64), Held>,
    order: u64,
    /// The bytes that both count for.
    pub(crate) bytes: usize,
    /// The count of topics that the view has.
    pub(crate) topics: usize,
    /// The instruments of each venue as the view knows them, by the venue's name.
    pub(crate) names: HashMap<String, Names>,
    /// The names whose instruments ended, where the view does not show that yet, with how many of each.
    ending: HashMap<SymbolName, u32>,
    /// The states of feeds, as the view knows them, by the index of the venue.
    feeds: Vec<Option<Arc<FeedStatus>>>,
    /// The topics whose records are not queued now.
    pub(crate) cut: Vec<TopicId>,
}

impl Delay {
    fn new(view: View, age_ns: u64, now: u64) -> Self {
        Self {
            view,
            age_ns,
            began: now,
            queue: VecDeque::new(),
            early: BTreeMap::new(),
            order: 0,
            bytes: 0,
            topics: 0,
            names: HashMap::new(),
            ending: HashMap::new(),
            feeds: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// Returns the next place in the order.
    pub(crate) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Queues what arrived just now.
    pub(crate) fn push(&mut self, held: Held, now: u64) {
        let order = self.next_order();
        self.bytes += held.bytes();
        // The queue stays in order, also where a clock was set back.
        let due = now.saturating_add(self.age_ns).max(self.queue.back().map_or(0, |last| last.due));
        self.queue.push_back(Queued { order, due, held });
    }

    /// Queues what was so from `since` on.
    pub(crate) fn push_early(&mut self, held: Held, since: u64) {
        let order = self.next_order();
        self.bytes += held.bytes();
        self.early.insert((since.saturating_add(self.age_ns), order), held);
    }

    /// Queues the end of an instrument.
    pub(crate) fn push_end(&mut self, info: &InstrumentInfo, now: u64) {
        *self.ending.entry(info.name.clone()).or_default() += 1;
        self.push(Held::Ended(info.index), now);
    }

    /// Forgets what one of its topics has beside the queue.
    pub(crate) fn forget(&mut self, id: TopicId, late: &Late) {
        let behind = late.hole.iter().flat_map(|hole| &hole.waiting);
        self.bytes -= behind.map(|update| Held::Update(Arc::clone(update)).bytes()).sum::<usize>();
        self.cut.retain(|cut| *cut != id);
    }

    /// Takes in that the view shows the end of an instrument of this name.
    pub(crate) fn end_shown(&mut self, name: &SymbolName) {
        if let Some(count) = self.ending.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.ending.remove(name);
            }
        }
    }

    /// Returns whether an instrument of this name ended, and the view does not show that yet.
    pub(crate) fn is_ending(&self, name: &SymbolName) -> bool {
        self.ending.contains_key(name)
    }

    /// Returns when the next entry is due, in nanoseconds since the Unix epoch.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let early = self.early.first_key_value().map(|((due, _), _)| *due);
        self.queue.front().map(|first| first.due).into_iter().chain(early).min()
    }

    /// Takes the next entry that is due: of several, the one that was queued first.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Queued> {
        let first = self.queue.front().map_or((u64::MAX, u64::MAX), |first| (first.due, first.order));
        let popped = match self.early.first_entry().filter(|early| *early.key() < first) {
            Some(early) if early.key().0 <= now => {
                let ((due, order), held) = early.remove_entry();
                Queued { order, due, held }
            }
            Some(_) => return None,
            None => self.queue.pop_front_if(|first| first.due <= now)?,
        };
        self.bytes -= popped.held.bytes();
        Some(popped)
    }

    pub(crate) fn feed(&self, venue: VenueIndex) -> Option<&Arc<FeedStatus>> {
        self.feeds.get(usize::from(venue.0))?.as_ref()
    }

    pub(crate) fn set_feed(&mut self, feed: Arc<FeedStatus>) {
        let index = usize::from(feed.venue.0);
        if self.feeds.len() <= index {
            self.feeds.resize(index + 1, None);
        }
        self.feeds[index] = Some(feed);
    }
}

/// All delays of a shard, and what one that begins later has to know.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// The delays by the number of the view, less one.
    slots: Vec<Option<Box<Delay>>>,
    /// The states of each feed with their arrival, the oldest first, by the index of the venue.
    past_feeds: Vec<VecDeque<(u64, Arc<FeedStatus>)>>,
    /// Instruments that ended, with the time at which they did, the oldest first.
    past_ends: VecDeque<(u64, Arc<InstrumentInfo>)>,
    /// Records for which there was no room.
    pub(crate) dropped: u64,
    /// The views that wait for the history, by the tickets of their requests.
    pub(crate) holes: HashMap<u64, TopicId>,
}

impl Delays {
    pub(crate) fn get(&self, view: View) -> Option<&Delay> {
        self.slots.get(usize::from(view.number()).checked_sub(1)?)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, view: View) -> Option<&mut Delay> {
        self.slots.get_mut(usize::from(view.number()).checked_sub(1)?)?.as_deref_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Delay> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Delay> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// Returns the views of all delays.
    pub(crate) fn views(&self) -> impl Iterator<Item = View> + use<> {
        let views: Vec<_> = self.iter().map(|delay| delay.view).collect();
        views.into_iter()
    }

    /// Returns the delay of a view, in nanoseconds; 0 for the live one.
    pub(crate) fn delay_ns(&self, view: View) -> u64 {
        self.get(view).map_or(0, |delay| delay.age_ns)
    }

    /// Returns the view that is delayed by as much, or by as little more as there is one.
    pub(crate) fn enough(&self, delay_ns: u64) -> Option<View> {
        let enough = self.iter().filter(|delay| delay.age_ns >= delay_ns);
        enough.min_by_key(|delay| delay.age_ns).map(|delay| delay.view)
    }

    /// Begins a delay where there are fewer than `max`.
    pub(crate) fn add(&mut self, delay_ns: u64, max: usize, now: u64) -> Option<View> {
        if self.iter().count() >= max {
            return None;
        }
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let view = View::other(free as u8 + 1)?;
        if free == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[free] = Some(Box::new(Delay::new(view, delay_ns, now)));
        Some(view)
    }

    pub(crate) fn remove(&mut self, view: View) {
        if let Some(at) = usize::from(view.number()).checked_sub(1)
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = None;
        }
    }

    /// Returns the bytes that all queues count for.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|delay| delay.bytes).sum()
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.iter().filter_map(Delay::next_due).min()
    }

    /// Remembers the state of a feed, for delays that begin later.
    pub(crate) fn note_feed(&mut self, feed: &Arc<FeedStatus>, now: u64) {
        let index = usize::from(feed.venue.0);
        if self.past_feeds.len() <= index {
            self.past_feeds.resize_with(index + 1, VecDeque::new);
        }
        let past = &mut self.past_feeds[index];
        if past.len() == PAST_FEEDS_MAX {
            past.pop_front();
        }
        past.push_back((now, Arc::clone(feed)));
    }

    /// Remembers the end of an instrument, for those who may not know of it yet.
    pub(crate) fn note_end(&mut self, info: &Arc<InstrumentInfo>, now: u64) {
        if self.past_ends.len() == PAST_ENDS_MAX {
            self.past_ends.pop_front();
        }
        self.past_ends.push_back((now, Arc::clone(info)));
    }

    /// Returns whether there was an instrument of this name so long ago that has ended since.
    pub(crate) fn has_ended_since(&self, name: &SymbolName, delay_ns: u64, now: u64) -> bool {
        let is_old = |at: u64| at.saturating_add(delay_ns) <= now;
        let since = self.past_ends.iter().rev().take_while(|(at, _)| !is_old(*at));
        since.into_iter().any(|(_, info)| info.name == *name && is_old(info.listed.min(now)))
    }

    /// Tells a delay that begins what is known of feeds.
    pub(crate) fn begin_feeds(&mut self, view: View, now: u64) {
        let past: Vec<_> = self.past_feeds.iter().flatten().cloned().collect();
        let Some(delay) = self.get_mut(view) else { return };
        for (at, feed) in past {
            if at.saturating_add(delay.age_ns) <= now {
                delay.set_feed(feed);
            } else {
                delay.push_early(Held::Feed(feed), at);
            }
        }
    }
}

/// Returns the views in a set of views, beside the live one.
pub(crate) fn views_in(mut set: u64) -> impl Iterator<Item = View> {
    std::iter::from_fn(move || {
        let view = View::other(set.trailing_zeros() as u8)?;
        set &= !bit(view);
        Some(view)
    })
}

/// Returns the bit of a view in a set of views.
pub(crate) fn bit(view: View) -> u64 {
    1 << view.number()
}
