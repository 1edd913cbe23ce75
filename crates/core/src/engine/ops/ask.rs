//! The names that a session asks for are taken up as far as its limits allow: by a command, or because its new token shows it more.

use std::sync::Arc;

use tickwire_wire::{Channel, Message, Refused, Subscribed, SymbolName};

use super::budget::subscriptions_left;
use super::grant::{await_topics, permitted};
use super::refusal::{ALREADY_SUBSCRIBED, FULL, over_limit, refused};
use super::say::say;
use super::view::{Full, Taken, names_in, topics_of_all, views_of_all};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::seldom::{Shown, Wildcard};
use crate::vocabulary::{TopicId, View};

/// The topics that a symbol stands for, and the ways in which they are seen.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The venue, where it stands for all of one.
    pub(crate) venue: Option<String>,
    pub(crate) topics: Vec<TopicId>,
    pub(crate) shown: Vec<Shown>,
    /// The lack of delays or depths for a part of it.
    pub(crate) lacking: Option<Full>,
}

/// Adds the topics of one symbol to those that a `subscribe` waits for, as far as the session's limit allows. Returns why that is not all
/// of them.
pub(crate) fn ask_for(
    fanout: &mut Fanout,
    key: SessionKey,
    (channel, symbol, rate): (Channel, String, f64),
    asked: Asked,
    waiting: &mut Vec<TopicId>,
) -> Option<Refused> {
    let Asked { venue, topics, shown, lacking } = asked;
    let topics = match permitted(fanout, key, channel, &symbol, venue.as_deref(), (topics, &shown)) {
        Ok(topics) => topics,
        Err(refusal) => return Some(refusal),
    };
    let is_all = venue.is_some();
    if let Some(venue) = venue {
        keep_wildcard(fanout, key, Wildcard { venue, channel, rate, shown });
    }
    let left = subscriptions_left(fanout);
    let session = fanout.sessions.get_mut(key)?;
    let limit = session.principal.subscriptions_of(fanout.limits.subscriptions_per_session);
    if !is_all && topics.iter().any(|topic| session.place_of(*topic).is_some()) {
        return Some(refused(channel, symbol, "already_subscribed", ALREADY_SUBSCRIBED.to_owned()));
    }
    let held = session.count() + session.seldom.asked as usize;
    let of_session = limit.saturating_sub(held + waiting.len());
    let room = of_session.min(left.saturating_sub(waiting.len()));
    let fresh = topics.into_iter().filter(|topic| session.place_of(*topic).is_none());
    // One more than there is room for tells that there are too many.
    let mut fresh: Vec<_> = fresh.take(room + 1).collect();
    let is_over = fresh.len() > room;
    fresh.truncate(room);
    waiting.extend(fresh);
    let why = if room < of_session { FULL.to_owned() } else { over_limit(limit) };
    if is_over {
        return Some(refused(channel, symbol, "limit", why));
    }
    lacking.map(|full| refused_for_now(channel, symbol, full))
}

/// Makes the refusal of what there is no delay or depth for.
pub(crate) fn refused_for_now(channel: Channel, symbol: String, full: Full) -> Refused {
    Refused { may_retry: true, ..refused(channel, symbol, "limit", full.words().to_owned()) }
}

/// Notes that a session wants all of a venue, in place of what it wanted of it before.
fn keep_wildcard(fanout: &mut Fanout, key: SessionKey, wildcard: Wildcard) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    fanout.index.wants_all(key, &wildcard.venue);
    wildcard.take(&mut fanout.index.holders);
    let known = &mut session.seldom.wildcards;
    match known.iter_mut().find(|known| known.is_of(&wildcard.venue, wildcard.channel)) {
        Some(known) => std::mem::replace(known, wildcard).give_back(&mut fanout.index.holders),
        None => known.push(wildcard),
    }
}

/// Returns the count of the instruments that a session's `venue:*` stand for, whether it may see them or not. Those of a delayed view
/// are those of that time: a price must not tell what is listed now.
pub(crate) fn names_of_wildcards(fanout: &Fanout, key: SessionKey) -> usize {
    let Some(session) = fanout.sessions.get(key) else { return 0 };
    let names_of = |all: &Wildcard| {
        let mut views: Vec<_> = all.shown.iter().map(|(_, view)| fanout.depths.base(*view)).collect();
        views.sort_unstable();
        views.dedup();
        let names = views.into_iter().filter_map(|view: View| names_in(fanout, view, &all.venue));
        names.map(|names| names.all().len()).sum::<usize>()
    };
    session.seldom.wildcards.iter().map(names_of).sum()
}

/// Asks for what the `venue:*` of a session stand for now, beside what it has or waits for already.
pub(crate) fn extend_to_principal(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let principal = Arc::clone(&session.principal);
    let mut wildcards = Vec::new();
    for all in session.seldom.made().into_iter().flat_map(|seldom| &mut seldom.wildcards) {
        // A delay that nothing else uses may serve as another one now.
        all.give_back(&mut fanout.index.holders);
        all.shown.clear();
        wildcards.push((all.venue.clone(), all.channel, all.rate));
    }
    let mut taken = Taken::default();
    for (venue, channel, rate) in wildcards {
        let name = SymbolName { venue: venue.clone(), symbol: "*".to_owned() };
        let (shown, lacking) = views_of_all(fanout, &principal, &venue, channel, &mut taken);
        let mut topics = topics_of_all(fanout, shown.iter().map(|(_, view)| *view), &venue, channel);
        topics.retain(|topic| fanout.index.waiters(*topic).iter().all(|(waiter, _)| *waiter != key));
        let (mut response, mut waiting) = (Subscribed::default(), Vec::new());
        let asked = Asked { venue: Some(venue), topics, shown, lacking };
        let refusal = ask_for(fanout, key, (channel, name.to_string(), rate), asked, &mut waiting);
        response.refused.extend(refusal.map(|refusal| Refused { may_retry: true, ..refusal }));
        if !waiting.is_empty() {
            await_topics(fanout, key, response, waiting, rate, now);
        } else if !response.refused.is_empty() {
            say(fanout, key, &Message::Subscribed(response));
        }
    }
    taken.give_back(fanout);
}
