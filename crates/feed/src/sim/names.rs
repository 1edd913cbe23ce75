//! The names of the simulated instruments, and what they roughly cost.

use tickwire_wire::Instrument;

/// The symbol, price in dollars, price decimals, size decimals, typical size in units.
type Listed = (&'static str, &'static str, f64, u32, u32, u64);

/// The well-known instruments. Prices have at least 20,000 steps of the last decimal, so that a deep book has room
/// above zero.
const LISTED: [Listed; 24] = [
    ("BTC", "USD", 61_840.0, 1, 5, 25_000),
    ("ETH", "USD", 2_683.8, 2, 4, 12_000),
    ("SOL", "USD", 152.44, 3, 2, 1_500),
    ("XRP", "USD", 0.6145, 5, 1, 9_000),
    ("DOGE", "USD", 0.1052, 6, 0, 4_000),
    ("ADA", "USD", 0.3412, 5, 1, 9_000),
    ("AVAX", "USD", 22.85, 3, 2, 3_000),
    ("LINK", "USD", 10.42, 4, 2, 4_000),
    ("LTC", "USD", 58.91, 3, 3, 6_000),
    ("DOT", "USD", 4.613, 4, 2, 5_000),
    ("BCH", "USD", 339.2, 2, 3, 1_500),
    ("UNI", "USD", 6.158, 4, 2, 4_000),
    ("ATOM", "USD", 5.271, 4, 2, 4_000),
    ("XLM", "USD", 0.1013, 6, 0, 5_000),
    ("ETC", "USD", 19.63, 4, 2, 2_500),
    ("FIL", "USD", 3.702, 4, 2, 5_000),
    ("NEAR", "USD", 4.155, 4, 1, 900),
    ("APT", "USD", 5.94, 4, 2, 3_000),
    ("ARB", "USD", 0.5521, 5, 1, 8_000),
    ("OP", "USD", 1.434, 5, 1, 5_000),
    ("BTC", "EUR", 56_610.0, 1, 5, 12_000),
    ("ETH", "EUR", 2_457.1, 2, 4, 6_000),
    ("ETH", "BTC", 0.043_41, 7, 3, 4_000),
    ("SOL", "ETH", 0.056_81, 7, 2, 800),
];

/// A simulated instrument: what it is, around which price it starts, and its typical size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing {
    pub(crate) definition: Instrument,
    /// The price at which it starts, in price units.
    pub(crate) anchor: i64,
    /// The typical size, in size units.
    pub(crate) typical_size: u64,
}

/// Returns the listing with this number: the well-known ones come first, then made-up codes of four letters.
pub(crate) fn listing(number: usize) -> Listing {
    let (base, quote, price, price_decimals, size_decimals, typical_size) = match LISTED.get(number) {
        Some((base, quote, price, price_decimals, size_decimals, size)) => {
            ((*base).to_owned(), *quote, *price, *price_decimals, *size_decimals, *size)
        }
        None => made_up(number - LISTED.len()),
    };
    Listing {
        definition: Instrument {
            venue: String::new(),
            symbol: format!("{base}-{quote}"),
            price_decimals,
            size_decimals,
            tick_size: 1,
            lot_size: 1,
            base,
            quote: quote.to_owned(),
            ended: false,
            revision: 0,
            last_sequences: Vec::new(),
        },
        anchor: (price * 10f64.powi(price_decimals as i32)).round() as i64,
        typical_size,
    }
}

fn made_up(number: usize) -> (String, &'static str, f64, u32, u32, u64) {
    const CONSONANTS: &[u8] = b"BCDFGHKLMNPRSTVZ";
    const VOWELS: &[u8] = b"AEIOU";
    let letter = |letters: &[u8], n: usize| char::from(letters[n % letters.len()]);
    // The code is consonant, vowel, consonant, vowel: 6,400 codes, then a number behind them.
    let mut code = String::with_capacity(8);
    code.push(letter(CONSONANTS, number * 7 + number / 80));
    code.push(letter(VOWELS, number / 16));
    code.push(letter(CONSONANTS, number / 80 * 3 + number));
    code.push(letter(VOWELS, number / 1_280));
    // The steps above may meet a code twice, so the number always follows.
    code.push_str(&(number + 1).to_string());
    let price = 0.25 * (1.0 + (number * 37 % 997) as f64);
    (code, "USD", price, 5, 1, 500 + (number as u64 * 131) % 5_000)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_listing_has_a_name_of_its_own_and_room_for_a_book() {
        let mut seen = HashSet::new();
        for number in 0..10_000 {
            let listing = listing(number);
            assert!(seen.insert(listing.definition.symbol.clone()), "{} twice", listing.definition.symbol);
            assert!(listing.anchor >= 20_000, "{} at {}", listing.definition.symbol, listing.anchor);
            assert!(listing.typical_size > 0);
        }
        assert!(seen.contains("BTC-USD") && seen.contains("ETH-USD"));
    }
}
