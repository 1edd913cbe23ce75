//! Principals: a session belongs to one, and sees what that one may see.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use tickwire_wire::{Channel, Encoding, SymbolName};

use super::credential::Credential;
use super::policy::rate::granted_rate;

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
    /// The fastest rate that it is granted, in updates per second, on all channels that are not lossless. Where it is finite, a
    /// subscription that asks for no rate gets this one.
    pub rate_max: f64,
    /// The encodings that its sessions may have; `None` for all.
    pub encodings: Option<Vec<Encoding>>,
    /// The token that it is known by.
    pub credential: Credential,
}

/// Something that may be seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entitlement {
    /// The venues.
    pub venues: Pattern,
    /// The symbols of these venues.
    pub symbols: Pattern,
    /// The channels of these symbols; `None` for all.
    pub channels: Option<Vec<Channel>>,
    /// The age that a record must have, in nanoseconds; 0 for live data.
    pub delay_ns: u64,
    /// The best price levels of each side of a book that may be seen; `None` for all.
    pub depth: Option<u32>,
}

/// Names that are meant. Symbols may hold any character, so no character of a pattern has a meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every name.
    All,
    /// This one.
    Is(String),
    /// Those that begin so.
    Begins(String),
}

/// The permit of a principal for something, whatever the depth of books: of two, the lesser is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permit {
    /// Everything, at once.
    Live,
    /// Everything, when it is this old in nanoseconds.
    Delayed(u64),
    /// Nothing.
    Nothing,
}

/// A way in which something may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The age that it has, in nanoseconds; 0 for live data.
    pub delay_ns: u64,
    /// The best price levels of each side of a book; `None` for all, and where it is no book.
    pub depth: Option<u32>,
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
    pub const ALL: Self =
        Self { venues: Pattern::All, symbols: Pattern::All, channels: None, delay_ns: 0, depth: None };

    fn is_of(&self, venue: &str, channel: Channel) -> bool {
        let is_book = channel == Channel::Book;
        self.venues.covers(venue)
            && self.channels.as_ref().is_none_or(|channels| channels.contains(&channel))
            && !(is_book && self.depth == Some(0))
    }

    fn sight(&self, channel: Channel) -> Sight {
        Sight { delay_ns: self.delay_ns, depth: self.depth.filter(|_| channel == Channel::Book) }
    }
}

impl Sight {
    /// Everything, at once.
    pub const LIVE: Self = Self { delay_ns: 0, depth: None };

    /// Orders sights: the least one is in force. What is newer is better than what is deeper.
    fn rank(&self) -> (u64, Reverse<u32>) {
        (self.delay_ns, Reverse(self.depth.unwrap_or(u32::MAX)))
    }

    /// Returns the permit that it is.
    fn permit(sight: Option<Self>) -> Permit {
        match sight {
            None => Permit::Nothing,
            Some(Self { delay_ns: 0, .. }) => Permit::Live,
            Some(Self { delay_ns, .. }) => Permit::Delayed(delay_ns),
        }
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
                encodings: None,
                credential: Credential::NONE,
            })
        });
        Arc::clone(&ANONYMOUS)
    }

    /// Returns nobody: it sees nothing until a token comes, and is closed when none came until this time.
    pub fn awaited(until: u64) -> Self {
        Self {
            name: String::new(),
            entitlements: Vec::new(),
            credential: Credential::awaited(until),
            ..Self::clone(&Self::anonymous())
        }
    }

    /// Says why this principal cannot take the place of the one that a session belongs to, whose dialect is `dialect`.
    pub(super) fn fits(&self, known: &Self, dialect: &str) -> Result<(), String> {
        if !known.credential.is_awaited && known.name != self.name {
            return Err(
                "this token is of another subject than the session's; open a session of its own".to_owned()
            );
        }
        match &self.encodings {
            Some(allowed) if !allowed.iter().any(|encoding| encoding.name() == dialect) => {
                Err(format!("this token does not allow the encoding of this session, {dialect}"))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether all that another one may see and have is granted to this one, too, grant by grant.
    pub fn grants_all_of(&self, other: &Self) -> bool {
        let granted: HashSet<_> = self.entitlements.iter().collect();
        let allows = |encoding: &Encoding| self.encodings.as_ref().is_none_or(|all| all.contains(encoding));
        other.entitlements.iter().all(|one| granted.contains(one))
            && self.subscriptions_max >= other.subscriptions_max
            && self.rate_max >= other.rate_max
            && other.encodings.as_deref().unwrap_or(&Encoding::ALL).iter().all(allows)
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

    /// Returns whether it has a fastest rate of its own.
    pub(super) fn is_slowed(&self) -> bool {
        self.rate_max.is_finite()
    }

    /// Returns the rate that it is granted when `asked` is asked for, where the gateway allows `allowed` to those who ask; 0 for
    /// every update.
    pub(super) fn granted_rate(&self, asked: f64, allowed: f64) -> f64 {
        let rate = granted_rate(asked, self.rate_of(allowed));
        if rate == 0.0 && self.is_slowed() { self.rate_max } else { rate }
    }

    /// Returns whether there is nothing of a channel of a venue that it may see, whatever the symbol and the delay.
    pub(super) fn sees_nothing_of(&self, venue: &str, channel: Channel) -> bool {
        self.permit_venue(venue, channel) == Permit::Nothing
    }

    /// Returns how it may see a channel of an instrument; `None` where it may not.
    pub fn sight(&self, name: &SymbolName, channel: Channel) -> Option<Sight> {
        self.best(channel, |one| one.is_of(&name.venue, channel) && one.symbols.covers(&name.symbol))
    }

    /// Returns what it may see of a channel of an instrument.
    pub fn permit(&self, name: &SymbolName, channel: Channel) -> Permit {
        Sight::permit(self.sight(name, channel))
    }

    /// Returns what it may see of a channel of a venue at most, whatever the symbol.
    pub fn permit_venue(&self, venue: &str, channel: Channel) -> Permit {
        Sight::permit(self.best(channel, |one| one.is_of(venue, channel)))
    }

    /// Returns how it may see something of a channel of a venue, each way once.
    pub(super) fn sights(&self, venue: &str, channel: Channel) -> Vec<Sight> {
        let of_venue = self.entitlements.iter().filter(|one| one.is_of(venue, channel));
        let mut sights: Vec<_> = of_venue.map(|one| one.sight(channel)).collect();
        sights.sort_unstable_by_key(Sight::rank);
        sights.dedup();
        sights
    }

    fn best(&self, channel: Channel, covers: impl Fn(&Entitlement) -> bool) -> Option<Sight> {
        let covering = self.entitlements.iter().filter(|one| covers(one));
        covering.map(|one| one.sight(channel)).min_by_key(Sight::rank)
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

    #[test]
    fn what_is_newer_is_better_than_what_is_deeper() {
        let to = |delay_ns, depth| Entitlement { delay_ns, depth, ..Entitlement::ALL };
        let sight = |entitlements: &[Entitlement], channel| {
            let sight = principal(entitlements).sight(&SymbolName::parse("sim:A").unwrap(), channel);
            sight.map(|sight| (sight.delay_ns, sight.depth))
        };
        assert_eq!(sight(&[to(0, Some(10))], Channel::Book), Some((0, Some(10))));
        assert_eq!(sight(&[to(0, Some(10))], Channel::Quote), Some((0, None)), "a quote has no depth");
        assert_eq!(sight(&[to(0, Some(10)), to(0, Some(20))], Channel::Book), Some((0, Some(20))));
        assert_eq!(sight(&[to(0, Some(10)), to(0, None)], Channel::Book), Some((0, None)));
        assert_eq!(sight(&[to(9, None), to(5, Some(1))], Channel::Book), Some((5, Some(1))));
        assert_eq!(sight(&[to(0, Some(0))], Channel::Book), None);
        let one = principal(&[to(9, None), to(0, Some(10)), to(9, Some(7)), to(9, None)]);
        let sights: Vec<_> = one.sights("sim", Channel::Book).iter().map(|s| (s.delay_ns, s.depth)).collect();
        assert_eq!(sights, [(0, Some(10)), (9, None), (9, Some(7))]);
        assert_eq!(one.sights("sim", Channel::Trade).len(), 2);
    }

    #[test]
    fn a_fastest_rate_holds_for_those_who_ask_for_none() {
        let slow = Principal { rate_max: 5.0, ..principal(&[]) };
        let of_slow = [0.0, 2.0, 50.0].map(|asked| slow.granted_rate(asked, 1_000.0).to_bits());
        assert_eq!(of_slow, [5.0, 2.0, 5.0].map(f64::to_bits));
        let free = principal(&[]);
        let of_free = [0.0, 50.0, 5_000.0].map(|asked| free.granted_rate(asked, 1_000.0).to_bits());
        assert_eq!(of_free, [0.0, 50.0, 1_000.0].map(f64::to_bits));
    }

    #[test]
    fn one_grants_all_of_another_or_less() {
        let delayed = Entitlement { delay_ns: 5, ..Entitlement::ALL };
        let (wide, narrow) = (principal(&[delayed.clone(), Entitlement::ALL]), principal(&[delayed]));
        assert!(wide.grants_all_of(&narrow) && wide.grants_all_of(&wide) && !narrow.grants_all_of(&wide));
        let of_all = Principal { subscriptions_max: 5, rate_max: 2.0, ..wide.clone() };
        assert!(wide.grants_all_of(&of_all) && !of_all.grants_all_of(&wide));
        assert!(!of_all.grants_all_of(&Principal { rate_max: 3.0, ..of_all.clone() }));
        assert!(!of_all.grants_all_of(&Principal { subscriptions_max: 6, ..of_all.clone() }));
        let spoken =
            |encodings: &[Encoding]| Principal { encodings: Some(encodings.to_vec()), ..wide.clone() };
        let (one, all) = (spoken(&[Encoding::Json]), spoken(&Encoding::ALL));
        assert!(all.grants_all_of(&wide) && wide.grants_all_of(&one) && !one.grants_all_of(&wide));
    }

    #[test]
    fn a_session_keeps_its_owner() {
        let named = |name: &str| Principal { name: name.to_owned(), ..principal(&[]) };
        assert!(named("a").fits(&named("a"), "json").is_ok());
        assert!(named("b").fits(&named("a"), "json").unwrap_err().contains("another subject"));
        assert!(named("b").fits(&Principal::awaited(9), "json").is_ok());
        let binary = Principal { encodings: Some(vec![Encoding::Proto]), ..named("a") };
        assert!(binary.fits(&named("a"), "json").unwrap_err().contains("encoding"));
        assert!(binary.fits(&named("a"), "proto").is_ok());
    }
}
