//! Instruments that appear are added to what `venue:*` stands for.

use tickwire_wire::{Message, Subscribed};

use super::budget::subscriptions_left;
use super::grant::await_topics;
use super::hold::hold;
use super::refusal::{FULL, refused};
use super::say::say;
use crate::engine::data::fanout::Fanout;
use crate::vocabulary::{InstrumentInfo, TopicId, View};

/// Begins the delayed views of an instrument that just appeared, for those who asked for all of a venue: what comes from now on is
/// theirs when the instrument appears in their view.
pub(crate) fn prepare_views(fanout: &mut Fanout, info: &InstrumentInfo, now: u64) {
    let mut wanted = Vec::new();
    for key in fanout.index.wanting_all(&info.name.venue) {
        let Some(session) = fanout.sessions.get(key).filter(|session| !session.principal.sees_all()) else {
            continue;
        };
        let of_venue = session.seldom.wildcards.iter().filter(|wildcard| wildcard.venue == info.name.venue);
        for all in of_venue {
            let view = all.view_of(&session.principal, &info.name);
            let delayed = view.filter(|view| !view.is_live());
            wanted.extend(delayed.map(|view| TopicId::new(info.index, all.channel).seen_as(view)));
        }
    }
    for topic in wanted {
        hold(fanout, topic, now);
    }
}

/// Subscribes those who asked for all of a venue to an instrument that just appeared in a view.
pub(crate) fn extend_wildcards(fanout: &mut Fanout, info: &InstrumentInfo, view: View, now: u64) {
    let mut asked = Vec::new();
    for key in fanout.index.wanting_all(&info.name.venue) {
        let Some(session) = fanout.sessions.get(key) else { continue };
        let of_venue = session.seldom.wildcards.iter().filter(|wildcard| wildcard.venue == info.name.venue);
        for all in of_venue {
            let seen = all.view_of(&session.principal, &info.name);
            // A book to a depth appears with the whole ones of the same delay.
            if let Some(seen) = seen.filter(|seen| fanout.depths.base(*seen) == view) {
                asked.push((key, TopicId::new(info.index, all.channel).seen_as(seen), all.rate));
            }
        }
    }
    for (key, topic, rate) in asked {
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
