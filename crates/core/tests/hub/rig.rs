//! A hub, and what an ingester and shards say to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message as _;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Bar, Body, Book, BookProof, Channel, Derivative, Encoding, FeedState, Gap, GapCause, Instrument, Level,
    Message, Position, Quote, Record, Scale, Stat, Status, Trade, TradingState, encode_message, pb,
};

use tickwire_core::hub::{Action, DEFINITIONS, HEARTBEATS, Hub, HubLimits, Target};
use tickwire_core::vocabulary::{Event, TopicId, TopicInterest, VenueIndex};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const EPOCH: u64 = 7;
/// The instrument number of `sim:A`.
pub(crate) const ID: u32 = 101;

pub(crate) fn limits() -> HubLimits {
    HubLimits {
        shards: 2,
        venues: 4,
        instruments: 100,
        topics: 1000,
        waiting_bytes: 64 << 20,
        feed_down_ns: 1250 * MS,
    }
}

/// An event that comes out of an inbox.
#[derive(Clone, Debug)]
pub(crate) enum BusEvent {
    Message {
        token: u64,
        payload: Vec<u8>,
    },
    /// Messages were lost, of these subscriptions where that is known.
    Lost {
        tokens: Option<BTreeSet<u64>>,
    },
    Disconnected,
    Reconnected {
        generation: u64,
    },
}

impl BusEvent {
    pub(crate) fn tell(self, hub: &mut Hub, now: u64) {
        match self {
            Self::Message { token, payload } => hub.on_message(token, &payload, now, now),
            Self::Lost { tokens } => hub.on_lost(tokens),
            Self::Disconnected => {}
            Self::Reconnected { generation } => hub.on_connection(generation, now),
        }
    }
}

pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) now: u64,
    /// The channel that most steps are about.
    pub(crate) channel: Channel,
    told: [Vec<String>; 2],
    feeds: Vec<String>,
    heartbeats: u64,
    /// The proof of books that heartbeats declare.
    pub(crate) proof: BookProof,
    /// The number of changes of the catalogue that the ingester made.
    pub(crate) catalogue: u64,
}

/// A request that the hub makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HubRequest {
    Catalogue(VenueIndex),
    Topics(Vec<TopicId>, Target),
}

/// Returns the target of a request for the catalogue of `sim`.
pub(crate) fn catalogue_of(epoch: u64) -> Target {
    Target::Catalogue(VenueIndex(0), epoch)
}

impl Rig {
    /// Makes a hub that is connected, with `sim:A` and `sim:B`, whose feed is live.
    pub(crate) fn new(channel: Channel) -> Self {
        let mut rig = Self::of(Hub::new(limits()), channel);
        rig.hub.on_bus_state(Ok(1), rig.now);
        rig.heartbeat("sim", EPOCH, &[]);
        rig.tick();
        assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
        rig.catalogue(EPOCH, &both());
        rig.forget();
        rig.hub.actions.clear();
        rig
    }

    pub(crate) fn of(hub: Hub, channel: Channel) -> Self {
        let (told, feeds) = Default::default();
        Self {
            hub,
            now: 1_000_000 * MS,
            channel,
            told,
            feeds,
            heartbeats: 0,
            proof: BookProof::Unknown,
            catalogue: 2,
        }
    }

    /// Makes one with the topic of `sim:A` live at a sequence number.
    pub(crate) fn live(channel: Channel, sequence: u64) -> Self {
        let mut rig = Self::new(channel);
        rig.want(0);
        rig.tick();
        rig.respond(EPOCH, sequence);
        rig.forget();
        assert!(rig.take_requests().is_empty());
        rig
    }

    pub(crate) fn topic(&self) -> TopicId {
        TopicId::new(0, self.channel)
    }

    pub(crate) fn want(&mut self, shard: usize) {
        self.hub.on_interest(shard, TopicInterest::Want(self.topic()));
    }

    pub(crate) fn tick(&mut self) {
        self.hub.tick(self.now);
    }

    /// Lets time pass in the steps of the clock.
    pub(crate) fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50 * MS;
            self.tick();
        }
    }

    /// Lets time pass as [`Rig::wait`] does, while the ingester sends heartbeats.
    pub(crate) fn wait_heard(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50 * MS;
            self.heartbeat("sim", EPOCH, &[]);
            self.tick();
        }
    }

    pub(crate) fn bus(&mut self, event: BusEvent) {
        event.tell(&mut self.hub, self.now);
    }

    pub(crate) fn lost(&mut self, token: Option<u64>) {
        self.bus(BusEvent::Lost { tokens: token.map(|token| [token].into()) });
    }

    pub(crate) fn message(&mut self, token: u64, payload: Vec<u8>) {
        self.bus(BusEvent::Message { token, payload });
    }

    /// Publishes one record for each sequence number.
    pub(crate) fn records(&mut self, epoch: u64, first: u64, last: u64) {
        let bodies: Vec<_> = (first..=last).map(|number| body(self.channel, number, false)).collect();
        self.frame(epoch, first, last, &bodies);
    }

    pub(crate) fn gap(&mut self, epoch: u64, first: u64, last: u64) {
        let body = gap_body(self.channel, first, last);
        self.frame(epoch, first, last, &[body]);
    }

    pub(crate) fn frame(&mut self, epoch: u64, first: u64, last: u64, bodies: &[Body]) {
        let payload = frame(self.channel, epoch, (first, last), bodies);
        self.message(u64::from(self.topic().0), payload);
    }

    pub(crate) fn heartbeat(&mut self, venue: &str, epoch: u64, positions: &[Position]) {
        self.heartbeat_in(FeedState::Live, venue, epoch, positions);
    }

    pub(crate) fn heartbeat_in(&mut self, state: FeedState, venue: &str, epoch: u64, positions: &[Position]) {
        self.say(venue, epoch, state, positions, false);
    }

    /// Counts so many heartbeats that did not come.
    pub(crate) fn skip_heartbeats(&mut self, count: u64) {
        self.heartbeats += count;
    }

    /// Sends the last heartbeat of a run.
    pub(crate) fn last_heartbeat(&mut self, epoch: u64) {
        self.say("sim", epoch, FeedState::Stale, &[], true);
    }

    fn say(&mut self, venue: &str, epoch: u64, state: FeedState, positions: &[Position], last: bool) {
        self.heartbeats += 1;
        let heartbeat = pb::FeedHeartbeat {
            venue: venue.to_owned(),
            epoch,
            state: state as i32,
            time: self.now,
            positions: positions.to_vec(),
            number: self.heartbeats,
            catalogue: self.catalogue,
            last,
            book_proof: self.proof as i32,
            ..pb::FeedHeartbeat::default()
        };
        self.message(HEARTBEATS, heartbeat.encode_to_vec());
    }

    /// Makes another run take over in good order, with the same instruments under the same numbers.
    pub(crate) fn replace(&mut self, epoch: u64) {
        self.last_heartbeat(EPOCH);
        self.heartbeat("sim", epoch, &[]);
        self.hub.ask_due(self.now);
        self.catalogue(epoch, &both());
    }

    /// Sends a heartbeat that says where the topic is.
    pub(crate) fn position(&mut self, epoch: u64, sequence: u64) {
        let channel = self.channel as i32;
        self.heartbeat("sim", epoch, &[Position { instrument: ID, channel, epoch, sequence }]);
    }

    /// Returns the requests since the last look.
    pub(crate) fn take_requests(&mut self) -> Vec<HubRequest> {
        let actions = std::mem::take(&mut self.hub.actions).into_iter();
        let asked = actions.filter_map(|action| match action {
            Action::Ask(_, _, Target::Catalogue(venue, _)) => Some(HubRequest::Catalogue(venue)),
            Action::Ask(_, _, target @ Target::Topics(batch, _)) => {
                let topics = self.hub.asked(batch).collect();
                Some(HubRequest::Topics(topics, target))
            }
            _ => None,
        });
        asked.collect()
    }

    /// Returns the requests about topics since the last look.
    pub(crate) fn topic_requests(&mut self) -> Vec<Target> {
        let asked = self.take_requests().into_iter();
        asked
            .filter_map(|asked| if let HubRequest::Topics(_, target) = asked { Some(target) } else { None })
            .collect()
    }

    /// Returns the one request about the topic.
    #[track_caller]
    pub(crate) fn request(&mut self) -> Target {
        self.hub.ask_due(self.now);
        let asked = self.topic_requests();
        let [target] = asked[..] else { panic!("one request was expected: {asked:?}") };
        target
    }

    /// Answers the one request with the state after a sequence number.
    #[track_caller]
    pub(crate) fn respond(&mut self, epoch: u64, sequence: u64) {
        let target = self.request();
        self.respond_to(target, epoch, sequence);
    }

    pub(crate) fn respond_to(&mut self, target: Target, epoch: u64, sequence: u64) {
        let body = body(self.channel, sequence, true);
        let is_empty = sequence == 0 || self.channel == Channel::Trade;
        let records = if is_empty { Vec::new() } else { vec![record(ID, sequence, body)] };
        let Target::Topics(batch, _) = target else { panic!("a request about topics") };
        let mut response = response(epoch, sequence, &records);
        let topics = self.hub.asked(batch).count().max(1);
        response.snapshots = vec![response.snapshots[0].clone(); topics];
        self.hub.on_response(target, Ok(response), self.now);
    }

    /// Answers the one request: nothing happened yet.
    #[track_caller]
    pub(crate) fn respond_empty(&mut self) {
        let target = self.request();
        let Target::Topics(_, epoch) = target else { panic!("a request about topics") };
        self.hub.on_response(target, Ok(response(epoch, 0, &[])), self.now);
    }

    pub(crate) fn fail(&mut self, target: Target, reason: &str) {
        self.hub.on_response(target, Err(reason.to_owned()), self.now);
    }

    pub(crate) fn catalogue(&mut self, epoch: u64, definitions: &[Record]) {
        let response = catalogue(epoch, self.catalogue, definitions);
        self.hub.on_response(catalogue_of(epoch), Ok(response), self.now);
    }

    pub(crate) fn define(&mut self, definition: &Record) {
        self.define_in(EPOCH, definition);
    }

    pub(crate) fn define_in(&mut self, epoch: u64, definition: &Record) {
        self.catalogue += 1;
        let definition = &revised(definition, self.catalogue);
        let header = BusHeader {
            encoding: Encoding::Proto,
            channel: Channel::Instrument,
            instrument: definition.instrument,
            epoch,
            first_sequence: definition.sequence,
            last_sequence: definition.sequence,
            publish_time: 1,
        };
        let mut payload = Vec::new();
        header.write(&mut payload);
        encode_message(
            Encoding::Proto,
            &Message::Record(definition.clone()),
            &Scale::default(),
            &mut payload,
        );
        self.message(DEFINITIONS, payload);
    }

    /// Returns what shard 0 was told since the last look, feeds left out.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.told_to(0)
    }

    pub(crate) fn told_to(&mut self, shard: usize) -> Vec<String> {
        self.sort();
        std::mem::take(&mut self.told[shard])
    }

    /// Returns the states of feeds that were told since the last look.
    pub(crate) fn feeds(&mut self) -> Vec<String> {
        self.sort();
        std::mem::take(&mut self.feeds)
    }

    pub(crate) fn forget(&mut self) {
        self.sort();
        (self.told, self.feeds) = Default::default();
    }

    fn sort(&mut self) {
        for (mask, event) in self.hub.events.drain(..) {
            if let Event::Feed(feed) = &event {
                let proof = match feed.proof {
                    BookProof::Unknown => String::new(),
                    proof => format!(", {proof:?}"),
                };
                let told = format!("{} {:?} {}", feed.name, feed.state, feed.reason);
                self.feeds.push(format!("{}{proof}", told.trim_end()));
                continue;
            }
            for (shard, told) in self.told.iter_mut().enumerate() {
                if mask & (1 << shard) != 0 {
                    told.push(brief(&event));
                }
            }
        }
    }
}

pub(crate) fn brief(event: &Event) -> String {
    match event {
        Event::Update(update) => match &update.record().body {
            Body::Gap(gap) => {
                let cause = gap.cause().as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
                let renumbered =
                    if gap.last_sequence == 0 { format!(" @{}", gap.epoch) } else { String::new() };
                format!("gap {cause} {}-{}{renumbered}", gap.first_sequence, gap.last_sequence)
            }
            _ => format!("{}", update.last),
        },
        Event::State(state) => {
            let numbers: Vec<_> = state.records.iter().map(|record| record.last).collect();
            format!("state {}@{} {numbers:?}", state.sequence, state.epoch)
        }
        Event::Instrument(info) => format!("{} is {} with {}", info.name, info.id, info.scale.price_decimals),
        Event::Unavailable { reason, .. } => format!("unavailable {reason}"),
        Event::Ended(ended) => {
            let again = if ended.may_retry { ", and is there anew" } else { "" };
            format!("{} ended: {}{again}", ended.instrument, ended.reason)
        }
        Event::Backfill(response) => format!("backfill {}", response.ticket),
        Event::Feed(feed) => format!("{:?}", feed.state),
    }
}

pub(crate) fn frame(channel: Channel, epoch: u64, numbers: (u64, u64), bodies: &[Body]) -> Vec<u8> {
    frame_of(ID, channel, epoch, numbers, bodies)
}

pub(crate) fn frame_of(
    instrument: u32,
    channel: Channel,
    epoch: u64,
    (first, last): (u64, u64),
    bodies: &[Body],
) -> Vec<u8> {
    let mut payload = head(Encoding::MsgPack, instrument, channel, epoch, (first, last));
    for (at, body) in bodies.iter().enumerate() {
        let number = if bodies.len() == 1 { last } else { first + at as u64 };
        let message = Message::Record(record(instrument, number, body.clone()));
        encode_message(Encoding::MsgPack, &message, &Scale::default(), &mut payload);
    }
    payload
}

/// Makes a message without its records.
pub(crate) fn head(
    encoding: Encoding,
    instrument: u32,
    channel: Channel,
    epoch: u64,
    (first_sequence, last_sequence): (u64, u64),
) -> Vec<u8> {
    let mut payload = Vec::new();
    BusHeader { encoding, channel, instrument, epoch, first_sequence, last_sequence, publish_time: 1 }
        .write(&mut payload);
    payload
}

pub(crate) fn record(instrument: u32, sequence: u64, body: Body) -> Record {
    Record { instrument, sequence, event_time: sequence, receive_time: sequence, body }
}

pub(crate) fn gap_body(channel: Channel, first: u64, last: u64) -> Body {
    let (channel, cause) = (channel as i32, GapCause::Upstream as i32);
    Body::Gap(Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 0 })
}

pub(crate) fn body(channel: Channel, number: u64, is_state: bool) -> Body {
    let level = Level { price: number as i64, size: number };
    match channel {
        Channel::Trade => Body::Trade(Trade { price: number as i64, size: 1, ..Trade::default() }),
        Channel::Book => Body::Book(Book { snapshot: is_state, bids: vec![level], ..Book::default() }),
        Channel::Bar => Body::Bar(Bar { interval: 1, open: number as i64, ..Bar::default() }),
        Channel::Stat => Body::Stat(Stat { trades: number, ..Stat::default() }),
        Channel::Derivative => {
            Body::Derivative(Derivative { open_interest: Some(number), ..Derivative::default() })
        }
        Channel::Status => {
            Body::Status(Status { state: TradingState::Open as i32, reason: number.to_string() })
        }
        Channel::Instrument => definition(ID, "sim", "A", 2).body,
        _ => Body::Quote(Quote { bid: Some(level), ask: None }),
    }
}

pub(crate) fn definition(id: u32, venue: &str, symbol: &str, price_decimals: u32) -> Record {
    let (venue, symbol) = (venue.to_owned(), symbol.to_owned());
    record(id, 1, Body::Instrument(Instrument { venue, symbol, price_decimals, ..Instrument::default() }))
}

/// Makes a definition that is this change of the catalogue.
pub(crate) fn revised(definition: &Record, revision: u64) -> Record {
    let Body::Instrument(of) = definition.body.clone() else { panic!("a definition") };
    Record { body: Body::Instrument(Instrument { revision, ..of }), ..definition.clone() }
}

/// Makes the definitions of `sim:A` and `sim:B`.
pub(crate) fn both() -> [Record; 2] {
    [definition(ID, "sim", "A", 2), definition(ID + 1, "sim", "B", 2)]
}

pub(crate) fn frame_bytes(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record.clone()), &Scale::default(), &mut bytes);
    }
    bytes
}

/// Makes the state of one topic.
pub(crate) fn response(epoch: u64, sequence: u64, records: &[Record]) -> pb::FeedResponse {
    let snapshot = pb::Snapshot { sequence, frame: frame_bytes(records), ..pb::Snapshot::default() };
    let state = FeedState::Live as i32;
    pb::FeedResponse { epoch, state, snapshots: vec![snapshot], ..pb::FeedResponse::default() }
}

pub(crate) fn catalogue(epoch: u64, catalogue: u64, definitions: &[Record]) -> pb::FeedResponse {
    let (frame, state) = (frame_bytes(definitions), FeedState::Live as i32);
    pb::FeedResponse { epoch, frame, catalogue, state, ..pb::FeedResponse::default() }
}

/// Makes the response that there is no such topic.
pub(crate) fn unknown(epoch: u64, error: &str) -> pb::FeedResponse {
    let snapshot = pb::Snapshot { error: error.to_owned(), is_unknown: true, ..pb::Snapshot::default() };
    pb::FeedResponse { epoch, snapshots: vec![snapshot], ..pb::FeedResponse::default() }
}

pub(crate) fn refusal(epoch: u64, error: &str) -> pb::FeedResponse {
    pb::FeedResponse { epoch, error: error.to_owned(), ..pb::FeedResponse::default() }
}

/// Makes the reason of an outage.
pub(crate) fn reason(text: &str) -> Arc<str> {
    text.into()
}
