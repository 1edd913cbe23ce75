//! What clients ask for: reading their commands, and answering those that take effect at once.

use std::collections::{BTreeMap, HashSet};

use tickwire_wire::{
    Channel, CloseCode, Command, Encoding, Error, FeedState, Granted, Ledger, LedgerRequest, Message,
    Receipt, Refused, Resume, ResumePosition, SetRate, Subscribe, Subscribed, SymbolName, Unsubscribe,
    decode_command,
};

use super::Engine;
use super::rate::granted_rate;
use super::session::{Session, SessionKey, Wildcard};
use super::sub::ledger_entry;
use super::update::TopicId;

/// Clients that a refusal asks to look at the names that exist see so many of them.
const NAMES_SHOWN: usize = 5;

/// Of a wrong name, so much is repeated in a message.
const NAME_CHARS_SHOWN: usize = 32;

pub(super) const ALREADY_SUBSCRIBED: &str = "this session has it already";

pub(super) const FULL: &str =
    "this gateway holds all the subscriptions it may (gateway.limits.subscriptions); try another one";

impl Engine {
    /// Takes one message from a client. What cannot be read is answered with an error; the session goes on. Returns
    /// whether it answers one of our probes: these are not counted against the client.
    pub fn on_message(&mut self, key: SessionKey, bytes: &[u8], now: u64) -> bool {
        self.now = now;
        let Some(session) = self.sessions.get_mut(key) else { return false };
        session.heard = now;
        if session.is_ending() {
            return false;
        }
        if bytes.len() > self.limits.command_bytes {
            self.close(key, CloseCode::TooLarge);
            return false;
        }
        let encoding = session.encoding;
        match decode_command(encoding, bytes) {
            Ok(Command::Receipt(receipt)) => return self.on_receipt(key, receipt, now),
            Ok(command) => self.on_command(key, command, now),
            Err(error) => self.complain(key, 0, "bad_command", explain(encoding, &error.reason)),
        }
        false
    }

    /// Notes that something was heard, and owes the answer to a ping.
    pub fn on_ping(&mut self, key: SessionKey, payload: &[u8], now: u64) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.heard = now;
            session.pong = Some(payload.to_vec());
            self.queue(key);
        }
    }

    /// Takes the answer to a ping: everything sent before that ping was read. Returns whether
    /// one was owed; one that names none of ours only shows that the client is there.
    pub fn on_pong(&mut self, key: SessionKey, payload: &[u8], now: u64) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        session.heard = now;
        let Ok(time) = payload.try_into() else { return false };
        let is_owed = session.window.on_pong(u64::from_le_bytes(time), now);
        self.reopen(key, now);
        is_owed
    }

    fn on_receipt(&mut self, key: SessionKey, receipt: Receipt, now: u64) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        session.reader_lag_ns = receipt.reader_lag_ns;
        let is_answer = session.window.on_receipt(receipt.sent_time, now);
        self.reopen(key, now);
        is_answer
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
            // Read before the others.
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
        let symbols = without_repeats(command.symbols);
        let Some(channel) = Channel::from_name(&command.channel) else {
            let names: Vec<_> = Channel::ALL.iter().map(|channel| channel.name()).collect();
            let asked: String = command.channel.chars().take(NAME_CHARS_SHOWN).collect();
            let message = format!("there is no channel `{asked}`; channels: {}", names.join(", "));
            let refuse = |symbol| refused(Channel::Unknown, symbol, "unknown_channel", message.clone());
            answer.refused = symbols.into_iter().map(refuse).collect();
            self.say(key, &Message::Subscribed(answer));
            return;
        };
        let rate = granted_rate(command.max_rate, self.limits.rate_max);
        let mut waiting = Vec::new();
        let mut hints = NAMES_SHOWN;
        for symbol in symbols {
            match self.resolve(channel, &symbol, &mut hints) {
                Ok((venue, topics)) => {
                    let wildcard = venue.map(|venue| Wildcard { venue, channel, rate });
                    if let Some(refusal) = self.ask_for(key, channel, symbol, wildcard, topics, &mut waiting)
                    {
                        answer.refused.push(refusal);
                    }
                }
                Err(refusal) => answer.refused.push(refusal),
            }
        }
        self.await_topics(key, answer, waiting, rate, now);
    }

    /// Adds the topics of one symbol to those that a `subscribe` waits for, as far as the session's limit allows.
    fn ask_for(
        &mut self,
        key: SessionKey,
        channel: Channel,
        symbol: String,
        wildcard: Option<Wildcard>,
        topics: Vec<TopicId>,
        waiting: &mut Vec<TopicId>,
    ) -> Option<Refused> {
        let limit = self.limits.subscriptions_per_session;
        let left = self.subscriptions_left();
        let session = self.sessions.get_mut(key)?;
        if let Some(wildcard) = wildcard {
            match session.wildcards.iter_mut().find(|known| known.is_of(&wildcard.venue, channel)) {
                Some(known) => known.rate = wildcard.rate,
                None => session.wildcards.push(wildcard),
            }
        } else if topics.iter().any(|topic| session.by_topic.contains_key(topic)) {
            return Some(refused(channel, symbol, "already_subscribed", ALREADY_SUBSCRIBED.to_owned()));
        }
        let held = session.by_topic.len() + session.pending.iter().map(|p| p.waiting.len()).sum::<usize>();
        let of_session = limit.saturating_sub(held + waiting.len());
        let room = of_session.min(left.saturating_sub(waiting.len()));
        let mut fresh: Vec<_> =
            topics.into_iter().filter(|topic| !session.by_topic.contains_key(topic)).collect();
        let asked = fresh.len();
        fresh.truncate(room);
        waiting.extend(fresh);
        let why = if room < of_session { FULL.to_owned() } else { over_limit(limit) };
        (asked > room).then(|| refused(channel, symbol, "limit", why))
    }

    /// The topics that a symbol stands for; with the venue where it stands for all of one.
    /// Looks for names alike only so often as `hints` says, because that looks at all of a venue.
    fn resolve(
        &self,
        channel: Channel,
        symbol: &str,
        hints: &mut usize,
    ) -> Result<(Option<String>, Vec<TopicId>), Refused> {
        let refuse = |code: &str, message| refused(channel, symbol.to_owned(), code, message);
        let name = SymbolName::parse(symbol).map_err(|error| refuse("bad_symbol", error.to_string()))?;
        let Some(symbols) = self.names.get(&name.venue) else {
            let known: Vec<_> = self.names.keys().map(String::as_str).take(NAMES_SHOWN).collect();
            let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
            let message = format!(
                "no feed of venue `{}` was heard of; known: {known}; retry if it is starting",
                name.venue
            );
            return Err(Refused { may_retry: true, ..refuse("unknown_venue", message) });
        };
        if name.is_all() {
            let mut topics: Vec<_> = symbols.values().map(|index| TopicId::new(*index, channel)).collect();
            topics.sort_unstable();
            return Ok((Some(name.venue), topics));
        }
        match symbols.get(&name.symbol) {
            Some(index) => Ok((None, vec![TopicId::new(*index, channel)])),
            None => {
                let is_alike = |known: &&String| known.eq_ignore_ascii_case(&name.symbol);
                let alike = symbols.keys().filter(|_| *hints > 0).find(is_alike);
                *hints = hints.saturating_sub(1);
                let hint = match alike {
                    Some(alike) => format!("did you mean `{}:{alike}`?", name.venue),
                    None => format!(
                        "subscribe to `{}:*` on channel `instrument` to see its {}",
                        name.venue,
                        symbols.len()
                    ),
                };
                let message = format!("`{}` has no symbol `{}`; {hint}", name.venue, name.symbol);
                // While its feed is not live, this gateway may not know all of its instruments.
                let may_retry = !self.is_live(&name.venue);
                Err(Refused { may_retry, ..refuse("unknown_symbol", message) })
            }
        }
    }

    fn is_live(&self, venue: &str) -> bool {
        let mut feeds = self.feeds.iter().flatten();
        feeds.any(|feed| *feed.name == *venue && feed.state == FeedState::Live)
    }

    fn unsubscribe(&mut self, key: SessionKey, command: &Unsubscribe, now: u64) {
        self.cancel_pending(key, &command.channel, &command.symbols, now);
        let (topics, wildcards, refused) = self.held_topics(key, &command.channel, &command.symbols);
        if let Some(session) = self.sessions.get_mut(key) {
            session.wildcards.retain(|known| !wildcards.iter().any(|(venue, of)| known.is_of(venue, *of)));
        }
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

    /// Ends subscriptions that are not granted yet: the `subscribe` that waits for them is answered so.
    fn cancel_pending(&mut self, key: SessionKey, channel: &str, symbols: &[String], now: u64) {
        let Some(channel) = Channel::from_name(channel) else { return };
        if self.sessions.get(key).is_none_or(|session| session.pending.is_empty()) {
            return;
        }
        for symbol in without_repeats(symbols.to_vec()) {
            let Ok((_, topics)) = self.resolve(channel, &symbol, &mut 0) else { continue };
            self.withdraw(key, channel, &topics);
        }
        self.settle_pending(key, now);
    }

    /// The subscriptions of a session that a command names, its `venue:*` among them, and refusals for the names that
    /// are none.
    fn held_topics(
        &self,
        key: SessionKey,
        channel: &str,
        symbols: &[String],
    ) -> (Vec<TopicId>, Vec<(String, Channel)>, Vec<Refused>) {
        let (mut topics, mut wildcards, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        let Some(session) = self.sessions.get(key) else { return (topics, wildcards, refusals) };
        let known = Channel::from_name(channel);
        let shown: String = channel.chars().take(NAME_CHARS_SHOWN).collect();
        for symbol in without_repeats(symbols.to_vec()) {
            let resolved = known.and_then(|channel| self.resolve(channel, &symbol, &mut 0).ok());
            let (venue, named) = resolved.unwrap_or_default();
            let is_held = |(venue, of): &(String, Channel)| {
                session.wildcards.iter().any(|known| known.is_of(venue, *of))
            };
            let wildcard = venue.zip(known).filter(is_held);
            let before = topics.len();
            topics.extend(named.into_iter().filter(|topic| session.by_topic.contains_key(topic)));
            if topics.len() == before && wildcard.is_none() {
                let message = format!("this session has no subscription to `{symbol}` on channel `{shown}`");
                refusals.push(refused(known.unwrap_or_default(), symbol, "not_subscribed", message));
            }
            wildcards.extend(wildcard);
        }
        topics.sort_unstable();
        topics.dedup();
        (topics, wildcards, refusals)
    }

    fn set_rate(&mut self, key: SessionKey, command: &SetRate) {
        let (topics, wildcards, refused) = self.held_topics(key, &command.channel, &command.symbols);
        let rate = granted_rate(command.max_rate, self.limits.rate_max);
        let Some(session) = self.sessions.get_mut(key) else { return };
        for known in &mut session.wildcards {
            if wildcards.iter().any(|(venue, of)| known.is_of(venue, *of)) {
                known.rate = rate;
            }
        }
        let mut granted = Vec::new();
        for id in topics {
            let max_rate = if id.channel().is_lossless() { 0.0 } else { rate };
            self.set_sub_rate(key, id, max_rate);
            let Some(topic) = self.topics[id.0 as usize].as_deref() else { continue };
            let held = self.sessions.get(key).and_then(|session| session.sub(*session.by_topic.get(&id)?));
            let Some(sub) = held else { continue };
            granted.push(Granted {
                channel: id.channel() as i32,
                symbol: topic.info.scale.symbol.clone(),
                instrument: topic.info.id,
                price_decimals: topic.info.scale.price_decimals,
                size_decimals: topic.info.scale.size_decimals,
                max_rate,
                epoch: topic.epoch,
                sequence: sub.sent,
            });
        }
        self.say(key, &Message::Subscribed(Subscribed { id: command.id, granted, refused }));
    }

    /// Takes positions, beside those of earlier commands: a long vector may come in parts.
    fn resume(&mut self, key: SessionKey, command: Resume) {
        let limit = self.limits.subscriptions_per_session;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let name = |position: &ResumePosition| (position.channel.clone(), position.symbol.clone());
        let known = std::mem::take(&mut session.resume);
        let mut merged: BTreeMap<_, _> = known.iter().map(|known| (name(known), known.clone())).collect();
        merged.extend(command.positions.into_iter().map(|position| (name(&position), position)));
        if merged.len() > limit {
            session.resume = known;
            let message = format!("that would make {} `positions`, at most {limit} are kept", merged.len());
            self.complain(key, command.id, "bad_command", message);
            return;
        }
        session.resume = merged.into_values().collect();
        self.weigh_session(key);
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
}

fn without_repeats(mut symbols: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    symbols.retain(|symbol| seen.insert(symbol.clone()));
    symbols
}

pub(super) fn over_limit(limit: usize) -> String {
    format!("a session may hold {limit} subscriptions; open another one")
}

pub(super) fn refused(channel: Channel, symbol: String, code: &str, message: String) -> Refused {
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
