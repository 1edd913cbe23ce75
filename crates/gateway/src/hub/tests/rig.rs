//! A hub, and what an ingester and shards say to it.

use std::sync::Arc;

use prost::Message as _;
use tickwire_bus::BusEvent;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Bar, Body, Book, Channel, Encoding, FeedState, Gap, GapCause, Instrument, Level, Message, Position,
    Quote, Record, Scale, Stat, Status, Trade, TradingState, encode_message, pb,
};

use super::super::{Action, BEATS, DEFINITIONS, Hub, HubLimits, Target};
use crate::engine::{Event, TopicId, VenueIndex, Wish};

pub(super) const MS: u64 = 1_000_000;
pub(super) const EPOCH: u64 = 7;
/// Of `sim:A`.
pub(super) const ID: u32 = 101;

pub(super) fn limits() -> HubLimits {
    HubLimits { venues: 4, instruments: 100, topics: 1000, waiting_bytes: 64 << 20, feed_down_ns: 1250 * MS }
}

pub(super) struct Rig {
    pub(super) hub: Hub,
    pub(super) now: u64,
    /// What most steps are about.
    pub(super) channel: Channel,
    told: [Vec<String>; 2],
    feeds: Vec<String>,
}

impl Rig {
    /// Connected, with `sim:A` and `sim:B`, whose feed is live.
    pub(super) fn new(channel: Channel) -> Self {
        let mut rig = Self::of(Hub::new(limits()), channel);
        rig.hub.on_bus_state(Ok(1), rig.now);
        rig.beat("sim", EPOCH, &[]);
        rig.tick();
        let asked = rig.asked();
        assert_eq!(asked, [Target::Catalogue(VenueIndex(0))]);
        rig.catalogue(asked[0], &[definition(ID, "sim", "A", 2), definition(ID + 1, "sim", "B", 2)]);
        rig.forget();
        rig.hub.actions.clear();
        rig
    }

    pub(super) fn of(hub: Hub, channel: Channel) -> Self {
        Self { hub, now: 1_000_000 * MS, channel, told: Default::default(), feeds: Vec::new() }
    }

    /// With the topic of `sim:A` live at a number.
    pub(super) fn live(channel: Channel, sequence: u64) -> Self {
        let mut rig = Self::new(channel);
        rig.want(0);
        rig.tick();
        rig.answer(EPOCH, sequence);
        rig.forget();
        assert!(rig.asked().is_empty());
        rig
    }

    pub(super) fn topic(&self) -> TopicId {
        TopicId::new(0, self.channel)
    }

    pub(super) fn want(&mut self, shard: usize) {
        self.hub.on_wish(shard, Wish::Want(self.topic()));
    }

    pub(super) fn tick(&mut self) {
        self.hub.tick(self.now);
    }

    /// Lets time pass in the steps of the clock.
    pub(super) fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50 * MS;
            self.tick();
        }
    }

    /// As [`Rig::wait`], while the ingester beats.
    pub(super) fn wait_heard(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50 * MS;
            self.beat("sim", EPOCH, &[]);
            self.tick();
        }
    }

    pub(super) fn bus(&mut self, event: BusEvent) {
        self.hub.on_bus(event, self.now, self.now);
    }

    pub(super) fn lost(&mut self, token: Option<u64>) {
        let cause = tickwire_bus::LostCause::InboxFull;
        self.bus(BusEvent::Lost { token, messages: None, cause });
    }

    pub(super) fn message(&mut self, token: u64, payload: Vec<u8>) {
        self.bus(BusEvent::Message { token, subject: None, payload: payload.into() });
    }

    /// One record a number.
    pub(super) fn records(&mut self, epoch: u64, first: u64, last: u64) {
        let bodies: Vec<_> = (first..=last).map(|number| body(self.channel, number, false)).collect();
        self.frame(epoch, first, last, &bodies);
    }

    pub(super) fn gap(&mut self, epoch: u64, first: u64, last: u64) {
        let body = gap_body(self.channel, first, last);
        self.frame(epoch, first, last, &[body]);
    }

    pub(super) fn frame(&mut self, epoch: u64, first: u64, last: u64, bodies: &[Body]) {
        let payload = frame(self.channel, epoch, (first, last), bodies);
        self.message(u64::from(self.topic().0), payload);
    }

    pub(super) fn beat(&mut self, venue: &str, epoch: u64, positions: &[Position]) {
        self.beat_in(FeedState::Live, venue, epoch, positions);
    }

    pub(super) fn beat_in(&mut self, state: FeedState, venue: &str, epoch: u64, positions: &[Position]) {
        let (venue, positions, state) = (venue.to_owned(), positions.to_vec(), state as i32);
        let beat = pb::Beat { venue, epoch, state, reason: String::new(), time: self.now, positions };
        self.message(BEATS, beat.encode_to_vec());
    }

    /// A beat that says where the topic is.
    pub(super) fn position(&mut self, epoch: u64, sequence: u64) {
        let channel = self.channel as i32;
        self.beat("sim", epoch, &[Position { instrument: ID, channel, epoch, sequence }]);
    }

    /// Questions since the last look.
    pub(super) fn asked(&mut self) -> Vec<Target> {
        let actions = std::mem::take(&mut self.hub.actions).into_iter();
        actions
            .filter_map(|action| if let Action::Ask(_, _, target) = action { Some(target) } else { None })
            .collect()
    }

    /// The one question about the topic.
    #[track_caller]
    pub(super) fn question(&mut self) -> Target {
        self.hub.ask_due(self.now);
        let asked = self.asked();
        let about: Vec<_> = asked.iter().filter(|target| matches!(target, Target::Topic(..))).collect();
        let [target] = about[..] else { panic!("one question was expected: {asked:?}") };
        *target
    }

    /// Answers the one question with the state after a number.
    #[track_caller]
    pub(super) fn answer(&mut self, epoch: u64, sequence: u64) {
        let target = self.question();
        self.answer_to(target, epoch, sequence);
    }

    pub(super) fn answer_to(&mut self, target: Target, epoch: u64, sequence: u64) {
        let body = body(self.channel, sequence, true);
        let is_empty = sequence == 0 || self.channel == Channel::Trade;
        let records = if is_empty { Vec::new() } else { vec![record(ID, sequence, body)] };
        self.hub.on_answer(target, Ok(answer(epoch, sequence, &records)), self.now);
    }

    pub(super) fn fail(&mut self, target: Target, reason: &str) {
        self.hub.on_answer(target, Err(reason.to_owned()), self.now);
    }

    pub(super) fn catalogue(&mut self, target: Target, definitions: &[Record]) {
        self.hub.on_answer(target, Ok(answer(EPOCH, 0, definitions)), self.now);
    }

    pub(super) fn define(&mut self, definition: &Record) {
        let header = BusHeader {
            encoding: Encoding::Proto,
            channel: Channel::Instrument,
            instrument: definition.instrument,
            epoch: EPOCH,
            first_sequence: 1,
            last_sequence: 1,
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

    /// What shard 0 was told since the last look, feeds left out.
    pub(super) fn told(&mut self) -> Vec<String> {
        self.told_to(0)
    }

    pub(super) fn told_to(&mut self, shard: usize) -> Vec<String> {
        self.sort();
        std::mem::take(&mut self.told[shard])
    }

    /// States of feeds that were told since the last look.
    pub(super) fn feeds(&mut self) -> Vec<String> {
        self.sort();
        std::mem::take(&mut self.feeds)
    }

    pub(super) fn forget(&mut self) {
        self.sort();
        (self.told, self.feeds) = Default::default();
    }

    fn sort(&mut self) {
        for (mask, event) in self.hub.events.drain(..) {
            if let Event::Feed(feed) = &event {
                let feed = format!("{} {:?} {}", feed.name, feed.state, feed.reason);
                self.feeds.push(feed.trim_end().to_owned());
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

pub(super) fn brief(event: &Event) -> String {
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
        Event::Backfill(answer) => format!("backfill {}", answer.ticket),
        Event::Feed(feed) => format!("{:?}", feed.state),
    }
}

pub(super) fn frame(channel: Channel, epoch: u64, numbers: (u64, u64), bodies: &[Body]) -> Vec<u8> {
    frame_of(ID, channel, epoch, numbers, bodies)
}

pub(super) fn frame_of(
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

/// A message without its records.
pub(super) fn head(
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

pub(super) fn record(instrument: u32, sequence: u64, body: Body) -> Record {
    Record { instrument, sequence, event_time: sequence, receive_time: sequence, body }
}

pub(super) fn gap_body(channel: Channel, first: u64, last: u64) -> Body {
    let (channel, cause) = (channel as i32, GapCause::Upstream as i32);
    Body::Gap(Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 0 })
}

pub(super) fn body(channel: Channel, number: u64, is_state: bool) -> Body {
    let level = Level { price: number as i64, size: number };
    match channel {
        Channel::Trade => Body::Trade(Trade { price: number as i64, size: 1, ..Trade::default() }),
        Channel::Book => Body::Book(Book { snapshot: is_state, bids: vec![level], ..Book::default() }),
        Channel::Bar => Body::Bar(Bar { interval: 1, open: number as i64, ..Bar::default() }),
        Channel::Stat => Body::Stat(Stat { trades: number, ..Stat::default() }),
        Channel::Status => {
            Body::Status(Status { state: TradingState::Open as i32, reason: number.to_string() })
        }
        Channel::Instrument => definition(ID, "sim", "A", 2).body,
        Channel::Quote | Channel::Unknown => Body::Quote(Quote { bid: Some(level), ask: None }),
    }
}

pub(super) fn definition(id: u32, venue: &str, symbol: &str, price_decimals: u32) -> Record {
    let (venue, symbol) = (venue.to_owned(), symbol.to_owned());
    record(id, 1, Body::Instrument(Instrument { venue, symbol, price_decimals, ..Instrument::default() }))
}

pub(super) fn answer(epoch: u64, sequence: u64, records: &[Record]) -> pb::Answer {
    let mut bytes = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record.clone()), &Scale::default(), &mut bytes);
    }
    let frame = pb::Frame::decode(bytes.as_slice()).unwrap();
    pb::Answer { epoch, frame: Some(frame), sequence, error: String::new(), state: FeedState::Live as i32 }
}

pub(super) fn refusal(epoch: u64, error: &str) -> pb::Answer {
    pb::Answer { epoch, error: error.to_owned(), ..pb::Answer::default() }
}

/// Of an outage.
pub(super) fn reason(text: &str) -> Arc<str> {
    text.into()
}
