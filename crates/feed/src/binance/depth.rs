//! Joins a depth snapshot and the stream of changes into one unbroken book.
//!
//! Changes are kept until a snapshot comes; then those that it contains are dropped, the first that continues it must
//! overlap with it, and each further one must begin where the one before ended.

use std::collections::VecDeque;

use super::Market;
use crate::adapter::Levels;

/// Changes kept while there is no snapshot: 100 s at ten a second, and 10 s at the most that the futures send.
pub(crate) const PENDING_MAX: usize = 1_024;

/// One message of the depth stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Depth {
    pub(crate) first_update: u64,
    pub(crate) last_update: u64,
    /// Futures only: where the message before ended.
    pub(crate) previous_update: Option<u64>,
    pub(crate) event_time: u64,
    pub(crate) receive_time: u64,
    pub(crate) levels: Levels,
}

/// What becomes of a change.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It changes the book.
    Apply(Depth),
    /// The book contains it.
    Known,
    /// Kept for the snapshot to come.
    Kept,
    /// Changes are missing before it: the book is broken. It is kept for the next snapshot.
    Broken,
}

#[derive(Debug, Default)]
pub(crate) struct DepthSync {
    state: State,
    pending: VecDeque<Depth>,
}

#[derive(Debug, Default)]
enum State {
    /// Waits for a snapshot.
    #[default]
    Waiting,
    /// Has a snapshot that ends here, and no change after it.
    Snapshot(u64),
    /// The last change ended here.
    Changes(u64),
}

impl DepthSync {
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    pub(crate) fn change(&mut self, market: Market, depth: Depth) -> Verdict {
        let fits = match self.state {
            State::Waiting => {
                self.keep(depth);
                return Verdict::Kept;
            }
            State::Snapshot(end) => {
                if is_contained(market, &depth, end) {
                    return Verdict::Known;
                }
                starts(market, &depth, end)
            }
            State::Changes(end) if depth.last_update <= end => return Verdict::Known,
            State::Changes(end) => match (market, depth.previous_update) {
                (Market::Usdm | Market::Cm, Some(previous)) => previous == end,
                _ => depth.first_update == end + 1,
            },
        };
        if !fits {
            self.state = State::Waiting;
            self.keep(depth);
            return Verdict::Broken;
        }
        self.state = State::Changes(depth.last_update);
        Verdict::Apply(depth)
    }

    /// Takes a snapshot that ends with this update. `None`: it is of no use, because the book is whole or because the
    /// changes kept begin too late for it. Else: the changes to apply to it at once.
    pub(crate) fn snapshot(&mut self, market: Market, end: u64) -> Option<Vec<Depth>> {
        if !self.is_waiting() {
            return None;
        }
        self.pending.retain(|depth| !is_contained(market, depth, end));
        if self.pending.front().is_some_and(|first| !starts(market, first, end)) {
            return None;
        }
        self.state = State::Snapshot(end);
        let mut applicable = Vec::with_capacity(self.pending.len());
        for depth in std::mem::take(&mut self.pending) {
            // Where what was kept has a hole itself, the book would break at once: it does not begin.
            if let Verdict::Apply(depth) = self.change(market, depth) {
                applicable.push(depth);
            }
        }
        (!self.is_waiting()).then_some(applicable)
    }

    fn keep(&mut self, depth: Depth) {
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(depth);
    }
}

fn is_contained(market: Market, depth: &Depth, end: u64) -> bool {
    match market {
        Market::Spot => depth.last_update <= end,
        Market::Usdm | Market::Cm => depth.last_update < end,
    }
}

/// Whether this is the first change after a snapshot that ends with `end`.
fn starts(market: Market, depth: &Depth, end: u64) -> bool {
    match market {
        Market::Spot => depth.first_update <= end + 1 && end < depth.last_update,
        // A snapshot may end exactly where one change ended; then the next one says so in `pu`.
        Market::Usdm | Market::Cm => {
            (depth.first_update <= end && end <= depth.last_update) || depth.previous_update == Some(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(first_update: u64, last_update: u64, previous_update: Option<u64>) -> Depth {
        let levels = Levels::default();
        Depth { first_update, last_update, previous_update, event_time: 0, receive_time: 0, levels }
    }

    /// `S100` is a snapshot, `5-9` a change, `5-9<4` one with `pu`; the outcome of each after `=`.
    #[track_caller]
    fn check(market: Market, steps: &[&str]) {
        let mut sync = DepthSync::default();
        for step in steps {
            let (input, expected) = step.split_once('=').unwrap();
            let outcome = if let Some(end) = input.strip_prefix('S') {
                match sync.snapshot(market, end.parse().unwrap()) {
                    Some(changes) => format!("{} applied", changes.len()),
                    None => "useless".to_owned(),
                }
            } else {
                let (range, previous) = match input.split_once('<') {
                    Some((range, previous)) => (range, Some(previous.parse().unwrap())),
                    None => (input, None),
                };
                let (first, last) = range.split_once('-').unwrap();
                let change = depth(first.parse().unwrap(), last.parse().unwrap(), previous);
                match sync.change(market, change) {
                    Verdict::Apply(_) => "apply".to_owned(),
                    other => format!("{other:?}").to_lowercase(),
                }
            };
            assert_eq!(outcome, expected, "{step} of {steps:?}");
        }
    }

    #[test]
    fn spot_books_continue_by_first_update() {
        check(Market::Spot, &["S10=0 applied", "5-10=known", "9-12=apply", "13-13=apply", "15-16=broken"]);
        check(Market::Spot, &["S10=0 applied", "11-12=apply", "11-12=known", "12-14=broken"]);
        check(Market::Spot, &["S10=0 applied", "12-14=broken", "15-15=kept", "S14=1 applied", "16-16=apply"]);
        check(Market::Spot, &["3-5=kept", "6-9=kept", "10-12=kept", "S9=1 applied", "13-14=apply"]);
        check(Market::Spot, &["10-12=kept", "S8=useless", "S9=1 applied", "S20=useless"]);
        check(Market::Spot, &["10-12=kept", "14-15=kept", "S11=useless", "S14=1 applied"]);
    }

    #[test]
    fn futures_books_continue_by_previous_update() {
        let usdm = Market::Usdm;
        check(usdm, &["S10=0 applied", "5-9<4=known", "8-12<7=apply", "15-20<12=apply", "25-30<21=broken"]);
        check(usdm, &["S10=0 applied", "5-10<4=apply", "12-14<10=apply", "12-14<10=known"]);
        check(usdm, &["S10=0 applied", "13-14<10=apply"]);
        check(usdm, &["S10=0 applied", "13-14<12=broken", "15-18<14=kept", "S16=1 applied"]);
        check(Market::Cm, &["8-9<7=kept", "12-15<9=kept", "S13=1 applied", "19-19<15=apply"]);
    }

    #[test]
    fn waiting_changes_are_bounded() {
        let mut sync = DepthSync::default();
        for n in 1..=PENDING_MAX as u64 + 10 {
            assert_eq!(sync.change(Market::Spot, depth(n, n, None)), Verdict::Kept);
        }
        assert_eq!(sync.pending.len(), PENDING_MAX);
        assert_eq!(sync.snapshot(Market::Spot, 9), None, "the change with number 10 was given up");
        assert_eq!(sync.snapshot(Market::Spot, 10).map(|changes| changes.len()), Some(PENDING_MAX));
    }
}
