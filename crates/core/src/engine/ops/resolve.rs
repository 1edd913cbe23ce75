//! The symbols of commands are resolved: each stands for topics, or is refused.

use tickwire_wire::{Channel, FeedState, Refused, SymbolName};

use super::ask::{Asked, refused_for_now};
use super::known::{ended_just_now, instrument_of, known_venues, knows_venue, name_alike};
use super::refusal::{no_response, refused};
use super::view::{Taken, names_in, topics_of_all, use_view, view_for, views_of_all};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::principal::{Principal, Sight};
use crate::vocabulary::{TopicId, View};

/// Finds the topics that a symbol stands for, by views that begin where there are none and that the command holds. It looks for names
/// alike only so often as `hints` says.
pub(crate) fn resolve(
    fanout: &mut Fanout,
    principal: &Principal,
    channel: Channel,
    symbol: &str,
    (hints, taken): (&mut usize, &mut Taken),
) -> Result<Asked, Refused> {
    fanout.price.add_names(1);
    let refuse = |code: &str, message| refused(channel, symbol.to_owned(), code, message);
    let name = SymbolName::parse(symbol).map_err(|error| refuse("bad_symbol", error.to_string()))?;
    let venue = &name.venue;
    if !knows_venue(fanout, principal, venue, channel) {
        let known = known_venues(fanout, principal, channel);
        let message =
            format!("no feed of venue `{venue}` was heard of; known: {known}; retry if it is starting");
        return Err(Refused { may_retry: true, ..refuse("unknown_venue", message) });
    }
    let full = |full| refused_for_now(channel, symbol.to_owned(), full);
    if name.is_all() {
        let (shown, lacking) = views_of_all(fanout, principal, venue, channel, taken);
        if let Some(lacking) = lacking.filter(|_| shown.is_empty()) {
            return Err(full(lacking));
        }
        let topics = topics_of_all(fanout, shown.iter().map(|(_, view)| *view), venue, channel);
        fanout.price.add_names(topics.len());
        return Ok(Asked { venue: Some(name.venue), topics, shown, lacking });
    }
    // What may not be seen was refused before.
    let sight = principal.sight(&name, channel).unwrap_or(Sight::LIVE);
    let seen = (sight, view_for(fanout, sight).map_err(full)?);
    let Some(index) = instrument_of(fanout, seen, &name) else {
        if ended_just_now(fanout, sight, &name) {
            return Err(no_response(channel, symbol.to_owned(), venue));
        }
        let is_hinted = std::mem::replace(hints, hints.saturating_sub(1)) > 0;
        let alike = || name_alike(fanout, principal, seen.1, &name, channel);
        let hint = match is_hinted.then(alike).flatten() {
            Some(alike) => format!("did you mean `{alike}`?"),
            None => format!("subscribe to `{venue}:*` on channel `instrument` to see what there is"),
        };
        let message = format!("`{venue}` has no symbol `{}`; {hint}", name.symbol);
        // While its feed is not live, this gateway may not know all of its instruments. To who sees it late, what is listed already may
        // appear.
        let may_retry = sight.delay_ns > 0 || !is_feed_live(fanout, venue);
        return Err(Refused { may_retry, ..refuse("unknown_symbol", message) });
    };
    let view = use_view(fanout, sight, taken).map_err(full)?;
    let topics = vec![TopicId::new(index, channel).seen_as(view)];
    Ok(Asked { topics, shown: vec![(sight, view)], ..Asked::default() })
}

/// Returns whether the feed of a venue, where one was heard of, is live.
fn is_feed_live(fanout: &Fanout, venue: &str) -> bool {
    let venue = fanout.names.get(venue).and_then(|names| names.venue);
    let feed = venue.and_then(|venue| fanout.feeds.get(usize::from(venue.0))?.as_ref());
    feed.is_some_and(|feed| feed.state == FeedState::Live)
}

/// The venue that a symbol stands for all of, and its topics.
pub(crate) type NamedTopics = (Option<String>, Vec<TopicId>);

/// Finds the topics that a symbol of what a session has may stand for, by whatever view it has them, with the venue where it stands for
/// all of one.
pub(crate) fn resolve_held(
    fanout: &mut Fanout,
    key: SessionKey,
    channel: Channel,
    symbol: &str,
) -> NamedTopics {
    fanout.price.add_names(1);
    let Ok(name) = SymbolName::parse(symbol) else { return (None, Vec::new()) };
    let is_free = fanout.sessions.get(key).is_some_and(|session| session.principal.sees_all());
    let views = fanout.delays.views().filter(|_| !is_free).chain([View::LIVE]);
    let mut topics: Vec<_> = if name.is_all() {
        topics_of_all(fanout, views, &name.venue, channel)
    } else {
        let names = views.filter_map(|view| names_in(fanout, view, &name.venue)?.get(&name.symbol));
        names.map(|index| TopicId::new(index, channel)).collect()
    };
    for topic in &mut topics {
        *topic = topic.live();
    }
    topics.sort_unstable();
    topics.dedup();
    let is_all = name.is_all();
    fanout.price.add_names(if is_all { topics.len() } else { 0 });
    (is_all.then_some(name.venue), topics)
}
