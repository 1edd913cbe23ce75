//! Granting subscriptions: waiting for topics, the state that a subscription starts with, resuming.

use std::collections::HashSet;
use std::sync::Arc;

use tickwire_wire::{Channel, GapCause, Granted, Message, Refused, Subscribed};

use super::backfill::ask_backfills;
use super::budget::subscriptions_left;
use super::close::weigh_session;
use super::heartbeat::tell_feeds;
use super::ready::{mark, watch};
use super::refusal::{ALREADY_SUBSCRIBED, FULL, FULL_OF_BOOKS, over_limit, refused};
use super::release::{forget_unused, let_idle};
use super::say::say;
use super::waiting::forget_waiter;
use crate::engine::data::backfill::{Backfill, BackfillLimits};
use crate::engine::data::decisions::Decision;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef, Subscriber};
use crate::engine::data::rate::Rate;
use crate::engine::data::seldom::PendingSubscribe;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::engine::principal::Permit;
use crate::vocabulary::TopicInterest;
use crate::vocabulary::{InstrumentInfo, TopicId, Update};

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
    let number = fanout.next_pending;
    fanout.next_pending = fanout.next_pending.wrapping_add(1);
    let unknown: HashSet<_> = topics.iter().copied().filter(|topic| !hold(fanout, *topic, now)).collect();
    let deadline = now + fanout.limits.subscribe_timeout_ns;
    let is_known = unknown.is_empty();
    let pending = PendingSubscribe { response, waiting: topics, rate, unknown, deadline };
    if is_known {
        grant_all(fanout, key, pending, now);
    } else if let Some(session) = fanout.sessions.get_mut(key) {
        fanout.asked += pending.waiting.len();
        session.seldom.asked += pending.waiting.len() as u32;
        for topic in &pending.waiting {
            fanout.index.waits(key, number, *topic);
        }
        session.seldom.pending.insert(number, Box::new(pending));
        watch(fanout, key);
    }
}

/// Returns, of the topics that a symbol stands for, those that the session may have. Where it stands for all of a venue, these may
/// be some or none: what appears later may be among them. The principal is asked here and nowhere else, before anything
/// is held for it.
pub(crate) fn permitted(
    fanout: &Fanout,
    key: SessionKey,
    channel: Channel,
    symbol: &str,
    venue: Option<&str>,
    mut topics: Vec<TopicId>,
) -> Result<Vec<TopicId>, Refused> {
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.principal.sees_all()) else {
        return Ok(topics);
    };
    let principal = &session.principal;
    let mut best = Permit::Nothing;
    topics.retain(|topic| {
        let info = fanout.instruments.get(topic.instrument_index() as usize).and_then(Option::as_ref);
        let permit = info.map_or(Permit::Nothing, |info| principal.permit(&info.name, channel));
        best = best.min(permit);
        permit == Permit::Live
    });
    if let Some(venue) = venue {
        best = best.min(principal.permit_venue(venue, channel));
    }
    let why = match best {
        Permit::Live => return Ok(topics),
        Permit::Delayed(_) => "has to be delayed for this session, and this gateway has no delayed data",
        Permit::Nothing => "is not among what this session may see",
    };
    let message = format!("`{symbol}` on channel `{}` {why}", channel.name());
    Err(refused(channel, symbol.to_owned(), "not_entitled", message))
}

/// Makes sure that the topic is there or asked for. Returns whether its state is known.
fn hold(fanout: &mut Fanout, id: TopicId, now: u64) -> bool {
    let Some(info) = fanout.instruments.get(id.instrument_index() as usize).cloned().flatten() else {
        return false;
    };
    let slot = &mut fanout.topics[id.0 as usize];
    if slot.is_none() {
        fanout.interests.push(TopicInterest::Want(id.live()));
    }
    let is_live = slot.get_or_insert_with(|| Box::new(Topic::new(info, id.channel()))).live;
    let_idle(fanout, id, now);
    is_live
}

/// Answers those who waited last for a topic that became known or unobtainable.
pub(crate) fn resolve_waiters(fanout: &mut Fanout, topic: TopicId, now: u64) {
    for (key, number) in fanout.index.waiters(topic) {
        let Some(session) = fanout.sessions.get_mut(key) else { continue };
        let Some(seldom) = session.seldom.made() else { continue };
        let Some(pending) = seldom.pending.get_mut(&number) else { continue };
        pending.unknown.remove(&topic);
        if pending.unknown.is_empty() {
            settle(fanout, key, number, now);
        }
    }
    forget_unused(fanout, topic);
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
    forget_unused(fanout, topic);
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

/// Takes topics out of the pending subscribes of a session, and refuses them there.
pub(crate) fn withdraw(
    fanout: &mut Fanout,
    key: SessionKey,
    topics: &HashSet<TopicId>,
    code: &str,
    why: &str,
) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let instruments = &fanout.instruments;
    let Some(seldom) = session.seldom.made() else { return };
    for (number, pending) in &mut seldom.pending {
        let response = &mut pending.response;
        let before = pending.waiting.len();
        pending.waiting.retain(|topic| {
            let stays = !topics.contains(topic);
            if !stays {
                pending.unknown.remove(topic);
                fanout.index.waits_no_more(key, *number, *topic);
            }
            if let (false, Some(Some(info))) = (stays, instruments.get(topic.instrument_index() as usize)) {
                let symbol = info.scale.symbol.clone();
                response.refused.push(refused(topic.channel(), symbol, code, why.to_owned()));
            }
            stays
        });
        let withdrawn = before - pending.waiting.len();
        fanout.asked -= withdrawn;
        seldom.asked -= withdrawn as u32;
    }
}

fn grant_all(fanout: &mut Fanout, key: SessionKey, pending: PendingSubscribe, now: u64) {
    let mut response = pending.response;
    let mut snapshots = Vec::new();
    let venues = fanout.sessions.get_mut(key).map_or(0, |session| {
        session.make_room(pending.waiting.len());
        session.venues.len()
    });
    for topic in pending.waiting {
        match grant(fanout, key, topic, pending.rate, &mut snapshots) {
            Ok(granted) => response.granted.push(granted),
            Err(refusal) => response.refused.push(refusal),
        }
    }
    say(fanout, key, &Message::Subscribed(response));
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
    let Some(topic) = fanout.topics[id.0 as usize].as_deref_mut().filter(|topic| topic.live) else {
        let message = format!("the feed of `{}` does not answer now; retry", info.name.venue);
        return refuse("unavailable", message).map_err(|refusal| Refused { may_retry: true, ..refusal });
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
    if goes_back {
        session.seldom.turns.queue(index);
    }
    match session.venues.iter_mut().find(|(venue, _)| *venue == info.venue) {
        Some((_, count)) => *count += 1,
        None => {
            session.venues.push((info.venue, 1));
            fanout.index.sees(key, info.venue);
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
    })
}

/// Subscribes those who asked for all of a venue to an instrument that just appeared.
pub(crate) fn extend_wildcards(fanout: &mut Fanout, info: &InstrumentInfo, now: u64) {
    let mut asked = Vec::new();
    for key in fanout.index.wanting_all(&info.name.venue) {
        let Some(session) = fanout.sessions.get(key) else { continue };
        let of_venue = session.seldom.wildcards.iter().filter(|wildcard| wildcard.venue == info.name.venue);
        asked.extend(of_venue.map(|all| (key, TopicId::new(info.index, all.channel), all.rate)));
    }
    for (key, topic, rate) in asked {
        let (symbol, venue) = (&info.scale.symbol, Some(info.name.venue.as_str()));
        if !permitted(fanout, key, topic.channel(), symbol, venue, vec![topic]).is_ok_and(|t| t == [topic]) {
            continue;
        }
        if subscriptions_left(fanout) == 0 {
            let refusal = refused(topic.channel(), info.scale.symbol.clone(), "limit", FULL.to_owned());
            say(
                fanout,
                key,
                &Message::Subscribed(Subscribed { refused: vec![refusal], ..Subscribed::default() }),
            );
            continue;
        }
        await_topics(fanout, key, Subscribed::default(), vec![topic], rate, now);
    }
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
