//! The statements of a recording, before it is known at which scale.
//!
//! Files state prices in units of their own: nine decimals, four, or as text. What is published has one scale for each
//! instrument, which is known when the whole file was read once. So sources say numbers as the file has them.

use tickwire_wire::decimal::DECIMALS_MAX;
use tickwire_wire::{Channel, Derivative, Side, Status};

/// A number as the file has it: `mantissa * 10^-decimals`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The digits.
    pub mantissa: i64,
    /// The number of them behind the point, 0 to 18.
    pub decimals: u8,
}

/// The reason why a text is no number that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixedError {
    /// The text is no number.
    #[error("`{0}` is no decimal number")]
    Malformed(String),
    /// The number has more digits than 64 bits or 18 decimals hold.
    #[error("`{0}` has more digits than 64 bits hold")]
    TooLong(String),
}

const POWERS: [i64; DECIMALS_MAX as usize + 1] = {
    let mut powers = [1; DECIMALS_MAX as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

impl Fixed {
    /// Makes a number of so many decimals, 18 at most.
    pub const fn new(mantissa: i64, decimals: u8) -> Self {
        Self { mantissa, decimals }
    }

    /// Reads a decimal, as `12`, `-0.25` or `1.5e-7`, exactly. Zeros at the end of the decimals count as none.
    ///
    /// # Errors
    /// Returns an error when the text is no number, or does not fit.
    pub fn parse(text: &str) -> Result<Self, FixedError> {
        let malformed = || FixedError::Malformed(text.to_owned());
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| malformed())?),
            None => (text, 0),
        };
        let (is_negative, digits) = match digits.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, digits.strip_prefix('+').unwrap_or(digits)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = !(whole.is_empty() && fraction.is_empty())
            && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err(malformed());
        }
        let fraction = fraction.trim_end_matches('0');
        let too_long = || FixedError::TooLong(text.to_owned());
        let mut mantissa = 0i64;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let next = mantissa.checked_mul(10).and_then(|value| value.checked_add(i64::from(digit - b'0')));
            mantissa = next.ok_or_else(too_long)?;
        }
        if is_negative {
            mantissa = -mantissa;
        }
        let mut decimals = fraction.len() as i64 - i64::from(exponent);
        while decimals > 0 && mantissa % 10 == 0 {
            (mantissa, decimals) = if mantissa == 0 { (0, 0) } else { (mantissa / 10, decimals - 1) };
        }
        if decimals < 0 {
            let up = usize::try_from(-decimals).ok().and_then(|up| POWERS.get(up)).ok_or_else(too_long);
            let up = if mantissa == 0 { 1 } else { *up? };
            (mantissa, decimals) = (mantissa.checked_mul(up).ok_or_else(too_long)?, 0);
        }
        let decimals = u8::try_from(decimals).ok().filter(|decimals| u32::from(*decimals) <= DECIMALS_MAX);
        Ok(Self { mantissa, decimals: decimals.ok_or_else(too_long)? })
    }

    /// Returns how many decimals it needs, at least so many as are given.
    pub(crate) fn needs(self, at_least: u32) -> u32 {
        let own = u32::from(self.decimals);
        if own <= at_least || self.mantissa % POWERS[(own - at_least) as usize] == 0 {
            return at_least;
        }
        let (mut mantissa, mut decimals) = (self.mantissa, own);
        while mantissa % 10 == 0 {
            (mantissa, decimals) = (mantissa / 10, decimals - 1);
        }
        decimals
    }

    /// Returns it in units of so many decimals; `None` where it does not fit.
    pub(crate) fn at(self, decimals: u32) -> Option<i64> {
        let own = u32::from(self.decimals);
        if own <= decimals {
            return self.mantissa.checked_mul(*POWERS.get((decimals - own) as usize)?);
        }
        let power = POWERS[(own - decimals) as usize];
        (self.mantissa % power == 0).then(|| self.mantissa / power)
    }
}

/// A price level as the file has it; size 0 removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedLevel {
    /// The price.
    pub price: Fixed,
    /// The size.
    pub size: Fixed,
}

/// Levels of both sides as the file has them, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedLevels {
    /// The bids.
    pub bids: Vec<FixedLevel>,
    /// The asks.
    pub asks: Vec<FixedLevel>,
}

/// A statement about one instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The source's number of the instrument: its place in [`crate::source::Source::symbols`].
    pub symbol: u32,
    /// The time of receipt, in nanoseconds since the Unix epoch: recordings play by it.
    pub receive_time: u64,
    /// The time by the venue's clock, in nanoseconds since the Unix epoch; where there is none, the receive time.
    pub event_time: u64,
    /// The content.
    pub what: What,
}

/// The content of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An execution.
    Trade {
        /// The price.
        price: Fixed,
        /// The size.
        size: Fixed,
        /// The side that took liquidity.
        aggressor: Side,
        /// The venue's number of the trade; 0 where it has none.
        id: u64,
        /// The venue's name of the trade, where it is no number.
        id_text: String,
    },
    /// The best bid and offer; a side that is empty is absent.
    Quote {
        /// The best bid.
        bid: Option<FixedLevel>,
        /// The best offer.
        ask: Option<FixedLevel>,
    },
    /// All levels of the book.
    Book(FixedLevels),
    /// Levels of the book that changed.
    Change(FixedLevels),
    /// The trading state.
    Status(Status),
    /// The open interest of a derivative.
    OpenInterest(Fixed),
    /// The price that positions of a derivative are valued by.
    MarkPrice(Fixed),
    /// All that is known of a derivative beside its market; its open interest stands by itself, because that is a size.
    Derivative(Box<Derivative>, Option<Fixed>),
    /// Events are missing in the recording itself. A book is broken until all of its levels come.
    Gap {
        /// The channel on which they are missing.
        channel: Channel,
        /// The number of them, where a sequence tells.
        count: Option<u64>,
    },
}

impl What {
    /// Returns the channel that it is about.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Trade { .. } => Channel::Trade,
            Self::Quote { .. } => Channel::Quote,
            Self::Book(_) | Self::Change(_) => Channel::Book,
            Self::Status(_) => Channel::Status,
            Self::OpenInterest(_) | Self::MarkPrice(_) | Self::Derivative(..) => Channel::Derivative,
            Self::Gap { channel, .. } => *channel,
        }
    }

    /// Calls a function with each price and each size.
    pub fn numbers(&self, mut price: impl FnMut(Fixed), mut size: impl FnMut(Fixed)) {
        match self {
            Self::Trade { price: at, size: of, .. } => {
                price(*at);
                size(*of);
            }
            Self::Quote { bid, ask } => bid.iter().chain(ask).for_each(|level| {
                price(level.price);
                size(level.size);
            }),
            Self::Book(levels) | Self::Change(levels) => {
                levels.bids.iter().chain(&levels.asks).for_each(|level| {
                    price(level.price);
                    size(level.size);
                });
            }
            Self::OpenInterest(of) | Self::Derivative(_, Some(of)) => size(*of),
            Self::Status(_) | Self::MarkPrice(_) | Self::Derivative(_, None) | Self::Gap { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let right = [
            ("0", 0, 0),
            ("-0.00", 0, 0),
            ("12", 12, 0),
            ("12.50", 125, 1),
            ("-0.25", -25, 2),
            (".5", 5, 1),
            ("7.", 7, 0),
            ("1e3", 1_000, 0),
            ("1.5e-7", 15, 8),
            ("1.25E+1", 125, 1),
            ("0e99", 0, 0),
            ("0.000000000000000001", 1, 18),
            ("9223372036854775807", i64::MAX, 0),
        ];
        for (text, mantissa, decimals) in right {
            assert_eq!(Fixed::parse(text), Ok(Fixed { mantissa, decimals }), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "0x10", "NaN", "inf", "1e", " 1", "1,5", "--1"] {
            assert_eq!(Fixed::parse(text), Err(FixedError::Malformed(text.to_owned())), "{text}");
        }
        for text in ["9223372036854775808", "0.0000000000000000001", "1e19", "1e-19", "1e2147483647"] {
            assert_eq!(Fixed::parse(text), Err(FixedError::TooLong(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_needed_holds_it(mantissa in any::<i64>(), decimals in 0u8..=18, at_least in 0u32..=18) {
            let number = Fixed { mantissa, decimals };
            let needed = number.needs(at_least);
            prop_assert!(needed >= at_least && needed <= u32::from(decimals).max(at_least));
            if needed <= u32::from(decimals) {
                let back = number.at(needed).map(i128::from);
                let power = 10i128.pow(u32::from(decimals) - needed);
                prop_assert_eq!(back.map(|back| back * power), Some(i128::from(mantissa)));
                prop_assert!(needed == at_least || number.at(needed - 1).is_none());
            }
        }

        #[test]
        fn text_is_what_it_says(mantissa in -1_000_000_000_000i64..1_000_000_000_000, decimals in 0u32..=6) {
            let mut text = String::new();
            tickwire_wire::decimal::write(&mut text, mantissa, decimals);
            prop_assert_eq!(Fixed::parse(&text).unwrap().at(decimals), Some(mantissa));
        }
    }
}
