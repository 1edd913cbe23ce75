//! Granting subscriptions: waiting for topics, the state that a subscription starts with, resuming.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tickwire_wire::{Channel, GapCause, Granted, Message, Refused, Subscribed};

use super::arrive::shallow_views;
use super::backfill::ask_backfills;
use super::close::weigh_session;
use super::heartbeat::tell_feeds;
use super::hold::{Prospect, hold, room_from, starts_at};
use super::ready::{mark, watch};
use super::refusal::{ALREADY_SUBSCRIBED, FULL, FULL_OF_BOOKS, no_response, over_limit, refused, too_large};
use super::release::forget_unused;
use super::say::{notify, say};
use super::waiting::forget_waiter;
use crate::engine::data::backfill::{Backfill, BackfillLimits};
use crate::engine::data::decisions::Decision;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Seen;
use crate::engine::data::key::{SessionKey, SubRef, Subscriber};
use crate::engine::data::rate::Rate;
use crate::engine::data::seldom::{PendingSubscribe, Shown};
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{TopicId, Update};

/// The most subscriptions of one command that are named one by one where they start later.
const NAMED_MAX: usize = 64;

/// Grants when the state of every topic is known, so that the response comes before any of the data.
pub(crate) fn await_topics(
    fanout: &mut Fanout,
    key: SessionKey,
    response: Subscribed,
    mut topics: Vec<TopicId>,
    rate: f64,
    now: u64,
) {
    topics.sort_unstable();
    topics.dedup();
    let deadline = now + fanout.limits.subscribe_timeout_ns;
    let mut unknown = HashSet::new();
    for topic in &topics {
        // Who waits for a view that starts later than that is told so now.
        let is_awaited = hold(fanout, *topic, now) == Prospect::Awaited
            && starts_at(fanout, *topic).is_none_or(|at| at <= deadline);
        if is_awaited {
            unknown.insert(*topic);
        }
    }
    let is_known = unknown.is_empty();
    let own_rates = HashMap::new();
    let pending = PendingSubscribe { response, waiting: topics, rate, own_rates, unknown, deadline };
    if is_known {
        grant_all(fanout, key, pending, now);
    } else {
        wait(fanout, key, pending);
    }
}

/// Keeps a `subscribe` until its topics are known.
fn wait(fanout: &mut Fanout, key: SessionKey, pending: PendingSubscribe) {
    let number = fanout.next_pending;
    fanout.next_pending = fanout.next_pending.wrapping_add(1);
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    fanout.asked += pending.waiting.len();
    session.seldom.asked += pending.waiting.len() as u32;
    for topic in &pending.waiting {
        fanout.index.waits(key, number, *topic);
    }
    session.seldom.pending.insert(number, Box::new(pending));
    watch(fanout, key);
}

/// Returns, of the views of topics that a symbol stands for, those that the session may have. Where it stands for all of a venue,
/// these may be some or none: what appears later may be among them. A principal that may see something delayed has the view that
/// is shown for that, and no other. The principal is asked here for each, before anything is held for it.
pub(crate) fn permitted(
    fanout: &Fanout,
    key: SessionKey,
    channel: Channel,
    symbol: &str,
    venue: Option<&str>,
    (mut topics, shown): (Vec<TopicId>, &[Shown]),
) -> Result<Vec<TopicId>, Refused> {
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.principal.sees_all()) else {
        return Ok(topics);
    };
    let principal = &session.principal;
    let mut sees = venue.is_some_and(|venue| !principal.sees_nothing_of(venue, channel));
    topics.retain(|topic| {
        let info = fanout.instruments.get(topic.instrument_index() as usize).and_then(Option::as_ref);
        let sight = info.and_then(|info| principal.sight(&info.name, channel));
        sees |= sight.is_some();
        sight.is_some_and(|sight| shown.contains(&(sight, topic.view())))
    });
    if sees {
        return Ok(topics);
    }
    let message =
        format!("`{symbol}` on channel `{}` is not among what this session may see", channel.name());
    Err(refused(channel, symbol.to_owned(), "not_entitled", message))
}

/// Answers those who waited last for a topic that became known or unobtainable.
pub(crate) fn resolve_waiters(fanout: &mut Fanout, topic: TopicId, now: u64) {
    resolve_waiters_before(fanout, topic, u64::MAX, now);
    forget_unused(fanout, topic, now);
}

/// Answers those who waited last for a topic that became known, and for the books to a depth that are made of it.
pub(crate) fn resolve_all_waiters(fanout: &mut Fanout, topic: TopicId, now: u64) {
    for topic in shallow_views(fanout, topic).into_iter().chain([topic]) {
        resolve_waiters(fanout, topic, now);
    }
}

/// Answers those who do not wait until this time, in nanoseconds: a view will not start before.
pub(crate) fn resolve_waiters_before(fanout: &mut Fanout, topic: TopicId, at: u64, now: u64) {
    for (key, number) in fanout.index.waiters(topic) {
        let Some(session) = fanout.sessions.get_mut(key) else { continue };
        let Some(seldom) = session.seldom.made() else { continue };
        let Some(pending) = seldom.pending.get_mut(&number).filter(|pending| pending.deadline <= at) else {
            continue;
        };
        pending.unknown.remove(&topic);
        if pending.unknown.is_empty() {
            settle(fanout, key, number, now);
        }
    }
}

/// Tells those who wait for a topic why it cannot be had.
pub(crate) fn refuse_waiters(fanout: &mut Fanout, topic: TopicId, reason: &str, is_unknown: bool, now: u64) {
    let Some(info) = fanout.instruments.get(topic.instrument_index() as usize).cloned().flatten() else {
        return;
    };
    let code = if is_unknown { "unknown_symbol" } else { "unavailable" };
    let refusal = refused(topic.channel(), info.scale.symbol.clone(), code, reason.to_owned());
    let refusal = Refused { may_retry: !is_unknown, ..refusal };
    refuse_pending(fanout, topic, &refusal, now);
    forget_unused(fanout, topic, now);
}

/// Takes a topic out of all pending subscribes, with a refusal.
pub(crate) fn refuse_pending(fanout: &mut Fanout, topic: TopicId, refusal: &Refused, now: u64) {
    for (key, number) in fanout.index.waiters(topic) {
        fanout.index.waits_no_more(key, number, topic);
        let Some(session) = fanout.sessions.get_mut(key) else { continue };
        let Some(seldom) = session.seldom.made() else { continue };
        let Some(pending) = seldom.pending.get_mut(&number) else { continue };
        let Ok(at) = pending.waiting.binary_search(&topic) else { continue };
        pending.waiting.remove(at);
        pending.unknown.remove(&topic);
        pending.response.refused.push(refusal.clone());
        seldom.asked -= 1;
        fanout.asked -= 1;
        if pending.unknown.is_empty() {
            settle(fanout, key, number, now);
        }
    }
}

/// Answers the pending subscribes of a session that wait for nothing any more, or waited long enough.
pub(crate) fn settle_pending(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let is_due = |pending: &PendingSubscribe| pending.unknown.is_empty() || now >= pending.deadline;
    let settled = session.seldom.pending.iter().filter(|(_, pending)| is_due(pending));
    for number in settled.map(|(number, _)| *number).collect::<Vec<_>>() {
        settle(fanout, key, number, now);
    }
}

fn settle(fanout: &mut Fanout, key: SessionKey, number: u32, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let Some(pending) = session.seldom.pending.remove(&number) else { return };
    session.seldom.asked -= pending.waiting.len() as u32;
    fanout.asked -= pending.waiting.len();
    forget_waiter(fanout, key, number, &pending.waiting);
    grant_all(fanout, key, *pending, now);
}

/// Takes topics, by their live ids, out of the pending subscribes of a session, and refuses them there.
pub(crate) fn withdraw(
    fanout: &mut Fanout,
    key: SessionKey,
    topics: &HashSet<TopicId>,
    refuse: impl Fn(Channel, String) -> Refused,
) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let instruments = &fanout.instruments;
    let Some(seldom) = session.seldom.made() else { return };
    for (number, pending) in &mut seldom.pending {
        let response = &mut pending.response;
        let before = pending.waiting.len();
        pending.waiting.retain(|topic| {
            let stays = !topics.contains(&topic.live());
            if !stays {
                pending.unknown.remove(topic);
                fanout.index.waits_no_more(key, *number, *topic);
            }
            if let (false, Some(Some(info))) = (stays, instruments.get(topic.instrument_index() as usize)) {
                response.refused.push(refuse(topic.channel(), info.scale.symbol.clone()));
            }
            stays
        });
        let withdrawn = before - pending.waiting.len();
        fanout.asked -= withdrawn;
        seldom.asked -= withdrawn as u32;
    }
}

fn grant_all(fanout: &mut Fanout, key: SessionKey, mut pending: PendingSubscribe, now: u64) {
    let mut response = std::mem::take(&mut pending.response);
    let (mut snapshots, mut later) = (Vec::new(), Vec::new());
    let venues = fanout.sessions.get_mut(key).map_or(0, |session| {
        session.make_room(pending.waiting.len());
        session.venues.len()
    });
    for topic in std::mem::take(&mut pending.waiting) {
        if let Some(at) = starts_at(fanout, topic) {
            later.push((topic, at));
            continue;
        }
        match grant(fanout, key, topic, pending.rate_of(topic), &mut snapshots) {
            Ok(granted) => response.granted.push(granted),
            Err(refusal) => response.refused.push(refusal),
        }
    }
    // What appeared by itself is granted when it starts, without a word before.
    let is_asked = response.id != 0;
    if is_asked && later.len() <= NAMED_MAX {
        response
            .refused
            .extend(later.iter().filter_map(|(topic, at)| refusal_until(fanout, *topic, *at, now)));
    }
    if is_asked || later.is_empty() {
        say(fanout, key, &Message::Subscribed(response));
    }
    if is_asked && later.len() > NAMED_MAX {
        let message = format!(
            "{} subscriptions come late for this session, and this gateway knows nothing of them yet that is so old; each \
             is granted by itself when it does",
            later.len()
        );
        notify(fanout, key, "delayed", &message);
    }
    for (topic, _) in later {
        wait_longer(fanout, key, topic, pending.rate_of(topic));
    }
    ask_backfills(fanout, key, now);
    if let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.is_ending()) {
        for snapshot in snapshots {
            session.control.extend_from_slice(snapshot.bytes(&session.form));
        }
    }
    weigh_session(fanout, key);
    // The states of feeds that it saw before were told.
    if fanout.sessions.get(key).is_some_and(|session| session.venues.len() > venues) {
        tell_feeds(fanout, key, now);
    }
}

/// Refuses a view for now: it is granted when it starts, without being asked for again.
fn refusal_until(fanout: &Fanout, topic: TopicId, at: u64, now: u64) -> Option<Refused> {
    const SECOND: u64 = 1_000_000_000;
    let info = fanout.instruments.get(topic.instrument_index() as usize)?.as_ref()?;
    let (symbol, delay) = (info.scale.symbol.clone(), fanout.delay_ns(topic.view()).div_ceil(SECOND));
    let wait = at.saturating_sub(now).div_ceil(SECOND);
    let message = format!(
        "`{symbol}` comes {delay} s late for this session, and this gateway knows nothing of it yet that is so old; it is \
         granted by itself in about {wait} s"
    );
    Some(Refused { may_retry: true, ..refused(topic.channel(), symbol, "delayed", message) })
}

/// Waits for a view to start, however long that takes.
fn wait_longer(fanout: &mut Fanout, key: SessionKey, topic: TopicId, rate: f64) {
    // Whoever asks again meanwhile waits once, at the rate that was asked for last.
    let waiters = fanout.index.waiters(topic).into_iter();
    for (_, number) in waiters.filter(|(waiter, _)| *waiter == key) {
        let pending = fanout.sessions.get_mut(key).and_then(|s| s.seldom.made()?.pending.get_mut(&number));
        if let Some(pending) = pending.filter(|pending| pending.deadline == u64::MAX) {
            pending.change_rates(|_| rate);
            return;
        }
    }
    let (waiting, unknown) = (vec![topic], HashSet::from([topic]));
    let (response, own_rates) = (Subscribed::default(), HashMap::new());
    let pending = PendingSubscribe { response, waiting, rate, own_rates, unknown, deadline: u64::MAX };
    wait(fanout, key, pending);
}

/// Subscribes a session to a live topic. Last records of lossless channels, which are to follow the response at once,
/// are added to `snapshots`.
fn grant(
    fanout: &mut Fanout,
    key: SessionKey,
    id: TopicId,
    rate: f64,
    snapshots: &mut Vec<Arc<Update>>,
) -> Result<Granted, Refused> {
    let Some(info) = fanout.instruments[id.instrument_index() as usize].clone() else {
        return Err(refused(id.channel(), String::new(), "unknown_symbol", String::new()));
    };
    let symbol = info.scale.symbol.clone();
    let refuse = |code: &str, message: String| Err(refused(id.channel(), symbol.clone(), code, message));
    let Some(session) = fanout.sessions.get_mut(key) else { return refuse("unavailable", String::new()) };
    let limit = session.principal.subscriptions_of(fanout.limits.subscriptions_per_session);
    if session.place_of(id).is_some() {
        return refuse("already_subscribed", ALREADY_SUBSCRIBED.to_owned());
    }
    if session.count() >= limit {
        return refuse("limit", over_limit(limit));
    }
    if fanout.subscribed >= fanout.limits.subscriptions {
        return refuse("limit", FULL.to_owned());
    }
    let Some(topic) = fanout.topics.get_mut(id).filter(|topic| topic.live) else {
        let wait = room_from(fanout, id).saturating_sub(fanout.now);
        return Err(if wait > 0 {
            too_large(id.channel(), symbol, wait)
        } else {
            no_response(id.channel(), symbol, &info.name.venue)
        });
    };
    // A book that somebody has costs nothing more.
    let is_new_book = topic.channel == Channel::Book && topic.subscribers.is_empty();
    if is_new_book && fanout.logs.levels() > fanout.limits.book_levels {
        return refuse("limit", FULL_OF_BOOKS.to_owned());
    }
    let rate = if topic.channel.is_lossless() { 0.0 } else { rate };
    let mut sub = start(session, topic, id, fanout.now, fanout.desk.limits, snapshots);
    sub.set_rate(Rate::new(rate));
    sub.set_place(topic.subscribers.len());
    let (epoch, sequence, goes_back) = (topic.epoch, sub.sent, sub.backfill().is_some());
    if sequence != topic.sequence {
        // The grant does not say where the topic stands.
        sub.leave_untold();
    } else if session.count() == 0 {
        // The grants of the first subscriptions say so already.
        session.told = fanout.stamp;
    }
    topic.idle_since = None;
    let index = session.add(sub);
    let at = SubRef { session: key, sub: index };
    topic.begin_taking(&session.form);
    if topic.subscribers.len() == topic.subscribers.capacity() {
        // The room does not double: topics have a place for each subscription of all sessions.
        topic.subscribers.reserve_exact((topic.subscribers.len() / 4).max(2));
    }
    topic.subscribers.push(Subscriber { at, has_rate: rate > 0.0 });
    fanout.subscribed += 1;
    fanout.index.holders.take(id.view());
    if goes_back {
        session.seldom.turns.queue(index);
    }
    let seen = Seen { venue: info.venue, view: fanout.depths.base(id.view()) };
    match session.venues.iter_mut().find(|(known, _)| *known == seen) {
        Some((_, count)) => *count += 1,
        None => {
            session.venues.push((seen, 1));
            fanout.index.sees(key, seen);
        }
    }
    mark(fanout, at);
    Ok(Granted {
        channel: id.channel() as i32,
        symbol,
        instrument: info.id,
        price_decimals: info.scale.price_decimals,
        size_decimals: info.scale.size_decimals,
        max_rate: rate,
        epoch,
        sequence,
        delay_ms: delay_ms(fanout.delay_ns(id.view())),
        depth: fanout.depths.levels(id.view()).unwrap_or_default(),
    })
}

/// Returns a delay as clients are told it: in milliseconds, not less than it is.
pub(crate) fn delay_ms(delay_ns: u64) -> u64 {
    delay_ns.div_ceil(1_000_000)
}

/// Starts a new subscription: at the state as it is, or where the client left off.
fn start(
    session: &mut Session,
    topic: &mut Topic,
    id: TopicId,
    now: u64,
    history: Option<BackfillLimits>,
    snapshots: &mut Vec<Arc<Update>>,
) -> Sub {
    let mut sub = Sub::new(id, topic.epoch, topic.sequence, topic.stamp);
    if !topic.channel.is_lossless() {
        if topic.channel == Channel::Book {
            sub.stamp = if topic.sequence > 0 { 0 } else { topic.stamp };
        } else if let Some(oldest) = topic.oldest_current() {
            sub.stamp = oldest.stamp - 1;
        }
        // The newest of each key, or the book, is still to come; what was announced before is not.
        if !topic.is_logged_up_to(sub.stamp) {
            sub.begin_after_gaps(topic.stamp);
        }
        return sub;
    }
    let resume = session.seldom.made().map(|seldom| &mut seldom.resume);
    let position = resume.and_then(|resume| {
        let taken = resume.as_mut()?.take(topic.channel, &topic.info.scale.symbol);
        resume.take_if(|positions| positions.is_empty());
        taken
    });
    let Some((epoch, sequence)) = position else {
        snapshots.extend(
            topic.latest.iter().filter(|_| topic.channel.is_critical()).map(|(_, e)| Arc::clone(&e.update)),
        );
        return sub;
    };
    if epoch != topic.epoch {
        // Nobody knows how many sequence numbers the old sequence still had.
        let info = Arc::clone(&topic.info);
        let first = sequence.saturating_add(1);
        snapshots.push(Arc::new(Update::gap(info, topic.channel, GapCause::Resume, first, 0, topic.epoch)));
        let from = resume_at(&mut sub, topic, 0, history, snapshots);
        session.decided(now, Decision::Resumed { topic: id, after: sequence, from });
    } else if sequence < topic.sequence {
        let from = resume_at(&mut sub, topic, sequence, history, snapshots);
        session.decided(now, Decision::Resumed { topic: id, after: sequence, from });
    }
    sub
}

/// Goes back to a sequence number: what the log still holds will be sent, what it does not is asked of the history,
/// or announced where there is none. Returns the first sequence number that will follow.
fn resume_at(
    sub: &mut Sub,
    topic: &Topic,
    number: u64,
    history: Option<BackfillLimits>,
    snapshots: &mut Vec<Arc<Update>>,
) -> u64 {
    let oldest = topic.logged_behind(number);
    let (available, stamp) = match oldest {
        Some(entry) => (entry.update.first.max(number + 1), entry.stamp - 1),
        None => (topic.sequence + 1, topic.stamp),
    };
    let mut start = available - 1;
    if available > number + 1
        && let Some(limits) = history
    {
        let (backfill, behind) = Backfill::new(number, available - 1, limits);
        sub.set_backfill(backfill);
        start = behind;
    }
    if start > number {
        let info = Arc::clone(&topic.info);
        let gap = Update::gap(info, topic.channel, GapCause::Resume, number + 1, start, topic.epoch);
        snapshots.push(Arc::new(gap));
    }
    sub.begin_behind(start);
    sub.stamp = stamp;
    start + 1
}
