//! Principals: a session belongs to one, and sees what that one may see.

use std::sync::{Arc, LazyLock};

use tickwire_wire::{Channel, SymbolName};

/// Whom a session belongs to. The gateway finds that out before it opens the session; the engine asks it once for each
/// subscription, and never for a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Names it, for operators.
    pub name: String,
    /// The entitlements: it may see everything that one of these covers.
    pub entitlements: Vec<Entitlement>,
    /// Subscriptions of one of its sessions, where the gateway allows more.
    pub subscriptions_max: usize,
    /// The fastest rate that it is granted where it asks for one, in updates per second, where the gateway allows more.
    pub rate_max: f64,
}

/// Something that may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// The venues.
    pub venues: Pattern,
    /// The symbols of these venues.
    pub symbols: Pattern,
    /// The channels of these symbols; `None` for all.
    pub channels: Option<Vec<Channel>>,
    /// The age that a record must have, in nanoseconds; 0 for live data.
    pub delay_ns: u64,
}

/// Names that are meant. Symbols may hold any character, so no character of a pattern has a meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every name.
    All,
    /// This one.
    Is(String),
    /// Those that begin so.
    Begins(String),
}

/// The permit of a principal for something: of two, the lesser is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permit {
    /// Everything, at once.
    Live,
    /// Everything, when it is this old in nanoseconds.
    Delayed(u64),
    /// Nothing.
    Nothing,
}

impl Pattern {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Is(one) => name == one,
            Self::Begins(start) => name.starts_with(start.as_str()),
        }
    }
}

impl Entitlement {
    /// Everything, live.
    pub const ALL: Self = Self { venues: Pattern::All, symbols: Pattern::All, channels: None, delay_ns: 0 };

    fn is_of(&self, venue: &str, channel: Channel) -> bool {
        self.venues.covers(venue) && self.channels.as_ref().is_none_or(|channels| channels.contains(&channel))
    }
}

impl Principal {
    /// Returns the principal of whoever gave no name: it sees everything, live, within the limits of the gateway.
    pub fn anonymous() -> Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Principal>> = LazyLock::new(|| {
            Arc::new(Principal {
                name: "anonymous".to_owned(),
                entitlements: vec![Entitlement::ALL],
                subscriptions_max: usize::MAX,
                rate_max: f64::INFINITY,
            })
        });
        Arc::clone(&ANONYMOUS)
    }

    /// Returns whether there is nothing to ask.
    pub(super) fn sees_all(&self) -> bool {
        self.entitlements.first() == Some(&Entitlement::ALL)
    }

    /// Returns how many subscriptions one of its sessions may hold, where the gateway allows `allowed`.
    pub(super) fn subscriptions_of(&self, allowed: usize) -> usize {
        self.subscriptions_max.min(allowed)
    }

    /// Returns the fastest rate that it is granted, where the gateway allows `allowed`.
    pub(super) fn rate_of(&self, allowed: f64) -> f64 {
        self.rate_max.min(allowed)
    }

    /// Returns what it may see of a channel of an instrument.
    pub fn permit(&self, name: &SymbolName, channel: Channel) -> Permit {
        self.best(|one| one.is_of(&name.venue, channel) && one.symbols.covers(&name.symbol))
    }

    /// Returns what it may see of a channel of a venue at most, whatever the symbol.
    pub fn permit_venue(&self, venue: &str, channel: Channel) -> Permit {
        self.best(|one| one.is_of(venue, channel))
    }

    /// Returns the delays with which it may see something of a channel of a venue, in nanoseconds, each once; 0 for live.
    pub(super) fn delays(&self, venue: &str, channel: Channel) -> Vec<u64> {
        let of_venue = self.entitlements.iter().filter(|one| one.is_of(venue, channel));
        let mut delays: Vec<_> = of_venue.map(|one| one.delay_ns).collect();
        delays.sort_unstable();
        delays.dedup();
        delays
    }

    fn best(&self, covers: impl Fn(&Entitlement) -> bool) -> Permit {
        let delays = self.entitlements.iter().filter(|one| covers(one)).map(|one| one.delay_ns);
        match delays.min() {
            None => Permit::Nothing,
            Some(0) => Permit::Live,
            Some(delay_ns) => Permit::Delayed(delay_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(entitlements: &[Entitlement]) -> Principal {
        Principal { entitlements: entitlements.to_vec(), ..Principal::clone(&Principal::anonymous()) }
    }

    #[track_caller]
    fn check(principal: &Principal, name: &str, channel: Channel, expected: Permit) {
        let name = SymbolName::parse(name).unwrap();
        assert_eq!(principal.permit(&name, channel), expected, "{name} {channel:?}");
    }

    #[test]
    fn the_best_of_what_covers_a_name_is_in_force() {
        let delayed = Entitlement { delay_ns: 5, ..Entitlement::ALL };
        let venue = Entitlement { venues: Pattern::Is("sim".to_owned()), ..Entitlement::ALL };
        let star = Entitlement { symbols: Pattern::Is("*X".to_owned()), ..venue.clone() };
        let options = Entitlement {
            symbols: Pattern::Begins("BTC-".to_owned()),
            channels: Some(vec![Channel::Trade, Channel::Quote]),
            ..venue.clone()
        };
        let one = principal(&[star, options]);
        check(&one, "sim:BTC-26DEC", Channel::Trade, Permit::Live);
        check(&one, "sim:BTC-26DEC", Channel::Book, Permit::Nothing);
        check(&one, "sim:BTC", Channel::Trade, Permit::Nothing);
        check(&one, "other:BTC-26DEC", Channel::Trade, Permit::Nothing);
        check(&one, "sim:*X", Channel::Book, Permit::Live);
        check(&one, "sim:YX", Channel::Book, Permit::Nothing);
        assert_eq!(one.permit_venue("sim", Channel::Stat), Permit::Live, "of `*X`");
        assert_eq!(one.permit_venue("other", Channel::Stat), Permit::Nothing);
        let both = principal(&[delayed.clone(), venue]);
        check(&both, "sim:A", Channel::Quote, Permit::Live);
        check(&both, "other:A", Channel::Quote, Permit::Delayed(5));
        check(&principal(&[]), "sim:A", Channel::Quote, Permit::Nothing);
        assert!(!principal(&[delayed]).sees_all() && Principal::anonymous().sees_all());
    }
}
