//! Claims: which run of an ingester speaks for a venue.
//!
//! Each run has an epoch, and epochs have no order: nothing in a heartbeat says which run is newer, and no clock is asked. So
//! the rule is:
//! - The run that is followed stays followed while it is heard and its source is live.
//! - Another one takes over when the followed one said its last word, was not heard for [`TAKEOVER_NS`] while the other
//!   was, or is not live for [`TAKEOVER_NS`] while the other is.
//! - Of several others: one that is live, then the one that has run longest by its own steady clock, then the one with the
//!   smaller epoch. By the same order a gateway chooses anew in the first [`SETTLE_NS`] after it heard of the venue, so
//!   that gateways that start later choose as the others did.
//! - Runs may publish by a lease, which one of several has. A run with a higher number is followed at once. Those with a lower one had it before: they
//!   are not followed as long as the one with the higher number was heard within [`FENCED_NS`], because a process that stood still may go on
//!   and not know that it lost its lease.

use std::sync::Arc;

use tickwire_wire::pb::BookProof;
use tickwire_wire::{FeedState, pb};

/// Most runs of one venue that are remembered.
const CLAIMS_MAX: usize = 8;
/// The time for which a run counts as heard: one and a half periods of heartbeats.
const TAKEOVER_NS: u64 = 750_000_000;
const SETTLE_NS: u64 = 700_000_000;
/// The time for which runs with a lower lease are not followed, after the one with the highest was heard. It ends, because a register may
/// be lost and begin its numbers anew.
const FENCED_NS: u64 = 10_000_000_000;
/// The count of heartbeats in a row that may be lost: each position is told in three.
const HEARTBEATS_LOST_MAX: u64 = 2;

/// One run, as its heartbeats describe it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) epoch: u64,
    pub(super) state: FeedState,
    pub(super) reason: Arc<str>,
    /// The proof of its books, and that in words; empty where it does not say.
    pub(super) proof: BookProof,
    pub(super) verification: Arc<str>,
    pub(super) heard: u64,
    /// The time by which its clock is behind ours, at most, in nanoseconds: as its last heartbeat said, whose way took some time.
    behind_ns: i128,
    uptime_ns: u64,
    /// Number of the last heartbeat.
    number: u64,
    /// The lease by which it publishes; 0 for none.
    lease: u64,
    /// Whether it said its last word.
    is_over: bool,
    /// The time since which its source is not live.
    stale_since: Option<u64>,
}

impl Claim {
    fn is_live(&self) -> bool {
        self.state == FeedState::Live && !self.is_over
    }

    fn is_heard(&self, now: u64, within: u64) -> bool {
        !self.is_over && now.saturating_sub(self.heard) <= within
    }

    /// Returns what runs are ordered by: the greatest one is chosen.
    fn rank(&self, now: u64) -> (bool, u64, u64, std::cmp::Reverse<u64>) {
        let uptime = self.uptime_ns.saturating_add(now.saturating_sub(self.heard));
        (self.is_live(), self.lease, uptime, std::cmp::Reverse(self.epoch))
    }
}

/// All runs that are heard of one venue, and the one that is followed.
#[derive(Debug, Default)]
pub struct Claims {
    all: Vec<Claim>,
    /// The epoch of the followed run; 0 for none.
    followed: u64,
    first_heard: u64,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was of a run that is not followed.
    Other,
    /// It was of the followed run.
    Followed {
        /// Whether so many heartbeats in a row were lost before it that positions may be unknown.
        has_missed: bool,
    },
}

impl Claims {
    /// Returns the epoch of the run that is followed; 0 for none.
    pub fn epoch(&self) -> u64 {
        self.followed
    }

    pub(super) fn followed(&self) -> Option<&Claim> {
        self.all.iter().find(|claim| claim.epoch == self.followed)
    }

    /// Returns a time of the followed run by our clock: not before it was then, and not after `now`. 0 stays what it is.
    pub(super) fn by_our_clock(&self, time: u64, now: u64) -> u64 {
        let behind = self.followed().map_or(i128::from(now), |claim| claim.behind_ns);
        let ours = (i128::from(time) + behind).clamp(1, i128::from(now.max(1)));
        if time == 0 { 0 } else { ours as u64 }
    }

    /// Returns how many other runs are heard.
    pub(super) fn rivals(&self, now: u64, within: u64) -> usize {
        self.all.iter().filter(|claim| claim.epoch != self.followed && claim.is_heard(now, within)).count()
    }

    /// Takes a heartbeat; times are in nanoseconds, of one clock.
    pub fn hear(&mut self, heartbeat: &pb::FeedHeartbeat, now: u64) -> Heard {
        if self.first_heard == 0 {
            self.first_heard = now;
        }
        let at = match self.all.iter().position(|claim| claim.epoch == heartbeat.epoch) {
            Some(at) => at,
            None => self.admit(heartbeat, now),
        };
        let followed = self.followed;
        let claim = &mut self.all[at];
        let has_missed = heartbeat.number > claim.number + 1 + HEARTBEATS_LOST_MAX;
        claim.number = claim.number.max(heartbeat.number);
        (claim.heard, claim.state) = (now, heartbeat.state());
        claim.uptime_ns = heartbeat.uptime_ns;
        claim.behind_ns = i128::from(now) - i128::from(heartbeat.time);
        claim.is_over |= heartbeat.last;
        claim.stale_since = if claim.is_live() { None } else { claim.stale_since.or(Some(now)) };
        if *claim.reason != *heartbeat.reason {
            claim.reason = heartbeat.reason.as_str().into();
        }
        claim.lease = heartbeat.lease;
        claim.proof = heartbeat.book_proof();
        if *claim.verification != *heartbeat.verification {
            claim.verification = heartbeat.verification.as_str().into();
        }
        if claim.epoch == followed { Heard::Followed { has_missed } } else { Heard::Other }
    }

    fn admit(&mut self, heartbeat: &pb::FeedHeartbeat, now: u64) -> usize {
        if self.all.len() == CLAIMS_MAX {
            let others = self.all.iter().enumerate().filter(|(_, claim)| claim.epoch != self.followed);
            if let Some((oldest, _)) = others.min_by_key(|(_, claim)| claim.heard) {
                self.all.swap_remove(oldest);
            }
        }
        self.all.push(Claim {
            epoch: heartbeat.epoch,
            state: FeedState::Unknown,
            reason: "".into(),
            proof: BookProof::Unknown,
            verification: "".into(),
            heard: now,
            behind_ns: 0,
            uptime_ns: 0,
            number: heartbeat.number.saturating_sub(1),
            lease: heartbeat.lease,
            is_over: false,
            stale_since: None,
        });
        self.all.len() - 1
    }

    /// Blames nobody for not having been heard: the bus was away.
    pub(super) fn excuse(&mut self, now: u64) {
        for claim in self.all.iter_mut().filter(|claim| !claim.is_over) {
            claim.heard = now;
        }
    }

    /// Follows another run where the rule says so. Returns whether it did.
    pub fn choose(&mut self, now: u64) -> bool {
        let is_settling = now.saturating_sub(self.first_heard) < SETTLE_NS;
        let fenced = self.all.iter().filter(|claim| now.saturating_sub(claim.heard) <= FENCED_NS);
        let fence = fenced.map(|claim| claim.lease).max().unwrap_or(0);
        let is_free = |claim: &&Claim| claim.lease == 0 || claim.lease == fence;
        let best = self.all.iter().filter(|claim| claim.is_heard(now, TAKEOVER_NS)).filter(is_free);
        let Some(best) = best.max_by_key(|claim| claim.rank(now)) else { return false };
        let is_due = match self.followed() {
            None => true,
            Some(followed) if followed.epoch == best.epoch => false,
            Some(followed) => {
                let is_lost = !followed.is_heard(now, TAKEOVER_NS);
                let since = followed.stale_since.unwrap_or(now);
                let is_stale = best.is_live() && now.saturating_sub(since) >= TAKEOVER_NS;
                // A feed that is live and has no lease is not left for one that is not live yet.
                let is_next_holder = best.lease > followed.lease && best.is_live();
                let is_fenced = !is_free(&followed);
                is_lost || is_stale || is_settling || is_next_holder || is_fenced
            }
        };
        if is_due {
            self.followed = best.epoch;
        }
        is_due
    }

    /// Forgets the runs that are long gone.
    pub(super) fn forget_lost(&mut self, now: u64, after: u64) {
        let followed = self.followed;
        self.all.retain(|claim| {
            claim.epoch == followed || (!claim.is_over && now.saturating_sub(claim.heard) <= after)
        });
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
