//! A session is told of venues, and of names like the one that it asked for. What it is told is never younger than what it
//! may see, whether there is a view for that already or not.

use tickwire_wire::{Channel, SymbolName};

use super::view::{names_in, view_for};
use crate::engine::data::fanout::Fanout;
use crate::engine::principal::{Principal, Sight};
use crate::vocabulary::{InstrumentInfo, View};

/// The most venues that a refusal names.
const NAMES_SHOWN: usize = 5;

/// Returns whether a principal may know by a channel that a venue was heard of.
pub(crate) fn knows_venue(fanout: &Fanout, principal: &Principal, venue: &str, channel: Channel) -> bool {
    let Some(names) = fanout.names.get(venue) else { return false };
    let is_old = |sight: &Sight| names.since.saturating_add(sight.delay_ns) <= fanout.now;
    principal.sees_all() || principal.sights(venue, channel).iter().any(is_old)
}

/// Names some of the venues that a principal may know by a channel.
pub(crate) fn known_venues(fanout: &Fanout, principal: &Principal, channel: Channel) -> String {
    let known = fanout.names.keys().filter(|venue| knows_venue(fanout, principal, venue, channel));
    let mut known: Vec<_> = known.map(String::as_str).collect();
    known.sort_unstable();
    known.truncate(NAMES_SHOWN);
    if known.is_empty() { "none yet".to_owned() } else { known.join(", ") }
}

/// Finds the instrument of a name as something is seen by a view; `None` stands for one that would begin now.
pub(crate) fn instrument_of(
    fanout: &Fanout,
    (sight, view): (Sight, Option<View>),
    name: &SymbolName,
) -> Option<u32> {
    let names = names_in(fanout, view.unwrap_or_default(), &name.venue)?;
    names.get(&name.symbol).filter(|index| view.is_some() || is_old(fanout, *index, sight))
}

/// Returns a name that is written alike, where the principal may know that it exists.
pub(crate) fn name_alike<'a>(
    fanout: &'a Fanout,
    principal: &Principal,
    view: Option<View>,
    name: &SymbolName,
    channel: Channel,
) -> Option<&'a SymbolName> {
    let alike = names_in(fanout, view.unwrap_or_default(), &name.venue)?.alike(&name.symbol)?;
    let alike = &instrument(fanout, alike)?.name;
    // It may be seen in another way than the name that was asked for.
    let sight = principal.sight(alike, channel)?;
    let view = view_for(fanout, sight).ok()?;
    instrument_of(fanout, (sight, view), alike).map(|_| alike)
}

/// Returns whether a name stands for nothing any more, and whoever sees it so may not know that yet.
pub(crate) fn ended_just_now(fanout: &Fanout, sight: Sight, name: &SymbolName) -> bool {
    sight.delay_ns > 0 && fanout.delays.has_ended_since(name, sight.delay_ns, fanout.now)
}

fn is_old(fanout: &Fanout, index: u32, sight: Sight) -> bool {
    let listed = instrument(fanout, index).map(|info| info.listed.min(fanout.now));
    listed.is_some_and(|listed| listed.saturating_add(sight.delay_ns) <= fanout.now)
}

fn instrument(fanout: &Fanout, index: u32) -> Option<&InstrumentInfo> {
    fanout.instruments.get(index as usize)?.as_deref()
}
