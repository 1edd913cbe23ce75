//! The rate at which each address may ask for sessions. The table has a fixed size, whatever comes.
//!
//! An address takes one word, the time at which its bucket is full again (see `TokenBucket`), beside a word that tells it
//! apart. Where all places that an address may have are taken, the one whose bucket is full first goes: it had asked least. Whoever has
//! more addresses than the table has places is limited by the rate of all.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tickwire_net::{Refill, TokenBucket};

/// The places that one address may have.
const WAYS: usize = 8;
/// The nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;
/// The seconds' worth of requests that may come at once.
const AT_ONCE_S: u32 = 5;

/// An address as limits know it: one of version 4 as it is, of one of version 6 the first 64 bits, because a subscriber of an
/// Internet provider has all that begin with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(u128);

impl AddressKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// An address of the table, and its bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// A hash of the address with a secret; 0 where there is none.
    tag: u64,
    bucket: TokenBucket,
}

/// The rates of all addresses, and the rate of all together.
#[derive(Debug)]
pub(crate) struct Rates {
    of_each: Refill,
    of_all: Refill,
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    places: Vec<[Place; WAYS]>,
    all: TokenBucket,
}

/// The limit that was reached, and how many seconds it takes until it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    OfAddress { retry_after: u64 },
    OfAll { retry_after: u64 },
}

impl Rates {
    /// Allows so many requests each second of an address, and of all; of each five seconds' worth at once. 0: no such limit. `places` is
    /// how many addresses are told apart.
    pub(crate) fn new(of_each: u32, of_all: u32, places: usize) -> Self {
        let refill =
            |tokens: u32| Refill::per(Duration::from_secs(1), tokens, tokens.saturating_mul(AT_ONCE_S));
        let sets = if of_each == 0 { 0 } else { places.div_ceil(WAYS).max(1) };
        Self {
            of_each: refill(of_each),
            of_all: refill(of_all),
            hasher: RandomState::new(),
            table: Mutex::new(Table {
                places: vec![[Place::default(); WAYS]; sets],
                all: TokenBucket::default(),
            }),
        }
    }

    /// Takes one request of an address, at a time in nanoseconds.
    ///
    /// # Errors
    /// The limit that it exceeds; such a request counts for nothing.
    pub(crate) fn take(&self, address: AddressKey, now: u64) -> Result<(), Exceeded> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { places, all } = &mut *table;
        let wait = |bucket: TokenBucket, refill| {
            let ns = bucket.has_at(1, refill).saturating_sub(now);
            ns.div_ceil(SECOND_NS).max(1)
        };
        let tag = self.hasher.hash_one(address).max(1);
        let sets = places.len().max(1) as u64;
        let place = places.get_mut((tag % sets) as usize).map(|set| Self::find(set, tag));
        if let Some(place) = &place
            && !place.bucket.has(1, now, self.of_each)
        {
            return Err(Exceeded::OfAddress { retry_after: wait(place.bucket, self.of_each) });
        }
        if !all.has(1, now, self.of_all) {
            return Err(Exceeded::OfAll { retry_after: wait(*all, self.of_all) });
        }
        if let Some(place) = place {
            place.bucket.take(1, now, self.of_each);
        }
        all.take(1, now, self.of_all);
        Ok(())
    }

    /// Returns the place of an address. Where it has none, it gets the one that was asked for least.
    fn find(set: &mut [Place; WAYS], tag: u64) -> &mut Place {
        let known = set.iter().position(|place| place.tag == tag);
        let at = known.unwrap_or_else(|| {
            let asked = |at: &usize| (set[*at].tag != 0, set[*at].bucket.full_at());
            let at = (0..WAYS).min_by_key(asked).unwrap_or_default();
            set[at] = Place { tag, bucket: TokenBucket::default() };
            at
        });
        &mut set[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_version_6_are_told_apart_by_their_network() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    }

    #[test]
    fn each_address_has_its_rate_and_all_have_one() {
        let rates = Rates::new(2, 3, 64);
        let start = 1_000 * SECOND_NS;
        let taken = |address, now, of| (0..of).filter(|_| rates.take(key(address), now).is_ok()).count();
        assert_eq!(taken("192.0.2.1", start, 20), 10);
        assert_eq!(rates.take(key("192.0.2.1"), start), Err(Exceeded::OfAddress { retry_after: 1 }));
        assert_eq!(taken("192.0.2.2", start, 20), 5);
        assert_eq!(rates.take(key("192.0.2.2"), start), Err(Exceeded::OfAll { retry_after: 1 }));
        // What was refused counts for nothing.
        assert_eq!(taken("192.0.2.1", start + SECOND_NS, 20), 2);
        assert_eq!(taken("192.0.2.3", start + SECOND_NS, 20), 1);
    }

    #[test]
    fn none_is_no_limit() {
        let rates = Rates::new(0, 0, 64);
        assert!((0..10_000).all(|_| rates.take(key("192.0.2.1"), 0).is_ok()));
    }

    #[test]
    fn the_table_keeps_its_size_and_those_that_ask_most() {
        let rates = Rates::new(1, 0, 1);
        let greedy = key("192.0.2.1");
        while rates.take(greedy, 0).is_ok() {}
        for other in 0..1_000_u32 {
            let other = AddressKey::of(IpAddr::V4((0x0a00_0000 + other).into()));
            assert!(rates.take(other, 0).is_ok());
            assert!(rates.take(greedy, 0).is_err(), "it was forgotten for one that asked once");
        }
        assert_eq!(rates.table.lock().unwrap().places.len(), 1);
    }
}
