//! Restores the order of publishers in what was drained at once.
//!
//! Why this is enough: a publisher's messages leave by one connection in the order of their counters, and the server
//! hands them on in that order. The client's connection task reads them in that order and puts each into the channel of
//! its subscription, which lists the channel in [`Ready`](super::ready::Ready) before the next one is read. A drain
//! goes on until that list is empty, so when it holds a message, it or an earlier drain holds every message that was
//! read before. So the counters of a publisher in one drain lie behind those in all drains before it, and sorting
//! within a drain sorts all of it. That both tasks share one thread is not needed for this; it bounds a drain, as
//! nothing is added meanwhile.
//!
//! It can still fail where messages of one publisher take two ways: when the publisher, or this process, moves to
//! another server of a cluster. Then a late one is dropped and counted, so what comes out is in order regardless.

use std::collections::HashMap;

use bytes::Bytes;

use super::envelope::Place;
use crate::queue::Arrival;
use tickwire_wire::Subject;

/// The number of publishers that are remembered per inbox. Beyond it, the one not heard of for the longest time is
/// forgotten.
const PUBLISHERS_MAX: usize = 1_024;

/// One message as drained.
#[derive(Debug)]
pub(super) struct Drained {
    pub(super) place: Place,
    pub(super) token: u64,
    pub(super) subject: Option<Subject>,
    pub(super) payload: Bytes,
}

#[derive(Default)]
pub(super) struct Order {
    last: HashMap<u64, Last>,
    drains: u64,
}

struct Last {
    counter: u64,
    drain: u64,
}

impl Order {
    /// Puts one drain in order. Keeps in `drained` what may be delivered, and gives late ones to `late`.
    pub(super) fn arrange(&mut self, drained: &mut Vec<Drained>, mut late: impl FnMut(&Drained)) {
        self.drains += 1;
        if drained.len() > 1 {
            drained.sort_by_key(|message| message.place);
        }
        drained.retain(|message| {
            let is_fresh = self.advance(message.place);
            if !is_fresh {
                late(message);
            }
            is_fresh
        });
    }

    /// Moves a publisher on to this place and returns whether it may. The same place again is fine: a message that
    /// matches two subscriptions comes twice.
    fn advance(&mut self, place: Place) -> bool {
        if let Some(last) = self.last.get_mut(&place.publisher) {
            if place.counter < last.counter {
                return false;
            }
            last.counter = place.counter;
            last.drain = self.drains;
            return true;
        }
        if self.last.len() >= PUBLISHERS_MAX {
            let oldest = self.last.iter().min_by_key(|(_, last)| last.drain).map(|(publisher, _)| *publisher);
            if let Some(oldest) = oldest {
                self.last.remove(&oldest);
            }
        }
        self.last.insert(place.publisher, Last { counter: place.counter, drain: self.drains });
        true
    }
}

impl From<Drained> for Arrival {
    fn from(drained: Drained) -> Self {
        Self { token: drained.token, subject: drained.subject, payload: drained.payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(publisher: u64, counter: u64, token: u64) -> Drained {
        Drained { place: Place { publisher, counter }, token, subject: None, payload: Bytes::new() }
    }

    fn arrange(order: &mut Order, mut drained: Vec<Drained>) -> (Vec<u64>, usize) {
        let mut late = 0;
        order.arrange(&mut drained, |_| late += 1);
        (drained.iter().map(|message| message.place.counter).collect(), late)
    }

    #[test]
    fn a_drain_comes_out_in_the_order_of_publishing() {
        let mut order = Order::default();
        let drained = vec![message(1, 3, 0), message(1, 1, 1), message(1, 2, 2)];
        assert_eq!(arrange(&mut order, drained), (vec![1, 2, 3], 0));
    }

    #[test]
    fn twice_by_two_subscriptions_is_not_late() {
        let mut order = Order::default();
        assert_eq!(arrange(&mut order, vec![message(1, 1, 5), message(1, 1, 6)]), (vec![1, 1], 0));
        assert_eq!(arrange(&mut order, vec![message(1, 1, 7)]), (vec![1], 0));
    }

    #[test]
    fn what_comes_by_a_slower_way_is_dropped_and_counted() {
        let mut order = Order::default();
        arrange(&mut order, vec![message(1, 5, 0)]);
        assert_eq!(arrange(&mut order, vec![message(1, 4, 0), message(1, 6, 0)]), (vec![6], 1));
        assert_eq!(arrange(&mut order, vec![message(2, 1, 0)]), (vec![1], 0), "another publisher");
    }

    #[test]
    fn publishers_are_forgotten_beyond_the_maximum() {
        let mut order = Order::default();
        for publisher in 0..2 * PUBLISHERS_MAX as u64 {
            arrange(&mut order, vec![message(publisher, 1, 0)]);
        }
        assert_eq!(order.last.len(), PUBLISHERS_MAX);
        assert!(order.last.contains_key(&(2 * PUBLISHERS_MAX as u64 - 1)));
        assert!(!order.last.contains_key(&0));
    }
}
