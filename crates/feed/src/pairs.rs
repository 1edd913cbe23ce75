//! Levels of a book as most venues write them: arrays that begin with a price and a size.

use serde_json::value::RawValue;
use tickwire_wire::Level;

use crate::adapter::Levels;
use crate::normalize_error::NormalizeError;
use crate::number::Number;

/// Reads both sides, in units of so many decimals of prices and of sizes.
pub(crate) fn levels<const N: usize>(
    bids: &[[&RawValue; N]],
    asks: &[[&RawValue; N]],
    (prices, sizes): (u32, u32),
) -> Result<Levels, NormalizeError> {
    let side = |texts: &[[&RawValue; N]]| {
        let level = |text: &[&RawValue; N]| {
            Ok::<_, NormalizeError>(Level {
                price: Number::read("price", text[0])?.signed("price", prices)?,
                size: Number::read("size", text[1])?.unsigned("size", sizes)?,
            })
        };
        texts.iter().map(level).collect::<Result<Vec<_>, _>>()
    };
    Ok(Levels { bids: side(bids)?, asks: side(asks)? })
}
