//! The views that a session sees: the live one, and those that are late or shallow enough for its principal.

use std::collections::HashSet;
use std::sync::Arc;

use tickwire_wire::{Channel, SymbolName};

use super::refusal::{FULL_OF_DELAYS, FULL_OF_DEPTHS};
use crate::engine::data::delays::Held;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Names;
use crate::engine::data::key::SessionKey;
use crate::engine::principal::{Principal, Sight};
use crate::vocabulary::{TopicId, View};

/// There are as many delays or depths as there may be, and none of them will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Full {
    Delays,
    Depths,
}

impl Full {
    /// Says so, for the client.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Delays => FULL_OF_DELAYS,
            Self::Depths => FULL_OF_DEPTHS,
        }
    }
}

/// Returns the views by which a session sees a name: one, where it is no wildcard. `begins` makes a view where there is none
/// that will do.
pub(crate) fn views_of(
    fanout: &mut Fanout,
    key: SessionKey,
    name: &SymbolName,
    channel: Channel,
    begins: bool,
) -> Result<Vec<View>, Full> {
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.principal.sees_all()) else {
        return Ok(vec![View::LIVE]);
    };
    let principal = Arc::clone(&session.principal);
    let sights = if name.is_all() {
        principal.sights(&name.venue, channel)
    } else {
        // What may not be seen was refused before.
        vec![principal.sight(name, channel).unwrap_or(Sight::LIVE)]
    };
    let mut views = Vec::new();
    let mut full = None;
    for sight in sights {
        let view = if begins {
            use_view(fanout, key, sight)
        } else {
            view_for(fanout, Some(sight)).ok_or(Full::Delays)
        };
        match view {
            Ok(view) if views.contains(&view) => {}
            Ok(view) => views.push(view),
            Err(lacking) => full = Some(lacking),
        }
    }
    full.filter(|_| begins && views.is_empty()).map_or(Ok(views), Err)
}

/// Returns the view by which something is seen so: `None` where it may not be seen, or no view will do.
pub(crate) fn view_for(fanout: &Fanout, sight: Option<Sight>) -> Option<View> {
    let Sight { delay_ns, depth } = sight?;
    let base = if delay_ns == 0 { View::LIVE } else { fanout.delays.enough(delay_ns)? };
    depth.map_or(Some(base), |levels| fanout.depths.enough(base, levels))
}

/// Returns the view by which a session sees an instrument's channel; `None` where it may not, or no view will do.
pub(crate) fn view_in_use(
    fanout: &Fanout,
    key: SessionKey,
    name: &SymbolName,
    channel: Channel,
) -> Option<View> {
    let principal = &fanout.sessions.get(key)?.principal;
    if principal.sees_all() {
        return Some(View::LIVE);
    }
    view_for(fanout, principal.sight(name, channel))
}

/// Returns the views by which a principal sees something of a channel of a venue, as far as they are there, each once.
pub(crate) fn views_in_use(
    fanout: &Fanout,
    principal: &Principal,
    venue: &str,
    channel: Channel,
) -> HashSet<View> {
    if principal.sees_all() {
        return HashSet::from([View::LIVE]);
    }
    let sights = principal.sights(venue, channel).into_iter();
    sights.filter_map(|sight| view_for(fanout, Some(sight))).collect()
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
    match fanout.delays.get(fanout.depths.base(view)) {
        Some(delay) => delay.names.get(venue),
        None => fanout.names.get(venue),
    }
}

/// Returns the view by which something is seen so, which begins where there is none; where there are too many, one that is
/// delayed longer, or shallower. The session uses it from now on.
pub(crate) fn use_view(fanout: &mut Fanout, key: SessionKey, sight: Sight) -> Result<View, Full> {
    let base = match sight.delay_ns {
        0 => View::LIVE,
        delay_ns => use_delay(fanout, key, delay_ns).ok_or(Full::Delays)?,
    };
    sight.depth.map_or(Ok(base), |levels| use_depth(fanout, key, base, levels).ok_or(Full::Depths))
}

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

fn use_depth(fanout: &mut Fanout, key: SessionKey, of: View, levels: u32) -> Option<View> {
    let depths = &mut fanout.depths;
    let exact = depths.enough(of, levels).filter(|view| depths.levels(*view) == Some(levels));
    let view = exact.or_else(|| depths.add(of, levels, fanout.limits.depths));
    let view = view.or_else(|| depths.enough(of, levels))?;
    depths.get_mut(view)?.users.insert(key);
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

/// Ends the use of the views by which a session neither has nor wants anything any more.
pub(crate) fn end_unneeded_use(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let held = session.subs.iter().flatten().map(|sub| sub.topic.view());
    let waiting = session.seldom.pending.values().flat_map(|pending| &pending.waiting);
    let mut views: HashSet<_> = held.chain(waiting.map(|topic| topic.view())).collect();
    for all in &session.seldom.wildcards {
        views.extend(views_in_use(fanout, &session.principal, &all.venue, all.channel));
    }
    views = views.iter().flat_map(|view| [*view, fanout.depths.base(*view)]).collect();
    for delay in fanout.delays.iter_mut().filter(|delay| !views.contains(&delay.view)) {
        delay.users.remove(&key);
    }
    for depth in fanout.depths.iter_mut().filter(|depth| !views.contains(&depth.view)) {
        depth.users.remove(&key);
    }
}

/// Ends the use of all views by a session that ends.
pub(crate) fn end_use(fanout: &mut Fanout, key: SessionKey) {
    for delay in fanout.delays.iter_mut() {
        delay.users.remove(&key);
    }
    for depth in fanout.depths.iter_mut() {
        depth.users.remove(&key);
    }
}
