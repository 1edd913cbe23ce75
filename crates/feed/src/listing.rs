//! The instruments of venues' lists.

use tickwire_wire::Instrument;
use tickwire_wire::decimal::{parse_unsigned, used_decimals};

/// An instrument of a venue's list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The name, and the scales and steps that are announced.
    pub definition: Instrument,
    /// The trading state, in the venue's word; empty where it says none.
    pub status: String,
}

impl Listing {
    /// Makes one of the names of symbol, base and quote, and of the steps of prices and sizes, whose decimals are the scale. Returns `None`
    /// where a step is no number.
    pub(crate) fn of_steps(
        [symbol, base, quote]: [String; 3],
        [price_step, size_step]: [&str; 2],
        status: String,
    ) -> Option<Self> {
        let (price_decimals, size_decimals) = (used_decimals(price_step), used_decimals(size_step));
        let definition = Instrument {
            symbol,
            price_decimals,
            size_decimals,
            tick_size: parse_unsigned(price_step, price_decimals).ok()?.max(1),
            lot_size: parse_unsigned(size_step, size_decimals).ok()?.max(1),
            base,
            quote,
            ..Instrument::default()
        };
        Some(Self { definition, status })
    }
}
