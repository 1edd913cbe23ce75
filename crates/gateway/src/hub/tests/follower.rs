//! A shard that believes what it is told and checks that it was told so by the rules.

use std::collections::{BTreeMap, HashMap};

use tickwire_wire::{Body, BookState, Channel, FeedState};

use crate::engine::{Event, TopicId, TopicState, Update};

/// What is known of one topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) position: (u64, u64),
    pub(super) newest: BTreeMap<u64, Body>,
    pub(super) book: BookState,
}

#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Wanted topics; nothing while their first state is waited for.
    pub(super) topics: HashMap<TopicId, Option<Known>>,
    pub(super) feed: Option<FeedState>,
    /// Every record of a lossless channel that was told: topic, epoch, number.
    pub(super) delivered: Vec<(TopicId, u64, u64, Body)>,
}

pub(super) fn key(body: &Body) -> u64 {
    if let Body::Bar(bar) = body { bar.interval } else { 0 }
}

impl Follower {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Feed(feed) => self.feed = Some(feed.state),
            Event::State(state) => self.start(state),
            Event::Update(update) => self.go_on(update),
            Event::Instrument(_) | Event::Unavailable { .. } | Event::Backfill(_) => {}
        }
    }

    fn start(&mut self, state: &TopicState) {
        let slot = self.topics.get_mut(&state.topic).expect("told of wanted topics only");
        let position = (state.epoch, state.sequence);
        if let Some(known) = slot {
            assert_eq!(known.position.0, state.epoch, "a new numbering is announced");
            assert!(known.position <= position, "{:?} leads back from {:?}", position, known.position);
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
                    known.newest.insert(key(&body), body);
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
            if update.last == 0 {
                assert!(update.epoch > epoch && update.first == sequence + 1, "{update:?} at {sequence}");
                *known = Known { position: (update.epoch, 0), ..Known::default() };
                return;
            }
        }
        assert_eq!(update.epoch, epoch, "a new numbering is announced");
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
                known.newest.insert(key(body), body.clone());
            }
        }
        assert_eq!(update.first, update.last);
        if channel.is_lossless() {
            self.delivered.push((update.topic, epoch, update.last, body.clone()));
        }
    }
}
