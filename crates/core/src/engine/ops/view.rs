//! The views that a session sees: the live one, and those that are delayed enough for its principal.

use std::collections::HashSet;
use std::sync::Arc;

use tickwire_wire::{Channel, SymbolName};

use crate::engine::data::delays::Held;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Names;
use crate::engine::data::key::SessionKey;
use crate::engine::principal::Permit;
use crate::vocabulary::{TopicId, View};

/// There are as many delays as there may be, and none of them is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoDelay;

/// Returns the views by which a session sees a name: one, where it is no wildcard. `begins` makes a view where there is none
/// that is delayed enough.
pub(crate) fn views_of(
    fanout: &mut Fanout,
    key: SessionKey,
    name: &SymbolName,
    channel: Channel,
    begins: bool,
) -> Result<Vec<View>, NoDelay> {
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.principal.sees_all()) else {
        return Ok(vec![View::LIVE]);
    };
    let principal = Arc::clone(&session.principal);
    let delays = if name.is_all() {
        principal.delays(&name.venue, channel)
    } else {
        match principal.permit(name, channel) {
            Permit::Delayed(delay_ns) => vec![delay_ns],
            // What may not be seen is refused later.
            Permit::Live | Permit::Nothing => vec![0],
        }
    };
    let mut views = Vec::new();
    let mut is_short = false;
    for delay_ns in delays {
        let view = match delay_ns {
            0 => Some(View::LIVE),
            _ if begins => use_delay(fanout, key, delay_ns),
            _ => fanout.delays.enough(delay_ns),
        };
        is_short |= view.is_none();
        views.extend(view.filter(|view| !views.contains(view)));
    }
    if views.is_empty() && is_short { Err(NoDelay) } else { Ok(views) }
}

/// Returns the view that a permit stands for: `None` where nothing may be seen, or no view is delayed enough.
pub(crate) fn view_for(fanout: &Fanout, permit: Permit) -> Option<View> {
    match permit {
        Permit::Live => Some(View::LIVE),
        Permit::Delayed(delay_ns) => fanout.delays.enough(delay_ns),
        Permit::Nothing => None,
    }
}

/// Returns all topics of a channel of a venue, as these views know them.
pub(crate) fn topics_of_all(fanout: &Fanout, views: &[View], venue: &str, channel: Channel) -> Vec<TopicId> {
    let mut topics = Vec::new();
    for view in views {
        let names = names_in(fanout, *view, venue).into_iter().flat_map(Names::all);
        topics.extend(names.map(|index| TopicId::new(index, channel).seen_as(*view)));
    }
    topics
}

/// Returns the names of a venue's instruments as a view knows them.
pub(crate) fn names_in<'a>(fanout: &'a Fanout, view: View, venue: &str) -> Option<&'a Names> {
    match fanout.delays.get(view) {
        Some(delay) => delay.names.get(venue),
        None => fanout.names.get(venue),
    }
}

/// Returns the view of this delay, which begins where there is none; where there are too many, one that is delayed longer. The
/// session uses it from now on.
fn use_delay(fanout: &mut Fanout, key: SessionKey, delay_ns: u64) -> Option<View> {
    let exact = fanout.delays.enough(delay_ns).filter(|view| fanout.delays.delay_ns(*view) == delay_ns);
    let view = match exact {
        Some(view) => view,
        None => match fanout.delays.add(delay_ns, fanout.limits.delays, fanout.now) {
            Some(view) => begin(fanout, view),
            None => fanout.delays.enough(delay_ns)?,
        },
    };
    fanout.delays.get_mut(view)?.users.insert(key);
    Some(view)
}

/// Tells a view that begins what is known and old enough, and queues what is not old enough yet.
fn begin(fanout: &mut Fanout, view: View) -> View {
    let now = fanout.now;
    fanout.delays.begin_feeds(view, now);
    let endings = &fanout.endings;
    let Some(delay) = fanout.delays.get_mut(view) else { return view };
    for info in fanout.instruments.iter().flatten().filter(|info| !endings.contains_key(&info.index)) {
        let listed = info.listed.min(now);
        if listed.saturating_add(delay.age_ns) <= now {
            let names = delay.names.entry(info.name.venue.clone()).or_default();
            names.insert(&info.name.symbol, info.index);
        } else {
            delay.push_early(Held::Instrument(Arc::clone(info)), listed);
        }
    }
    view
}

/// Returns the view by which a session sees what it has this permit for, and makes it where there is none. `None` where it may see
/// nothing.
pub(crate) fn view_to_use(
    fanout: &mut Fanout,
    key: SessionKey,
    permit: Permit,
) -> Result<Option<View>, NoDelay> {
    match permit {
        Permit::Live => Ok(Some(View::LIVE)),
        Permit::Delayed(delay_ns) => use_delay(fanout, key, delay_ns).map(Some).ok_or(NoDelay),
        Permit::Nothing => Ok(None),
    }
}

/// Ends the use of the delays by which a session neither has nor wants anything any more.
pub(crate) fn end_unneeded_use(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let held = session.subs.iter().flatten().map(|sub| sub.topic.view());
    let waiting = session.seldom.pending.values().flat_map(|pending| &pending.waiting);
    let mut views: HashSet<_> = held.chain(waiting.map(|topic| topic.view())).collect();
    for all in &session.seldom.wildcards {
        let delays = session.principal.delays(&all.venue, all.channel).into_iter();
        views.extend(delays.filter_map(|delay_ns| fanout.delays.enough(delay_ns)));
    }
    for delay in fanout.delays.iter_mut().filter(|delay| !views.contains(&delay.view)) {
        delay.users.remove(&key);
    }
}

/// Ends the use of all delays by a session that ends.
pub(crate) fn end_use(fanout: &mut Fanout, key: SessionKey) {
    for delay in fanout.delays.iter_mut() {
        delay.users.remove(&key);
    }
}
