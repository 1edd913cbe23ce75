//! The bus side of a gateway: which venues and instruments exist, which topics the shards want, what of them was lost.
//!
//! [`Hub`] is a state machine: bus events, answers, wishes and the time go in; events for shards and actions on the bus
//! come out. `run` drives it. It decodes headers only, except on lossless channels, bars and books, whose records it
//! must understand.

mod follow;
mod run;
mod venue;

use std::collections::HashMap;
use std::sync::Arc;

use tickwire_bus::{BusEvent, Subject};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, Channel, Encoding, FeedState, Message, Record, Scale, SymbolName, pb};

pub(crate) use run::{HubSetup, HubStats, ShardLink, run};

use crate::engine::{Event, InstrumentInfo, TopicId, Update, VenueIndex, Wish};
use follow::{Answered, Ask, Followed};
use venue::Venue;

/// Beats come with this token.
const BEATS: u64 = u64::MAX;
/// Instrument definitions of all symbols of a venue come with this bit and the venue's index.
const DEFINITIONS: u64 = 1 << 40;

/// Questions under way at the same time.
const ASKS_MAX: usize = 64;
/// Between two attempts to ask; doubles up to [`RETRY_NS_MAX`].
const RETRY_NS_MIN: u64 = 100_000_000;
const RETRY_NS_MAX: u64 = 5_000_000_000;

/// What the hub wants done on the bus.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Subscribe(Subject, u64),
    Unsubscribe(Subject),
    /// Ask the ingester; the answer comes back with this target.
    Ask(Subject, pb::Ask, Target),
}

/// What a question was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Catalogue(VenueIndex),
    Topic(TopicId),
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HubCounts {
    pub(crate) messages: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) malformed: u64,
    /// Numbers that were lost on the bus.
    pub(crate) lost: u64,
}

/// Limits of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) struct HubLimits {
    pub(crate) venues: usize,
    pub(crate) instruments: usize,
    /// An ingester that is not heard for this long is down.
    pub(crate) feed_down_ns: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: HubLimits,
    venues: Vec<Venue>,
    instruments: Vec<Arc<InstrumentInfo>>,
    by_id: HashMap<u32, u32>,
    by_name: HashMap<SymbolName, u32>,
    topics: HashMap<TopicId, Followed>,
    asking: usize,
    /// Why the bus is not there, while it is not.
    bus_down: Option<Arc<str>>,
    pub(crate) counts: HubCounts,
    pub(crate) actions: Vec<Action>,
    /// Events and the shards, a bit each, that they are for.
    pub(crate) events: Vec<(u64, Event)>,
    scratch: Vec<Event>,
}

/// Every shard.
const ALL_SHARDS: u64 = u64::MAX;

impl Hub {
    pub(crate) fn new(limits: HubLimits) -> Self {
        Self {
            limits,
            venues: Vec::new(),
            instruments: Vec::new(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            topics: HashMap::new(),
            asking: 0,
            bus_down: None,
            counts: HubCounts::default(),
            actions: vec![Action::Subscribe(Subject::beats_all(), BEATS)],
            events: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn on_bus(&mut self, event: BusEvent, now: u64) {
        match event {
            BusEvent::Message { token: BEATS, payload, .. } => self.on_beat(&payload, now),
            BusEvent::Message { token, payload, .. } if token >= DEFINITIONS => self.on_definitions(&payload),
            BusEvent::Message { token, payload, .. } => self.on_message(TopicId(token as u32), &payload),
            BusEvent::Lost { token, .. } => self.on_lost(token),
            BusEvent::Disconnected => {}
            BusEvent::Reconnected { .. } => self.recover_all(),
        }
    }

    fn on_message(&mut self, id: TopicId, payload: &[u8]) {
        self.counts.messages += 1;
        self.counts.bytes += payload.len() as u64;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let Ok((header, records)) = BusHeader::parse(payload) else {
            self.counts.malformed += 1;
            tracing::debug!(symbol = %topic.info.scale.symbol, "bus message without a header that can be read");
            return;
        };
        if header.instrument != topic.info.id || header.channel != topic.channel {
            self.counts.malformed += 1;
            tracing::debug!(symbol = %topic.info.scale.symbol, id = header.instrument, "bus message of another topic");
            return;
        }
        for record in header.split(records) {
            let (first, last, bytes) = match record {
                Ok(record) => record,
                Err(error) => {
                    self.counts.malformed += 1;
                    tracing::debug!(symbol = %topic.info.scale.symbol, %error, "bus message is damaged");
                    break;
                }
            };
            self.counts.records += 1;
            let info = Arc::clone(&topic.info);
            let update =
                Update::from_bus(info, topic.channel, header.epoch, (first, last), header.encoding, bytes);
            if topic.channel.is_lossless() || topic.channel == Channel::Book || first != last {
                update.record();
            }
            topic.on_update(Arc::new(update), &mut self.scratch);
        }
        self.pass_on(id);
    }

    /// Hands what a topic had to say to the shards that want it.
    fn pass_on(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let shards = topic.shards;
        self.counts.lost += std::mem::take(&mut topic.lost);
        self.events.extend(self.scratch.drain(..).map(|event| (shards, event)));
        if topic.recovering && topic.is_settled() {
            topic.recovering = false;
            let venue = topic.info.venue;
            self.venues[usize::from(venue.0)].recovering -= 1;
            self.tell_feed(venue);
        }
    }

    fn on_lost(&mut self, token: Option<u64>) {
        match token.and_then(|token| self.topics.get_mut(&TopicId(token as u32))) {
            Some(topic) => topic.ask_now(),
            None => self.topics.values_mut().for_each(Followed::ask_now),
        }
    }

    /// After an outage, every topic is compared with what its ingester has.
    fn recover_all(&mut self) {
        for venue in &mut self.venues {
            venue.ask_catalogue = true;
            venue.recovering = 0;
        }
        for topic in self.topics.values_mut() {
            topic.ask_now();
            topic.recovering = true;
            self.venues[usize::from(topic.info.venue.0)].recovering += 1;
        }
    }

    /// A shard wants a topic, or does not want it any more.
    pub(crate) fn on_wish(&mut self, shard: usize, wish: Wish) {
        let bit = 1 << shard;
        match wish {
            Wish::Want(id) => {
                let Some(info) = self.instruments.get(id.instrument_index() as usize) else { return };
                let topic = self.topics.entry(id).or_insert_with(|| {
                    let topic = Followed::new(Arc::clone(info), id.channel());
                    self.actions
                        .extend(subject(&topic).map(|subject| Action::Subscribe(subject, u64::from(id.0))));
                    topic
                });
                topic.shards |= bit;
                if topic.is_live() {
                    self.events.push((bit, topic.state()));
                }
            }
            Wish::Drop(id) => {
                let Some(topic) = self.topics.get_mut(&id) else { return };
                topic.shards &= !bit;
                if topic.shards == 0 {
                    self.forget(id);
                }
            }
        }
    }

    fn forget(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        if matches!(topic.ask, Ask::Asked(_)) {
            self.asking -= 1;
        }
        if topic.recovering {
            self.venues[usize::from(topic.info.venue.0)].recovering -= 1;
            self.tell_feed(topic.info.venue);
        }
        self.actions.extend(subject(&topic).map(Action::Unsubscribe));
    }

    /// The answer to an [`Action::Ask`]; `Err` says why there is none.
    pub(crate) fn on_answer(&mut self, target: Target, answer: Result<pb::Answer, String>, now: u64) {
        match target {
            Target::Catalogue(venue) => self.on_catalogue(venue, answer, now),
            Target::Topic(id) => self.on_topic_answer(id, answer, now),
        }
    }

    fn on_topic_answer(&mut self, id: TopicId, answer: Result<pb::Answer, String>, now: u64) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let Ask::Asked(attempts) = topic.ask else { return };
        self.asking -= 1;
        let answer =
            answer.and_then(|answer| if answer.error.is_empty() { Ok(answer) } else { Err(answer.error) });
        match answer {
            Ok(answer) => {
                let answered = Answered {
                    epoch: answer.epoch,
                    sequence: answer.sequence,
                    records: updates(&topic.info, answer.epoch, answer.frame),
                };
                topic.on_answer(&answered, now, &mut self.scratch);
                self.pass_on(id);
            }
            Err(reason) => {
                let wait = (RETRY_NS_MIN << attempts.min(16)).min(RETRY_NS_MAX);
                topic.ask = Ask::Due(now + wait, attempts + 1);
                let reason = format!("{}: {reason}", topic.info.scale.symbol).into();
                if !topic.is_live() && attempts > 0 {
                    self.events.push((topic.shards, Event::Unavailable { topic: id, reason }));
                }
            }
        }
    }

    /// The bus went away (with a reason) or came back.
    pub(crate) fn on_bus_state(&mut self, down: Option<Arc<str>>) {
        if self.bus_down != down {
            self.bus_down = down;
            for venue in 0..self.venues.len() as u16 {
                self.tell_feed(VenueIndex(venue));
            }
        }
    }

    /// Does what is due by the clock.
    pub(crate) fn tick(&mut self, now: u64) {
        for venue in 0..self.venues.len() as u16 {
            self.venues[usize::from(venue)].on_time(now, self.limits.feed_down_ns);
            self.tell_feed(VenueIndex(venue));
        }
        let ids: Vec<_> = self.topics.keys().copied().collect();
        for id in ids {
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            topic.on_time(now, &mut self.scratch);
            self.pass_on(id);
        }
        self.ask_due(now);
    }

    /// Asks what is due, within the limit of questions under way.
    pub(crate) fn ask_due(&mut self, now: u64) {
        if self.bus_down.is_some() {
            return;
        }
        for at in 0..self.venues.len() {
            let venue = &mut self.venues[at];
            if venue.ask_catalogue && !venue.asking_catalogue && now >= venue.ask_after {
                (venue.ask_catalogue, venue.asking_catalogue) = (false, true);
                let question = pb::ask::Question::Catalogue(pb::Catalogue {});
                let ask = pb::Ask { question: Some(question) };
                self.actions.extend(
                    Subject::ask(&venue.name)
                        .map(|s| Action::Ask(s, ask, Target::Catalogue(VenueIndex(at as u16)))),
                );
            }
        }
        for (id, topic) in &mut self.topics {
            let Ask::Due(at, attempts) = topic.ask else { continue };
            if now < at || self.asking >= ASKS_MAX {
                continue;
            }
            let Ok(subject) = Subject::ask(&topic.info.name.venue) else { continue };
            let question =
                pb::Topic { channel: topic.channel as i32, symbol: topic.info.name.symbol.clone() };
            let ask = pb::Ask { question: Some(pb::ask::Question::Snapshot(question)) };
            topic.ask = Ask::Asked(attempts);
            self.asking += 1;
            self.actions.push(Action::Ask(subject, ask, Target::Topic(*id)));
        }
    }

    /// Whether a question waits for its turn and may be asked at once.
    pub(crate) fn wants_to_ask(&self) -> bool {
        self.bus_down.is_none()
            && ((self.asking < ASKS_MAX
                && self.topics.values().any(|topic| matches!(topic.ask, Ask::Due(0, _))))
                || self.venues.iter().any(|venue| venue.ask_catalogue && venue.ask_after == 0))
    }

    pub(crate) fn feeds(&self) -> impl Iterator<Item = (&str, FeedState)> {
        self.venues
            .iter()
            .map(|venue| (&*venue.name, venue.told.as_ref().map_or(FeedState::Unknown, |t| t.0)))
    }

    pub(crate) fn topics(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn instruments(&self) -> usize {
        self.instruments.len()
    }
}

fn subject(topic: &Followed) -> Option<Subject> {
    let name = &topic.info.name;
    Subject::data(&name.venue, topic.channel.name(), &name.symbol).ok()
}

/// The records of an answer.
fn updates(info: &Arc<InstrumentInfo>, epoch: u64, frame: Option<pb::Frame>) -> Vec<Arc<Update>> {
    let records = records(frame);
    records.map(|r| Arc::new(Update::from_record(Arc::clone(info), epoch, r.sequence, r))).collect()
}

fn records(frame: Option<pb::Frame>) -> impl Iterator<Item = Record> {
    let bytes = frame.map(|frame| prost::Message::encode_to_vec(&frame)).unwrap_or_default();
    let messages: Vec<_> = Batch::new(Encoding::Proto, &bytes).collect();
    messages.into_iter().filter_map(|message| match message {
        Ok(Message::Record(record)) => Some(record),
        _ => None,
    })
}

/// An instrument as its definition says.
fn info_of(index: u32, venue: VenueIndex, record: &Record) -> Option<InstrumentInfo> {
    let Body::Instrument(definition) = &record.body else { return None };
    let name = SymbolName { venue: definition.venue.clone(), symbol: definition.symbol.clone() };
    let scale = Scale {
        symbol: name.to_string(),
        price_decimals: definition.price_decimals,
        size_decimals: definition.size_decimals,
    };
    Some(InstrumentInfo { index, id: record.instrument, venue, name, scale })
}
