//! Chooses scales from what a recording really uses, so that one wild value spoils nothing.
//!
//! The rule: of all values, those that look like noise do not count (more than 12 decimals, or 15 digits and more, which
//! is what is left of a binary fraction), unless most values do. Values that no scale can tell never count. Of the
//! scales, that one is taken at which the fewest of the others cannot be told, and of several the coarsest. Zeros at the
//! end do not count. A line with a value that does not fit is a fault of that line.

use tickwire_wire::decimal::DECIMALS_MAX;

use crate::number::{Exact, Number};

const SCALES: usize = DECIMALS_MAX as usize + 1;
/// The most decimals that are usual: more are noise where they are rare, as Binance writes eight.
const USUAL_DECIMALS_MAX: u32 = 12;
/// The digits from which on a value is noise where it is rare: a binary fraction of 64 bits has 15 to 17 that say
/// something.
const NOISE_DIGITS: u32 = 15;

/// The decimals that the values of one kind need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecimalsNeeded {
    usual: Counts,
    noise: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// The values by the decimals that they need.
    needed: [u64; SCALES],
    /// The values by the finest scale at which they fit.
    finest: [u64; SCALES],
}

impl DecimalsNeeded {
    pub(crate) fn add(&mut self, value: Exact) {
        let Some(finest) = value.finest_scale() else { return };
        let is_noise = value.decimals() > USUAL_DECIMALS_MAX || value.digits() >= NOISE_DIGITS;
        let counts = if is_noise { &mut self.noise } else { &mut self.usual };
        counts.needed[value.decimals() as usize] += 1;
        counts.finest[finest as usize] += 1;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.usual.join(&other.usual);
        self.noise.join(&other.noise);
    }

    /// Returns the scale that tells the most, not coarser than the one that is announced.
    pub(crate) fn decimals(&self, announced: u32) -> u32 {
        let mut counts = self.usual;
        if self.noise.total() > self.usual.total() {
            counts.join(&self.noise);
        }
        let scales = announced..=DECIMALS_MAX;
        scales.min_by_key(|scale| counts.unrepresentable(*scale as usize)).unwrap_or(announced)
    }
}

impl Counts {
    fn join(&mut self, other: &Self) {
        for (to, from) in [(&mut self.needed, &other.needed), (&mut self.finest, &other.finest)] {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }

    fn total(&self) -> u64 {
        self.needed.iter().sum()
    }

    /// Returns how many values need a finer scale, or do not fit at this one.
    fn unrepresentable(&self, scale: usize) -> u64 {
        self.needed[scale + 1..].iter().sum::<u64>() + self.finest[..scale].iter().sum::<u64>()
    }
}

/// The decimals that the prices and quantities of one instrument need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InstrumentDecimals {
    pub(crate) price: DecimalsNeeded,
    pub(crate) size: DecimalsNeeded,
}

impl InstrumentDecimals {
    pub(crate) fn add(&mut self, levels: &[(Number, Number)]) {
        for (price, size) in levels {
            self.price.add(price.exact);
            self.size.add(size.exact);
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.price.join(&other.price);
        self.size.join(&other.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the scale for values with how often they come.
    #[track_caller]
    fn check(values: &[(&str, usize)], announced: u32, expected: u32) {
        let mut used = DecimalsNeeded::default();
        for (text, count) in values {
            (0..*count).for_each(|_| used.add(Exact::parse(text).unwrap()));
        }
        assert_eq!(used.decimals(announced), expected, "{values:?}");
    }

    #[test]
    fn a_scale_tells_all_values_but_wild_ones() {
        check(&[], 0, 0);
        check(&[], 5, 5);
        check(&[("1.50", 1), ("1.625", 1)], 0, 3);
        check(&[("1.50000000", 1)], 0, 1);
        check(&[("61837.63", 9), ("61837.6200000000000001", 1)], 0, 2);
        check(&[("1", 1), ("0.01", 1), ("0.30000000000000004", 1)], 0, 2);
        check(&[("1", 1), ("0.1000000000000000055511151231257827", 5)], 0, 0);
        check(&[("1", 1), ("0.3", 1), ("0.7999999999999999", 1)], 0, 1);
        // Small prices need what they need.
        check(&[("1e-8", 1), ("0.5", 1)], 0, 8);
        check(&[("1e-10", 1), ("1000000", 3)], 0, 10);
        check(&[("0.00000000000000123", 9), ("0.5", 3)], 0, 17);
        // A value that fits but would push others out does not count, nor does one that would be pushed out by all
        // others.
        check(&[("123456789012", 9), ("0.12345678", 1)], 0, 0);
        check(&[("1.12345678", 9), ("123456789012345", 1), ("400000000000", 1)], 0, 8);
        // The scale is as announced, and finer only for what really occurs.
        check(&[("1.5", 3)], 2, 2);
        check(&[("1.505", 1), ("1.5", 3)], 2, 3);
        check(&[("1.5", 3), ("0.30000000000000004", 2)], 2, 2);
    }
}
