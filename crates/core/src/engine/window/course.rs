//! The steps of the window between open, in doubt and tight. See the module above.

use super::doubt::{Check, Receipt, Round, Shape, Verdict};
use super::known::{Course, Sequel, Slow};
use super::mark::Mark;
use super::state::{DOUBLINGS, LEAST, PATH_NS, TRY_NS, Window};

impl Window {
    /// Lets the window grow, because a receipt came in time and the window is used.
    pub(super) fn grow(&mut self, shape: Shape, bytes: usize, delay: u64) {
        let target = self.freshness.target_ns;
        let is_queued = delay > self.path() / 4 * 5 + target / 8;
        // Where a round takes long, few of them must do.
        let is_long = self.path() > 2 * target;
        let times = match shape {
            Shape::Stretched if is_queued => 0,
            Shape::Piece if !is_queued => 3,
            Shape::Stream if !is_queued && is_long => 3,
            _ => 1,
        };
        self.limit += times * bytes.min(self.limit);
    }

    /// Judges a round that is over, where the reader is not known to be slow.
    pub(super) fn judge(&mut self, course: &mut Course, round: Round, in_flight: usize, receipt: Receipt) {
        let target = self.freshness.target_ns;
        let delay = receipt.delay;
        let last = (in_flight, delay);
        let before = std::mem::replace(&mut course.shape, round.shape(delay, target / 8));
        course.is_wary &= course.shape == Shape::Unknown;
        // A delay of no more than one interval says nothing: with less under way it would be no shorter.
        let late = self.late_ns().max((course.interval() / 8 * 9).min(target));
        if delay > late && round.is_full {
            match course.shape {
                Shape::Unknown => {}
                // Where most of it is the path's, once may be a path that became longer just then.
                Shape::Stretched if before != Shape::Stretched && delay < self.path() / 4 * 7 => {}
                Shape::Stretched => self.try_window(course, in_flight / 2, last),
                // A queue that stands comes back as it is fed: the round that made it did not.
                Shape::Stream if before == Shape::Stretched => self.try_window(course, in_flight / 2, last),
                Shape::Stream => self.try_window(course, self.limit.max(in_flight * 2), last),
                Shape::Piece => self.try_window(course, self.limit.max(in_flight * 4), last),
            }
            if let Some(check) = &mut course.check {
                check.is_provisional = receipt.is_pause && check.is_more();
            }
        } else if !round.is_used {
            // What comes back in time when it is confirmed as fast as lately, and what was needed.
            let timely = (self.work.throughput.sure_rate() * (target / 2) as f64 / 1e9) as usize;
            let needed = 2 * self.used[0].max(self.used[1]) as usize;
            let least = needed.max(timely).max(self.freshness.first_bytes);
            self.limit = self.limit.max(timely);
            self.limit -= self.limit.saturating_sub(least) / 16;
        }
    }

    /// Begins a trial: does the delay follow another window than what was under way `before`?
    fn try_window(&mut self, course: &mut Course, limit: usize, before: (usize, u64)) {
        let limit = limit.clamp(LEAST, self.freshness.max_bytes.max(LEAST));
        if limit < before.0 / 5 * 4 || limit > before.0 / 4 * 5 {
            let mut check = Check::new(self.probed, before, self.limit, limit);
            (check.is_of_slow, check.interval) = (course.slow.is_some(), course.interval());
            course.check = Some(check);
            self.limit = limit;
        }
    }

    /// Corrects the path's delay by the round after the trial that it was learned in: a reader that stood still during the
    /// trial is quicker then, and a path is not.
    pub(super) fn confirm_path(&mut self, course: &mut Course, mark: &Mark, delay: u64) {
        let Some(sequel) = course.sequel.as_mut().filter(|sequel| mark.time > sequel.since) else { return };
        if sequel.end == 0 {
            sequel.end = self.probed;
        }
        sequel.longest = sequel.longest.max(delay);
        if mark.time >= sequel.end {
            self.path_ns = self.path_ns.min(sequel.longest);
            course.sequel = None;
        }
    }

    pub(super) fn conclude(&mut self, course: &mut Course, verdict: Verdict, delay: u64, now: u64) {
        let Some(check) = course.check.take() else { return };
        if verdict == Verdict::Queue {
            // The path takes no longer than this.
            let is_mostly_path = check.is_mostly(self.path());
            self.path_ns = self.path_ns.min(check.shortest);
            self.is_tight = true;
            if is_mostly_path && !check.is_of_slow && !check.is_more() {
                // The path's own delay may just have become shorter: does it grow again with what was before?
                self.try_window(course, check.most(), (check.least(), delay));
                return;
            }
            let (wanted, proven) = (self.proven_bytes(course), check.least());
            let first_try = now + 2 * TRY_NS;
            let slow = course.slow.get_or_insert(Slow { next_try: first_try, ..Slow::default() });
            slow.proven = proven;
            if check.is_of_slow && check.is_more() {
                slow.next_try = now + (TRY_NS << slow.tries);
                slow.tries = (slow.tries + 1).min(DOUBLINGS);
            }
            self.limit = proven;
            if wanted < proven / 10 * 6 {
                self.try_window(course, wanted.max(proven / 2), (proven, check.delay_of_least(delay)));
            } else {
                self.limit = wanted;
            }
            return;
        }
        if !check.is_more() && delay <= course.interval() / 8 * 9 {
            // It is the time between two reads, or two lumps of the path: with less it is no shorter. More tells.
            self.limit = check.usual;
            self.try_window(course, 2 * check.most(), check.before());
            return;
        }
        course.sequel = Some(Sequel { since: self.probed, end: 0, longest: 0 });
        self.path_until = now + (PATH_NS << self.path_proofs);
        self.path_proofs = (self.path_proofs + 1).min(DOUBLINGS);
        if check.is_of_slow && !check.is_more() {
            self.path_ns = check.shortest;
            self.limit = check.usual;
            if check.is_unmoved(delay) {
                // Then more may be no queue either.
                self.try_window(course, 2 * check.most(), (check.least(), delay));
            }
            return;
        }
        self.path_ns = if check.is_more() { self.path_ns.max(delay) } else { delay };
        self.limit = if check.is_of_slow { check.most() } else { check.usual.max(2 * check.most()) };
        self.is_tight = false;
        course.slow = None;
    }

    /// Returns how long the bytes under way to a slow reader may take.
    fn span(&self, course: &Course) -> u64 {
        let target = self.freshness.target_ns;
        // Once may be chance.
        let gap = course.gaps[1].max(course.gaps[2]).min(2 * target);
        (target / 10 * 6).max(self.path().max(gap) / 4 * 5)
    }

    /// Returns rate × span.
    fn proven_bytes(&self, course: &Course) -> usize {
        (self.work.throughput.rate() * self.span(course) as f64 / 1e9) as usize
    }

    /// Lets the window follow a slow reader.
    pub(super) fn follow(&mut self, course: &mut Course, mark: &Mark, delay: u64, now: u64) {
        let target = self.freshness.target_ns;
        let is_used = mark.in_flight as usize >= self.limit / 2;
        if delay <= target / 4 {
            self.limit += if is_used { self.limit / 8 } else { 0 };
            return;
        }
        let (wanted, is_beyond) = (self.proven_bytes(course), delay > self.span(course) / 4 * 5 + target / 2);
        let under_way = (mark.in_flight as usize, delay);
        let Some(slow) = &mut course.slow else { return };
        if wanted < slow.proven / 10 * 6 {
            let limit = wanted.max(slow.proven / 2);
            if mark.is_full {
                self.try_window(course, limit, under_way);
            }
            return;
        }
        if !is_beyond {
            slow.beyond = None;
        } else if mark.is_full && now >= slow.next_try {
            // Longer than the queue is: the reader is slower than it was, or the path longer. Once may be a pause of either.
            let (since, shortest) = *slow.beyond.get_or_insert((self.probed, delay));
            if mark.time > since {
                slow.beyond = None;
                self.try_window(course, 2 * under_way.0, (under_way.0, delay.min(shortest)));
                return;
            }
            slow.beyond = Some((since, delay.min(shortest)));
        }
        slow.proven = slow.proven.max(wanted);
        let may_try = is_used && delay < target.max(self.path() / 2 * 3);
        self.limit = slow.trials.limit(wanted, self.limit, (self.confirmed, delay), may_try, now);
        if mark.is_full && now > self.path_until && self.path() > target / 10 * 6 {
            // What was taken for the path may have been a queue, or the path has become shorter.
            let least = (self.work.throughput.rate() * (target / 10 * 6) as f64 / 1e9) as usize;
            let limit = least.max(self.limit / 2);
            if limit < self.limit / 4 * 3 {
                self.try_window(course, limit, under_way);
            } else {
                self.path_until = now + PATH_NS;
            }
        }
    }

    /// Returns the longest delay of the path, which is no longer than what was seen lately.
    pub(super) fn path(&self) -> u64 {
        self.path_ns.min(self.delays[0].max(self.delays[1]))
    }

    /// Returns the delay beyond which a receipt is late.
    pub(super) fn late_ns(&self) -> u64 {
        (self.path() / 2 * 3).max(self.freshness.target_ns / 2)
    }
}
