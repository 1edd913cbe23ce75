//! Names that a session may not see: it is told nothing of them, whether they exist or not.

use tickwire_wire::{Channel, Refused, SymbolName};

use super::refusal::refused;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::principal::{Permit, Principal};
use crate::vocabulary::TopicId;

/// Returns the refusal of a name that the session may not see. It is made from the name alone, before anything is looked up,
/// so it is the same for a name that exists and for one that does not.
pub(crate) fn refuse_unseen(
    fanout: &Fanout,
    key: SessionKey,
    channel: Channel,
    symbol: &str,
) -> Option<Refused> {
    let principal = &fanout.sessions.get(key).filter(|session| !session.principal.sees_all())?.principal;
    let name = SymbolName::parse(symbol).ok()?;
    let is_unseen = if name.is_all() {
        principal.sees_nothing_of(&name.venue, channel)
    } else {
        principal.permit(&name, channel) == Permit::Nothing
    };
    is_unseen.then(|| refused(channel, symbol.to_owned(), "not_entitled", unseen(principal, &name, channel)))
}

/// Returns the words for a name that is not among what a principal may see.
pub(crate) fn unseen(principal: &Principal, name: &SymbolName, channel: Channel) -> String {
    let why = match principal.depth_of(name, channel) {
        Some(depth) => format!(
            "may be seen to a depth of {depth} levels only, and this gateway has no books of limited depth"
        ),
        None => "is not among what this session may see".to_owned(),
    };
    format!("`{name}` on channel `{}` {why}", channel.name())
}

/// Returns whether a session may be told that this name exists.
pub(crate) fn may_know(fanout: &Fanout, key: SessionKey, name: &SymbolName, channel: Channel) -> bool {
    let Some(session) = fanout.sessions.get(key) else { return false };
    session.principal.sees_all() || session.principal.permit(name, channel) != Permit::Nothing
}

/// Returns whether a session may be told that this venue exists.
pub(crate) fn may_know_venue(fanout: &Fanout, key: SessionKey, venue: &str, channel: Channel) -> bool {
    let Some(session) = fanout.sessions.get(key) else { return false };
    session.principal.sees_all() || !session.principal.sees_nothing_of(venue, channel)
}

/// Returns whether a principal may keep a subscription to a topic that is of this name.
pub(crate) fn is_kept(principal: &Principal, name: &SymbolName, topic: TopicId) -> bool {
    principal.permit(name, topic.channel()) == Permit::Live
}
