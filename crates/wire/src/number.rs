//! Instrument numbers: short stand-ins for names, taken from the name itself.
//!
//! A number is a hint and never an identity: an instrument is its `venue:SYMBOL`, and who gives out a number ties it to
//! a name in words (a catalogue, a grant). Because it is taken from the name, the same instrument has the same number
//! at every ingester and after every restart, as a rule, so that gateways can pass records on as they came.

use std::collections::HashSet;

/// The largest number that takes two bytes as a variable-length integer.
const SHORT_MAX: u32 = (1 << 14) - 1;
/// The largest number that takes three.
const MAX: u32 = (1 << 21) - 1;

/// The numbers that somebody gave out.
#[derive(Debug, Default)]
pub struct InstrumentNumbers {
    taken: HashSet<u32>,
}

impl InstrumentNumbers {
    /// Takes a free number for the instrument of this name, from 1 to 2,097,151. Returns `None` when all are taken.
    ///
    /// The first choice is the CRC-32 of the name, from 1 to 16,383. When it is taken, the search begins at the CRC-32
    /// modulo 2,097,151 and goes upwards.
    pub fn take(&mut self, name: &str) -> Option<u32> {
        let hash = crc32fast::hash(name.as_bytes());
        let short = hash % SHORT_MAX + 1;
        if self.taken.insert(short) {
            return Some(short);
        }
        let choices = (0..MAX).map(|step| ((u64::from(hash) + u64::from(step)) % u64::from(MAX)) as u32 + 1);
        choices.into_iter().find(|number| self.taken.insert(*number))
    }

    /// Takes this number, unless it is taken.
    pub fn take_this(&mut self, number: u32) -> bool {
        self.taken.insert(number)
    }

    /// Frees a number that nobody uses any more.
    pub fn give_back(&mut self, number: u32) {
        self.taken.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_has_the_same_number_whatever_else_there_is() {
        let mut alone = InstrumentNumbers::default();
        let mut among = InstrumentNumbers::default();
        let number = alone.take("binance:BTCUSDT").unwrap();
        assert!((1..=SHORT_MAX).contains(&number));
        for other in ["binance:ETHUSDT", "kraken:XBT/USD", "sim:BTC-USD"] {
            among.take(other);
        }
        assert_eq!(among.take("binance:BTCUSDT"), Some(number));
    }

    #[test]
    fn a_number_is_given_out_once_until_it_comes_back() {
        let mut numbers = InstrumentNumbers::default();
        let given: HashSet<_> = (0..20_000).map(|n| numbers.take(&format!("venue:S{n}")).unwrap()).collect();
        assert_eq!(given.len(), 20_000);
        assert!(given.iter().all(|number| (1..=MAX).contains(number)));
        let first = numbers.take("venue:ONCE").unwrap();
        let second = numbers.take("venue:ONCE").unwrap();
        assert_ne!(first, second);
        assert!(!numbers.take_this(second));
        numbers.give_back(second);
        assert!(numbers.take_this(second));
    }
}
