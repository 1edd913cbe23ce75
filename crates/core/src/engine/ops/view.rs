//! The views that a session sees: the live one, and those that are late or shallow enough for its principal.
//!
//! There are few delays and depths. Each is held by what needs it, and by the command that asks for it until that is taken. Where all of
//! them are in use, one that nobody holds makes room: until then its topics stay for those who come back.

use std::sync::Arc;

use tickwire_wire::Channel;

use super::refusal::{FULL_OF_DELAYS, FULL_OF_DEPTHS};
use super::release::{empty_view, let_go_of_delays};
use crate::engine::data::delays::Held;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Names;
use crate::engine::data::seldom::Shown;
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

/// The views that a command holds until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Taken(Vec<View>);

impl Taken {
    fn take(&mut self, fanout: &mut Fanout, view: View) {
        fanout.index.holders.take(view);
        self.0.push(view);
    }

    /// Gives the views back. Those that nothing holds now and that have no topics are gone.
    pub(crate) fn give_back(self, fanout: &mut Fanout) {
        let is_any = self.0.iter().any(|view| !view.is_live());
        self.0.into_iter().for_each(|view| fanout.index.holders.give_back(view));
        if is_any {
            let_go_of_delays(fanout);
        }
    }
}

/// Returns the view by which something is seen so: where there is none that is exact and no room for another one, one that is delayed
/// longer, or shallower. `None` where a view is to begin.
pub(crate) fn view_for(fanout: &Fanout, sight: Sight) -> Result<Option<View>, Full> {
    let base = match sight.delay_ns {
        0 => Some(View::LIVE),
        delay_ns => delay_for(fanout, delay_ns)?,
    };
    match (sight.depth, base) {
        (None, base) => Ok(base),
        (Some(levels), Some(base)) => depth_for(fanout, base, levels),
        (Some(_), None) if has_room_for_depth(fanout) => Ok(None),
        (Some(_), None) => Err(Full::Depths),
    }
}

fn delay_for(fanout: &Fanout, delay_ns: u64) -> Result<Option<View>, Full> {
    let enough = fanout.delays.enough(delay_ns);
    let is_exact = enough.is_some_and(|view| fanout.delays.delay_ns(view) == delay_ns);
    let has_room = fanout.delays.iter().count() < fanout.limits.delays || idle_delay(fanout).is_some();
    if has_room && !is_exact { Ok(None) } else { enough.map(Some).ok_or(Full::Delays) }
}

fn depth_for(fanout: &Fanout, of: View, levels: u32) -> Result<Option<View>, Full> {
    let enough = fanout.depths.enough(of, levels);
    let is_exact = enough.is_some_and(|view| fanout.depths.levels(view) == Some(levels));
    let begins = !is_exact && has_room_for_depth(fanout);
    if begins { Ok(None) } else { enough.map(Some).ok_or(Full::Depths) }
}

fn has_room_for_depth(fanout: &Fanout) -> bool {
    fanout.depths.iter().count() < fanout.limits.depths || idle_depth(fanout).is_some()
}

/// Returns a delay that nobody holds: the shortest one, which is the first to be again what it was.
fn idle_delay(fanout: &Fanout) -> Option<View> {
    let holders = &fanout.index.holders;
    let is_held =
        |view: View| holders.has(view) || fanout.depths.made_of(view).iter().any(|v| holders.has(*v));
    let idle = fanout.delays.iter().filter(|delay| !is_held(delay.view));
    idle.min_by_key(|delay| delay.age_ns).map(|delay| delay.view)
}

/// Returns a depth that nobody holds.
fn idle_depth(fanout: &Fanout) -> Option<View> {
    fanout.depths.iter().map(|depth| depth.view).find(|view| !fanout.index.holders.has(*view))
}

/// Returns the view by which something is seen so, as [`view_for`] does, and begins it where there is none. The command holds it.
pub(crate) fn use_view(fanout: &mut Fanout, sight: Sight, taken: &mut Taken) -> Result<View, Full> {
    // Nothing is begun where a part of it lacks.
    view_for(fanout, sight)?;
    let base = if sight.delay_ns == 0 { View::LIVE } else { use_delay(fanout, sight.delay_ns)? };
    taken.take(fanout, base);
    let Some(levels) = sight.depth else { return Ok(base) };
    let view = use_depth(fanout, base, levels)?;
    taken.take(fanout, view);
    Ok(view)
}

fn use_delay(fanout: &mut Fanout, delay_ns: u64) -> Result<View, Full> {
    if let Some(view) = delay_for(fanout, delay_ns)? {
        return Ok(view);
    }
    let now = fanout.now;
    if fanout.delays.iter().count() >= fanout.limits.delays
        && let Some(idle) = idle_delay(fanout)
    {
        for view in fanout.depths.made_of(idle).into_iter().chain([idle]) {
            empty_view(fanout, view, now);
        }
        let_go_of_delays(fanout);
    }
    let view = fanout.delays.add(delay_ns, fanout.limits.delays, now).ok_or(Full::Delays)?;
    begin(fanout, view);
    Ok(view)
}

fn use_depth(fanout: &mut Fanout, of: View, levels: u32) -> Result<View, Full> {
    if let Some(view) = depth_for(fanout, of, levels)? {
        return Ok(view);
    }
    if fanout.depths.iter().count() >= fanout.limits.depths
        && let Some(idle) = idle_depth(fanout)
    {
        empty_view(fanout, idle, fanout.now);
        let_go_of_delays(fanout);
    }
    fanout.depths.add(of, levels, fanout.limits.depths).ok_or(Full::Depths)
}

/// Tells a view that begins what is known and old enough, and queues what is not old enough yet.
fn begin(fanout: &mut Fanout, view: View) {
    let now = fanout.now;
    fanout.delays.begin_feeds(view, now);
    let endings = &fanout.endings;
    let Some(delay) = fanout.delays.get_mut(view) else { return };
    for info in fanout.instruments.iter().flatten().filter(|info| !endings.contains_key(&info.index)) {
        let listed = info.listed.min(now);
        if listed.saturating_add(delay.age_ns) <= now {
            let names = delay.names.entry(info.name.venue.clone()).or_default();
            names.insert(&info.name.symbol, info.index);
        } else {
            delay.push_early(Held::Instrument(Arc::clone(info)), listed);
        }
    }
}

/// Returns the ways in which a principal sees something of a channel of a venue, with a view for each, and what lacks where there is none
/// for one of them.
pub(crate) fn views_of_all(
    fanout: &mut Fanout,
    principal: &Principal,
    venue: &str,
    channel: Channel,
    taken: &mut Taken,
) -> (Vec<Shown>, Option<Full>) {
    if principal.sees_all() {
        return (vec![(Sight::LIVE, View::LIVE)], None);
    }
    let (mut shown, mut lacking) = (Vec::new(), None);
    for sight in principal.sights(venue, channel) {
        match use_view(fanout, sight, taken) {
            Ok(view) => shown.push((sight, view)),
            Err(full) => lacking = Some(full),
        }
    }
    (shown, lacking)
}

/// Returns all topics of a channel of a venue, as these views know them.
pub(crate) fn topics_of_all(
    fanout: &Fanout,
    views: impl IntoIterator<Item = View>,
    venue: &str,
    channel: Channel,
) -> Vec<TopicId> {
    let mut views: Vec<_> = views.into_iter().collect();
    views.sort_unstable();
    views.dedup();
    let mut topics = Vec::new();
    for view in views {
        let names = names_in(fanout, view, venue).into_iter().flat_map(Names::all);
        topics.extend(names.map(|index| TopicId::new(index, channel).seen_as(view)));
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
