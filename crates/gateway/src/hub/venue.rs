//! Venues: their beats, their catalogues, and what clients are told of their feeds.

use std::sync::Arc;

use prost::Message as _;
use tickwire_bus::Subject;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, FeedState, Message, Record, is_venue, pb};

use super::answered::{info_of, records};
use super::ask::retry_ns;
use super::follow::Followed;
use super::{ALL_SHARDS, Action, DEFINITIONS, Hub};
use crate::engine::{Event, FeedStatus, InstrumentInfo, TopicId, VenueIndex};

#[derive(Debug)]
pub(super) struct Venue {
    pub(super) name: Arc<str>,
    epoch: u64,
    /// As the ingester says.
    state: FeedState,
    reason: Arc<str>,
    heard: u64,
    is_down: bool,
    /// It was not heard since the bus came back.
    awaits_beat: bool,
    /// Topics that are not yet known to be up to date after an outage.
    pub(super) recovering: usize,
    catalogue: Catalogue,
    /// Its instruments were told once: a name that is not among them is none.
    is_catalogued: bool,
    attempts: u32,
    /// What the shards were told last.
    pub(super) told: Option<(FeedState, Arc<str>)>,
}

/// Whether the instruments of a venue are known.
#[derive(Clone, Copy, Debug)]
enum Catalogue {
    Known,
    /// To be asked for at this time.
    Due(u64),
    /// With whether it must be asked for once more.
    Asked {
        again: bool,
    },
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
            awaits_beat: false,
            recovering: 0,
            catalogue: Catalogue::Due(0),
            is_catalogued: false,
            attempts: 0,
            told: None,
        }
    }

    pub(super) fn on_time(&mut self, now: u64, down_after: u64) {
        self.is_down = now.saturating_sub(self.heard) > down_after;
    }

    /// The bus came back: the ingester gets its time to be heard again.
    pub(super) fn on_connection(&mut self, now: u64) {
        (self.heard, self.is_down, self.awaits_beat) = (now, false, true);
    }

    pub(super) fn ask_catalogue_now(&mut self) {
        self.catalogue = match self.catalogue {
            Catalogue::Asked { .. } => Catalogue::Asked { again: true },
            _ => Catalogue::Due(0),
        };
    }

    /// Whether the catalogue is to be asked for now; it is under way then.
    pub(super) fn take_catalogue_due(&mut self, now: u64) -> bool {
        let is_due = matches!(self.catalogue, Catalogue::Due(at) if at <= now);
        if is_due {
            self.catalogue = Catalogue::Asked { again: false };
        }
        is_due
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
        let is_back = std::mem::take(&mut venue.is_down);
        (venue.heard, venue.awaits_beat) = (now, false);
        venue.state = beat.state();
        if *venue.reason != *beat.reason {
            venue.reason = beat.reason.as_str().into();
        }
        let is_first = venue.epoch == 0;
        let is_new = beat.epoch > venue.epoch;
        venue.epoch = beat.epoch;
        let index = VenueIndex(at as u16);
        if (is_new || is_back) && !is_first {
            // Replaced, or its beats were lost, and with them what they said of the ends of topics.
            self.recover(Some(index));
        }
        for position in &beat.positions {
            let Some(instrument) = self.by_id.get(&position.instrument).copied() else {
                // Its definition did not come.
                self.venues[at].ask_catalogue_now();
                continue;
            };
            if self.instruments[instrument as usize].venue != index || position.epoch > beat.epoch {
                self.counts.malformed += 1;
                continue;
            }
            let id = TopicId::new(instrument, position.channel());
            if let Some(topic) = self.topics.get_mut(id) {
                topic.on_position(position.epoch, position.sequence, now);
                self.note(id);
            }
        }
        self.tell_feed(index);
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
        let is_again = matches!(self.venues[at].catalogue, Catalogue::Asked { again: true });
        self.venues[at].catalogue = if is_again { Catalogue::Due(0) } else { Catalogue::Known };
        let answer =
            answer.and_then(|answer| if answer.error.is_empty() { Ok(answer) } else { Err(answer.error) });
        match answer.and_then(|answer| records(answer.frame)) {
            Ok(records) => {
                self.venues[at].attempts = 0;
                self.venues[at].is_catalogued = true;
                for record in records {
                    self.define(&record);
                }
                self.tell_feed(venue);
            }
            Err(reason) => {
                let venue = &mut self.venues[at];
                tracing::debug!(venue = %venue.name, reason, "no catalogue yet");
                if !is_again {
                    venue.catalogue = Catalogue::Due(now + retry_ns(venue.attempts));
                }
                venue.attempts = venue.attempts.saturating_add(1);
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
        if let Some(owner) = self.by_id.get(&info.id).copied()
            && known != Some(owner)
            && self.is_taken(&info, owner)
        {
            return;
        }
        if let Some(known) = known {
            info.index = known;
            let before = &self.instruments[known as usize];
            if before.id == info.id && before.scale == info.scale {
                self.by_id.insert(info.id, known);
                self.ask_anew(known);
                return;
            }
            if self.by_id.get(&before.id) == Some(&known) {
                self.by_id.remove(&before.id);
            }
        } else if self.instruments.len() >= self.limits.instruments {
            self.counts.malformed += 1;
            return;
        }
        let info = Arc::new(info);
        self.by_id.insert(info.id, info.index);
        self.by_name.insert(info.name.clone(), info.index);
        self.events.push((ALL_SHARDS, Event::Instrument(Arc::clone(&info))));
        if known.is_some() {
            self.instruments[info.index as usize] = Arc::clone(&info);
            self.restart(&info);
        } else {
            self.instruments.push(info);
        }
    }

    /// Whether the id belongs to an instrument of another venue. One of the same venue gives it up: an ingester that
    /// was restarted with other symbols may number them in another way.
    fn is_taken(&mut self, info: &InstrumentInfo, owner: u32) -> bool {
        let owner = &self.instruments[owner as usize];
        if owner.venue == info.venue {
            return false;
        }
        if self.conflicts.len() < self.limits.instruments && self.conflicts.insert(info.id) {
            let (symbol, owner) = (&info.scale.symbol, &owner.scale.symbol);
            tracing::error!(
                instrument = info.id, %symbol, %owner,
                "two instruments have the same id; give their ingesters different `instrument_id_base`; ignored"
            );
        }
        true
    }

    /// An instrument that was asked for in vain may be there now.
    fn ask_anew(&mut self, instrument: u32) {
        for channel in Channel::ALL {
            let id = TopicId::new(instrument, channel);
            if let Some(topic) = self.topics.get_mut(id).filter(|topic| topic.is_waiting()) {
                topic.ask_anew();
                self.note(id);
            }
        }
    }

    /// Follows the topics of an instrument from the start: what was told of it no longer means anything.
    fn restart(&mut self, info: &Arc<InstrumentInfo>) {
        for channel in Channel::ALL {
            let id = TopicId::new(info.index, channel);
            self.recovered(id);
            if let Some(topic) = self.topics.get_mut(id) {
                let shards = topic.shards;
                *topic = Followed::new(Arc::clone(info), channel, &self.room);
                topic.shards = shards;
                self.note(id);
            }
        }
    }

    /// Tells all shards the states of all feeds that changed.
    pub(super) fn tell_feeds(&mut self) {
        for at in 0..self.venues.len() as u16 {
            self.tell_feed(VenueIndex(at));
        }
    }

    /// Tells all shards the state of a feed, if it is another than before.
    pub(super) fn tell_feed(&mut self, index: VenueIndex) {
        let now_down = self.bus_down.clone();
        let venue = &mut self.venues[usize::from(index.0)];
        let state = if let Some(reason) = now_down {
            (FeedState::Down, reason)
        } else if venue.is_down {
            (FeedState::Down, "the ingester is not heard".into())
        } else if (venue.recovering > 0 || venue.awaits_beat) && venue.state == FeedState::Live {
            (FeedState::Stale, "catching up after an outage".into())
        } else if !venue.is_catalogued && venue.state == FeedState::Live {
            (FeedState::Stale, "its instruments are not known yet".into())
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
