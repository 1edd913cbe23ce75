//! Joins depth snapshots and the stream of changes into one unbroken book.
//!
//! Changes are kept until a snapshot comes; then those that it contains are dropped, the first that continues it must
//! overlap with it, and each further one must begin where the one before ended. A snapshot that comes while the book is
//! whole is used too when it is not older: it may be deeper, or stand behind a hole that is to come. Where a deeper one is
//! needed, the changes since are kept, so that it may be older, too.

use std::collections::VecDeque;

use super::Market;
use crate::adapter::Levels;

/// The number of changes kept while there is no snapshot: 100 s at ten a second, and 10 s at the most that the futures
/// send.
pub(crate) const PENDING_MAX: usize = 1_024;
/// The time by which a snapshot may be ahead of what is received, in nanoseconds: one that contains what is received
/// later than that is of another sequence.
const AHEAD_MAX: u64 = 10_000_000_000;
/// The number of snapshots older than the book that make a new sequence when they follow each other without a change
/// between them.
const OLDER_MAX: u32 = 3;

/// One message of the depth stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Depth {
    pub(crate) first_update: u64,
    pub(crate) last_update: u64,
    /// The update id at which the message before ended, which only futures say.
    pub(crate) previous_update: Option<u64>,
    pub(crate) event_time: u64,
    pub(crate) receive_time: u64,
    pub(crate) levels: Levels,
}

/// All levels of a book, up to an update.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) last_update: u64,
    pub(crate) event_time: u64,
    pub(crate) receive_time: u64,
    pub(crate) levels: Levels,
}

/// The outcome of a change.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It changes the book.
    Apply(Depth),
    /// The book contains it.
    Known,
    /// It is buffered for the snapshot to come.
    Buffered,
    /// The book is broken: changes are missing before it. It is buffered for the next snapshot.
    Broken,
}

/// The outcome of a snapshot.
#[derive(Debug, PartialEq)]
pub(crate) enum Joined {
    /// It is the book, with these changes to it at once.
    Book(Snapshot, Vec<Depth>),
    /// It is deeper than the book, which goes on with it; these changes came since.
    Deeper(Snapshot, Vec<Depth>),
    /// It is the book, but the update ids began anew: what was before has nothing to do with it.
    Anew(Snapshot),
    /// The book is newer.
    Older,
    /// The book waits on: the changes that came begin with this update, too late for it.
    TooOld(u64),
    /// The book waits on: changes are missing behind it.
    Hole,
}

/// The reason why a snapshot is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The book goes on, and little of it is proven.
    Deeper,
    /// There is no book.
    Whole,
}

#[derive(Debug, Default)]
pub(crate) struct DepthSync {
    state: State,
    /// The changes that wait for a snapshot; of a whole book those that it had since a deeper snapshot is needed.
    pending: VecDeque<Depth>,
    needs_deeper: bool,
    /// The last snapshot that was of no use: a new sequence may have begun with it.
    spare: Option<Snapshot>,
    /// The ids of snapshots older than the book: the last one, and how many followed each other.
    older: (u64, u32),
    /// The number of changes that were given up.
    lost: u64,
    /// The need that was told.
    told: Option<Need>,
}

#[derive(Debug, Default)]
enum State {
    /// The book waits for a snapshot.
    #[default]
    Waiting,
    /// The book contains all up to `end`.
    Whole {
        end: u64,
        /// The update id at which the last change ended that the book contains.
        last_change: Option<u64>,
        /// The time at which the snapshot was received, until a change continues it.
        ahead_since: Option<u64>,
    },
}

impl DepthSync {
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Returns why a snapshot is needed, if so.
    pub(crate) fn need(&self) -> Option<Need> {
        if self.is_waiting() { Some(Need::Whole) } else { self.needs_deeper.then_some(Need::Deeper) }
    }

    /// Returns a need that was not told yet; it is told with this.
    pub(crate) fn new_need(&mut self) -> Option<Need> {
        let need = self.need();
        let before = std::mem::replace(&mut self.told, need);
        need.filter(|_| need != before)
    }

    /// Takes in that a deeper snapshot is needed: changes are kept from now on.
    pub(crate) fn need_deeper(&mut self) {
        self.needs_deeper = true;
    }

    /// Takes in that nothing of the book is proven any more.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Waiting;
    }

    /// Returns how many changes no book has, or will have as it looks.
    pub(crate) fn unused(&self) -> u64 {
        self.lost + if self.is_waiting() { self.pending.len() as u64 } else { 0 }
    }

    /// Begins anew, as the source does. What is counted stays counted.
    pub(crate) fn reset(&mut self) {
        *self = Self { lost: self.unused(), ..Self::default() };
    }

    pub(crate) fn change(&mut self, market: Market, depth: Depth) -> Verdict {
        let State::Whole { end, last_change, ahead_since } = &mut self.state else {
            self.keep(depth);
            return Verdict::Buffered;
        };
        // A book that ends with a change contains that change; one that ends with a snapshot of the futures may lack
        // a part of the change that it ends with.
        let is_behind_change = *last_change == Some(*end);
        let is_known =
            if is_behind_change { depth.last_update <= *end } else { is_contained(market, &depth, *end) };
        if is_known {
            let is_of_these =
                ahead_since.is_none_or(|since| depth.receive_time <= since.saturating_add(AHEAD_MAX));
            if is_of_these {
                *last_change = (*last_change).max(Some(depth.last_update));
                return Verdict::Known;
            }
        } else if (last_change.is_some_and(|last| follows(market, &depth, last)))
            || (!(is_behind_change && market != Market::Spot) && starts(market, &depth, *end))
        {
            (*end, *last_change, *ahead_since) = (depth.last_update, Some(depth.last_update), None);
            self.older = (0, 0);
            if self.needs_deeper {
                self.keep(depth.clone());
            }
            return Verdict::Apply(depth);
        }
        // What was kept for a deeper snapshot does not reach up to this change.
        self.pending.clear();
        self.state = State::Waiting;
        self.keep(depth);
        Verdict::Broken
    }

    pub(crate) fn snapshot(&mut self, market: Market, snapshot: Snapshot) -> Joined {
        let last_update = snapshot.last_update;
        let mut last_change = None;
        let since = self.since(market, &snapshot);
        if let State::Whole { end, ahead_since, .. } = &mut self.state {
            if last_update < *end {
                if let Some(changes) = since {
                    self.is_deep_now();
                    return Joined::Deeper(snapshot, changes);
                }
                let (before, count) = self.older;
                self.older = (last_update, if last_update > before { count + 1 } else { 1 });
                if self.older.1 < OLDER_MAX {
                    self.spare = Some(snapshot);
                    return Joined::Older;
                }
                self.older = (0, 0);
                self.state = State::Whole {
                    end: last_update,
                    last_change: None,
                    ahead_since: Some(snapshot.receive_time),
                };
                return Joined::Anew(snapshot);
            }
            if last_update > *end {
                *ahead_since = Some(snapshot.receive_time);
            }
            (*end, self.older) = (last_update, (0, 0));
            self.is_deep_now();
            return Joined::Book(snapshot, Vec::new());
        }
        self.pending.retain(|depth| {
            let is_contained = is_contained(market, depth, last_update);
            if is_contained {
                last_change = last_change.max(Some(depth.last_update));
            }
            !is_contained
        });
        let follows = |first: &Depth| last_change.is_some_and(|last| follows(market, first, last));
        if let Some(first) =
            self.pending.front().filter(|first| !starts(market, first, last_update) && !follows(first))
        {
            let first = first.first_update;
            self.spare = Some(snapshot);
            return Joined::TooOld(first);
        }
        self.state = State::Whole { end: last_update, last_change, ahead_since: Some(snapshot.receive_time) };
        let mut applicable = Vec::with_capacity(self.pending.len());
        for depth in std::mem::take(&mut self.pending) {
            // Where the buffered changes have a hole themselves, the book would break at once, so it does not begin.
            if let Verdict::Apply(depth) = self.change(market, depth) {
                applicable.push(depth);
            }
        }
        if self.is_waiting() {
            self.lost += applicable.len() as u64;
            return Joined::Hole;
        }
        self.is_deep_now();
        Joined::Book(snapshot, applicable)
    }

    /// Takes in that a snapshot came: what was needed is there.
    fn is_deep_now(&mut self) {
        (self.needs_deeper, self.told) = (false, None);
        self.pending.clear();
    }

    /// Returns the changes of a whole book since a snapshot that is older; none where not all of them were kept.
    fn since(&self, market: Market, snapshot: &Snapshot) -> Option<Vec<Depth>> {
        if self.is_waiting() {
            return None;
        }
        let last_update = snapshot.last_update;
        let is_known = |depth: &&Depth| is_contained(market, depth, last_update);
        let last_known = self.pending.iter().filter(is_known).map(|depth| depth.last_update).max();
        let changes: Vec<_> = self.pending.iter().filter(|depth| !is_known(depth)).cloned().collect();
        let first = changes.first()?;
        let follows = last_known.is_some_and(|last| follows(market, first, last));
        (follows || starts(market, first, last_update)).then_some(changes)
    }

    /// Takes in that the update ids began anew with these changes; changes before were received until then. Returns
    /// whether a book is broken by that, and what of a snapshot that was too old for the book before.
    pub(crate) fn restart(
        &mut self,
        market: Market,
        changes: Vec<Depth>,
        received_until: u64,
    ) -> (bool, Option<Joined>) {
        let was_whole = !self.is_waiting();
        let last_update = changes.last().map_or(0, |last| last.last_update);
        let spare = self
            .spare
            .take()
            .filter(|spare| spare.receive_time >= received_until && spare.last_update < last_update);
        *self = Self { lost: self.unused(), pending: changes.into(), ..Self::default() };
        (was_whole, spare.map(|spare| self.snapshot(market, spare)))
    }

    fn keep(&mut self, depth: Depth) {
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
            self.lost += u64::from(self.is_waiting());
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

/// Returns whether this is the first change after a snapshot that ends with `end`.
fn starts(market: Market, depth: &Depth, end: u64) -> bool {
    match market {
        Market::Spot => depth.first_update <= end.saturating_add(1) && end < depth.last_update,
        // A snapshot may end exactly where one change ended; then the next one says so in `pu`.
        Market::Usdm | Market::Cm => {
            (depth.first_update <= end && end <= depth.last_update) || depth.previous_update == Some(end)
        }
    }
}

/// Returns whether this change goes on where another one ended.
fn follows(market: Market, depth: &Depth, end: u64) -> bool {
    match market {
        Market::Spot => depth.first_update <= end.saturating_add(1),
        Market::Usdm | Market::Cm => depth.previous_update == Some(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(first_update: u64, last_update: u64, previous_update: Option<u64>) -> Depth {
        let levels = Levels::default();
        Depth { first_update, last_update, previous_update, event_time: 0, receive_time: 0, levels }
    }

    fn snapshot(last_update: u64, receive_time: u64) -> Snapshot {
        Snapshot { last_update, event_time: 0, receive_time, levels: Levels::default() }
    }

    /// Checks steps: `S100` is a snapshot, `5-9` a change, `5-9<4` one with `pu`, `!` the need of a deeper snapshot; the outcome of
    /// each stands after `=`.
    #[track_caller]
    fn check(market: Market, steps: &[&str]) {
        let mut sync = DepthSync::default();
        for step in steps {
            let (input, expected) = step.split_once('=').unwrap();
            let outcome = if input == "!" {
                sync.need_deeper();
                format!("{:?}", sync.new_need())
            } else if let Some(end) = input.strip_prefix('S') {
                match sync.snapshot(market, snapshot(end.parse().unwrap(), 0)) {
                    Joined::Book(_, changes) => format!("{} applied", changes.len()),
                    Joined::Deeper(_, changes) => format!("deeper, {} since", changes.len()),
                    Joined::Anew(_) => "anew".to_owned(),
                    Joined::Older => "older".to_owned(),
                    Joined::TooOld(first) => format!("too old for {first}"),
                    Joined::Hole => "hole".to_owned(),
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
        check(Market::Spot, &["S10=0 applied", "11-12=apply", "11-12=known", "12-14=apply", "16-17=broken"]);
        check(
            Market::Spot,
            &["S10=0 applied", "12-14=broken", "15-15=buffered", "S14=1 applied", "16-16=apply"],
        );
        check(
            Market::Spot,
            &["3-5=buffered", "6-9=buffered", "10-12=buffered", "S9=1 applied", "13-14=apply"],
        );
        check(Market::Spot, &["10-12=buffered", "S8=too old for 10", "S9=1 applied", "S11=older"]);
        check(Market::Spot, &["10-12=buffered", "14-15=buffered", "S11=hole", "S13=1 applied"]);
    }

    #[test]
    fn a_snapshot_helps_a_whole_book_when_it_is_not_older() {
        let spot = Market::Spot;
        check(spot, &["S10=0 applied", "11-12=apply", "S50=0 applied", "49-52=apply", "53-54=apply"]);
        check(spot, &["S10=0 applied", "11-12=apply", "S12=0 applied", "13-13=apply"]);
        check(spot, &["S10=0 applied", "11-12=apply", "S15=0 applied", "13-14=known", "15-16=apply"]);
        check(spot, &["S10=0 applied", "11-12=apply", "S15=0 applied", "18-19=broken", "S18=1 applied"]);
        check(spot, &["S10=0 applied", "11-12=apply", "S9=older", "13-13=apply"]);
        // The snapshot lies between two changes that follow each other, so nothing is missing.
        let usdm = Market::Usdm;
        check(usdm, &["S10=0 applied", "9-12<8=apply", "S15=0 applied", "18-20<12=apply", "22-23<20=apply"]);
        check(usdm, &["S10=0 applied", "9-12<8=apply", "S15=0 applied", "13-14<12=known", "18-20<14=apply"]);
        check(usdm, &["S10=0 applied", "9-12<8=apply", "S12=0 applied", "14-15<12=apply", "14-20<13=broken"]);
        check(usdm, &["5-8<4=buffered", "12-14<8=buffered", "S10=1 applied", "16-17<14=apply"]);
        // These are snapshots alone, whose ids begin anew.
        check(spot, &["S900=0 applied", "S5=older", "S6=older", "S7=anew", "S8=0 applied"]);
        check(spot, &["S900=0 applied", "S5=older", "S6=older", "901-901=apply", "S7=older"]);
    }

    #[test]
    fn a_deeper_snapshot_may_be_older_than_the_book() {
        let spot = Market::Spot;
        let needed = "!=Some(Deeper)";
        check(
            spot,
            &["S10=0 applied", "11-12=apply", needed, "13-14=apply", "15-16=apply", "S13=deeper, 2 since"],
        );
        check(
            spot,
            &["S10=0 applied", needed, "11-12=apply", "13-14=apply", "S12=deeper, 1 since", "15-15=apply"],
        );
        check(spot, &["S10=0 applied", "11-12=apply", needed, "13-14=apply", "S11=older", "S14=0 applied"]);
        check(
            spot,
            &["S10=0 applied", needed, "!=None", "11-12=apply", "S20=0 applied", "21-22=apply", needed],
        );
        // What was kept ends where changes are missing.
        check(
            spot,
            &["S10=0 applied", needed, "11-12=apply", "14-15=broken", "S11=too old for 14", "S13=1 applied"],
        );
        let usdm = Market::Usdm;
        check(
            usdm,
            &[
                "S10=0 applied",
                "9-12<8=apply",
                needed,
                "15-20<12=apply",
                "S17=deeper, 1 since",
                "23-24<20=apply",
            ],
        );
    }

    #[test]
    fn a_snapshot_of_another_sequence_does_not_freeze_the_book() {
        let mut sync = DepthSync::default();
        let late = |n, receive_time| Depth { receive_time, ..depth(n, n, None) };
        assert!(matches!(sync.snapshot(Market::Spot, snapshot(1_000_000, 0)), Joined::Book(..)));
        assert_eq!(sync.change(Market::Spot, late(11, AHEAD_MAX)), Verdict::Known);
        assert_eq!(sync.change(Market::Spot, late(12, AHEAD_MAX + 1)), Verdict::Broken);
        assert!(sync.is_waiting());
    }

    #[test]
    fn a_new_sequence_begins_with_the_snapshot_that_came_with_it() {
        let changes = || vec![depth(6, 6, None), depth(7, 7, None), depth(8, 8, None)];
        let old_book = || {
            let mut sync = DepthSync::default();
            sync.snapshot(Market::Spot, snapshot(900, 1));
            sync
        };
        let mut sync = old_book();
        assert_eq!(sync.snapshot(Market::Spot, snapshot(5, 4)), Joined::Older);
        let joined = Joined::Book(snapshot(5, 4), changes());
        assert_eq!(sync.restart(Market::Spot, changes(), 3), (true, Some(joined)));
        // These are of the sequence before, or received before it ended, so they are not believed.
        for (last_update, receive_time) in [(800, 4), (5, 2)] {
            let mut sync = old_book();
            sync.snapshot(Market::Spot, snapshot(last_update, receive_time));
            assert_eq!(sync.restart(Market::Spot, changes(), 3), (true, None));
            assert!(
                matches!(sync.snapshot(Market::Spot, snapshot(7, 5)), Joined::Book(_, more) if more.len() == 1)
            );
        }
    }

    #[test]
    fn futures_books_continue_by_previous_update() {
        let usdm = Market::Usdm;
        check(usdm, &["S10=0 applied", "5-9<4=known", "8-12<7=apply", "15-20<12=apply", "25-30<21=broken"]);
        check(usdm, &["S10=0 applied", "5-10<4=apply", "12-14<10=apply", "12-14<10=known"]);
        check(usdm, &["S10=0 applied", "13-14<10=apply"]);
        check(usdm, &["S10=0 applied", "13-14<12=broken", "15-18<14=buffered", "S16=1 applied"]);
        check(Market::Cm, &["8-9<7=buffered", "12-15<9=buffered", "S13=1 applied", "19-19<15=apply"]);
    }

    #[test]
    fn waiting_changes_are_bounded() {
        let mut sync = DepthSync::default();
        for n in 1..=PENDING_MAX as u64 + 10 {
            assert_eq!(sync.change(Market::Spot, depth(n, n, None)), Verdict::Buffered);
        }
        assert_eq!(sync.pending.len(), PENDING_MAX);
        assert_eq!(sync.unused(), PENDING_MAX as u64 + 10);
        let given_up = sync.snapshot(Market::Spot, snapshot(9, 0));
        assert_eq!(given_up, Joined::TooOld(11), "the change with update id 10 was given up");
        let joined = sync.snapshot(Market::Spot, snapshot(10, 0));
        assert!(matches!(joined, Joined::Book(_, changes) if changes.len() == PENDING_MAX));
        assert_eq!(sync.unused(), 10);
    }
}
