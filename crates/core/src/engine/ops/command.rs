//! Commands: the messages of clients are taken, and commands that take effect at once are answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tickwire_wire::{
    Channel, CloseCode, Command, Error, Granted, Ledger, LedgerRequest, Message, Receipt, Refused, Resume,
    SetRate, Subscribe, Subscribed, Unsubscribe,
};

use super::ask::ask_for;
use super::backfill::ask_backfills;
use super::close::{close, weigh_session};
use super::entitled::refuse_unseen;
use super::grant::{await_topics, delay_ms, settle_pending, withdraw};
use super::identity::{hand_in, refuse_unknown};
use super::leave::take_leave;
use super::ledger::ledger;
use super::ready::queue;
use super::refusal::refused;
use super::resolve::{resolve, resolve_held};
use super::say::{reply, say};
use super::session::reopen;
use super::throttle::set_sub_rate;
use super::view::Taken;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::Session;
use crate::engine::dialect::Request;
use crate::engine::policy::price::Price;
use crate::engine::watcher::described;
use crate::vocabulary::{InstrumentInfo, TopicId};

/// So many names of a command are compared with those that are written alike.
const HINTS_MAX: usize = 5;

/// The bytes that are looked at for the id of a command that is not read.
const ID_WITHIN: usize = 1024;

/// The most pongs that a session is owed. Of more pings the newest are answered: older ones may stay unanswered (RFC 6455, section
/// 5.5.3).
const PONGS_MAX: usize = 64;

/// The characters of a wrong name that are repeated in a message.
const NAME_CHARS_SHOWN: usize = 32;

/// Takes one message from a client. What cannot be read is answered with an error; the session goes on. Returns
/// whether it answers one of our probes: these are not counted against the client.
pub(crate) fn on_message(
    fanout: &mut Fanout,
    key: SessionKey,
    (bytes, is_text): (&[u8], bool),
    now: u64,
) -> bool {
    fanout.now = now;
    fanout.price = Price::of_bytes(bytes.len());
    let Some(session) = fanout.sessions.get_mut(key) else { return false };
    session.heard = now;
    if session.is_ending() {
        return false;
    }
    if bytes.len() > fanout.limits.command_bytes {
        close(fanout, key, CloseCode::TooLarge);
        return false;
    }
    let mut requests = std::mem::take(&mut fanout.requests);
    session.dialect.read_framed(bytes, is_text, &mut requests);
    let is_response = on_requests(fanout, key, &mut requests, now);
    fanout.requests = requests;
    is_response
}

/// Takes what a session asked for before its first message.
pub(crate) fn begin(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let mut requests = std::mem::take(&mut fanout.requests);
    session.dialect.begin(&mut requests);
    on_requests(fanout, key, &mut requests, now);
    fanout.requests = requests;
}

/// Takes what one message asks for. Returns whether all of it answers probes.
fn on_requests(fanout: &mut Fanout, key: SessionKey, requests: &mut Vec<Request>, now: u64) -> bool {
    let mut is_response = !requests.is_empty();
    for request in requests.drain(..) {
        if fanout.sessions.get(key).is_none_or(Session::is_ending) {
            return false;
        }
        is_response &= match request {
            Request::Command(Command::Receipt(receipt)) => on_receipt(fanout, key, receipt, now),
            Request::Command(command) => {
                watched(fanout, key, command, now);
                false
            }
            Request::Wrong(error) => {
                say(fanout, key, &Message::Error(error));
                false
            }
            Request::Reply(bytes) => {
                reply(fanout, key, &bytes);
                false
            }
            Request::Close(code) => {
                close(fanout, key, code);
                false
            }
        };
    }
    is_response
}

/// Notes that something was heard, and owes the response to a ping, behind those that are owed already.
pub(crate) fn on_ping(fanout: &mut Fanout, key: SessionKey, payload: &[u8], now: u64) {
    if let Some(session) = fanout.sessions.get_mut(key) {
        session.heard = now;
        let pongs = &mut session.seldom.pongs;
        if pongs.len() >= PONGS_MAX {
            pongs.pop_front();
        }
        pongs.push_back(payload.into());
        queue(fanout, key);
    }
}

/// Takes the response to a ping: everything sent before that ping was read. Returns whether
/// one was owed; one that names none of ours only shows that the client is there.
pub(crate) fn on_pong(fanout: &mut Fanout, key: SessionKey, payload: &[u8], now: u64) -> bool {
    let Some(session) = fanout.sessions.get_mut(key) else { return false };
    session.heard = now;
    let Ok(time) = payload.try_into() else { return false };
    let is_owed = session.window.on_pong(u64::from_le_bytes(time), now);
    reopen(fanout, key, now);
    is_owed
}

fn on_receipt(fanout: &mut Fanout, key: SessionKey, receipt: Receipt, now: u64) -> bool {
    let Some(session) = fanout.sessions.get_mut(key) else { return false };
    session.reader_lag_ns = receipt.reader_lag_ns;
    let is_response = session.window.on_receipt(receipt.sent_time, now);
    reopen(fanout, key, now);
    is_response
}

/// Tells a client that it sends commands too fast, or too much in them: this one was not read.
pub(crate) fn on_flood(fanout: &mut Fanout, key: SessionKey, bytes: &[u8]) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let id = session.dialect.id_of(&bytes[..bytes.len().min(ID_WITHIN)]);
    let (commands, names) = (fanout.limits.commands_per_second, fanout.limits.names_per_second());
    let text = format!(
        "command ignored: more than {commands} commands or {names} names a second; put several symbols into one \
         command, and say nothing twice"
    );
    complain(fanout, key, id, "rate_limit", text);
}

/// Takes a command, and tells whoever watches.
fn watched(fanout: &mut Fanout, key: SessionKey, command: Command, now: u64) {
    if let (Some(watcher), Some(session)) = (&mut fanout.watcher, fanout.sessions.get(key)) {
        let (name, symbols) = described(&command);
        watcher.begins(&session.id, name, symbols);
    }
    on_command(fanout, key, command, now);
    if let Some(watcher) = &mut fanout.watcher {
        watcher.is_done();
    }
}

fn on_command(fanout: &mut Fanout, key: SessionKey, command: Command, now: u64) {
    let is_awaited = fanout.sessions.get(key).is_some_and(|s| s.principal.credential.is_awaited);
    match command {
        Command::Token(command) => hand_in(fanout, key, command),
        command if is_awaited => refuse_unknown(fanout, key, id_of(&command)),
        Command::Subscribe(command) => subscribe(fanout, key, command, now),
        Command::Unsubscribe(command) => unsubscribe(fanout, key, command, now),
        Command::SetRate(command) => set_rate(fanout, key, command),
        Command::Resume(command) => resume(fanout, key, command),
        // Read before the others.
        Command::Receipt(_) => {}
        Command::Ledger(LedgerRequest { id }) => {
            let Some(session) = fanout.sessions.get(key) else { return };
            let ledger = ledger(fanout, session, id);
            fanout.price.add_entries(ledger.entries.len());
            say(fanout, key, &Message::Ledger(ledger));
        }
    }
}

fn id_of(command: &Command) -> u64 {
    match command {
        Command::Subscribe(command) => command.id,
        Command::Unsubscribe(command) => command.id,
        Command::SetRate(command) => command.id,
        Command::Resume(command) => command.id,
        Command::Ledger(command) => command.id,
        Command::Token(command) => command.id,
        Command::Receipt(_) => 0,
    }
}

fn subscribe(fanout: &mut Fanout, key: SessionKey, command: Subscribe, now: u64) {
    let mut response = Subscribed { id: command.id, ..Subscribed::default() };
    let symbols = without_repeats(command.symbols);
    let Some(channel) = Channel::from_name(&command.channel) else {
        fanout.price.add_names(symbols.len());
        response.refused = no_such_channel(&command.channel, symbols);
        say(fanout, key, &Message::Subscribed(response));
        return;
    };
    let Some(session) = fanout.sessions.get(key) else { return };
    let principal = Arc::clone(&session.principal);
    let rate = principal.granted_rate(command.max_rate, fanout.limits.rate_max);
    let mut waiting = Vec::new();
    let (mut hints, mut taken) = (HINTS_MAX, Taken::default());
    for symbol in symbols {
        if let Some(refusal) = refuse_unseen(fanout, key, channel, &symbol) {
            fanout.price.add_names(1);
            response.refused.push(refusal);
            continue;
        }
        match resolve(fanout, &principal, channel, &symbol, (&mut hints, &mut taken)) {
            Ok(asked) => {
                let refusal = ask_for(fanout, key, (channel, symbol, rate), asked, &mut waiting);
                response.refused.extend(refusal);
            }
            Err(refusal) => response.refused.push(refusal),
        }
    }
    await_topics(fanout, key, response, waiting, rate, now);
    taken.give_back(fanout);
}

fn unsubscribe(fanout: &mut Fanout, key: SessionKey, command: Unsubscribe, now: u64) {
    let Named { channel, mut symbols } = named(fanout, key, &command.channel, command.symbols);
    // A `subscribe` that still waits for them is answered so.
    if fanout.sessions.get(key).is_some_and(|session| session.seldom.asked > 0) {
        let topics =
            symbols.iter().flat_map(|(_, _, topics)| topics.iter().map(|topic| topic.live())).collect();
        withdraw(fanout, key, &topics, |channel, symbol| {
            refused(channel, symbol, "not_subscribed", "unsubscribed before it was granted".to_owned())
        });
        settle_pending(fanout, key, now);
    }
    let (topics, wildcards, refused) = held_topics(fanout, key, &command.channel, channel, &mut symbols);
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    for (venue, channel) in &wildcards {
        let wildcards = &mut session.seldom.wildcards;
        let gone: Vec<_> = wildcards.extract_if(.., |known| known.is_of(venue, *channel)).collect();
        if !wildcards.iter().any(|known| known.venue == *venue) {
            fanout.index.wants_all_no_more(key, venue);
        }
        for all in gone {
            all.give_back(&mut fanout.index.holders);
        }
    }
    let indexes: Vec<_> = topics.iter().filter_map(|id| session.place_of(*id)).collect();
    let form = session.form;
    let mut entries = Vec::new();
    for sub in session.remove(&indexes) {
        entries.extend(take_leave(fanout, key, &sub, &form, now));
    }
    if !refused.is_empty() {
        say(fanout, key, &Message::Subscribed(Subscribed { id: command.id, granted: Vec::new(), refused }));
    }
    say(fanout, key, &Message::Ledger(Ledger { id: command.id, entries }));
    // One that went back further than its log may have made room for another one.
    ask_backfills(fanout, key, now);
}

/// Resolves what a command names of what a session has, each symbol once. A name that nothing is known of stands for nothing.
fn named(fanout: &mut Fanout, key: SessionKey, channel: &str, symbols: Vec<String>) -> Named {
    let channel = Channel::from_name(channel);
    let symbols = without_repeats(symbols).into_iter().map(|symbol| {
        let resolved = channel.map(|channel| resolve_held(fanout, key, channel, &symbol));
        let (venue, topics) = resolved.unwrap_or_default();
        (symbol, venue, topics)
    });
    Named { symbols: symbols.collect(), channel }
}

/// Finds the subscriptions of a session among what a command names, its `venue:*` among them, and makes refusals for
/// the names that are none.
fn held_topics(
    fanout: &Fanout,
    key: SessionKey,
    asked: &str,
    channel: Option<Channel>,
    symbols: &mut Vec<(String, Option<String>, Vec<TopicId>)>,
) -> (Vec<TopicId>, Vec<(String, Channel)>, Vec<Refused>) {
    let (mut topics, mut wildcards, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    let Some(channel) = channel else {
        let symbols = symbols.drain(..).map(|(symbol, ..)| symbol).collect();
        return (topics, wildcards, no_such_channel(asked, symbols));
    };
    let Some(session) = fanout.sessions.get(key) else { return (topics, wildcards, refusals) };
    let leaving = leaving(fanout, session, channel);
    for (symbol, venue, named) in symbols.drain(..) {
        let is_held =
            |venue: &String| session.seldom.wildcards.iter().any(|known| known.is_of(venue, channel));
        let wildcard = venue.filter(is_held);
        let before = topics.len();
        topics.extend(named.into_iter().filter_map(|topic| session.held(topic)));
        // What ended is held, too, while something is owed: under a name that may stand for another one already.
        let of_name = leaving.get(&symbol).into_iter().flatten();
        let of_venue = wildcard.iter().filter_map(|venue| leaving.get(venue)).flatten();
        topics.extend(of_name.chain(of_venue));
        if topics.len() == before && wildcard.is_none() {
            let name = channel.name();
            let message = format!("this session has no subscription to `{symbol}` on channel `{name}`");
            refusals.push(refused(channel, symbol, "not_subscribed", message));
        }
        wildcards.extend(wildcard.map(|venue| (venue, channel)));
    }
    topics.sort_unstable();
    topics.dedup();
    (topics, wildcards, refusals)
}

/// Returns the topics of a session's subscriptions to instruments that ended, by symbol and by venue.
fn leaving<'a>(fanout: &'a Fanout, session: &Session, channel: Channel) -> HashMap<&'a String, Vec<TopicId>> {
    let mut leaving: HashMap<_, Vec<_>> = HashMap::new();
    for sub in session.seldom.leaving.iter().filter_map(|index| session.sub(*index)) {
        let topic = fanout.topics.get(sub.topic).filter(|topic| topic.channel == channel);
        let Some(topic) = topic else { continue };
        for name in [&topic.info.scale.symbol, &topic.info.name.venue] {
            leaving.entry(name).or_default().push(sub.topic);
        }
    }
    leaving
}

fn set_rate(fanout: &mut Fanout, key: SessionKey, command: SetRate) {
    let Named { channel, mut symbols } = named(fanout, key, &command.channel, command.symbols);
    let (topics, wildcards, refused) = held_topics(fanout, key, &command.channel, channel, &mut symbols);
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let rate = session.principal.granted_rate(command.max_rate, fanout.limits.rate_max);
    for known in session.seldom.made().into_iter().flat_map(|seldom| &mut seldom.wildcards) {
        if wildcards.iter().any(|(venue, of)| known.is_of(venue, *of)) {
            known.rate = rate;
        }
    }
    set_rate_of_waiting(session, &fanout.instruments, &wildcards, rate);
    let mut granted = Vec::new();
    for id in topics {
        let max_rate = if id.channel().is_lossless() { 0.0 } else { rate };
        set_sub_rate(fanout, key, id, max_rate);
        let Some(topic) = fanout.topics.get(id) else { continue };
        let held = fanout.sessions.get(key).and_then(|session| session.sub(session.place_of(id)?));
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
            delay_ms: delay_ms(fanout.delay_ns(id.view())),
            depth: fanout.depths.levels(id.view()).unwrap_or_default(),
        });
    }
    say(fanout, key, &Message::Subscribed(Subscribed { id: command.id, granted, refused }));
}

/// Sets the rate of what a session waits for and gets by these `venue:*`.
fn set_rate_of_waiting(
    session: &mut Session,
    instruments: &[Option<Arc<InstrumentInfo>>],
    wildcards: &[(String, Channel)],
    rate: f64,
) {
    if wildcards.is_empty() || session.seldom.asked == 0 {
        return;
    }
    let is_meant = |topic: &TopicId| {
        let info = instruments.get(topic.instrument_index() as usize).and_then(Option::as_ref);
        let is_of = |info: &Arc<InstrumentInfo>| {
            wildcards.iter().any(|(venue, channel)| *channel == topic.channel() && *venue == info.name.venue)
        };
        info.is_some_and(is_of)
    };
    for pending in session.seldom.pending.values_mut() {
        let meant: Vec<_> = pending.waiting.iter().copied().filter(is_meant).collect();
        pending.own_rates.extend(meant.into_iter().map(|topic| (topic, rate)));
    }
}

/// Takes positions, beside those of earlier commands: a long vector may come in parts.
fn resume(fanout: &mut Fanout, key: SessionKey, command: Resume) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let limit = session.principal.subscriptions_of(fanout.limits.subscriptions_per_session);
    fanout.price.add_names(command.positions.len());
    let mut positions = session.seldom.resume.take().unwrap_or_default();
    let merged = positions.merge(command.positions, limit);
    session.seldom.resume = (!positions.is_empty()).then_some(positions);
    if let Err(count) = merged {
        let message = format!("that would make {count} `positions`, at most {limit} are kept");
        complain(fanout, key, command.id, "bad_command", message);
    }
    weigh_session(fanout, key);
}

fn complain(fanout: &mut Fanout, key: SessionKey, id: u64, code: &str, message: String) {
    say(fanout, key, &Message::Error(Error { id, code: code.to_owned(), message }));
}

/// The names of a command: each symbol with the venue that it stands for all of, and with its topics.
struct Named {
    channel: Option<Channel>,
    symbols: Vec<(String, Option<String>, Vec<TopicId>)>,
}

fn without_repeats(mut symbols: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(symbols.len());
    let is_first: Vec<_> = symbols.iter().map(|symbol| seen.insert(symbol.as_str())).collect();
    let mut is_first = is_first.into_iter();
    symbols.retain(|_| is_first.next().unwrap_or_default());
    symbols
}

/// Makes a refusal for each symbol. Its `channel` can hold channels that exist only: the message says which one was
/// asked for.
fn no_such_channel(asked: &str, symbols: Vec<String>) -> Vec<Refused> {
    let names: Vec<_> = Channel::ALL.iter().map(|channel| channel.name()).collect();
    let asked: String = asked.chars().take(NAME_CHARS_SHOWN).collect();
    let message = format!("there is no channel `{asked}`; channels: {}", names.join(", "));
    let refuse = |symbol| refused(Channel::Unknown, symbol, "unknown_channel", message.clone());
    symbols.into_iter().map(refuse).collect()
}
