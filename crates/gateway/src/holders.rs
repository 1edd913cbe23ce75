//! Holders of sessions: the count of each address, or of each name, while it holds any.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::addresses::AddressKey;

/// A holder of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// Whoever comes from there.
    Address(AddressKey),
    /// Whoever has this name.
    Name(Arc<str>),
}

/// The counts of all holders. There are no more of them than sessions.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<Holder, u32>>);

impl Holders {
    /// Counts one more session of a holder; `None` where it has `max` of them already.
    pub(crate) fn hold(self: &Arc<Self>, holder: Holder, max: u32) -> Option<Held> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&holder).copied().unwrap_or_default();
        if count >= max {
            return None;
        }
        counts.insert(holder.clone(), count + 1);
        drop(counts);
        Some(Held { holders: Arc::clone(self), holder })
    }
}

/// One session of a holder. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    holders: Arc<Holders>,
    holder: Holder,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.holders.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

/// Everything that a session counts for in limits, and gives back when its connection is over.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    /// A connection from this machine, without a proxy, has none of it.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    client: Option<SocketAddr>,
    _held: Vec<Held>,
}

impl Seat {
    /// `client` is the address that a proxy told.
    pub(crate) fn new(permit: OwnedSemaphorePermit, client: Option<SocketAddr>, held: Vec<Held>) -> Self {
        let has_more = client.is_some() || !held.is_empty();
        Self { _permit: permit, more: has_more.then(|| Box::new(More { client, _held: held })) }
    }

    /// Returns the client's address where a proxy told it.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.more.as_ref()?.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_own_and_nothing_stays() {
        let holders = Arc::new(Holders::default());
        let address = |text: &str| Holder::Address(AddressKey::of(text.parse().unwrap()));
        let name = |text: &str| Holder::Name(text.into());
        let first = holders.hold(address("192.0.2.1"), 2).unwrap();
        let second = holders.hold(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(holders.hold(address("192.0.2.1"), 2).is_none());
        let other = holders.hold(address("192.0.2.2"), 2).unwrap();
        let named = holders.hold(name("alice"), 1).unwrap();
        assert!(holders.hold(name("alice"), 1).is_none());
        assert!(holders.hold(name("bob"), 0).is_none());
        drop(first);
        let again = holders.hold(address("192.0.2.1"), 2).unwrap();
        drop((again, second, other, named));
        assert!(holders.0.lock().unwrap().is_empty());
    }
}
