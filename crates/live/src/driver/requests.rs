//! The requests to the venue's REST service: within its weight, after its bans, and never twice at the same time for the
//! same thing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tickwire_net::Backoff;

use crate::limits::{Rate, Window};
use crate::venue::{Call, Need};

/// The number of a request; it is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The list of instruments.
    Catalogue,
    /// The book of the instrument with this index.
    Snapshot(u32),
}

/// A thing that is to be asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    due: Duration,
    /// A book that goes on without it waits for those that do not.
    need: Need,
    attempts: u32,
    request: Option<RequestId>,
}

#[derive(Debug)]
pub(crate) struct Requests {
    weight: Window,
    /// The venue takes no request before this time.
    blocked_until: Duration,
    next_id: u64,
    /// All that is wanted, whether or not it was asked for yet.
    wanted: BTreeMap<Purpose, Wanted>,
    under_way: HashMap<RequestId, (Purpose, Duration)>,
}

impl Requests {
    pub(crate) fn new(weight: Rate) -> Self {
        Self {
            weight: Window::new(weight),
            blocked_until: Duration::ZERO,
            next_id: 0,
            wanted: BTreeMap::new(),
            under_way: HashMap::new(),
        }
    }

    /// Takes in that something is needed from a time on; where that is so already, it may be needed more.
    pub(crate) fn want(&mut self, purpose: Purpose, due: Duration, need: Need) {
        let wanted = self.wanted.entry(purpose).or_insert(Wanted { due, need, attempts: 0, request: None });
        wanted.need = wanted.need.max(need);
    }

    /// Gives up what is wanted; the response that may come is not taken. Returns the request for it that is under way.
    pub(crate) fn forget(&mut self, purpose: Purpose) -> Option<RequestId> {
        let request = self.wanted.remove(&purpose)?.request?;
        self.under_way.remove(&request);
        Some(request)
    }

    /// Takes in that a request has its response; returns what it was for, unless nobody wants it any more.
    pub(crate) fn responded(&mut self, request: RequestId) -> Option<Purpose> {
        let (purpose, _) = self.under_way.remove(&request)?;
        if let Some(wanted) = self.wanted.get_mut(&purpose) {
            wanted.request = None;
        }
        Some(purpose)
    }

    /// Takes in that what was wanted is there.
    pub(crate) fn done(&mut self, purpose: Purpose) {
        self.wanted.remove(&purpose);
    }

    /// Takes in that a request did not help: it is tried again, later and later.
    pub(crate) fn failed(&mut self, purpose: Purpose, now: Duration, retry: Backoff, random: f64) {
        if let Some(wanted) = self.wanted.get_mut(&purpose) {
            // Half of the ceiling at least: a snapshot that came too early is the same a moment later.
            let ceiling = retry.ceiling(wanted.attempts);
            wanted.due = now + ceiling / 2 + (ceiling / 2).mul_f64(random);
            wanted.attempts = wanted.attempts.saturating_add(1);
            wanted.request = None;
        }
    }

    /// Takes in that the venue takes no request until a time.
    pub(crate) fn block(&mut self, until: Duration) {
        self.blocked_until = self.blocked_until.max(until);
    }

    /// Returns until when the venue takes no request.
    #[cfg(test)]
    pub(crate) fn blocked_until(&self) -> Duration {
        self.blocked_until
    }

    /// Takes in how much weight the venue counted.
    pub(crate) fn used(&mut self, now: Duration, weight: u32) {
        self.weight.used_at_least(now, weight);
    }

    /// Returns a request that has had its time without a response, as if it had failed to come.
    pub(crate) fn overdue(&self, now: Duration) -> Option<RequestId> {
        self.under_way.iter().find(|(_, (_, until))| *until <= now).map(|(request, _)| *request)
    }

    /// Returns the next request that may be sent now. `call` says what is sent for a purpose; what cannot be asked for is
    /// given up.
    pub(crate) fn next(
        &mut self,
        now: Duration,
        within: Duration,
        at_once: usize,
        call: impl Fn(Purpose) -> Option<Call>,
    ) -> Option<(RequestId, Call)> {
        loop {
            let purpose = self.first(now, at_once)?;
            if self.wanted[&purpose].due.max(self.blocked_until) > now {
                return None;
            }
            let Some(call) = call(purpose) else {
                self.wanted.remove(&purpose);
                continue;
            };
            if self.weight.ready_at(now, call.weight, 0) > now {
                return None;
            }
            self.weight.take(now, call.weight);
            let request = RequestId(self.next_id);
            self.next_id += 1;
            self.under_way.insert(request, (purpose, now + within));
            if let Some(wanted) = self.wanted.get_mut(&purpose) {
                wanted.request = Some(request);
            }
            return Some((request, call));
        }
    }

    /// Returns when something is due; `weight` is the weight of a purpose's request.
    pub(crate) fn due(
        &mut self,
        now: Duration,
        at_once: usize,
        weight: impl Fn(Purpose) -> u32,
    ) -> Option<Duration> {
        let overdue = self.under_way.values().map(|(_, until)| *until).min();
        let next = self.first(now, at_once).map(|purpose| {
            let ready = self.weight.ready_at(now, weight(purpose), 0);
            self.wanted[&purpose].due.max(self.blocked_until).max(ready)
        });
        overdue.into_iter().chain(next).min()
    }

    /// Returns what is to be asked for first: of what is due what is needed most, and of that what is due the longest.
    fn first(&self, now: Duration, at_once: usize) -> Option<Purpose> {
        let is_full = self.under_way.len() >= at_once;
        let open = self.wanted.iter().filter(|(purpose, wanted)| {
            wanted.request.is_none() && (!is_full || **purpose == Purpose::Catalogue)
        });
        let order = |wanted: &Wanted| (wanted.due.max(now), Reverse(wanted.need), wanted.due);
        open.min_by_key(|(_, wanted)| order(wanted)).map(|(purpose, _)| *purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    struct Asking(Requests);

    impl Asking {
        fn next(&mut self, now: u64) -> Option<RequestId> {
            let call = |purpose| {
                let weight = if purpose == Purpose::Catalogue { 20 } else { 50 };
                Some(Call { url: format!("{purpose:?}"), weight })
            };
            self.0.next(secs(now), secs(20), 2, call).map(|(request, _)| request)
        }

        fn due(&mut self, now: u64) -> Option<u64> {
            let weight = |purpose| if purpose == Purpose::Catalogue { 20 } else { 50 };
            self.0.due(secs(now), 2, weight).map(|due| due.as_secs())
        }
    }

    #[test]
    fn requests_keep_to_weight_bans_and_their_number() {
        let mut asking = Asking(Requests::new(Rate::new(120, secs(60))));
        assert_eq!((asking.next(0), asking.due(0)), (None, None));
        for index in 0..3 {
            asking.0.want(Purpose::Snapshot(index), secs(0), Need::Whole);
            asking.0.want(Purpose::Snapshot(index), secs(9), Need::Whole);
        }
        assert_eq!((asking.next(1), asking.next(1)), (Some(RequestId(0)), Some(RequestId(1))));
        assert_eq!(asking.next(1), None, "two are under way");
        assert_eq!(asking.0.responded(RequestId(0)), Some(Purpose::Snapshot(0)));
        assert_eq!(asking.0.responded(RequestId(0)), None);
        asking.0.done(Purpose::Snapshot(0));
        assert_eq!((asking.next(2), asking.due(2)), (None, Some(21)), "the weight of a minute is used up");
        asking.0.block(secs(70));
        assert_eq!(asking.0.forget(Purpose::Snapshot(1)), Some(RequestId(1)), "it is under way");
        assert_eq!(asking.0.forget(Purpose::Snapshot(1)), None);
        assert_eq!(asking.0.responded(RequestId(1)), None, "nobody wants it any more");
        assert_eq!((asking.next(69), asking.due(69)), (None, Some(70)), "the venue said when");
        assert_eq!(asking.next(70), Some(RequestId(2)));
        assert_eq!(asking.0.overdue(secs(89)), None);
        assert_eq!(asking.0.overdue(secs(90)), Some(RequestId(2)));
        assert_eq!(asking.0.responded(RequestId(2)), Some(Purpose::Snapshot(2)));
        asking.0.failed(Purpose::Snapshot(2), secs(90), Backoff::new(secs(4), secs(60)), 0.5);
        assert_eq!((asking.next(92), asking.due(92)), (None, Some(93)));
        assert_eq!(asking.next(93), Some(RequestId(3)));
        asking.0.responded(RequestId(3));
        asking.0.failed(Purpose::Snapshot(2), secs(93), Backoff::new(secs(4), secs(60)), 1.0);
        assert_eq!(asking.due(94), Some(130), "the weight counts too");
    }

    #[test]
    fn the_list_of_instruments_is_not_kept_waiting_by_snapshots() {
        let mut asking = Asking(Requests::new(Rate::new(1_000, secs(60))));
        asking.0.want(Purpose::Snapshot(0), secs(0), Need::Whole);
        asking.0.want(Purpose::Snapshot(1), secs(0), Need::Whole);
        assert!(asking.next(0).is_some() && asking.next(0).is_some());
        asking.0.want(Purpose::Snapshot(2), secs(0), Need::Whole);
        asking.0.want(Purpose::Catalogue, secs(1), Need::Whole);
        assert_eq!(asking.next(0), None);
        let catalogue = asking.next(1).unwrap();
        assert_eq!(asking.0.responded(catalogue), Some(Purpose::Catalogue));
    }

    #[test]
    fn books_that_are_not_there_come_before_those_that_are_shallow() {
        let mut asking = Asking(Requests::new(Rate::new(1_000, secs(60))));
        // What is not due yet keeps nobody waiting.
        asking.0.want(Purpose::Catalogue, secs(300), Need::Whole);
        asking.0.want(Purpose::Snapshot(0), secs(0), Need::Deeper);
        asking.0.want(Purpose::Snapshot(1), secs(1), Need::Deeper);
        asking.0.want(Purpose::Snapshot(2), secs(2), Need::Whole);
        asking.0.want(Purpose::Snapshot(1), secs(3), Need::Whole);
        let mut order = Vec::new();
        while let Some(request) = asking.next(3) {
            order.extend(asking.0.responded(request));
            asking.0.done(order[order.len() - 1]);
        }
        assert_eq!(order, [1, 2, 0].map(Purpose::Snapshot));
    }
}
