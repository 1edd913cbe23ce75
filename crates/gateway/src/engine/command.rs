//! What clients ask for: subscriptions, their end, resuming, ledgers.

use std::sync::Arc;

use tickwire_wire::{
    Channel, CloseCode, Command, Encoding, Error, GapCause, Granted, Ledger, LedgerRequest, Message, Refused,
    Resume, SetRate, Subscribe, Subscribed, SymbolName, Unsubscribe, decode_command,
};

use super::session::{PendingSubscribe, Session, SessionKey, Sub, SubRef, ledger_entry};
use super::topic::Topic;
use super::update::{InstrumentInfo, TopicId, Update};
use super::{Engine, Wish};

/// Clients that a refusal asks to look at the names that exist see so many of them.
const NAMES_SHOWN: usize = 5;

impl Engine {
    /// Takes one message from a client. What cannot be read is answered with an error; the session goes on.
    pub fn on_message(&mut self, key: SessionKey, bytes: &[u8], now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.heard = now;
        if session.is_ending() {
            return;
        }
        if bytes.len() > self.limits.command_bytes {
            self.close(key, CloseCode::TooLarge);
            return;
        }
        let encoding = session.encoding;
        match decode_command(encoding, bytes) {
            Ok(command) => self.on_command(key, command, now),
            Err(error) => self.complain(key, 0, "bad_command", explain(encoding, &error.reason)),
        }
    }

    /// Notes that something was heard, and owes the answer to a ping.
    pub fn on_ping(&mut self, key: SessionKey, payload: &[u8], now: u64) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.heard = now;
            session.pong = Some(payload.to_vec());
            self.queue(key);
        }
    }

    /// Notes that something was heard.
    pub fn on_pong(&mut self, key: SessionKey, now: u64) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.heard = now;
        }
    }

    /// Tells a client that it sends commands too fast.
    pub fn on_flood(&mut self, key: SessionKey) {
        let limit = self.limits.commands_per_second;
        let text =
            format!("command ignored: more than {limit} a second; put several symbols into one command");
        self.complain(key, 0, "rate_limit", text);
    }

    fn on_command(&mut self, key: SessionKey, command: Command, now: u64) {
        match command {
            Command::Subscribe(command) => self.subscribe(key, command, now),
            Command::Unsubscribe(command) => self.unsubscribe(key, &command, now),
            Command::SetRate(command) => self.set_rate(key, &command),
            Command::Resume(command) => self.resume(key, command),
            Command::Receipt(_) => {}
            Command::Ledger(LedgerRequest { id }) => {
                let Some(session) = self.sessions.get(key) else { return };
                let ledger = self.ledger(session, id);
                self.say(key, &Message::Ledger(ledger));
            }
        }
    }

    fn subscribe(&mut self, key: SessionKey, command: Subscribe, now: u64) {
        let mut answer = Subscribed { id: command.id, ..Subscribed::default() };
        let Some(channel) = Channel::from_name(&command.channel) else {
            let names: Vec<_> = Channel::ALL.iter().map(|channel| channel.name()).collect();
            let message =
                format!("there is no channel `{}`; channels: {}", command.channel, names.join(", "));
            answer.refused = command
                .symbols
                .into_iter()
                .map(|symbol| refused(Channel::Unknown, symbol, "unknown_channel", message.clone()))
                .collect();
            self.say(key, &Message::Subscribed(answer));
            return;
        };
        let mut waiting = Vec::new();
        for symbol in command.symbols {
            match self.resolve(channel, symbol) {
                Ok((Some(venue), topics)) => {
                    if let Some(session) = self.sessions.get_mut(key)
                        && !session.wildcards.contains(&(venue.clone(), channel))
                    {
                        session.wildcards.push((venue, channel));
                    }
                    waiting.extend(topics);
                }
                Ok((None, topics)) => waiting.extend(topics),
                Err(refusal) => answer.refused.push(refusal),
            }
        }
        self.await_topics(key, answer, waiting, now);
    }

    /// The topics that a symbol stands for; with the venue where it stands for all of one.
    fn resolve(&self, channel: Channel, symbol: String) -> Result<(Option<String>, Vec<TopicId>), Refused> {
        let name = match SymbolName::parse(&symbol) {
            Ok(name) => name,
            Err(error) => return Err(refused(channel, symbol, "bad_symbol", error.to_string())),
        };
        let Some(symbols) = self.names.get(&name.venue) else {
            let known: Vec<_> = self.names.keys().map(String::as_str).take(NAMES_SHOWN).collect();
            let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
            let message = format!(
                "no feed of venue `{}` was heard of; known: {known}; retry if it is starting",
                name.venue
            );
            return Err(Refused { may_retry: true, ..refused(channel, symbol, "unknown_venue", message) });
        };
        if name.is_all() {
            let topics = symbols.values().map(|index| TopicId::new(*index, channel)).collect();
            return Ok((Some(name.venue), topics));
        }
        match symbols.get(&name.symbol) {
            Some(index) => Ok((None, vec![TopicId::new(*index, channel)])),
            None => {
                let wanted = name.symbol.to_ascii_lowercase();
                let alike = symbols.keys().find(|known| known.to_ascii_lowercase() == wanted);
                let hint = match alike {
                    Some(alike) => format!("did you mean `{}:{alike}`?", name.venue),
                    None => format!(
                        "subscribe to `{}:*` on channel `instrument` to see its {}",
                        name.venue,
                        symbols.len()
                    ),
                };
                let message = format!("`{}` has no symbol `{}`; {hint}", name.venue, name.symbol);
                Err(refused(channel, symbol, "unknown_symbol", message))
            }
        }
    }

    /// Grants when the state of every topic is known, so that the answer comes before any of the data.
    fn await_topics(&mut self, key: SessionKey, answer: Subscribed, mut topics: Vec<TopicId>, now: u64) {
        topics.sort_unstable();
        topics.dedup();
        let mut unknown = false;
        for topic in &topics {
            if !self.hold(*topic) {
                unknown = true;
                self.waiters.entry(*topic).or_default().push(key);
            }
        }
        let deadline = now + self.limits.subscribe_timeout_ns;
        let pending = PendingSubscribe { id: answer.id, answer, waiting: topics, deadline };
        if unknown {
            if let Some(session) = self.sessions.get_mut(key) {
                session.pending.push(pending);
            }
        } else {
            self.grant_all(key, pending, now);
        }
    }

    /// Makes sure that the topic is there or asked for; returns whether its state is known.
    fn hold(&mut self, id: TopicId) -> bool {
        let Some(info) = self.instruments.get(id.instrument_index() as usize).cloned().flatten() else {
            return false;
        };
        let slot = &mut self.topics[id.0 as usize];
        if slot.is_none() {
            self.wishes.push(Wish::Want(id));
        }
        let topic = slot.get_or_insert_with(|| Box::new(Topic::new(info, id.channel())));
        topic.idle_since = None;
        topic.live
    }

    /// A topic became known or unobtainable: answers those who waited for it last.
    pub(super) fn resolve_waiters(&mut self, topic: TopicId, now: u64) {
        let is_live =
            self.topics.get(topic.0 as usize).and_then(Option::as_deref).is_some_and(|topic| topic.live);
        for key in self.waiters.remove(&topic).unwrap_or_default() {
            self.settle_pending(key, now, |waiting| !is_live && waiting == topic);
        }
        if !is_live {
            self.forget_unused(topic);
        }
    }

    /// Answers the pending subscribes of a session of which every topic is live, or given up.
    pub(super) fn settle_pending(&mut self, key: SessionKey, now: u64, given_up: impl Fn(TopicId) -> bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let topics = &self.topics;
        let is_live = |id: TopicId| topics[id.0 as usize].as_deref().is_some_and(|topic| topic.live);
        let settled = session.pending.extract_if(.., |pending| {
            now >= pending.deadline || pending.waiting.iter().all(|topic| is_live(*topic) || given_up(*topic))
        });
        for pending in settled.collect::<Vec<_>>() {
            self.grant_all(key, pending, now);
        }
    }

    fn grant_all(&mut self, key: SessionKey, pending: PendingSubscribe, now: u64) {
        let mut answer = pending.answer;
        answer.id = pending.id;
        let mut snapshots = Vec::new();
        for topic in pending.waiting {
            match self.grant(key, topic, &mut snapshots) {
                Ok(granted) => answer.granted.push(granted),
                Err(refusal) => answer.refused.push(refusal),
            }
        }
        self.say(key, &Message::Subscribed(answer));
        if let Some(session) = self.sessions.get_mut(key) {
            for snapshot in snapshots {
                session.control.extend_from_slice(snapshot.bytes(session.encoding));
            }
        }
        if self.sessions.get(key).is_some_and(|session| !session.venues.is_empty()) {
            self.beat(key, now);
        }
    }

    /// Subscribes a session to a live topic. Last records of lossless channels, which are to follow the answer at once,
    /// are added to `snapshots`.
    fn grant(
        &mut self,
        key: SessionKey,
        id: TopicId,
        snapshots: &mut Vec<Arc<Update>>,
    ) -> Result<Granted, Refused> {
        let Some(info) = self.instruments[id.instrument_index() as usize].clone() else {
            return Err(refused(id.channel(), String::new(), "unknown_symbol", String::new()));
        };
        let symbol = info.scale.symbol.clone();
        let refuse = |code: &str, message: String| Err(refused(id.channel(), symbol.clone(), code, message));
        let Some(session) = self.sessions.get_mut(key) else { return refuse("unavailable", String::new()) };
        if session.by_topic.contains_key(&id) {
            return refuse("already_subscribed", "this session has it already".to_owned());
        }
        let limit = self.limits.subscriptions_per_session;
        if session.by_topic.len() >= limit {
            return refuse("limit", format!("a session may hold {limit} subscriptions; open another one"));
        }
        let Some(topic) = self.topics[id.0 as usize].as_deref_mut().filter(|topic| topic.live) else {
            let message = format!("the feed of `{}` does not answer now; retry", info.name.venue);
            return refuse("unavailable", message).map_err(|refusal| Refused { may_retry: true, ..refusal });
        };
        let sub = start(session, topic, id, snapshots);
        let (epoch, sequence) = (topic.epoch, sub.sent);
        let has_state = sub.needs_snapshot || topic.log_after(sub.stamp).next().is_some();
        let place = topic.subscribers.len() as u32;
        let index = session.add(Sub { place, ..sub });
        topic.subscribers.push(SubRef { session: key, sub: index });
        match session.venues.iter_mut().find(|(venue, _)| *venue == info.venue) {
            Some((_, count)) => *count += 1,
            None => session.venues.push((info.venue, 1)),
        }
        if has_state {
            self.mark(SubRef { session: key, sub: index });
        }
        Ok(Granted {
            channel: id.channel() as i32,
            symbol,
            instrument: info.id,
            price_decimals: info.scale.price_decimals,
            size_decimals: info.scale.size_decimals,
            max_rate: 0.0,
            epoch,
            sequence,
        })
    }

    fn unsubscribe(&mut self, key: SessionKey, command: &Unsubscribe, now: u64) {
        let (topics, refused) = self.held_topics(key, &command.channel, &command.symbols);
        let mut entries = Vec::new();
        for id in topics {
            let Some(session) = self.sessions.get_mut(key) else { return };
            let Some(sub) = session.by_topic.get(&id).copied().and_then(|index| session.remove(index)) else {
                continue;
            };
            session.lossless_bytes = session.lossless_bytes.saturating_sub(sub.waiting_bytes);
            if let Some(topic) = self.topics[id.0 as usize].as_deref() {
                let venue = topic.info.venue;
                entries.push(ledger_entry(&sub, topic));
                if let Some(at) = session.venues.iter().position(|(known, _)| *known == venue) {
                    session.venues[at].1 -= 1;
                    if session.venues[at].1 == 0 {
                        session.venues.swap_remove(at);
                    }
                }
            }
            self.detach(&sub, now);
        }
        if !refused.is_empty() {
            self.say(key, &Message::Subscribed(Subscribed { id: command.id, granted: Vec::new(), refused }));
        }
        self.say(key, &Message::Ledger(Ledger { id: command.id, entries }));
    }

    /// The subscriptions of a session that a command names, and refusals for the names that are none.
    fn held_topics(
        &mut self,
        key: SessionKey,
        channel: &str,
        symbols: &[String],
    ) -> (Vec<TopicId>, Vec<Refused>) {
        let (mut topics, mut refusals) = (Vec::new(), Vec::new());
        let known = Channel::from_name(channel);
        for symbol in symbols {
            let resolved = known.and_then(|channel| self.resolve(channel, symbol.clone()).ok());
            let (venue, named) = resolved.unwrap_or_default();
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if let Some(venue) = venue {
                session
                    .wildcards
                    .retain(|wildcard| known.is_none_or(|channel| *wildcard != (venue.clone(), channel)));
            }
            let before = topics.len();
            topics.extend(named.into_iter().filter(|topic| session.by_topic.contains_key(topic)));
            if topics.len() == before {
                let message =
                    format!("this session has no subscription to `{symbol}` on channel `{channel}`");
                refusals.push(refused(known.unwrap_or_default(), symbol.clone(), "not_subscribed", message));
            }
        }
        (topics, refusals)
    }

    fn set_rate(&mut self, key: SessionKey, command: &SetRate) {
        let (topics, refused) = self.held_topics(key, &command.channel, &command.symbols);
        let Some(session) = self.sessions.get(key) else { return };
        let granted = topics.into_iter().filter_map(|id| {
            let topic = self.topics[id.0 as usize].as_deref()?;
            let sub = session.sub(*session.by_topic.get(&id)?)?;
            Some(Granted {
                channel: id.channel() as i32,
                symbol: topic.info.scale.symbol.clone(),
                instrument: topic.info.id,
                price_decimals: topic.info.scale.price_decimals,
                size_decimals: topic.info.scale.size_decimals,
                max_rate: 0.0,
                epoch: topic.epoch,
                sequence: sub.sent,
            })
        });
        let answer = Subscribed { id: command.id, granted: granted.collect(), refused };
        self.say(key, &Message::Subscribed(answer));
    }

    fn resume(&mut self, key: SessionKey, command: Resume) {
        let limit = self.limits.subscriptions_per_session;
        if command.positions.len() > limit {
            let message = format!("`positions` holds {}, at most {limit} are read", command.positions.len());
            self.complain(key, command.id, "bad_command", message);
            return;
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.resume = command.positions;
        }
    }

    /// Subscribes those who asked for all of a venue to an instrument that just appeared.
    pub(super) fn extend_wildcards(&mut self, info: &InstrumentInfo, now: u64) {
        let mut asked = Vec::new();
        for (key, session) in &self.sessions {
            let of_venue = session.wildcards.iter().filter(|(venue, _)| *venue == info.name.venue);
            asked.extend(of_venue.map(|(_, channel)| (key, TopicId::new(info.index, *channel))));
        }
        for (key, topic) in asked {
            self.await_topics(key, Subscribed::default(), vec![topic], now);
        }
    }

    /// The account of every subscription of a session.
    pub(super) fn ledger(&self, session: &Session, id: u64) -> Ledger {
        let entries = session.subs.iter().flatten().filter_map(|sub| {
            let topic = self.topics[sub.topic.0 as usize].as_deref()?;
            Some(ledger_entry(sub, topic))
        });
        Ledger { id, entries: entries.collect() }
    }

    fn complain(&mut self, key: SessionKey, id: u64, code: &str, message: String) {
        self.say(key, &Message::Error(Error { id, code: code.to_owned(), message }));
    }

    /// Lets go of a topic that never became live and that nobody waits for.
    fn forget_unused(&mut self, id: TopicId) {
        if self
            .topics
            .get(id.0 as usize)
            .and_then(Option::as_deref)
            .is_some_and(|topic| topic.subscribers.is_empty())
            && !self.waiters.contains_key(&id)
        {
            self.topics[id.0 as usize] = None;
            self.wishes.push(Wish::Drop(id));
        }
    }
}

/// Where a new subscription starts: at the state as it is, or where the client left off.
fn start(session: &mut Session, topic: &mut Topic, id: TopicId, snapshots: &mut Vec<Arc<Update>>) -> Sub {
    let mut sub = Sub {
        topic: id,
        stamp: topic.stamp,
        sent: topic.sequence,
        epoch: topic.epoch,
        waiting_bytes: 0,
        shed_to: 0,
        account: super::Account::default(),
        dirty: false,
        needs_snapshot: false,
        sibling: 0,
        told: 0,
        place: 0,
    };
    if !topic.channel.is_lossless() {
        sub.needs_snapshot = topic.sequence > 0;
        return sub;
    }
    let resume = session.resume.iter().position(|position| {
        position.symbol == topic.info.scale.symbol && position.channel == topic.channel.name()
    });
    let Some(position) = resume.map(|at| session.resume.swap_remove(at)) else {
        snapshots.extend(
            topic.latest.iter().filter(|_| topic.channel.is_critical()).map(|(_, e)| Arc::clone(&e.update)),
        );
        return sub;
    };
    if position.epoch != topic.epoch {
        // Nobody knows how many numbers the old numbering still had.
        let info = Arc::clone(&topic.info);
        let (first, epoch) = (position.sequence + 1, topic.epoch);
        snapshots.push(Arc::new(Update::gap(info, topic.channel, GapCause::Resume, first, 0, epoch)));
        resume_at(&mut sub, topic, 0, snapshots);
    } else if position.sequence < topic.sequence {
        resume_at(&mut sub, topic, position.sequence, snapshots);
    }
    sub
}

/// Goes back to a number: what the log still holds will be sent, what it does not is announced.
fn resume_at(sub: &mut Sub, topic: &Topic, number: u64, snapshots: &mut Vec<Arc<Update>>) {
    let of_numbering =
        topic.log.iter().filter(|entry| entry.update.epoch == topic.epoch && entry.update.last > number);
    let oldest = of_numbering.into_iter().find(|entry| entry.update.last != 0);
    let (available, stamp) = match oldest {
        Some(entry) => (entry.update.first.max(1), entry.stamp - 1),
        None => (topic.sequence + 1, topic.stamp),
    };
    if available > number + 1 {
        let info = Arc::clone(&topic.info);
        let gap = Update::gap(info, topic.channel, GapCause::Resume, number + 1, available - 1, topic.epoch);
        snapshots.push(Arc::new(gap));
    }
    sub.sent = available - 1;
    sub.stamp = stamp;
}

fn refused(channel: Channel, symbol: String, code: &str, message: String) -> Refused {
    Refused { channel: channel as i32, symbol, code: code.to_owned(), message, may_retry: false }
}

/// What was wrong with a command, and what a right one looks like.
fn explain(encoding: Encoding, reason: &str) -> String {
    let remedy = match encoding {
        Encoding::Json => r#"write {"op":"subscribe","id":1,"channel":"quote","symbols":["venue:SYMBOL"]}"#,
        Encoding::Proto => "send one tickwire.v1.Command per message",
        Encoding::MsgPack => "send one array [operation, [fields]] per message",
    };
    format!("{reason}; {remedy}")
}
