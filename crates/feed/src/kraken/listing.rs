//! The instruments of Kraken, from `AssetPairs` of its REST service.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use tickwire_wire::Instrument;
use tickwire_wire::decimal::parse_unsigned;

use crate::listing::Listing;
use crate::normalize_error::NormalizeError;

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    error: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<BTreeMap<Cow<'a, str>, Pair<'a>>>,
}

#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    wsname: Option<Cow<'a, str>>,
    #[serde(rename = "pair_decimals")]
    price_decimals: u32,
    #[serde(rename = "lot_decimals")]
    size_decimals: u32,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
}

/// Returns the instruments of `AssetPairs`, by the names that version 2 of the WebSocket API has for them.
///
/// # Errors
/// Returns an error when the text is something else, or says that the venue has none.
pub fn listings(text: &str) -> Result<Vec<Listing>, NormalizeError> {
    let response: Response = serde_json::from_str(text)?;
    if let Some(error) = response.error.first() {
        return Err(NormalizeError::Venue(error.chars().take(200).collect()));
    }
    let pairs = response.result.ok_or(NormalizeError::Foreign)?;
    Ok(pairs.into_values().filter_map(listing).collect())
}

fn listing(pair: Pair) -> Option<Listing> {
    let name = pair.wsname?;
    let (base, quote) = name.split_once('/')?;
    let (base, quote) = (asset(base), asset(quote));
    let tick_size = pair.tick_size.and_then(|text| parse_unsigned(&text, pair.price_decimals).ok());
    let definition = Instrument {
        symbol: format!("{base}/{quote}"),
        price_decimals: pair.price_decimals,
        size_decimals: pair.size_decimals,
        tick_size: tick_size.unwrap_or(1).max(1),
        lot_size: 1,
        base: base.to_owned(),
        quote: quote.to_owned(),
        ..Instrument::default()
    };
    Some(Listing { definition, status: pair.status.unwrap_or_default().into_owned() })
}

/// The REST service has the old names of two assets, as version 1 of the WebSocket API had.
fn asset(name: &str) -> &str {
    match name {
        "XBT" => "BTC",
        "XDG" => "DOGE",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_the_names_of_the_streams() {
        let text = r#"{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT\/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,"lot_decimals":8,"tick_size":"0.1","status":"online"},
            "DARK":{"altname":"X.d","pair_decimals":1,"lot_decimals":8},
            "XDGEUR":{"wsname":"XDG/EUR","pair_decimals":7,"lot_decimals":8}}}"#;
        let all = listings(text).unwrap();
        let words: Vec<_> = all
            .iter()
            .map(|Listing { definition, status }| {
                let Instrument { symbol, price_decimals, tick_size, base, .. } = definition;
                format!("{symbol} {price_decimals} {tick_size} {base} {status}")
            })
            .collect();
        assert_eq!(words, ["DOGE/EUR 7 1 DOGE ", "BTC/USD 1 1 BTC online"]);
        assert!(
            listings(r#"{"error":["EService:Unavailable"]}"#).unwrap_err().to_string().contains("EService")
        );
        assert!(listings("[]").is_err() && listings("{}").is_err());
    }
}
