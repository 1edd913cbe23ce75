//! The instruments of Bitstamp, from the list of its REST service.

use std::borrow::Cow;

use serde::Deserialize;

use crate::listing::Listing;
use crate::normalize_error::NormalizeError;

/// The most decimals that a scale may have here; more would fit no number.
const DECIMALS_MAX: u32 = 18;

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, alias = "market_symbol")]
    url_symbol: Cow<'a, str>,
    base_decimals: u32,
    counter_decimals: u32,
    #[serde(borrow)]
    trading: Cow<'a, str>,
}

/// Returns the instruments of `trading-pairs-info`, or of `markets`. Their symbols are the names of their streams, in capital letters.
///
/// # Errors
/// Returns an error when the text is something else.
pub fn listings(text: &str) -> Result<Vec<Listing>, NormalizeError> {
    let all: Vec<Listed> = serde_json::from_str(text)?;
    Ok(all.into_iter().filter_map(listing).collect())
}

fn listing(listed: Listed) -> Option<Listing> {
    let (base, quote) = listed.name.split_once('/')?;
    if listed.base_decimals.max(listed.counter_decimals) > DECIMALS_MAX {
        return None;
    }
    let names = [listed.url_symbol.to_uppercase(), base.to_owned(), quote.to_owned()];
    let steps = [step(listed.counter_decimals), step(listed.base_decimals)];
    Listing::of_steps(names, [&steps[0], &steps[1]], listed.trading.into_owned())
}

fn step(decimals: u32) -> String {
    match decimals.checked_sub(1) {
        None => "1".to_owned(),
        Some(zeros) => format!("0.{}1", "0".repeat(zeros as usize)),
    }
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Instrument;

    use super::*;

    #[test]
    fn instruments_have_their_scales() {
        let text = r#"[
            {"trading":"Enabled","base_decimals":8,"url_symbol":"btcusd","name":"BTC/USD","instant_and_market_orders":"Enabled","minimum_order":"20.0 USD","counter_decimals":2,"description":"Bitcoin / U.S. dollar"},
            {"name":"PEPE/EUR","market_symbol":"pepeeur","base_currency":"PEPE","base_decimals":0,"counter_currency":"EUR","counter_decimals":10,"trading":"Disabled"},
            {"name":"odd","url_symbol":"odd","base_decimals":1,"counter_decimals":1,"trading":"Enabled"},
            {"name":"A/B","url_symbol":"ab","base_decimals":19,"counter_decimals":1,"trading":"Enabled"}]"#;
        let words: Vec<_> = listings(text)
            .unwrap()
            .iter()
            .map(|Listing { definition, status }| {
                let Instrument { symbol, price_decimals, size_decimals, tick_size, base, quote, .. } =
                    definition;
                format!("{symbol} {price_decimals} {size_decimals} {tick_size} {base} {quote} {status}")
            })
            .collect();
        assert_eq!(words, ["BTCUSD 2 8 1 BTC USD Enabled", "PEPEEUR 10 0 1 PEPE EUR Disabled"]);
        assert!(listings("{}").is_err() && listings("<html>").is_err());
    }
}
