//! Names that a session may not see: it is told nothing of them, whether they exist or not.

use tickwire_wire::{Channel, Refused, SymbolName};

use super::refusal::refused;
use super::view::{Full, view_for};
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
    is_unseen.then(|| refused(channel, symbol.to_owned(), "not_entitled", unseen(&name, channel)))
}

/// Returns the words for a name that is not among what a session may see.
pub(crate) fn unseen(name: &SymbolName, channel: Channel) -> String {
    format!("`{name}` on channel `{}` is not among what this session may see", channel.name())
}

/// The lot of a subscription whose session belongs to another principal now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lot {
    /// It goes on as it is.
    Kept,
    /// It ends here, and may be seen by another view.
    Elsewhere,
    /// It ends: there are too many delays or depths already for another one.
    Full(Full),
    /// It ends: it may not be seen.
    Unseen,
}

/// Decides about a subscription to a topic. What both principals may see alike goes on, whatever view there would be for it now: a new
/// token that says the same changes nothing.
pub(crate) fn lot(fanout: &Fanout, (before, after): (&Principal, &Principal), topic: TopicId) -> Lot {
    let info = fanout.instruments.get(topic.instrument_index() as usize).and_then(Option::as_ref);
    let sight = |of: &Principal| info.and_then(|info| of.sight(&info.name, topic.channel()));
    let Some(wanted) = sight(after) else { return Lot::Unseen };
    if sight(before) == Some(wanted) {
        return Lot::Kept;
    }
    match view_for(fanout, wanted) {
        Ok(Some(view)) if view == topic.view() => Lot::Kept,
        Ok(_) => Lot::Elsewhere,
        Err(full) => Lot::Full(full),
    }
}

impl Lot {
    /// Makes the refusal of a subscription that ends so, with this code.
    pub(crate) fn refusal(self, channel: Channel, symbol: String, code: &str) -> Refused {
        let why = match self {
            Self::Elsewhere => {
                "by its new token this session sees it with another delay or depth. Ask for it again; what `venue:*` stands for comes by itself"
            }
            Self::Full(full) => full.words(),
            Self::Kept | Self::Unseen => "the new token of this session does not grant it",
        };
        let may_retry = matches!(self, Self::Elsewhere | Self::Full(_));
        let message = format!("`{symbol}` ended: {why}");
        Refused { may_retry, ..refused(channel, symbol, code, message) }
    }
}
