//! Heartbeats: they tell sessions the states of feeds, and the positions of topics.

use tickwire_wire::{Heartbeat, Message, Position};

use super::say::say;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;

/// Tells a session the feed states, and the positions that moved since the heartbeat before.
pub(crate) fn heartbeat(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let mut positions = Vec::new();
    // A session that is blocked has more to read than it can; positions every second would pile up before it.
    let is_open = session.window.is_open();
    let told_before = if is_open { std::mem::replace(&mut session.told, fanout.stamp) } else { 0 };
    let told = if is_open { &mut session.subs[..] } else { &mut [] };
    for sub in told.iter_mut().flatten() {
        let Some(topic) = fanout.topics[sub.topic.0 as usize].as_deref() else { continue };
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
    let feeds =
        session.venues.iter().filter_map(|(venue, _)| fanout.feeds.get(usize::from(venue.0))?.as_deref());
    let feeds = feeds.map(|feed| tickwire_wire::Feed {
        venue: feed.name.to_string(),
        state: feed.state as i32,
        since: feed.since,
        reason: feed.reason.to_string(),
    });
    let heartbeat = Heartbeat { time: now, feeds: feeds.collect(), positions };
    say(fanout, key, &Message::Heartbeat(heartbeat));
}
