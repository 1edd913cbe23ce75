//! A limit on how often something may happen.

use std::time::Duration;

/// The pace at which a bucket fills: the time that one token takes, and the time that an empty bucket takes until it is full, in
/// nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    token_ns: u64,
    full_ns: u64,
}

impl Refill {
    /// Gives so many tokens each `period`, of which at most `saved` are saved up. Without a rate (0) tokens cost nothing.
    pub fn per(period: Duration, tokens: u32, saved: u32) -> Self {
        let token_ns = (period.as_nanos() as u64).checked_div(tokens.into()).unwrap_or(0);
        Self { token_ns, full_ns: token_ns.saturating_mul(saved.into()) }
    }

    /// Gives so many tokens each second, at least one, of which a second's worth is saved up.
    pub fn each_second(tokens: u32) -> Self {
        let second = Duration::from_secs(1);
        Self { full_ns: second.as_nanos() as u64, ..Self::per(second, tokens.max(1), 0) }
    }

    fn price_ns(self, tokens: u32) -> u64 {
        self.token_ns.saturating_mul(tokens.into())
    }
}

/// A token bucket, kept as one time stamp: when it will be full again (the generic cell rate algorithm, ITU-T I.371). It is
/// small, because each session has some, and full at first. The caller passes the time in nanoseconds of any clock, and the same
/// refill each time, which is not kept here because all sessions share it.
///
/// `governor` was looked at: what is taken there cannot be put back, and nothing can be taken on credit, which a command needs
/// whose price is known when it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    full_at_ns: u64,
}

impl TokenBucket {
    /// Returns whether so many tokens are there.
    pub fn has(self, tokens: u32, now: u64, refill: Refill) -> bool {
        self.full_at_ns.max(now).saturating_add(refill.price_ns(tokens)) <= now.saturating_add(refill.full_ns)
    }

    /// Returns whether anything is there, be it less than a token.
    pub fn has_some(self, now: u64, refill: Refill) -> bool {
        self.full_at_ns < now.saturating_add(refill.full_ns)
    }

    /// Returns the time at which so many tokens are there; it may have passed.
    pub fn has_at(self, tokens: u32, refill: Refill) -> u64 {
        self.full_at_ns.saturating_add(refill.price_ns(tokens)).saturating_sub(refill.full_ns)
    }

    /// Returns the time at which it is full; it may have passed. Of two buckets, more was taken of the one that is full later.
    pub fn full_at(self) -> u64 {
        self.full_at_ns
    }

    /// Takes so many tokens, on credit where they are not there.
    pub fn take(&mut self, tokens: u32, now: u64, refill: Refill) {
        self.full_at_ns = self.full_at_ns.max(now).saturating_add(refill.price_ns(tokens));
    }

    /// Puts back tokens that were taken last.
    pub fn put_back(&mut self, tokens: u32, refill: Refill) {
        self.full_at_ns = self.full_at_ns.saturating_sub(refill.price_ns(tokens));
    }
}
