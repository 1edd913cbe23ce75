//! Exact decimals: integers with a scale, as text.
//!
//! Text always carries all decimals of the scale, so that removing the point gives the integer back.

/// The most decimals that a scale may have: 10^18 is the largest power of ten below 2^63.
pub const DECIMALS_MAX: u32 = 18;

/// The reason why a text is no decimal, or does not fit its scale.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecimalError {
    /// The text is no number.
    #[error("`{0}` is not a decimal number")]
    Malformed(String),
    /// The scale is too small to hold the value exactly.
    #[error("`{text}` has more than {decimals} decimals")]
    TooPrecise {
        /// The text.
        text: String,
        /// The number of decimals that the scale has.
        decimals: u32,
    },
    /// The integer has more than 64 bits.
    #[error("`{0}` does not fit into 64 bits at this scale")]
    OutOfRange(String),
    /// A size is below zero.
    #[error("`{0}` is negative, and sizes are not")]
    Negative(String),
}

/// Appends `value * 10^-decimals` with exactly `decimals` decimals.
pub fn write(out: &mut String, value: i64, decimals: u32) {
    if value < 0 {
        out.push('-');
    }
    write_unsigned(out, value.unsigned_abs(), decimals);
}

/// Appends a size as [`write()`] appends a price.
pub fn write_unsigned(out: &mut String, value: u64, decimals: u32) {
    let mut digits = [b'0'; 40];
    let mut at = digits.len();
    let mut rest = value;
    let shown = decimals.min(DECIMALS_MAX) as usize + 1;
    while rest > 0 || digits.len() - at < shown {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let point = digits.len() - decimals.min(DECIMALS_MAX) as usize;
    for (i, digit) in digits.iter().enumerate().skip(at) {
        if i == point {
            out.push('.');
        }
        out.push(char::from(*digit));
    }
}

/// Reads text at a given scale; fewer decimals are filled up, zeros beyond the scale are ignored.
///
/// # Errors
/// Returns an error when the text is not a decimal, has more decimals than the scale, or is too large.
pub fn parse(text: &str, decimals: u32) -> Result<i64, DecimalError> {
    let (negative, magnitude) = scan(text, decimals)?;
    let value = if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    value.ok_or_else(|| DecimalError::OutOfRange(text.to_owned()))
}

/// Reads a size as [`parse`] reads a price.
///
/// # Errors
/// Returns the errors of [`parse`], and one when the number is negative.
pub fn parse_unsigned(text: &str, decimals: u32) -> Result<u64, DecimalError> {
    match scan(text, decimals)? {
        (true, 1..) => Err(DecimalError::Negative(text.to_owned())),
        (_, magnitude) => Ok(magnitude),
    }
}

/// Reads sign and magnitude.
fn scan(text: &str, decimals: u32) -> Result<(bool, u64), DecimalError> {
    let malformed = || DecimalError::Malformed(text.to_owned());
    let out_of_range = || DecimalError::OutOfRange(text.to_owned());
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || (digits.contains('.') && fraction.is_empty()) {
        return Err(malformed());
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let (kept, beyond) = fraction.as_bytes().split_at(fraction.len().min(decimals as usize));
    if beyond.iter().any(|digit| *digit != b'0') {
        return Err(DecimalError::TooPrecise { text: text.to_owned(), decimals });
    }
    let mut magnitude: u64 = 0;
    for digit in whole.bytes().chain(kept.iter().copied()) {
        magnitude = magnitude
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
            .ok_or_else(out_of_range)?;
    }
    let missing = decimals - kept.len() as u32;
    if magnitude > 0 {
        let power = 10u64.checked_pow(missing).ok_or_else(out_of_range)?;
        magnitude = magnitude.checked_mul(power).ok_or_else(out_of_range)?;
    }
    Ok((negative, magnitude))
}

/// Returns how many decimals a text really uses: `61837.6300` uses 2.
pub fn used_decimals(text: &str) -> u32 {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len() as u32)
}

/// Reads the integer in a text that carries all decimals of its scale: what stands there without its point.
///
/// # Errors
/// Returns an error when the text is not a decimal or is too large.
pub fn digits(text: &str) -> Result<i64, DecimalError> {
    parse(text, written_decimals(text))
}

/// Reads a size as [`digits`] reads a price.
///
/// # Errors
/// Returns the errors of [`digits`], and one when the number is negative.
pub fn digits_unsigned(text: &str) -> Result<u64, DecimalError> {
    parse_unsigned(text, written_decimals(text))
}

fn written_decimals(text: &str) -> u32 {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, decimals: u32, value: i64, written: &str) {
        assert_eq!(parse(text, decimals), Ok(value));
        let mut out = String::new();
        write(&mut out, value, decimals);
        assert_eq!(out, written);
        assert_eq!(digits(&out), Ok(value));
    }

    #[test]
    fn decimals_are_exact_both_ways() {
        check("61837.63000000", 2, 6_183_763, "61837.63");
        check("0.00001", 5, 1, "0.00001");
        check("-37.63", 2, -3763, "-37.63");
        check("-0.5", 1, -5, "-0.5");
        check("7", 0, 7, "7");
        check("7", 3, 7000, "7.000");
        check("9223372036854775807", 0, i64::MAX, "9223372036854775807");
        check("-9.223372036854775808", 18, i64::MIN, "-9.223372036854775808");
    }

    #[test]
    fn bad_decimals_are_named() {
        for text in ["", ".", "1.", ".5", "1e5", "--1", "1.2.3", "NaN", "1,5", " 1", "1.0x"] {
            assert!(matches!(parse(text, 3), Err(DecimalError::Malformed(_))), "{text}");
        }
        assert!(matches!(parse("1.0001", 3), Err(DecimalError::TooPrecise { .. })));
        assert!(matches!(parse("99999999999", 9), Err(DecimalError::OutOfRange(_))));
        assert!(matches!(parse("9223372036854775808", 0), Err(DecimalError::OutOfRange(_))));
        assert!(matches!(parse_unsigned("-1", 0), Err(DecimalError::Negative(_))));
    }

    #[test]
    fn sizes_use_all_64_bits() {
        let mut text = String::new();
        write_unsigned(&mut text, u64::MAX, 5);
        assert_eq!(text, "184467440737095.51615");
        assert_eq!(digits_unsigned(&text), Ok(u64::MAX));
        assert_eq!(parse_unsigned("-0.0", 3), Ok(0));
    }

    /// A scale from a hostile instrument record must not cost a turn of a loop for each of its decimals.
    #[test]
    fn huge_scales_end_at_once() {
        assert_eq!(parse("0", u32::MAX), Ok(0));
        assert!(matches!(parse("1", u32::MAX), Err(DecimalError::OutOfRange(_))));
    }
}
