//! Which run of an ingester speaks for a venue.
//!
//! Each run has an epoch, and epochs have no order: nothing in a heartbeat says which run is newer, and no clock is asked. So
//! the rule is:
//! - The run that is followed stays followed while it is heard and its source is live.
//! - Another one takes over when the followed one said its last word, was not heard for [`TAKEOVER_NS`] while the other
//!   was, or is not live for [`TAKEOVER_NS`] while the other is.
//! - Of several others: one that is live, then the one that has run longest by its own steady clock, then the one with the
//!   smaller epoch. By the same order a gateway chooses anew in the first [`SETTLE_NS`] after it heard of the venue, so
//!   that gateways that start later choose as the others did.

use std::sync::Arc;

use tickwire_wire::{FeedState, pb};

/// Runs of one venue that are remembered.
const CLAIMS_MAX: usize = 8;
/// One and a half periods of heartbeats.
const TAKEOVER_NS: u64 = 750_000_000;
const SETTLE_NS: u64 = 700_000_000;
/// Heartbeats in a row that may be lost: each position is said in three.
const BEATS_LOST_MAX: u64 = 2;

/// One run, as its heartbeats say.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) epoch: u64,
    pub(super) state: FeedState,
    pub(super) reason: Arc<str>,
    pub(super) heard: u64,
    uptime_ns: u64,
    /// Number of the last heartbeat.
    number: u64,
    /// It said its last word.
    is_over: bool,
    /// Since when its source is not live.
    stale_since: Option<u64>,
}

impl Claim {
    fn is_live(&self) -> bool {
        self.state == FeedState::Live && !self.is_over
    }

    fn is_heard(&self, now: u64, within: u64) -> bool {
        !self.is_over && now.saturating_sub(self.heard) <= within
    }

    /// The greatest one is chosen.
    fn rank(&self, now: u64) -> (bool, u64, std::cmp::Reverse<u64>) {
        let uptime = self.uptime_ns.saturating_add(now.saturating_sub(self.heard));
        (self.is_live(), uptime, std::cmp::Reverse(self.epoch))
    }
}

/// All runs that are heard of one venue, and the one that is followed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    all: Vec<Claim>,
    /// 0: none.
    followed: u64,
    first_heard: u64,
}

/// What a heartbeat brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Of a run that is not followed.
    Other,
    /// Of the followed run; so many heartbeats in a row were lost before it that positions may be unknown.
    Followed { has_missed: bool },
}

impl Claims {
    pub(super) fn epoch(&self) -> u64 {
        self.followed
    }

    pub(super) fn followed(&self) -> Option<&Claim> {
        self.all.iter().find(|claim| claim.epoch == self.followed)
    }

    /// Other runs that are heard.
    pub(super) fn rivals(&self, now: u64, within: u64) -> usize {
        self.all.iter().filter(|claim| claim.epoch != self.followed && claim.is_heard(now, within)).count()
    }

    /// Takes a heartbeat.
    pub(super) fn hear(&mut self, heartbeat: &pb::FeedHeartbeat, now: u64) -> Heard {
        if self.first_heard == 0 {
            self.first_heard = now;
        }
        let at = match self.all.iter().position(|claim| claim.epoch == heartbeat.epoch) {
            Some(at) => at,
            None => self.admit(heartbeat, now),
        };
        let followed = self.followed;
        let claim = &mut self.all[at];
        let has_missed = heartbeat.number > claim.number + 1 + BEATS_LOST_MAX;
        claim.number = claim.number.max(heartbeat.number);
        (claim.heard, claim.state) = (now, heartbeat.state());
        claim.uptime_ns = heartbeat.uptime_ns;
        claim.is_over |= heartbeat.last;
        claim.stale_since = if claim.is_live() { None } else { claim.stale_since.or(Some(now)) };
        if *claim.reason != *heartbeat.reason {
            claim.reason = heartbeat.reason.as_str().into();
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
            heard: now,
            uptime_ns: 0,
            number: heartbeat.number.saturating_sub(1),
            is_over: false,
            stale_since: None,
        });
        self.all.len() - 1
    }

    /// The bus was away: nobody is blamed for not having been heard.
    pub(super) fn excuse(&mut self, now: u64) {
        for claim in self.all.iter_mut().filter(|claim| !claim.is_over) {
            claim.heard = now;
        }
    }

    /// Follows another run where the rule says so; returns whether it did.
    pub(super) fn choose(&mut self, now: u64) -> bool {
        let is_settling = now.saturating_sub(self.first_heard) < SETTLE_NS;
        let best = self.all.iter().filter(|claim| claim.is_heard(now, TAKEOVER_NS));
        let Some(best) = best.max_by_key(|claim| claim.rank(now)) else { return false };
        let is_due = match self.followed() {
            None => true,
            Some(followed) if followed.epoch == best.epoch => false,
            Some(followed) => {
                let is_lost = !followed.is_heard(now, TAKEOVER_NS);
                let since = followed.stale_since.unwrap_or(now);
                let is_stale = best.is_live() && now.saturating_sub(since) >= TAKEOVER_NS;
                is_lost || is_stale || is_settling
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
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn heartbeat(epoch: u64, state: FeedState, uptime_ms: u64, number: u64) -> pb::FeedHeartbeat {
        pb::FeedHeartbeat {
            epoch,
            state: state as i32,
            uptime_ns: uptime_ms * MS,
            number,
            ..pb::FeedHeartbeat::default()
        }
    }

    /// Each step: milliseconds, what is heard then (epoch, `L`ive or `S`tale or `X` for the last word, uptime in seconds), who is
    /// followed afterwards.
    #[track_caller]
    fn check(steps: &[(u64, &str, u64)]) {
        let mut claims = Claims::default();
        for (at, heard, expected) in steps {
            let now = 1_000_000 * MS + at * MS;
            for (number, word) in heard.split_whitespace().enumerate() {
                let (epoch, rest) = word.split_at(1);
                let (state, uptime) = rest.split_at(1);
                let live = if state == "L" { FeedState::Live } else { FeedState::Stale };
                let uptime = uptime.parse::<u64>().unwrap() * 1_000;
                let mut heartbeat = heartbeat(epoch.parse().unwrap(), live, uptime, at + number as u64);
                heartbeat.last = state == "X";
                claims.hear(&heartbeat, now);
            }
            claims.choose(now);
            assert_eq!(claims.epoch(), *expected, "at {at} ms of {steps:?}");
        }
    }

    #[test]
    fn who_is_followed_stays_followed() {
        check(&[(0, "5L9", 5), (2_000, "5L11 3L0", 5), (2_500, "5L12 3L1", 5), (9_000, "3L7 5L18", 5)]);
    }

    #[test]
    fn a_last_word_ends_it_at_once() {
        check(&[(0, "5L9", 5), (2_000, "5L11 3L0", 5), (2_010, "5X11", 3), (9_000, "3L7", 3)]);
        // And who comes later is followed when it is heard.
        check(&[(0, "5L9", 5), (2_000, "5X11", 5), (2_300, "9L0", 9)]);
    }

    #[test]
    fn silence_and_a_dead_source_end_it_soon() {
        check(&[
            (0, "5L9", 5),
            (2_000, "5L9", 5),
            (2_500, "3L0", 5),
            (2_751, "3L0", 3),
            (3_000, "5L9 3L1", 3),
        ]);
        check(&[(0, "5L9", 5), (2_000, "5S9 3L0", 5), (2_700, "5S9 3L0", 5), (2_750, "5S9 3L0", 3)]);
        check(&[(0, "5L9", 5), (2_000, "5S9 3S0", 5), (9_000, "5S9 3S0", 5)]);
    }

    #[test]
    fn a_gateway_that_starts_chooses_as_the_others_did() {
        check(&[(0, "3L2", 3), (300, "7L9", 7), (400, "8S99", 7), (500, "1L10", 1), (2_000, "1L11 4L50", 1)]);
    }

    #[test]
    fn a_restart_with_any_epoch_and_a_rollback_are_followed() {
        // Killed and replaced; then a rolling deployment that is rolled back.
        check(&[(0, "9L9", 9), (900, "2L0", 2), (2_000, "2L1 8L0", 2), (2_100, "8X0", 2), (9_000, "2L9", 2)]);
    }

    #[test]
    fn lost_heartbeats_are_counted_and_claims_are_bounded() {
        let mut claims = Claims::default();
        claims.hear(&heartbeat(5, FeedState::Live, 1, 10), MS);
        claims.choose(MS);
        for (number, has_missed) in [(11, false), (14, false), (18, true), (18, false), (2, false)] {
            let heard = claims.hear(&heartbeat(5, FeedState::Live, 1, number), MS);
            assert_eq!(heard, Heard::Followed { has_missed }, "{number}");
        }
        for epoch in 100..200 {
            assert_eq!(claims.hear(&heartbeat(epoch, FeedState::Live, 1, 1), 2 * MS), Heard::Other);
        }
        assert_eq!((claims.all.len(), claims.epoch()), (CLAIMS_MAX, 5));
        assert_eq!(claims.rivals(3 * MS, 10 * MS), CLAIMS_MAX - 1);
        claims.forget_lost(50 * MS, 10 * MS);
        assert_eq!(claims.all.len(), 1);
    }
}
