//! The ways of the closed loop: how long bytes and answers are on them.

/// The delays of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Path {
    Constant(u64),
    /// Everything that has come is let go each so often, all at once.
    Lumps(u64),
    /// The delay of each write is anything up to this, but nothing overtakes.
    Jitter(u64),
    /// The delay goes up and down to this within a time.
    Wave(u64, u64),
    /// One in so many packets is sent once more, and holds up what is behind it: the delay, the share, the time for that.
    Lossy(u64, u64, u64),
}

/// The dice of one run.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end.max(1)
    }
}

impl Path {
    fn longest(self) -> u64 {
        match self {
            Self::Constant(delay) => delay,
            Self::Lumps(most) | Self::Jitter(most) | Self::Wave(most, _) => most,
            Self::Lossy(delay, _, again) => delay + again,
        }
    }

    pub(crate) fn arrival(self, now: u64, dice: &mut Dice) -> u64 {
        match self {
            Self::Constant(delay) => now + delay,
            Self::Lumps(every) => (now + 1).next_multiple_of(every),
            Self::Jitter(most) => now + dice.below(most),
            Self::Wave(most, period) => {
                let at = (now % period) as f64 / period as f64;
                let up = if at < 0.5 { at * 2.0 } else { 2.0 - at * 2.0 };
                now + (most as f64 * up) as u64
            }
            Self::Lossy(delay, one_in, again) => {
                now + delay + if dice.below(one_in) == 0 { again } else { 0 }
            }
        }
    }
}

/// Both ways between the two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) down: Path,
    pub(crate) up: Path,
    /// It is another from a time on: that time, and both directions.
    pub(crate) change: Option<(u64, Path, Path)>,
    /// Bytes a second that pass downwards; 0: all.
    pub(crate) rate: u64,
}

impl Way {
    pub(crate) fn of(down: Path, up: Path) -> Self {
        Self { down, up, change: None, rate: 0 }
    }

    /// Returns the longest delay there and back, at the start.
    pub(crate) fn longest(&self) -> u64 {
        self.down.longest() + self.up.longest()
    }

    /// Returns the same of what it becomes, or 0 where it stays.
    pub(crate) fn longest_later(&self) -> u64 {
        self.change.map_or(0, |(_, down, up)| down.longest() + up.longest())
    }

    pub(crate) fn at(&self, now: u64) -> (Path, Path) {
        match self.change {
            Some((at, down, up)) if now >= at => (down, up),
            _ => (self.down, self.up),
        }
    }
}
