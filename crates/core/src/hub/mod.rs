//! The bus side of a gateway: which venues and instruments exist, which topics the shards want, what of them was lost.
//!
//! [`Hub`] is a state machine: bus events, responses, interests and the time go in; events for shards and actions on the bus
//! come out. The gateway's `hub/run.rs` drives it. Each record is decoded once, here: what cannot be read, or is not what its header says, goes no
//! further. A turn costs what it touches, however many topics there are.

mod ask;
mod claims;
mod follow;
mod instruments;
mod lookup;
mod pending_gaps;
mod pieces;
mod responded;
mod topics;
mod venue;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Channel, FeedState, GapCause, Message, Record, Scale, Subject, SymbolName, encode_message, pb,
};

pub use ask::{ASKS_MAX, BATCH_TOPICS_MAX, RETRY_NS_MAX, retry_ns};
pub use follow::Out;
pub use lookup::LookUp;
pub use pieces::{Fetch, Pieces};
pub use waiting::BUFFER_MAX;

use crate::vocabulary::{Event, InstrumentInfo, TopicId, TopicInterest, Update, VenueIndex};
use ask::Batch;
use follow::Followed;
use instruments::Instruments;
use topics::Topics;
use venue::Venue;
use waiting::Room;

/// Heartbeats come with this token.
pub const HEARTBEATS: u64 = u64::MAX;
/// Instrument definitions of all symbols of a venue come with this bit and the venue's index.
pub const DEFINITIONS: u64 = 1 << 40;

/// What the hub wants done on the bus.
#[derive(Clone, Debug)]
pub enum Action {
    /// Subscribe to this; messages come back with the token.
    Subscribe(Subject, u64),
    /// Nobody wants this subject any more.
    Unsubscribe(Subject),
    /// Ask the ingester; the response comes back with this target.
    Ask(Subject, pb::FeedRequest, Target),
    /// Look something up in the bus's history.
    LookUp(LookUp),
}

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// With the epoch of the run that is asked.
    Catalogue(VenueIndex, u64),
    /// The number of a batch, and the epoch of the run that is asked.
    Topics(u64, u64),
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Messages of topics.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// Messages that could not be read, or are not what they say.
    pub malformed: u64,
    /// Messages of runs of an ingester that are not followed.
    pub foreign: u64,
    /// Numbers that were lost on the bus.
    pub lost: u64,
    /// How often another run of a venue's ingester was followed.
    pub takeovers: u64,
    /// Definitions that were refused because the gateway knows as many instruments as it may.
    pub over_limit: u64,
    /// Instruments that ended.
    pub ended: u64,
}

/// How a feed is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedReport {
    /// The venue's name.
    pub venue: String,
    /// As shards were told last.
    pub state: FeedState,
    /// Why it is not live.
    pub reason: String,
    /// Of the run that is followed; 0: none.
    pub epoch: u64,
    /// Other runs that claim the venue at the same time.
    pub rivals: usize,
    /// Instruments of the venue.
    pub instruments: usize,
}

/// Limits of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Shards, at most 64.
    pub shards: usize,
    /// Venues that are followed.
    pub venues: usize,
    /// Instruments of all venues.
    pub instruments: usize,
    /// Topics that are followed at the same time.
    pub topics: usize,
    /// Of all records that wait for the states of their topics.
    pub waiting_bytes: usize,
    /// An ingester that is not heard for this long is down.
    pub feed_down_ns: u64,
}

/// Topics by the time at which something is to be done about them. May name a topic in vain.
type Queue = BinaryHeap<Reverse<(u64, TopicId)>>;

/// See the module.
#[derive(Debug)]
pub struct Hub {
    limits: HubLimits,
    venues: Vec<Venue>,
    instruments: Instruments,
    topics: Topics,
    /// Requests about topics under way, by their number.
    batches: HashMap<u64, Batch>,
    /// For what waits until the states of topics are known.
    room: Room,
    /// Requests to be asked.
    requests: Queue,
    /// Pending gaps to be decided.
    pending_gap_deadlines: Queue,
    /// Topics in them.
    asking: usize,
    tickets: u64,
    /// Why the bus is not there, while it is not.
    bus_down: Option<Arc<str>>,
    /// Number of the connection to the bus that all topics were compared on; 0 before the first.
    generation: u64,
    /// Of all that happened since the start.
    pub counts: HubCounts,
    /// What is to be done on the bus. Who drives the hub takes them out.
    pub actions: Vec<Action>,
    /// What the shards are to be told. Who drives the hub takes them out.
    pub events: Out,
    /// Records of one message.
    scratch: Vec<Arc<Update>>,
}

/// Every shard.
const ALL_SHARDS: u64 = u64::MAX;

impl Hub {
    /// A hub that knows nothing yet.
    pub fn new(limits: HubLimits) -> Self {
        Self {
            limits,
            venues: Vec::new(),
            instruments: Instruments::default(),
            topics: Topics::default(),
            batches: HashMap::new(),
            room: Room::new(limits.waiting_bytes),
            requests: Queue::new(),
            pending_gap_deadlines: Queue::new(),
            asking: 0,
            tickets: 0,
            bus_down: None,
            generation: 0,
            counts: HubCounts::default(),
            actions: vec![Action::Subscribe(Subject::heartbeats_all(), HEARTBEATS)],
            events: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes a message of the bus. `token` is that of the [`Action::Subscribe`] that it came by, `arrived` is when it came into
    /// the inbox, in nanoseconds since the Unix epoch, as `now` is.
    pub fn on_message(&mut self, token: u64, payload: &[u8], arrived: u64, now: u64) {
        match token {
            HEARTBEATS => self.on_heartbeat(payload, now),
            token if token >= DEFINITIONS => {
                let venue = VenueIndex((token - DEFINITIONS) as u16);
                self.on_definitions(venue, payload, arrived, now);
            }
            token => self.on_records(TopicId(token as u32), payload, arrived, now),
        }
    }

    /// Messages were lost at this place in the order: of these subscriptions, or of any where nobody knows.
    pub fn on_lost(&mut self, tokens: Option<impl IntoIterator<Item = u64>>) {
        let Some(tokens) = tokens else { return self.recover(None) };
        for token in tokens {
            match token {
                // Heartbeats are numbered: where more were lost than a position is repeated in, that is seen by the next one.
                HEARTBEATS => {}
                token if token >= DEFINITIONS => {
                    if let Some(venue) = self.venues.get_mut((token - DEFINITIONS) as usize) {
                        venue.ask_catalogue_now();
                    }
                }
                token => self.ask_about(TopicId(token as u32)),
            }
        }
    }

    fn on_records(&mut self, id: TopicId, payload: &[u8], arrived: u64, now: u64) {
        self.counts.messages += 1;
        self.counts.bytes += payload.len() as u64;
        let source = self.source(id);
        let Some(topic) = self.topics.get_mut(id) else { return };
        let info = Arc::clone(&topic.info);
        let symbol = &info.scale.symbol;
        let Ok((header, records)) = BusHeader::parse(payload) else {
            self.counts.malformed += 1;
            tracing::debug!(%symbol, "bus message without a header that can be read");
            return;
        };
        if header.epoch != self.venues[usize::from(info.venue.0)].claims.epoch() {
            self.counts.foreign += 1;
            return;
        }
        // Before the followed run has said what it calls the instrument and how its numbers read, nothing of it is used; it
        // is asked for its state behind that.
        let Some(source) = source else { return };
        if header.instrument != source || header.channel != topic.channel {
            self.counts.malformed += 1;
            tracing::debug!(%symbol, number = header.instrument, "bus message of another topic");
            return;
        }
        match read_message(&info, source, topic.channel, &header, (arrived, records), &mut self.scratch) {
            Ok(()) => {
                self.counts.records += self.scratch.len() as u64;
                for update in self.scratch.drain(..) {
                    topic.on_update(update, &mut self.events);
                }
            }
            Err(reason) => {
                self.scratch.clear();
                self.counts.malformed += 1;
                tracing::debug!(%symbol, reason, "bus message is damaged");
                topic.on_position(header.epoch, header.last_sequence, now);
            }
        }
        self.note(id);
    }

    /// What the followed run calls a topic's instrument.
    fn source(&self, id: TopicId) -> Option<u32> {
        self.instruments.source(id)
    }

    /// Queues what a topic that was touched has to do, and tells when its feed has caught up.
    fn note(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        self.counts.lost += std::mem::take(&mut topic.lost);
        if let follow::Ask::Due { at, .. } = topic.ask
            && topic.queued.0 != Some(at)
        {
            topic.queued.0 = Some(at);
            self.requests.push(Reverse((at, id)));
        }
        if let Some(deadline) = topic.deadline()
            && topic.queued.1 != Some(deadline)
        {
            topic.queued.1 = Some(deadline);
            self.pending_gap_deadlines.push(Reverse((deadline, id)));
        }
        if topic.recovering && topic.is_settled() {
            self.recovered(id);
        }
    }

    /// The feed does not wait for this topic any more.
    fn recovered(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if std::mem::take(&mut topic.recovering) {
            let venue = topic.info.venue;
            self.venues[usize::from(venue.0)].recovering -= 1;
            self.tell_feed(venue);
        }
    }

    fn ask_about(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.get_mut(id) {
            topic.ask_now();
            self.note(id);
        }
    }

    /// Compares every topic, of one venue or of all, with what its ingester has; until then its feed is stale.
    fn recover(&mut self, of: Option<VenueIndex>) {
        let mut touched = Vec::new();
        for (id, topic) in self.topics.iter_mut() {
            let venue = topic.info.venue;
            if of.is_none_or(|of| of == venue) {
                topic.ask_anew();
                if !std::mem::replace(&mut topic.recovering, true) {
                    self.venues[usize::from(venue.0)].recovering += 1;
                }
                touched.push(id);
            }
        }
        for id in touched {
            self.note(id);
        }
        for at in 0..self.venues.len() as u16 {
            if of.is_none_or(|of| of.0 == at) {
                self.venues[usize::from(at)].ask_catalogue_now();
                self.tell_feed(VenueIndex(at));
            }
        }
    }

    /// The bus went away, for a reason, or is there with the connection of this number.
    pub fn on_bus_state(&mut self, state: Result<u64, Arc<str>>, now: u64) {
        match state {
            Ok(generation) => {
                self.bus_down = None;
                self.on_connection(generation, now);
            }
            Err(reason) => self.bus_down = Some(reason),
        }
        self.tell_feeds();
    }

    /// What was published between two connections did not come. Both the inbox and the state of the bus tell of a
    /// connection, in either order: the first one counts.
    pub fn on_connection(&mut self, generation: u64, now: u64) {
        if generation <= self.generation {
            return;
        }
        let is_first = self.generation == 0;
        self.generation = generation;
        for venue in &mut self.venues {
            venue.on_connection(now);
        }
        if !is_first || self.topics.len() > 0 {
            self.recover(None);
        }
    }

    /// A shard wants a topic, or does not want it any more.
    pub fn on_interest(&mut self, shard: usize, interest: TopicInterest) {
        let bit = 1 << shard;
        match interest {
            TopicInterest::Want(id) => {
                let Some(slot) = self.instruments.alive_mut(id.instrument_index()) else {
                    let reason = "the instrument ended".into();
                    self.events.push((bit, Event::Unavailable { topic: id, reason, is_unknown: true }));
                    return;
                };
                let info = Arc::clone(&slot.info);
                if self.topics.get_mut(id).is_none() {
                    if self.topics.len() >= self.limits.topics {
                        let reason = "this gateway follows as many topics as it may".into();
                        self.events.push((bit, Event::Unavailable { topic: id, reason, is_unknown: false }));
                        return;
                    }
                    let topic = Followed::new(info, id.channel(), &self.room);
                    let subject = subject(&topic);
                    self.actions.extend(subject.map(|subject| Action::Subscribe(subject, u64::from(id.0))));
                    self.topics.insert(id, topic);
                }
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.want(bit, &mut self.events);
                }
                self.note(id);
            }
            TopicInterest::Backfill(ask) => {
                if let Some(slot) = self.instruments.get(ask.topic.instrument_index()) {
                    let (info, source) = (Arc::clone(&slot.info), slot.source);
                    self.actions.push(Action::LookUp(LookUp { shard, ask, info, source }));
                }
            }
            TopicInterest::LetGo(index) => self.instruments.let_go(index, bit),
            TopicInterest::Drop(id) => {
                let Some(topic) = self.topics.get_mut(id) else { return };
                topic.unwant(bit);
                if topic.shards == 0 {
                    self.unfollow(id);
                }
            }
        }
    }

    fn unfollow(&mut self, id: TopicId) {
        self.recovered(id);
        if let Some(topic) = self.topics.remove(id) {
            self.actions.extend(subject(&topic).map(Action::Unsubscribe));
        }
    }

    /// Does what is due by the clock.
    pub fn tick(&mut self, now: u64) {
        for at in 0..self.venues.len() as u16 {
            self.choose_run(VenueIndex(at), now);
            let venue = &mut self.venues[usize::from(at)];
            venue.on_time(now, self.limits.feed_down_ns);
        }
        self.tell_feeds();
        while let Some(Reverse((at, id))) = self.pending_gap_deadlines.peek().copied()
            && at <= now
        {
            self.pending_gap_deadlines.pop();
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.queued.1.take_if(|queued| *queued == at);
            topic.on_time(now, &mut self.events);
            self.note(id);
        }
        self.ask_due(now);
    }

    /// How the feeds are doing.
    pub fn feeds(&self, now: u64) -> impl Iterator<Item = FeedReport> {
        (0..).map(VenueIndex).zip(&self.venues).map(move |(index, venue)| {
            let told = venue.told.as_ref();
            FeedReport {
                venue: venue.name.to_string(),
                state: told.map_or(FeedState::Unknown, |told| told.0),
                reason: told.map_or_else(String::new, |told| told.1.to_string()),
                epoch: venue.claims.epoch(),
                rivals: venue.claims.rivals(now, self.limits.feed_down_ns),
                instruments: self.instruments.of_venue(index).count(),
            }
        })
    }

    /// An instrument by its name, where it has not ended.
    pub fn instrument(&self, name: &SymbolName) -> Option<&Arc<InstrumentInfo>> {
        self.instruments.get(self.instruments.find(name)?).map(|slot| &slot.info)
    }

    /// Topics of a snapshot request that is under way, by the number in its [`Target::Topics`].
    pub fn asked(&self, batch: u64) -> impl Iterator<Item = TopicId> {
        self.batches.get(&batch).into_iter().flatten().map(|(id, _)| *id)
    }

    /// Topics that stand in line to be asked about, and those of which something is suspected to be lost.
    pub fn queued(&self) -> (usize, usize) {
        (self.requests.len(), self.pending_gap_deadlines.len())
    }

    /// Other limits from now on; what is there beyond them stays.
    pub fn set_limits(&mut self, limits: HubLimits) {
        self.limits = limits;
    }

    /// Number of topics that are followed.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Number of instruments that have not ended.
    pub fn instruments(&self) -> usize {
        self.instruments.len()
    }
}

/// Appends the records of a message of the bus, with the time at which it came: all of them, or none where one is damaged.
/// `source` is what the ingester calls the instrument.
///
/// # Errors
/// What is wrong with it.
pub fn read_message(
    info: &Arc<InstrumentInfo>,
    source: u32,
    channel: Channel,
    header: &BusHeader,
    (arrived, records): (u64, &[u8]),
    into: &mut Vec<Arc<Update>>,
) -> Result<(), String> {
    for record in header.split(records) {
        let (first, last, bytes) = record.map_err(|error| error.to_string())?;
        let (numbers, came) = ((first, last), (header.encoding, bytes));
        let is_right = |record: &Record| check(record, numbers, source, channel);
        let mut update = Update::checked(Arc::clone(info), channel, header.epoch, numbers, came, is_right)?;
        if source != info.id {
            // Another instrument has that number here: written anew once, for all sessions.
            let record = Record { instrument: info.id, ..update.record().clone() };
            let mut bytes = Vec::new();
            encode_message(header.encoding, &Message::Record(record), &Scale::default(), &mut bytes);
            let came = (header.encoding, &bytes[..]);
            update = Update::checked(Arc::clone(info), channel, header.epoch, numbers, came, |_| {
                Ok::<_, String>(())
            })?;
        }
        into.push(Arc::new(update.at(arrived)));
    }
    Ok(())
}

/// Compares a record with what the header says of it.
fn check(record: &Record, (first, last): (u64, u64), source: u32, channel: Channel) -> Result<(), String> {
    use tickwire_wire::Body;
    let numbers = match &record.body {
        // What cannot be decoded has become a gap on the bus.
        Body::Gap(gap) if gap.cause() == GapCause::Bus => return Err("a record cannot be decoded".to_owned()),
        Body::Gap(gap) => (gap.first_sequence, gap.last_sequence),
        _ => (record.sequence, record.sequence),
    };
    let is_right = record.instrument == source
        && record.channel() == channel
        && record.sequence == last
        && numbers == (first, last);
    if is_right { Ok(()) } else { Err(format!("record {} is not what the header says", record.sequence)) }
}

fn subject(topic: &Followed) -> Option<Subject> {
    let name = &topic.info.name;
    Subject::data(&name.venue, topic.channel.name(), &name.symbol).ok()
}
