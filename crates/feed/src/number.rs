//! Numbers as they stand in messages, without loss: `1.50`, `1e-8`, `.5`, in quotes or not.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tickwire_wire::decimal::{DECIMALS_MAX, DecimalError};

use crate::normalize_error::NormalizeError;

/// The number of characters of a text that an error shows.
const SHOWN_CHARS: usize = 40;
/// The range of times that are believed: from the year 2001 on and until the year 2099, in nanoseconds. So the size of
/// a number tells its unit, because a thousand times as much is outside of it.
const TIMES: std::ops::Range<u128> = 1_000_000_000_000_000_000..4_100_000_000_000_000_000;

/// The length up to which any digits fit into 64 bits.
const PLAIN_BYTES_MAX: usize = 19;
/// The powers of ten that 64 bits hold.
const TENS: [u64; 20] = {
    let (mut tens, mut at) = ([1; 20], 1);
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// A decimal number: `mantissa * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    is_negative: bool,
    /// The digits without zeros at their end; `None` where there are more than 64 bits hold.
    mantissa: Option<u64>,
    exponent: i64,
}

impl Exact {
    const ZERO: Self = Self { is_negative: false, mantissa: Some(0), exponent: 0 };

    /// Reads digits with a sign, a point and a power of ten, each of them optional.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_plain(text.as_bytes()).or_else(|| Self::parse_any(text))
    }

    /// Parses what nearly all numbers are: digits, with a point or not, that 64 bits hold. Returns `None` when it is
    /// not such a one.
    fn parse_plain(text: &[u8]) -> Option<Self> {
        if text.len() > PLAIN_BYTES_MAX {
            return None;
        }
        let trim = |text: &[u8]| text.len() - text.iter().rev().take_while(|byte| **byte == b'0').count();
        let mut digits = &text[..trim(text)];
        let (mut zeros, mut is_whole) = (text.len() - digits.len(), false);
        if let Some(whole) = digits.strip_suffix(b".") {
            digits = &whole[..trim(whole)];
            (zeros, is_whole) = (whole.len() - digits.len(), true);
            if text.len() == 1 {
                return None;
            }
        }
        let (mut mantissa, mut point) = (0u64, None);
        for (at, byte) in digits.iter().enumerate() {
            match byte {
                b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
                b'.' if point.is_none() && !is_whole => point = Some(at),
                _ => return None,
            }
        }
        if mantissa == 0 {
            return (digits.is_empty() && !text.is_empty()).then_some(Self::ZERO);
        }
        let exponent = match point {
            Some(at) => -((digits.len() - at - 1) as i64),
            None => zeros as i64,
        };
        Some(Self { is_negative: false, mantissa: Some(mantissa), exponent })
    }

    fn parse_any(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (digits, power) = match text.split_once(['e', 'E']) {
            Some((digits, power)) => (digits, parse_power(power)?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (mut mantissa, mut zeros) = (Some(0u64), 0u32);
        for digit in whole.bytes().chain(fraction.bytes()) {
            match digit {
                b'0' => zeros += u32::from(mantissa != Some(0)),
                b'1'..=b'9' => {
                    mantissa = mantissa
                        .zip(10u64.checked_pow(zeros + 1))
                        .and_then(|(mantissa, power)| mantissa.checked_mul(power))
                        .and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
                    zeros = 0;
                }
                _ => return None,
            }
        }
        if mantissa == Some(0) {
            return Some(Self::ZERO);
        }
        let exponent = power + i64::from(zeros) - i64::try_from(fraction.len()).ok()?;
        Some(Self { is_negative, mantissa, exponent })
    }

    /// Returns how many decimals it needs.
    pub(crate) fn decimals(self) -> u32 {
        u32::try_from(-self.exponent.min(0)).unwrap_or(u32::MAX)
    }

    /// Returns how many digits it has that are not zeros at its beginning or end.
    pub(crate) fn digits(self) -> u32 {
        self.mantissa.map_or(u64::MAX.ilog10() + 2, |mantissa| mantissa.max(1).ilog10() + 1)
    }

    /// Returns the finest scale at which it surely fits into 63 bits, if there is any at which it can be told.
    pub(crate) fn finest_scale(self) -> Option<u32> {
        let whole_digits = i64::from(self.digits()).saturating_add(self.exponent).max(0);
        let finest = u32::try_from(i64::from(DECIMALS_MAX) - whole_digits).ok()?;
        (self.mantissa.is_some() && self.decimals() <= finest).then_some(finest)
    }

    /// Returns it in units of a scale, without its sign; `None` when it has more decimals, or does not fit.
    fn magnitude(self, decimals: u32) -> Option<u64> {
        let power = usize::try_from(self.exponent.saturating_add(i64::from(decimals))).ok()?;
        match self.mantissa? {
            0 => Some(0),
            mantissa => mantissa.checked_mul(*TENS.get(power)?),
        }
    }

    /// Returns the whole number that it is, if it is one.
    fn whole(self) -> Option<u64> {
        self.magnitude(0).filter(|_| !self.is_negative)
    }

    /// Reads it as a time: nanoseconds since the Unix epoch, from nano-, micro-, milliseconds or seconds, told by its
    /// size.
    pub(crate) fn nanoseconds(self) -> Option<u64> {
        let mantissa = self.mantissa.filter(|_| !self.is_negative)?;
        let of_unit = |unit: i64| {
            let power = self.exponent + unit;
            let scale = *TENS.get(usize::try_from(power.unsigned_abs()).ok()?)?;
            Some(if power < 0 {
                u128::from(mantissa / scale)
            } else {
                u128::from(mantissa) * u128::from(scale)
            })
        };
        let time = [0, 3, 6, 9].into_iter().filter_map(of_unit).find(|time| TIMES.contains(time))?;
        u64::try_from(time).ok()
    }
}

fn parse_power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // No number beyond this can be told anyway.
    let power = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    Some(if text.starts_with('-') { -power } else { power })
}

/// A number with the text that it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) exact: Exact,
    text: &'a str,
}

impl<'a> Number<'a> {
    /// Reads a JSON number, or a string with a number in it.
    pub(crate) fn read(field: &'static str, raw: &'a RawValue) -> Result<Self, NormalizeError> {
        let text = raw.get();
        // A string with escapes is a number to nobody.
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let malformed = || DecimalError::Malformed(clip(text));
        Self::of(text).ok_or_else(|| NormalizeError::Decimal { field, source: malformed() })
    }

    /// Reads what stands in a string.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        Some(Self { exact: Exact::parse(text)?, text })
    }

    fn unfit(self, field: &'static str, decimals: u32) -> NormalizeError {
        let text = clip(self.text);
        let source = if self.exact.decimals() > decimals {
            DecimalError::TooPrecise { text, decimals }
        } else {
            DecimalError::OutOfRange(text)
        };
        NormalizeError::Decimal { field, source }
    }

    pub(crate) fn signed(self, field: &'static str, decimals: u32) -> Result<i64, NormalizeError> {
        let value = self.exact.magnitude(decimals).and_then(|magnitude| {
            if self.exact.is_negative {
                0i64.checked_sub_unsigned(magnitude)
            } else {
                i64::try_from(magnitude).ok()
            }
        });
        value.ok_or_else(|| self.unfit(field, decimals))
    }

    pub(crate) fn unsigned(self, field: &'static str, decimals: u32) -> Result<u64, NormalizeError> {
        let magnitude = self.exact.magnitude(decimals).ok_or_else(|| self.unfit(field, decimals))?;
        if self.exact.is_negative {
            let source = DecimalError::Negative(clip(self.text));
            return Err(NormalizeError::Decimal { field, source });
        }
        Ok(magnitude)
    }
}

/// Reads a whole number, also where it stands in quotes or has a point.
pub(crate) fn whole(field: &'static str, raw: &RawValue) -> Result<u64, NormalizeError> {
    let number = Number::read(field, raw).ok().and_then(|number| number.exact.whole());
    number.ok_or_else(|| NormalizeError::Whole { field, text: clip(raw.get()) })
}

/// Returns the text in a JSON string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// Cuts a text to as much as an error shows.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, decimals: u32, expected: Option<i64>) {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let number = Number::read("price", raw).and_then(|number| number.signed("price", decimals));
        assert_eq!(number.ok(), expected, "{text} at {decimals}");
    }

    #[test]
    fn every_way_to_write_a_number_is_read_exactly() {
        for text in ["1.5", "\"1.5\"", "1.50", "15e-1", "\"+1.5\"", "\"0015E-1\"", "0.15e1", "\"1.5e+00\""] {
            check(text, 1, Some(15));
            check(text, 3, Some(1_500));
            check(text, 0, None);
        }
        check("1e-8", 8, Some(1));
        check("1e-8", 7, None);
        check("\".5\"", 1, Some(5));
        check("\"1.\"", 0, Some(1));
        check("-1e3", 0, Some(-1_000));
        check("0e-999999999999999999999", 0, Some(0));
        check("1e999999999999999999999", 0, None);
        check("1e-999999999999999999999", 18, None);
        check("9223372036854775807", 0, Some(i64::MAX));
        check("-9223372036854775808", 0, Some(i64::MIN));
        check("9223372036854775808", 0, None);
        check("0.1000000000000000055511151231257827", 18, None);
        for text in [
            "\"\"", "\".\"", "\"-\"", "\"1e\"", "\"e5\"", "\"1,5\"", "\" 1\"", "\"NaN\"", "null", "true",
            "[]",
        ] {
            check(text, 3, None);
        }
    }

    #[track_caller]
    fn check_time(text: &str, expected: Option<u64>) {
        assert_eq!(Exact::parse(text).and_then(Exact::nanoseconds), expected, "{text}");
    }

    #[test]
    fn the_size_of_a_time_tells_its_unit() {
        let second = 1_700_000_001;
        for text in [
            "1700000001",
            "1700000001000",
            "1700000001000000",
            "1700000001000000000",
            "1700000001.0",
            "1.700000001e9",
        ] {
            check_time(text, Some(second * 1_000_000_000));
        }
        check_time("1700000001.123456789", Some(1_700_000_001_123_456_789));
        check_time("1700000001123.4567891", Some(1_700_000_001_123_456_789));
        for text in
            ["0", "5", "-1700000001", "170000000", "17000000010", "4100000000", "17000000010000000000"]
        {
            check_time(text, None);
        }
    }

    proptest! {
        #[test]
        fn the_short_way_reads_as_the_long_one(text in "[0-9.]{0,8}(0{0,4}|[-+eE.0-9]{0,14})") {
            if let Some(plain) = Exact::parse_plain(text.as_bytes()) {
                prop_assert_eq!(Some(plain), Exact::parse_any(&text), "{}", text);
            }
            let is_plain = text.len() <= PLAIN_BYTES_MAX && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            if is_plain && Exact::parse_any(&text).is_some() {
                prop_assert!(Exact::parse_plain(text.as_bytes()).is_some_and(|plain| plain.mantissa.is_some()));
            }
        }

        #[test]
        fn decimals_are_as_the_wire_reads_them(value in any::<i64>(), decimals in 0u32..=18) {
            let mut text = String::new();
            tickwire_wire::decimal::write(&mut text, value, decimals);
            let exact = Exact::parse(&text).unwrap();
            prop_assert_eq!(exact.decimals(), tickwire_wire::decimal::used_decimals(&text));
            let number = Number { exact, text: &text };
            prop_assert_eq!(number.signed("price", decimals).unwrap(), value);
            if let Some(finest) = exact.finest_scale() {
                prop_assert!(number.signed("price", finest).is_ok());
            }
        }
    }
}
