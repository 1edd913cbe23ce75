//! Timers for much that waits equally long: one queue for each interval.
//!
//! All that wait for the same time stand in one queue, which is sorted because each of them joins it when its wait begins:
//! joining and leaving cost the same however many there are, and one timer, for the earliest of the queues' heads, serves
//! all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Those who wait, by the time at which that ends.
#[derive(Debug)]
pub(crate) struct Queues<T> {
    /// The queues by their intervals, in nanoseconds; none is empty, and each is sorted.
    by_interval: BTreeMap<u64, VecDeque<(u64, T)>>,
    /// The due time and the interval of each queue's head.
    heads: BTreeSet<(u64, u64)>,
    len: usize,
    /// About how many entries have an owner that does not wait for them any more.
    stale: usize,
}

/// So few stale entries are not worth looking for.
const STALE_MIN: usize = 1024;

impl<T: Copy> Queues<T> {
    pub(crate) fn new() -> Self {
        Self { by_interval: BTreeMap::new(), heads: BTreeSet::new(), len: 0, stale: 0 }
    }

    /// Adds one that waits from `now` on. Returns when it is due.
    pub(crate) fn push(&mut self, interval: u64, now: u64, entry: T) -> u64 {
        let queue = self.by_interval.entry(interval).or_default();
        let due = queue.back().map_or(0, |(last, _)| *last).max(now.saturating_add(interval));
        if queue.is_empty() {
            self.heads.insert((due, interval));
        }
        queue.push_back((due, entry));
        self.len += 1;
        due
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heads.first().map(|(due, _)| *due)
    }

    pub(crate) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        let (due, interval) = *self.heads.first().filter(|(due, _)| *due <= now)?;
        self.heads.remove(&(due, interval));
        let queue = self.by_interval.get_mut(&interval)?;
        let popped = queue.pop_front();
        match queue.front() {
            Some((next, _)) => drop(self.heads.insert((*next, interval))),
            None => drop(self.by_interval.remove(&interval)),
        }
        self.len -= usize::from(popped.is_some());
        popped
    }

    /// Notes that one entry's owner waits for it no more.
    pub(crate) fn leave(&mut self) {
        self.stale += 1;
    }

    /// Notes that an entry came out that nobody waited for any more.
    pub(crate) fn passed_by(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    /// Forgets entries that nobody waits for, once they are many: without that, clients that change their minds fast
    /// would fill the queues.
    pub(crate) fn sweep(&mut self, is_awaited: impl Fn(u64, &T) -> bool) {
        if self.stale < STALE_MIN + self.len / 2 {
            return;
        }
        self.by_interval.retain(|_, queue| {
            queue.retain(|(due, entry)| is_awaited(*due, entry));
            !queue.is_empty()
        });
        self.heads = self.by_interval.iter().map(|(interval, queue)| (queue[0].0, *interval)).collect();
        self.len = self.by_interval.values().map(VecDeque::len).sum();
        self.stale = 0;
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
