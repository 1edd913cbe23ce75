//! The bus side of a gateway: which venues and instruments exist, which topics the shards want, and which of their
//! records were lost.
//!
//! [`Hub`] is a state machine: bus events, responses, interests and the time go in; events for shards and actions on
//! the bus come out. The gateway's `hub/run.rs` drives it. Each record is decoded once, here: what cannot be read, or
//! is not what its header says, goes no further. A turn costs what it touches, however many topics there are.
//!
//! `data` has what the hub holds; `claims`, `venue`, `instruments`, `topics`, `follow` and `waiting` have its parts,
//! each with rules of its own; what the hub does with several of them stands in `feeds`, `progress`, `records`,
//! `runs`, `catalogue` and `requests`, each of which calls only those before it. This file is the door.

mod catalogue;
mod claims;
mod data;
mod feeds;
mod follow;
mod instruments;
mod lookup;
mod pending_gaps;
mod pieces;
mod progress;
mod records;
mod requests;
mod responded;
mod retry;
mod runs;
mod topics;
mod venue;
mod waiting;

use std::cmp::Reverse;
use std::sync::Arc;

use tickwire_wire::pb::BookProof;
use tickwire_wire::{FeedState, SymbolName, pb};

pub use claims::{Claims, Heard};
pub use data::{Action, DEFINITIONS, FeedReport, HEARTBEATS, Hub, HubCounts, HubLimits, Target};
pub use follow::Out;
pub use lookup::LookUp;
pub use pieces::{Fetch, Pieces};
pub use records::read_message;
pub use requests::{ASKS_MAX, BATCH_TOPICS_MAX};
pub use retry::{RETRY_NS_MAX, retry_ns};
pub use waiting::BUFFER_MAX;

use crate::vocabulary::{Event, InstrumentInfo, TopicId, TopicInterest, VenueIndex};
use follow::Followed;
use progress::subject;

impl Hub {
    /// Takes a message of the bus. `token` is that of the [`Action::Subscribe`] that it came by, `arrived` is when it came into
    /// the inbox, in nanoseconds since the Unix epoch, as `now` is.
    pub fn on_message(&mut self, token: u64, payload: &[u8], arrived: u64, now: u64) {
        match token {
            HEARTBEATS => runs::on_heartbeat(self, payload, now),
            token if token >= DEFINITIONS => {
                let venue = VenueIndex((token - DEFINITIONS) as u16);
                catalogue::on_definitions(self, venue, payload, arrived, now);
            }
            token => records::on_records(self, TopicId(token as u32), payload, arrived, now),
        }
    }

    /// Asks about the topics whose messages were lost at this place in the order: those of these subscriptions, or
    /// all where nobody knows.
    pub fn on_lost(&mut self, tokens: Option<impl IntoIterator<Item = u64>>) {
        let Some(tokens) = tokens else { return progress::recover(self, None) };
        for token in tokens {
            match token {
                // Heartbeats are numbered: where more were lost than a position is repeated in, the next one shows
                // it.
                HEARTBEATS => {}
                token if token >= DEFINITIONS => {
                    if let Some(venue) = self.venues.get_mut((token - DEFINITIONS) as usize) {
                        venue.ask_catalogue_now();
                    }
                }
                token => progress::ask_about(self, TopicId(token as u32)),
            }
        }
    }

    /// Notes that the bus went away, for a reason, or is there with the connection of this number.
    pub fn on_bus_state(&mut self, state: Result<u64, Arc<str>>, now: u64) {
        match state {
            Ok(generation) => {
                self.bus_down = None;
                self.on_connection(generation, now);
            }
            Err(reason) => self.bus_down = Some(reason),
        }
        feeds::tell_feeds(self);
    }

    /// Compares all topics after a new connection: what was published between two connections did not come. Both the
    /// inbox and the state of the bus tell of a connection, in either order: the first one counts.
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
            progress::recover(self, None);
        }
    }

    /// Takes what a shard wants, or does not want any more.
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
                progress::note(self, id);
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
                    progress::unfollow(self, id);
                }
            }
        }
    }

    /// Does what is due by the clock.
    pub fn tick(&mut self, now: u64) {
        for at in 0..self.venues.len() as u16 {
            runs::choose_run(self, VenueIndex(at), now);
            let venue = &mut self.venues[usize::from(at)];
            venue.on_time(now, self.limits.feed_down_ns);
        }
        feeds::tell_feeds(self);
        while let Some(Reverse((at, id))) = self.pending_gap_deadlines.peek().copied()
            && at <= now
        {
            self.pending_gap_deadlines.pop();
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.queued.1.take_if(|queued| *queued == at);
            topic.on_time(now, &mut self.events);
            progress::note(self, id);
        }
        requests::ask_due(self, now);
    }

    /// Asks what is due, within the limit of requests under way.
    pub fn ask_due(&mut self, now: u64) {
        requests::ask_due(self, now);
    }

    /// Takes the response to an [`Action::Ask`]; `Err` says why there is none.
    pub fn on_response(&mut self, target: Target, response: Result<pb::FeedResponse, String>, now: u64) {
        requests::on_response(self, target, response, now);
    }

    /// Returns how the feeds are doing.
    pub fn feeds(&self, now: u64) -> impl Iterator<Item = FeedReport> {
        (0..).map(VenueIndex).zip(&self.venues).map(move |(index, venue)| {
            let told = venue.told.as_ref();
            let followed = venue.claims.followed();
            FeedReport {
                venue: venue.name.to_string(),
                state: told.map_or(FeedState::Unknown, |told| told.0),
                reason: told.map_or_else(String::new, |told| told.1.to_string()),
                epoch: venue.claims.epoch(),
                rivals: venue.claims.rivals(now, self.limits.feed_down_ns),
                proof: followed.map_or(BookProof::Unknown, |claim| claim.proof),
                verification: followed.map_or_else(String::new, |claim| claim.verification.to_string()),
                instruments: self.instruments.of_venue(index).count(),
            }
        })
    }

    /// Returns an instrument by its name, where it has not ended.
    pub fn instrument(&self, name: &SymbolName) -> Option<&Arc<InstrumentInfo>> {
        self.instruments.get(self.instruments.find(name)?).map(|slot| &slot.info)
    }

    /// Returns the topics of a snapshot request that is under way, by the number in its [`Target::Topics`].
    pub fn asked(&self, batch: u64) -> impl Iterator<Item = TopicId> {
        self.batches.get(&batch).into_iter().flatten().map(|(id, _)| *id)
    }

    /// Returns how many topics stand in line to be asked about, and how many have a pending gap.
    pub fn queued(&self) -> (usize, usize) {
        (self.requests.len(), self.pending_gap_deadlines.len())
    }

    /// Keeps other limits from now on; what is there beyond them stays.
    pub fn set_limits(&mut self, limits: HubLimits) {
        self.limits = limits;
    }

    /// Returns the number of topics that are followed.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Returns the number of instruments that have not ended.
    pub fn instruments(&self) -> usize {
        self.instruments.len()
    }
}
