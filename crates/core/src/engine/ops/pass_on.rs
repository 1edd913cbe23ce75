//! Everything that has become old enough goes on to the views that waited for it.

use tickwire_wire::{Channel, GapCause};

use super::arrive::take_state;
use super::ending::on_ended_late;
use super::event::{list, show_feed};
use super::grant::resolve_all_waiters;
use super::refill::{give_up, pass_update};
use crate::engine::data::delays::{Held, Queued};
use crate::engine::data::fanout::Fanout;
use crate::vocabulary::{TopicId, View};

/// The most that goes on to one view at a time: sockets and live records get their turn.
const TOGETHER_MAX: usize = 4096;

/// Lets everything go on that has become old enough.
pub(crate) fn pass_on(fanout: &mut Fanout, now: u64) {
    if fanout.delays.next_due().is_none_or(|due| due > now) {
        return;
    }
    fanout.now = now;
    for view in fanout.delays.views() {
        for _ in 0..TOGETHER_MAX {
            let Some(queued) = fanout.delays.get_mut(view).and_then(|delay| delay.pop(now)) else { break };
            pass(fanout, view, &queued, now);
        }
    }
}

fn pass(fanout: &mut Fanout, view: View, queued: &Queued, now: u64) {
    match &queued.held {
        Held::Update(update) => {
            if let Some(id) = view_of(fanout, update.topic, view, queued) {
                pass_update(fanout, id, update, now);
            }
        }
        Held::State(state) => {
            if let Some(id) = view_of(fanout, state.topic, view, queued) {
                give_up(fanout, id, now);
                take_state(fanout, id, state, GapCause::Bus);
                resolve_all_waiters(fanout, id, now);
            }
        }
        Held::Mended(state) => {
            if let Some(id) = view_of(fanout, state.topic, view, queued) {
                take_state(fanout, id, state, GapCause::Shed);
            }
        }
        Held::Instrument(info) => {
            let known = fanout.instruments.get(info.index as usize).and_then(Option::as_ref);
            if known.is_some_and(|known| known.id == info.id) {
                list(fanout, info, view, now);
            }
        }
        Held::Ended(index) => {
            for channel in Channel::ALL {
                give_up(fanout, TopicId::new(*index, channel).seen_as(view), now);
            }
            on_ended_late(fanout, *index, view, now);
        }
        Held::Feed(feed) => {
            if let Some(delay) = fanout.delays.get_mut(view) {
                delay.set_feed(feed.clone());
            }
            show_feed(fanout, feed, view, now);
        }
    }
}

/// Returns the view of a topic that something was queued for: `None` where that was let go since.
fn view_of(fanout: &mut Fanout, live: TopicId, view: View, queued: &Queued) -> Option<TopicId> {
    let id = live.seen_as(view);
    let late = fanout.topics.get_mut(id)?.late.as_deref_mut().filter(|late| queued.order >= late.from)?;
    late.bytes -= queued.held.bytes();
    Some(id)
}
