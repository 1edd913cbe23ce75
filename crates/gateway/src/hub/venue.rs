//! Venues: their beats, their catalogues, and what clients are told of their feeds.

use std::sync::Arc;

use prost::Message as _;
use tickwire_bus::Subject;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, FeedState, Message, Record, is_venue, pb};

use super::{ALL_SHARDS, Action, DEFINITIONS, Hub, RETRY_NS_MAX, RETRY_NS_MIN, info_of, records};
use crate::engine::{Event, FeedStatus, TopicId, VenueIndex};

#[derive(Debug)]
pub(super) struct Venue {
    pub(super) name: Arc<str>,
    epoch: u64,
    /// As the ingester says.
    state: FeedState,
    reason: Arc<str>,
    heard: u64,
    is_down: bool,
    /// Topics that are not yet known to be up to date after an outage.
    pub(super) recovering: usize,
    pub(super) ask_catalogue: bool,
    pub(super) asking_catalogue: bool,
    pub(super) ask_after: u64,
    attempts: u32,
    /// What the shards were told last.
    pub(super) told: Option<(FeedState, Arc<str>)>,
}

impl Venue {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            epoch: 0,
            state: FeedState::Unknown,
            reason: "".into(),
            heard: 0,
            is_down: false,
            recovering: 0,
            ask_catalogue: true,
            asking_catalogue: false,
            ask_after: 0,
            attempts: 0,
            told: None,
        }
    }

    pub(super) fn on_time(&mut self, now: u64, down_after: u64) {
        self.is_down = now.saturating_sub(self.heard) > down_after;
    }
}

impl Hub {
    pub(super) fn on_beat(&mut self, payload: &[u8], now: u64) {
        let Ok(beat) = pb::Beat::decode(payload) else {
            self.counts.malformed += 1;
            return;
        };
        let Some(at) = self.venue(&beat.venue) else { return };
        let venue = &mut self.venues[at];
        if beat.epoch < venue.epoch {
            return;
        }
        venue.heard = now;
        venue.is_down = false;
        venue.state = beat.state();
        if *venue.reason != *beat.reason {
            venue.reason = beat.reason.as_str().into();
        }
        let is_new = beat.epoch > venue.epoch;
        if is_new {
            let is_first = venue.epoch == 0;
            venue.epoch = beat.epoch;
            venue.ask_catalogue = true;
            venue.ask_after = 0;
            if !is_first {
                self.recover_venue(VenueIndex(at as u16));
            }
        }
        for position in &beat.positions {
            let Some(index) = self.by_id.get(&position.instrument) else { continue };
            let id = TopicId::new(*index, position.channel());
            if let Some(topic) = self.topics.get_mut(&id) {
                topic.on_position(position.epoch, position.sequence, now);
            }
        }
        self.tell_feed(VenueIndex(at as u16));
    }

    /// The ingester of a venue was replaced: every topic is compared with what the new one has.
    fn recover_venue(&mut self, venue: VenueIndex) {
        for topic in self.topics.values_mut().filter(|topic| topic.info.venue == venue) {
            topic.ask_now();
            if !topic.recovering {
                topic.recovering = true;
                self.venues[usize::from(venue.0)].recovering += 1;
            }
        }
    }

    /// Index of the venue, which is new where it was not known.
    fn venue(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.venues.iter().position(|venue| &*venue.name == name) {
            return Some(at);
        }
        if !is_venue(name) || self.venues.len() >= self.limits.venues {
            self.counts.malformed += 1;
            return None;
        }
        let at = self.venues.len();
        self.venues.push(Venue::new(name));
        let definitions = Subject::data_all_symbols(name, Channel::Instrument.name());
        self.actions.extend(definitions.map(|subject| Action::Subscribe(subject, DEFINITIONS | at as u64)));
        Some(at)
    }

    pub(super) fn on_catalogue(&mut self, venue: VenueIndex, answer: Result<pb::Answer, String>, now: u64) {
        let at = usize::from(venue.0);
        self.venues[at].asking_catalogue = false;
        let answer =
            answer.and_then(|answer| if answer.error.is_empty() { Ok(answer) } else { Err(answer.error) });
        match answer {
            Ok(answer) => {
                self.venues[at].attempts = 0;
                for record in records(answer.frame) {
                    self.define(&record);
                }
                self.tell_feed(venue);
            }
            Err(reason) => {
                let venue = &mut self.venues[at];
                tracing::debug!(venue = %venue.name, reason, "no catalogue yet");
                venue.ask_catalogue = true;
                venue.ask_after = now + (RETRY_NS_MIN << venue.attempts.min(16)).min(RETRY_NS_MAX);
                venue.attempts += 1;
            }
        }
    }

    pub(super) fn on_definitions(&mut self, payload: &[u8]) {
        let Ok((header, records)) = BusHeader::parse(payload) else {
            self.counts.malformed += 1;
            return;
        };
        for message in Batch::new(header.encoding, records) {
            match message {
                Ok(Message::Record(record)) => self.define(&record),
                Ok(_) => {}
                Err(_) => self.counts.malformed += 1,
            }
        }
    }

    /// Takes up an instrument, or what changed of it.
    fn define(&mut self, record: &Record) {
        let Body::Instrument(definition) = &record.body else { return };
        let Some(venue) = self.venue(&definition.venue) else { return };
        let index = self.instruments.len() as u32;
        let Some(mut info) = info_of(index, VenueIndex(venue as u16), record) else { return };
        let known = self.by_name.get(&info.name).copied();
        if let Some(owner) = self.by_id.get(&info.id)
            && known != Some(*owner)
        {
            let owner = &self.instruments[*owner as usize].scale.symbol;
            tracing::error!(
                instrument = info.id, symbol = %info.scale.symbol, %owner,
                "two instruments have the same id; give their ingesters different `instrument_id_base`; ignored"
            );
            return;
        }
        if let Some(known) = known {
            let before = &self.instruments[known as usize];
            if before.id == info.id && before.scale == info.scale {
                return;
            }
            info.index = known;
        } else if self.instruments.len() >= self.limits.instruments {
            self.counts.malformed += 1;
            return;
        }
        let info = Arc::new(info);
        self.by_id.insert(info.id, info.index);
        self.by_name.insert(info.name.clone(), info.index);
        if known.is_some() {
            self.instruments[info.index as usize] = Arc::clone(&info);
            for topic in self.topics.values_mut().filter(|topic| topic.info.index == info.index) {
                topic.info = Arc::clone(&info);
            }
        } else {
            self.instruments.push(Arc::clone(&info));
        }
        self.events.push((ALL_SHARDS, Event::Instrument(info)));
    }

    /// Tells all shards the state of a feed, if it is another than before.
    pub(super) fn tell_feed(&mut self, index: VenueIndex) {
        let now_down = self.bus_down.clone();
        let venue = &mut self.venues[usize::from(index.0)];
        let state = if let Some(reason) = now_down {
            (FeedState::Down, reason)
        } else if venue.is_down {
            (FeedState::Down, "the ingester is not heard".into())
        } else if venue.recovering > 0 && venue.state == FeedState::Live {
            (FeedState::Stale, "catching up after an outage".into())
        } else {
            (venue.state, Arc::clone(&venue.reason))
        };
        if venue.told.as_ref() == Some(&state) {
            return;
        }
        let status = FeedStatus {
            venue: index,
            name: Arc::clone(&venue.name),
            state: state.0,
            since: venue.heard,
            reason: Arc::clone(&state.1),
        };
        tracing::info!(venue = %venue.name, state = state.0.as_str_name(), reason = %state.1, "feed");
        venue.told = Some(state);
        self.events.push((ALL_SHARDS, Event::Feed(Arc::new(status))));
    }
}
