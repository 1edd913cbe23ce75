//! What comes from the bus side, and to whom it goes.

use std::sync::Arc;

use tickwire_wire::{Channel, CloseCode, FeedState, Heartbeat, Message, Position};

use super::Engine;
use super::decision::Decision;
use super::rate::Queues;
use super::session::{Session, SessionKey};
use super::sub::{SubRef, Subscriber};
use super::topic::{LogLimits, Stamp};
use crate::vocabulary::{Event, FeedStatus, Form, InstrumentInfo, TopicId, TopicState, Update};

impl Engine {
    /// Takes what the bus side has to say.
    pub fn on_event(&mut self, event: &Event, now: u64) {
        self.now = now;
        match event {
            Event::Update(update) => self.on_update(update, now),
            Event::State(state) => self.on_state(state, now),
            Event::Instrument(info) => self.on_instrument(info, now),
            Event::Feed(feed) => self.on_feed(feed, now),
            Event::Ended(ended) => self.on_ended(ended, now),
            Event::Unavailable { topic, reason, is_unknown } => {
                self.refuse_waiters(*topic, reason, *is_unknown, now);
            }
            Event::Backfill(response) => self.on_backfill(response),
        }
    }

    fn log_limits(&self) -> LogLimits {
        LogLimits { records: self.limits.log_records_per_topic, bytes: self.limits.log_bytes_per_topic }
    }

    fn on_update(&mut self, update: &Arc<Update>, now: u64) {
        let limits = self.log_limits();
        let Some(topic) = self.topics.get_mut(update.topic.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        if !topic.live {
            return;
        }
        self.stamp += 1;
        let stood = (topic.epoch, topic.sequence);
        topic.append(update, self.stamp, limits);
        self.weigh_log(update.topic);
        if update.topic.channel() == Channel::Book {
            self.weigh_book(update.topic);
        }
        let Some(topic) = self.topics.get(update.topic.0 as usize).and_then(Option::as_deref) else { return };
        let arrival = Arrival {
            is_gap: update.is_gap(),
            is_sheddable: !topic.channel.is_critical() && !update.is_gap(),
            stood,
            stamp: self.stamp,
            now,
        };
        if topic.channel.is_lossless() {
            self.hand_out_each(update, &arrival);
        } else {
            self.hand_out_newest(update.topic, &arrival);
        }
    }

    /// A conflatable record arrived: whoever takes it is marked. Apart from [`Engine::hand_out_each`], because nothing that
    /// a mark does not need is to stand in this loop.
    #[inline(never)]
    fn hand_out_newest(&mut self, id: TopicId, arrival: &Arrival) {
        let Self { topics, sessions, rates, ready, .. } = self;
        let Some(topic) = topics.get(id.0 as usize).and_then(Option::as_deref) else { return };
        for Subscriber { at, has_rate } in &topic.subscribers {
            let Some(session) = sessions.get_mut(at.session) else { continue };
            if session.is_ending() || (*has_rate && arrival.is_held_back(session, at.sub, rates)) {
                continue;
            }
            session.dirty.mark(at.sub);
            if session.may_be_queued() {
                session.queued = true;
                ready.push(at.session);
            }
        }
    }

    /// A record that nobody may miss arrived: whoever takes it is marked, and owed its bytes.
    #[inline(never)]
    fn hand_out_each(&mut self, update: &Update, arrival: &Arrival) {
        let Self { topics, sessions, rates, ready, overfull, limits, .. } = self;
        let Some(topic) = topics.get(update.topic.0 as usize).and_then(Option::as_deref) else { return };
        let least = limits.shed_bytes.min(limits.close_bytes);
        // Of the form of the subscriber before: most have the same.
        let (mut slot, mut bytes) = (u8::MAX, 0);
        for Subscriber { at, has_rate } in &topic.subscribers {
            let Some(session) = sessions.get_mut(at.session) else { continue };
            if session.is_ending() || (*has_rate && arrival.is_held_back(session, at.sub, rates)) {
                continue;
            }
            session.dirty.mark(at.sub);
            if session.form.slot() != slot {
                (slot, bytes) = (session.form.slot(), length_in(update, &session.form));
            }
            let Some(sub) = session.subs.get_mut(at.sub as usize).and_then(Option::as_mut) else { continue };
            sub.waiting_bytes += bytes;
            session.lossless_bytes += bytes;
            if session.shedding && arrival.is_sheddable {
                shed(session, at.sub, arrival.stamp);
            }
            if session.lossless_bytes >= limits.write_bytes {
                session.delivery.open_early();
            }
            let pressure = session.pressure();
            if pressure > least && (pressure > limits.close_bytes || !session.shedding) {
                overfull.push(at.session);
            }
            if session.may_be_queued() {
                session.queued = true;
                ready.push(at.session);
            }
        }
        while let Some(key) = self.overfull.pop() {
            self.relieve(key);
        }
    }

    /// Sheds what a session waits for, and closes it where that is not enough.
    fn relieve(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| !session.shedding) {
            session.shedding = true;
            session.decided(self.now, Decision::Shedding { pressure: session.pressure() as u64 });
            for index in 0..session.subs.len() as u32 {
                let Some(sub) = session.sub(index).filter(|sub| sub.waiting_bytes > 0) else { continue };
                let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
                if topic.channel.is_lossless() && !topic.channel.is_critical() {
                    shed(session, index, topic.stamp);
                }
            }
        }
        if self.sessions.get(key).is_some_and(|session| session.pressure() > self.limits.close_bytes) {
            self.close(key, CloseCode::SlowConsumer);
        }
    }

    fn on_state(&mut self, state: &TopicState, now: u64) {
        let limits = self.log_limits();
        self.wake_all(state.topic);
        let Some(topic) = self.topics.get_mut(state.topic.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        topic.restart(state, &mut self.stamp, limits);
        let subscribers = topic.subscribers.clone();
        self.weigh_log(state.topic);
        if state.topic.channel() == Channel::Book {
            self.weigh_book(state.topic);
        }
        for subscriber in subscribers {
            self.mark(subscriber.at);
        }
        self.resolve_waiters(state.topic, now);
    }

    fn on_instrument(&mut self, info: &Arc<InstrumentInfo>, now: u64) {
        let index = info.index as usize;
        if self.instruments.len() <= index {
            self.instruments.resize(index + 1, None);
            self.topics.resize_with(TopicId::count(index + 1), || None);
        }
        let is_new = self.instruments[index].replace(Arc::clone(info)).is_none();
        let names = self.names.entry(info.name.venue.clone()).or_default();
        names.insert(&info.name.symbol, info.index);
        if is_new {
            self.extend_wildcards(info, now);
        }
    }

    fn on_feed(&mut self, feed: &Arc<FeedStatus>, now: u64) {
        let index = usize::from(feed.venue.0);
        if self.feeds.len() <= index {
            self.feeds.resize(index + 1, None);
        }
        self.names.entry(feed.name.to_string()).or_default().venue = Some(feed.venue);
        self.feeds[index] = Some(Arc::clone(feed));
        for key in self.index.viewers(feed.venue) {
            self.tell_feeds(key, now);
            if feed.state == FeedState::Live {
                // What was lost before that is told with it: until then old values would be shown as live.
                self.open_window(key);
            }
        }
    }

    pub(super) fn mark(&mut self, subscriber: SubRef) {
        let Some(session) = self.sessions.get_mut(subscriber.session) else { return };
        session.dirty.mark(subscriber.sub);
        if !session.delivery.is_shut() {
            self.queue(subscriber.session);
        }
    }

    /// Tells feed states, and positions that moved since the heartbeat before.
    pub(super) fn heartbeat(&mut self, key: SessionKey, now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut positions = Vec::new();
        // A session that is held back has more to read than it can; positions every second would pile up before it.
        let told = if session.window.is_open() { &mut session.subs[..] } else { &mut [] };
        for sub in told.iter_mut().flatten() {
            let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
            if sub.told != topic.stamp {
                sub.told = topic.stamp;
                let (instrument, channel) = (topic.info.id, topic.channel as i32);
                positions.push(Position {
                    instrument,
                    channel,
                    epoch: topic.epoch,
                    sequence: topic.sequence,
                });
            }
        }
        self.tell_heartbeat(key, positions, now);
    }

    /// Tells feed states alone: what it costs does not depend on how many subscriptions there are.
    pub(super) fn tell_feeds(&mut self, key: SessionKey, now: u64) {
        self.tell_heartbeat(key, Vec::new(), now);
    }

    fn tell_heartbeat(&mut self, key: SessionKey, positions: Vec<Position>, now: u64) {
        let Some(session) = self.sessions.get(key) else { return };
        let feeds =
            session.venues.iter().filter_map(|(venue, _)| self.feeds.get(usize::from(venue.0))?.as_deref());
        let feeds = feeds.map(|feed| tickwire_wire::Feed {
            venue: feed.name.to_string(),
            state: feed.state as i32,
            since: feed.since,
            reason: feed.reason.to_string(),
        });
        let heartbeat = Heartbeat { time: now, feeds: feeds.collect(), positions };
        self.say(key, &Message::Heartbeat(heartbeat));
    }
}

/// Apart from the loop that asks for it, where it would stand in the way.
#[inline(never)]
fn length_in(update: &Update, form: &Form) -> usize {
    update.bytes(form).len()
}

/// What there is to know of a record that just arrived, whoever takes it.
struct Arrival {
    is_gap: bool,
    /// A session that sheds does without it.
    is_sheddable: bool,
    /// Sequence and number of its topic before it.
    stood: (u64, u64),
    stamp: Stamp,
    now: u64,
}

impl Arrival {
    /// Whether a subscription rests for its rate. It does not rest any more when it is due, and in front of a gap.
    #[inline(never)]
    fn is_held_back(&self, session: &mut Session, sub: u32, rates: &mut Queues<SubRef>) -> bool {
        let Some(sub) = session.sub_mut(sub) else { return false };
        let Some(rate) = sub.rate.as_ref().filter(|rate| rate.rests()) else { return false };
        if !self.is_gap && self.now < rate.due() {
            return true;
        }
        rates.leave();
        sub.wake(self.stood.0, self.stood.1);
        false
    }
}

/// Gives up the lossless records of one subscription up to a stamp; they will be announced.
fn shed(session: &mut Session, index: u32, stamp: Stamp) {
    let Some(sub) = session.sub_mut(index) else { return };
    sub.shed_to = stamp;
    let settled = std::mem::take(&mut sub.waiting_bytes);
    session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
}
