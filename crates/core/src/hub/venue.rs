//! Venues: their heartbeats, their catalogues, and what clients are told of their feeds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prost::Message as _;
use tickwire_wire::Subject;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, FeedState, Message, Record, SymbolName, is_venue, pb};

use super::ask::retry_ns;
use super::claims::{Claims, Heard};
use super::responded::{records, scale_of};
use super::{ALL_SHARDS, Action, DEFINITIONS, Hub};
use crate::vocabulary::{Ended, Event, FeedStatus, TopicId, VenueIndex};

#[derive(Debug)]
pub(super) struct Venue {
    pub(super) name: Arc<str>,
    /// The runs of its ingester, and which of them is followed.
    pub(super) claims: Claims,
    is_down: bool,
    /// It was not heard since the bus came back.
    awaits_heartbeat: bool,
    /// Topics that are not yet known to be up to date after an outage.
    pub(super) recovering: usize,
    catalogue: Catalogue,
    /// So many changes of the followed run's catalogue are known; 0 while none was told.
    revision: u64,
    /// Instruments by what the followed run calls them.
    numbers: HashMap<u32, u32>,
    listing: Listing,
    /// Newest change of the followed run's catalogue that was heard of.
    announced: u64,
    attempts: u32,
    /// What the shards were told last.
    pub(super) told: Option<(FeedState, Arc<str>)>,
    /// Other runs, as the log was told last.
    told_rivals: usize,
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

/// An end that its ingester told, with the last sequence numbers.
const DELISTED: &str = "the venue does not list it any more";
/// An end that is known only because the instrument is not listed: it ended under another run, or long ago. Records that came
/// just before it may have been lost without a gap.
const UNLISTED: &str =
    "its ingester does not list it any more; the last that was published of it may be missing";

/// What its instruments are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// They were never told.
    Unknown,
    /// They were told: a name that is not among them is none. The run that is followed now may have more.
    Some,
    /// The followed run told them while it was live: what is not among them ended.
    Whole,
}

impl Venue {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            claims: Claims::default(),
            is_down: false,
            awaits_heartbeat: false,
            recovering: 0,
            catalogue: Catalogue::Known,
            revision: 0,
            numbers: HashMap::new(),
            listing: Listing::Unknown,
            announced: 0,
            attempts: 0,
            told: None,
            told_rivals: 0,
        }
    }

    pub(super) fn on_time(&mut self, now: u64, down_after: u64) {
        let heard = self.claims.followed().map_or(0, |claim| claim.heard);
        self.is_down = now.saturating_sub(heard) > down_after;
        self.claims.forget_lost(now, 8 * down_after);
    }

    /// The bus came back: the ingester gets its time to be heard again.
    pub(super) fn on_connection(&mut self, now: u64) {
        self.claims.excuse(now);
        (self.is_down, self.awaits_heartbeat) = (false, true);
    }

    pub(super) fn ask_catalogue_now(&mut self) {
        self.catalogue = match self.catalogue {
            Catalogue::Asked { .. } => Catalogue::Asked { again: true },
            _ => Catalogue::Due(0),
        };
    }

    /// Whether the catalogue is to be asked for now; it is under way then.
    pub(super) fn take_catalogue_due(&mut self, now: u64) -> bool {
        let is_due = matches!(self.catalogue, Catalogue::Due(at) if at <= now) && self.claims.epoch() != 0;
        if is_due {
            self.catalogue = Catalogue::Asked { again: false };
        }
        is_due
    }
}

impl Hub {
    pub(super) fn on_heartbeat(&mut self, payload: &[u8], now: u64) {
        let Ok(heartbeat) = pb::FeedHeartbeat::decode(payload) else {
            self.counts.malformed += 1;
            return;
        };
        let Some(at) = self.venue(&heartbeat.venue).filter(|_| heartbeat.epoch != 0) else {
            self.counts.malformed += u64::from(heartbeat.epoch == 0);
            return;
        };
        let index = VenueIndex(at as u16);
        let heard = self.venues[at].claims.hear(&heartbeat, now);
        let is_other = self.choose_run(index, now);
        let venue = &mut self.venues[at];
        if venue.claims.epoch() != heartbeat.epoch {
            return;
        }
        let is_back = std::mem::take(&mut venue.is_down) && !is_other;
        venue.awaits_heartbeat = false;
        if is_back || heard == (Heard::Followed { has_missed: true }) {
            // Its heartbeats were lost, and with them what they said of the ends of topics.
            self.recover(Some(index));
        }
        let venue = &mut self.venues[at];
        let is_complete = venue.listing == Listing::Whole || heartbeat.state() != FeedState::Live;
        venue.announced = venue.announced.max(heartbeat.catalogue);
        let is_due = venue.announced > venue.revision || !is_complete;
        if is_due && matches!(venue.catalogue, Catalogue::Known) {
            // A definition did not come, or the run has only now come to know its instruments.
            venue.ask_catalogue_now();
        }
        for position in &heartbeat.positions {
            let Some(instrument) = self.venues[at].numbers.get(&position.instrument).copied() else {
                // Its definition is on its way, or it ended.
                continue;
            };
            if position.epoch != heartbeat.epoch || position.channel() == Channel::Unknown {
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

    /// Follows another run of a venue's ingester where the rule says so; returns whether it did.
    pub(super) fn choose_run(&mut self, index: VenueIndex, now: u64) -> bool {
        let down_after = self.limits.feed_down_ns;
        let venue = &mut self.venues[usize::from(index.0)];
        let before = venue.claims.epoch();
        let is_other = venue.claims.choose(now);
        let rivals = venue.claims.rivals(now, down_after);
        if rivals != venue.told_rivals {
            let (name, epoch) = (&venue.name, venue.claims.epoch());
            if rivals > venue.told_rivals {
                tracing::warn!(
                    venue = %name, epoch, rivals,
                    "several ingesters claim the venue at the same time; this gateway follows the one of this epoch"
                );
            } else if rivals == 0 {
                tracing::info!(venue = %name, epoch, "one ingester claims the venue again");
            }
            venue.told_rivals = rivals;
        }
        if !is_other {
            return false;
        }
        let epoch = venue.claims.epoch();
        (venue.revision, venue.announced) = (0, 0);
        venue.attempts = 0;
        if venue.listing == Listing::Whole {
            venue.listing = Listing::Some;
        }
        venue.numbers.clear();
        venue.ask_catalogue_now();
        tracing::info!(venue = %venue.name, epoch, before, "following a run of the ingester");
        self.instruments.forget_sources(index);
        if before != 0 {
            self.counts.takeovers += 1;
            for (_, topic) in self.topics.iter_mut().filter(|(_, topic)| topic.info.venue == index) {
                topic.on_takeover();
            }
            self.recover(Some(index));
        }
        true
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

    pub(super) fn on_catalogue(
        &mut self,
        index: VenueIndex,
        epoch: u64,
        response: Result<pb::FeedResponse, String>,
        now: u64,
    ) {
        let at = usize::from(index.0);
        let venue = &mut self.venues[at];
        let is_again = matches!(venue.catalogue, Catalogue::Asked { again: true });
        venue.catalogue = if is_again { Catalogue::Due(0) } else { Catalogue::Known };
        if venue.claims.epoch() != epoch {
            // Another run is followed meanwhile.
            venue.ask_catalogue_now();
            return;
        }
        let read = response.and_then(|response| Ok((records(&response.frame)?, response)));
        let (definitions, response) = match read {
            Ok(read) => read,
            Err(reason) => {
                if venue.attempts == 0 {
                    tracing::debug!(venue = %venue.name, reason, "no catalogue yet");
                } else if venue.attempts.is_power_of_two() {
                    tracing::warn!(venue = %venue.name, reason, attempts = venue.attempts, "no catalogue");
                }
                if !is_again {
                    venue.catalogue = Catalogue::Due(now + retry_ns(venue.attempts));
                }
                venue.attempts = venue.attempts.saturating_add(1);
                return;
            }
        };
        venue.attempts = 0;
        if response.catalogue < venue.revision {
            // Definitions overtook it.
            venue.ask_catalogue_now();
            return;
        }
        venue.revision = response.catalogue;
        if venue.announced > venue.revision {
            venue.ask_catalogue_now();
        }
        // An ingester that is starting may not know all of its instruments yet: it says so by not being live.
        let is_complete = response.state() == FeedState::Live;
        venue.listing = if is_complete { Listing::Whole } else { Listing::Some };
        let (ends, definitions): (Vec<_>, Vec<_>) = definitions.into_iter().partition(is_end);
        for record in &ends {
            if let Some(known) = self.venues[at].numbers.get(&record.instrument).copied() {
                self.settle_end(known, epoch, record);
            }
        }
        let ended: HashSet<_> = ends.iter().map(|record| record.instrument).collect();
        let listed: HashSet<_> = definitions.iter().map(|record| record.instrument).collect();
        let named: HashSet<_> = definitions.iter().filter_map(symbol_of).collect();
        // What ended goes first: its number may be that of another one.
        let gone = self
            .instruments
            .of_venue(index)
            .filter(|(_, source)| !listed.contains(source) && (is_complete || *source > 0));
        for (instrument, source) in gone.collect::<Vec<_>>() {
            // One that is listed under another number, or with other decimals, is dealt with where it is defined.
            let slot = self.instruments.get(instrument);
            if slot.is_some_and(|slot| !named.contains(&*slot.info.name.symbol)) {
                self.end(instrument, if ended.contains(&source) { DELISTED } else { UNLISTED }, false);
            }
        }
        for record in definitions {
            self.define(index, &record);
        }
        self.tell_feed(index);
    }

    /// Definitions as they are published, all of a venue.
    pub(super) fn on_definitions(&mut self, index: VenueIndex, payload: &[u8], arrived: u64, now: u64) {
        let Ok((header, records)) = BusHeader::parse(payload) else {
            self.counts.malformed += 1;
            return;
        };
        let at = usize::from(index.0);
        if self.venues.get(at).is_none_or(|venue| header.epoch != venue.claims.epoch()) {
            self.counts.foreign += 1;
            return;
        }
        for message in Batch::new(header.encoding, records) {
            let Ok(Message::Record(Record { body: Body::Instrument(definition), .. })) = &message else {
                self.counts.malformed += u64::from(message.is_err());
                continue;
            };
            let venue = &mut self.venues[at];
            venue.announced = venue.announced.max(definition.revision);
            if venue.revision == 0 || definition.revision <= venue.revision {
                // The catalogue is on its way, or had it already.
                continue;
            }
            if definition.revision > venue.revision + 1 {
                // A definition before it did not come.
                venue.ask_catalogue_now();
                continue;
            }
            venue.revision = definition.revision;
            // The same message may still be to come for who follows the topic: what it says is passed on before it takes effect.
            let known = self.venues[at].numbers.get(&header.instrument).copied();
            let topic = known.map(|known| TopicId::new(known, Channel::Instrument));
            if let Some(id) = topic.filter(|id| self.topics.get_mut(*id).is_some()) {
                self.on_records(id, payload, arrived, now);
            }
            if let Ok(Message::Record(record)) = message {
                self.define(index, &record);
            }
        }
    }

    /// Takes up an instrument, what changed of it, or its end, as the followed run of its venue says.
    fn define(&mut self, index: VenueIndex, record: &Record) {
        let Body::Instrument(definition) = &record.body else { return };
        let at = usize::from(index.0);
        let name = SymbolName { venue: definition.venue.clone(), symbol: definition.symbol.clone() };
        if *self.venues[at].name != *name.venue || SymbolName::parse(&name.to_string()).is_err() {
            self.counts.malformed += 1;
            return;
        }
        let source = record.instrument;
        let epoch = self.venues[at].claims.epoch();
        let scale = scale_of(&name, definition);
        if let Some(known) = self.venues[at].numbers.get(&source).copied() {
            let slot = self.instruments.get(known);
            let is_it = slot.is_some_and(|slot| slot.info.name == name && slot.info.scale == scale);
            if definition.ended {
                self.settle_end(known, epoch, record);
                self.end(known, DELISTED, false);
                return;
            }
            if is_it {
                self.ask_waiting(known);
                return;
            }
            // A run gives a number once. One that contradicts itself is believed in what it says last.
            tracing::error!(instrument = source, %name, "the ingester uses the number of another instrument");
            self.end(known, "its ingester gave its number away", true);
        }
        if definition.ended {
            return;
        }
        if let Some(known) = self.instruments.find(&name) {
            let Some(slot) = self.instruments.alive_mut(known) else { return };
            if slot.source == 0 && slot.info.scale == scale && slot.may_be(epoch, source) {
                // The run that is followed now has it, too.
                slot.name(epoch, source);
                self.venues[at].numbers.insert(source, known);
                self.ask_named(known);
                return;
            }
            let is_listed_anew = slot.info.scale == scale;
            let reason = if is_listed_anew { "it was listed anew" } else { "it has other decimals now" };
            self.end(known, reason, true);
        }
        if self.instruments.len() >= self.limits.instruments {
            self.counts.over_limit += 1;
            if self.counts.over_limit.is_power_of_two() {
                let (limit, refused) = (self.limits.instruments, self.counts.over_limit);
                tracing::error!(
                    %name, limit, refused,
                    "this gateway knows as many instruments as it may; raise gateway.limits.instruments"
                );
            }
            return;
        }
        if let Some(info) = self.instruments.add(index, name, scale, (epoch, source)) {
            self.venues[at].numbers.insert(source, info.index);
            self.events.push((ALL_SHARDS, Event::Instrument(info)));
        }
    }

    /// Announces what was lost of an instrument before its end: the last definition says how far each channel went.
    fn settle_end(&mut self, instrument: u32, epoch: u64, last: &Record) {
        let Body::Instrument(definition) = &last.body else { return };
        for (channel, last) in Channel::ALL.into_iter().zip(&definition.last_sequences) {
            if let Some(topic) = self.topics.get_mut(TopicId::new(instrument, channel)).filter(|_| *last > 0)
            {
                topic.on_end(epoch, *last, &mut self.events);
                self.counts.lost += std::mem::take(&mut topic.lost);
            }
        }
    }

    /// An instrument ended: shards are told, and let go of it. What was published of it before was passed on.
    fn end(&mut self, instrument: u32, reason: &str, may_retry: bool) {
        let Some(slot) = self.instruments.get(instrument) else { return };
        let (info, source) = (Arc::clone(&slot.info), slot.source);
        let venue = &mut self.venues[usize::from(info.venue.0)];
        if venue.numbers.get(&source) == Some(&instrument) {
            venue.numbers.remove(&source);
        }
        self.counts.ended += 1;
        tracing::info!(symbol = %info.scale.symbol, reason, "an instrument ended");
        let ended = Ended { instrument, reason: reason.into(), may_retry };
        self.events.push((ALL_SHARDS, Event::Ended(Arc::new(ended))));
        // Behind that: the feed may be live now that this one is not waited for any more.
        for channel in Channel::ALL {
            self.unfollow(TopicId::new(instrument, channel));
        }
        let shards = u64::MAX >> (64 - self.limits.shards.clamp(1, 64));
        self.instruments.end(instrument, shards);
    }

    /// The followed run named an instrument: its topics can be asked for.
    fn ask_named(&mut self, instrument: u32) {
        for channel in Channel::ALL {
            let id = TopicId::new(instrument, channel);
            if let Some(topic) = self.topics.get_mut(id) {
                topic.ask_anew();
                self.note(id);
            }
        }
    }

    /// An instrument that was asked for in vain may be there now.
    fn ask_waiting(&mut self, instrument: u32) {
        for channel in Channel::ALL {
            let id = TopicId::new(instrument, channel);
            if let Some(topic) = self.topics.get_mut(id).filter(|topic| topic.is_waiting()) {
                topic.ask_anew();
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
        let followed = venue.claims.followed();
        let (said, why, since) = match followed {
            Some(claim) => (claim.state, Arc::clone(&claim.reason), claim.heard),
            None => (FeedState::Unknown, "".into(), 0),
        };
        let state = if let Some(reason) = now_down {
            (FeedState::Down, reason)
        } else if venue.is_down {
            (FeedState::Down, "the ingester is not heard".into())
        } else if (venue.recovering > 0 || venue.awaits_heartbeat) && said == FeedState::Live {
            (FeedState::Stale, "catching up after an outage".into())
        } else if venue.listing == Listing::Unknown && said == FeedState::Live {
            (FeedState::Stale, "its instruments are not known yet".into())
        } else {
            (said, why)
        };
        if venue.told.as_ref() == Some(&state) {
            return;
        }
        let status = FeedStatus {
            venue: index,
            name: Arc::clone(&venue.name),
            state: state.0,
            since,
            reason: Arc::clone(&state.1),
        };
        tracing::info!(venue = %venue.name, state = state.0.as_str_name(), reason = %state.1, "feed");
        venue.told = Some(state);
        self.events.push((ALL_SHARDS, Event::Feed(Arc::new(status))));
    }
}

/// Whether a definition is the last one of its instrument.
fn is_end(record: &Record) -> bool {
    matches!(&record.body, Body::Instrument(definition) if definition.ended)
}

/// Returns the symbol that a definition is about.
fn symbol_of(record: &Record) -> Option<&str> {
    match &record.body {
        Body::Instrument(definition) => Some(&definition.symbol),
        _ => None,
    }
}
