//! Heartbeats: they tell sessions the states of feeds, and the positions of topics.

use tickwire_wire::{BookProof, FeedState, Heartbeat, Message, Position};

use super::say::say;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Seen;
use crate::engine::data::key::SessionKey;
use crate::vocabulary::FeedStatus;

/// Tells a session the feed states, and the positions that moved since the heartbeat before.
pub(crate) fn heartbeat(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let mut positions = Vec::new();
    // A session that is blocked has more to read than it can; positions every second would pile up before it.
    let is_open = session.window.is_open();
    let told_before = if is_open { std::mem::replace(&mut session.told, fanout.stamp) } else { 0 };
    let told = if is_open { &mut session.subs[..] } else { &mut [] };
    for sub in told.iter_mut().flatten() {
        let Some(topic) = fanout.topics.get(sub.topic) else { continue };
        let is_untold = sub.take_untold();
        if is_untold || topic.stamp > told_before {
            let (instrument, channel) = (topic.info.id, topic.channel as i32);
            positions.push(Position { instrument, channel, epoch: topic.epoch, sequence: topic.sequence });
        }
    }
    tell_heartbeat(fanout, key, positions, now);
}

/// Tells a session the feed states alone: what that costs does not depend on how many subscriptions there are.
pub(crate) fn tell_feeds(fanout: &mut Fanout, key: SessionKey, now: u64) {
    tell_heartbeat(fanout, key, Vec::new(), now);
}

fn tell_heartbeat(fanout: &mut Fanout, key: SessionKey, positions: Vec<Position>, now: u64) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let mut feeds: Vec<tickwire_wire::Feed> = Vec::with_capacity(session.venues.len());
    for (seen, _) in &session.venues {
        let Some(feed) = feed(fanout, *seen) else { continue };
        // Who sees a venue live and delayed is told the worse of both states.
        match feeds.iter_mut().find(|known| known.venue == feed.venue) {
            Some(known) if badness(known.state()) >= badness(feed.state()) => {}
            Some(known) => *known = feed,
            None => feeds.push(feed),
        }
    }
    let heartbeat = Heartbeat { time: now, feeds, positions };
    say(fanout, key, &Message::Heartbeat(heartbeat));
}

/// Returns the state of a feed as a view shows it: a delayed one shows the state of that time. What was not known then is not
/// shown as live.
fn feed(fanout: &Fanout, seen: Seen) -> Option<tickwire_wire::Feed> {
    let live = fanout.feeds.get(usize::from(seen.venue.0))?.as_deref()?;
    let told = |feed: &FeedStatus| tickwire_wire::Feed {
        venue: feed.name.to_string(),
        state: feed.state as i32,
        since: feed.since,
        reason: feed.reason.to_string(),
        book_proof: feed.proof as i32,
    };
    let Some(delay) = fanout.delays.get(seen.view) else { return Some(told(live)) };
    Some(delay.feed(seen.venue).map_or_else(
        || tickwire_wire::Feed {
            venue: live.name.to_string(),
            state: FeedState::Stale as i32,
            since: delay.began,
            reason: "this gateway does not know yet how it was then".to_owned(),
            book_proof: BookProof::Unknown as i32,
        },
        |feed| told(feed),
    ))
}

fn badness(state: FeedState) -> u8 {
    match state {
        FeedState::Live => 0,
        FeedState::Stale => 1,
        _ => 2,
    }
}
