//! The names that a session asks for are taken up as far as its limits allow: by a command, or because its new token shows it more.

use tickwire_wire::{Channel, Message, Refused, Subscribed, SymbolName};

use super::budget::subscriptions_left;
use super::grant::{await_topics, permitted};
use super::refusal::{ALREADY_SUBSCRIBED, FULL, over_limit, refused};
use super::say::say;
use super::view::{names_in, topics_of_all, views_in_use, views_of};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::seldom::Wildcard;
use crate::vocabulary::TopicId;

/// Adds the topics of one symbol to those that a `subscribe` waits for, as far as the session's limit allows.
pub(crate) fn ask_for(
    fanout: &mut Fanout,
    key: SessionKey,
    channel: Channel,
    symbol: String,
    wildcard: Option<Wildcard>,
    topics: Vec<TopicId>,
    waiting: &mut Vec<TopicId>,
) -> Option<Refused> {
    let venue = wildcard.as_ref().map(|wildcard| wildcard.venue.as_str());
    let topics = match permitted(fanout, key, channel, &symbol, venue, topics) {
        Ok(topics) => topics,
        Err(refusal) => return Some(refusal),
    };
    let left = subscriptions_left(fanout);
    let session = fanout.sessions.get_mut(key)?;
    let limit = session.principal.subscriptions_of(fanout.limits.subscriptions_per_session);
    if let Some(wildcard) = wildcard {
        fanout.index.wants_all(key, &wildcard.venue);
        match session.seldom.wildcards.iter_mut().find(|known| known.is_of(&wildcard.venue, channel)) {
            Some(known) => known.rate = wildcard.rate,
            None => session.seldom.wildcards.push(wildcard),
        }
    } else if topics.iter().any(|topic| session.place_of(*topic).is_some()) {
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
    is_over.then(|| refused(channel, symbol, "limit", why))
}

/// Returns the count of the instruments that a session's `venue:*` stand for, whether it may see them or not. Those of a delayed view
/// are those of that time: a price must not tell what is listed now.
pub(crate) fn names_of_wildcards(fanout: &Fanout, key: SessionKey) -> usize {
    let Some(session) = fanout.sessions.get(key) else { return 0 };
    let names_of = |all: &Wildcard| {
        let views = views_in_use(fanout, &session.principal, &all.venue, all.channel);
        let names = views.into_iter().filter_map(|view| names_in(fanout, view, &all.venue));
        names.map(|names| names.all().len()).sum::<usize>()
    };
    session.seldom.wildcards.iter().map(names_of).sum()
}

/// Asks for what the `venue:*` of a session stand for now, beside what it has or waits for already.
pub(crate) fn extend_to_principal(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let wildcards = session.seldom.wildcards.iter();
    let wildcards: Vec<_> = wildcards.map(|all| (all.venue.clone(), all.channel, all.rate)).collect();
    for (venue, channel, rate) in wildcards {
        let name = SymbolName { venue: venue.clone(), symbol: "*".to_owned() };
        let mut response = Subscribed::default();
        let mut waiting = Vec::new();
        match views_of(fanout, key, &name, channel, true) {
            Ok(views) => {
                let mut topics = topics_of_all(fanout, &views, &venue, channel);
                topics.retain(|topic| fanout.index.waiters(*topic).iter().all(|(waiter, _)| *waiter != key));
                let wildcard = Some(Wildcard { venue, channel, rate });
                let refusal = ask_for(fanout, key, channel, name.to_string(), wildcard, topics, &mut waiting);
                response.refused.extend(refusal.map(|refusal| Refused { may_retry: true, ..refusal }));
            }
            Err(full) => {
                let refusal = refused(channel, name.to_string(), "limit", full.words().to_owned());
                response.refused.push(Refused { may_retry: true, ..refusal });
            }
        }
        if !waiting.is_empty() {
            await_topics(fanout, key, response, waiting, rate, now);
        } else if !response.refused.is_empty() {
            say(fanout, key, &Message::Subscribed(response));
        }
    }
}
