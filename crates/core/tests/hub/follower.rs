//! A shard that believes what it is told and checks that it was told so by the rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tickwire_wire::{Body, BookState, Channel, FeedState};

use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicId, TopicState, Update};

/// The records that any ingester ever published: symbol, channel, epoch, its number of the instrument, sequence number.
pub(crate) type Published = HashMap<(String, Channel, u64, u32, u64), Body>;

/// The known state of one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) position: (u64, u64),
    pub(crate) newest: BTreeMap<u64, Body>,
    pub(crate) book: BookState,
}

#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// The topics that are wanted; nothing while their first state is waited for.
    pub(crate) topics: HashMap<TopicId, Option<Known>>,
    pub(crate) feed: Option<FeedState>,
    /// The instruments by index.
    pub(crate) instruments: HashMap<u32, Arc<InstrumentInfo>>,
}

impl Follower {
    pub(crate) fn take(&mut self, event: &Event, published: &Published) {
        match event {
            Event::Feed(feed) => self.feed = Some(feed.state),
            Event::State(state) => {
                state.records.iter().for_each(|update| self.check(state.topic, update, published));
                self.start(state);
            }
            Event::Update(update) => {
                self.check(update.topic, update, published);
                self.go_on(update);
            }
            Event::Instrument(info) => {
                let before = self.instruments.insert(info.index, Arc::clone(info));
                assert!(before.is_none(), "an index is used again before it was let go");
                let mut ids: Vec<_> = self.instruments.values().map(|info| info.id).collect();
                ids.sort_unstable();
                assert!(ids.is_sorted_by(|a, b| a < b), "two instruments have one number: {ids:?}");
            }
            Event::Ended(ended) => {
                self.instruments.remove(&ended.instrument).expect("it was told before");
                self.topics.retain(|id, _| id.instrument_index() != ended.instrument);
            }
            Event::Unavailable { .. } | Event::Backfill(_) => {}
        }
    }

    pub(crate) fn index_of(&self, symbol: &str) -> Option<u32> {
        self.instruments.values().find(|info| info.name.symbol == symbol).map(|info| info.index)
    }

    /// Checks that what is told of an instrument was published of that one, under the decimals that it has here.
    fn check(&self, id: TopicId, update: &Update, published: &Published) {
        let info = &self.instruments[&id.instrument_index()];
        assert_eq!((update.topic, update.record().instrument), (id, info.id));
        let record = update.record();
        if id.channel() == Channel::Book || matches!(record.body, Body::Gap(_)) {
            return;
        }
        let is_it = published.iter().any(|((symbol, channel, epoch, _, sequence), body)| {
            *symbol == info.name.symbol
                && *channel == id.channel()
                && (*epoch, *sequence) == (update.epoch, update.last)
                && *body == record.body
        });
        assert!(is_it, "{record:?} was never published of {}", info.name);
    }

    fn start(&mut self, state: &TopicState) {
        let slot = self.topics.get_mut(&state.topic).expect("told of wanted topics only");
        let position = (state.epoch, state.sequence);
        if let Some(known) = slot {
            assert_eq!(known.position.0, state.epoch, "a new sequence is announced");
            assert!(known.position.1 <= position.1, "{:?} leads back from {:?}", position, known.position);
            if state.topic.channel().is_lossless() {
                assert_eq!(known.position, position, "a lossless channel does not jump");
            }
        }
        let mut known = Known { position, ..Known::default() };
        for update in &state.records {
            assert!(update.last <= state.sequence && update.epoch == state.epoch);
            let body = update.record().body.clone();
            assert!(!matches!(body, Body::Gap(_)), "a gap is no state");
            match &body {
                Body::Book(book) => {
                    known.book.apply(state.sequence, book).expect("a snapshot applies");
                }
                _ => {
                    known.newest.insert(update.record().conflation_key(), body);
                }
            }
        }
        *slot = Some(known);
    }

    fn go_on(&mut self, update: &Update) {
        let slot = self.topics.get_mut(&update.topic).expect("told of wanted topics only");
        let known = slot.as_mut().expect("a state comes before updates");
        let (epoch, sequence) = known.position;
        let channel = update.topic.channel();
        let keeps_numbers = channel.is_lossless() || channel == Channel::Book;
        let body = &update.record().body;
        if let Body::Gap(gap) = body {
            assert_eq!((gap.first_sequence, gap.last_sequence), (update.first, update.last));
            known.book.reset();
            if !channel.is_lossless() {
                known.newest.clear();
            }
            if update.last == 0 {
                assert!(update.epoch != epoch && update.first == sequence + 1, "{update:?} at {sequence}");
                *known = Known { position: (update.epoch, 0), ..Known::default() };
                return;
            }
        }
        assert_eq!(update.epoch, epoch, "a new sequence is announced");
        assert!(update.first <= update.last);
        if keeps_numbers {
            assert_eq!(update.first, sequence + 1, "{channel:?} is told without holes");
        } else {
            assert!(update.first > sequence, "{channel:?} is not told twice");
        }
        known.position.1 = update.last;
        match body {
            Body::Gap(_) => return,
            Body::Book(book) => {
                known.book.apply(update.last, book).expect("a change that is told applies");
            }
            _ => {
                known.newest.insert(update.record().conflation_key(), body.clone());
            }
        }
        assert_eq!(update.first, update.last);
    }
}
