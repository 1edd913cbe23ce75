//! The instruments of Bybit, from the list of its REST service.

use std::borrow::Cow;

use serde::Deserialize;

use crate::listing::Listing;
use crate::normalize_error::NormalizeError;

/// A list of instruments.
#[derive(Debug)]
pub struct Listings {
    /// The instruments.
    pub all: Vec<Listing>,
    /// Whether the venue has more of them than it told.
    pub has_more: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    ret_code: Option<i64>,
    #[serde(borrow)]
    ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<Page<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow, default)]
    list: Option<Vec<Listed<'a>>>,
    #[serde(borrow, default)]
    next_page_cursor: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    base_coin: Cow<'a, str>,
    #[serde(borrow)]
    quote_coin: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    price_filter: PriceFilter<'a>,
    #[serde(borrow)]
    lot_size_filter: LotFilter<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceFilter<'a> {
    #[serde(borrow)]
    tick_size: Cow<'a, str>,
}

/// The step of sizes has another name at spot and at contracts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LotFilter<'a> {
    #[serde(borrow)]
    base_precision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    qty_step: Option<Cow<'a, str>>,
}

/// Returns the instruments of `market/instruments-info`.
///
/// # Errors
/// Returns an error when the text is something else, or says that the venue has none.
pub fn listings(text: &str) -> Result<Listings, NormalizeError> {
    let response: Response = serde_json::from_str(text)?;
    let code = response.ret_code.ok_or(NormalizeError::Foreign)?;
    if code != 0 {
        let words = format!("{} (code {code})", response.ret_msg.unwrap_or_default());
        return Err(NormalizeError::Venue(words.chars().take(200).collect()));
    }
    let page = response.result.ok_or(NormalizeError::Foreign)?;
    let listed = page.list.ok_or(NormalizeError::Foreign)?;
    let has_more = page.next_page_cursor.is_some_and(|cursor| !cursor.is_empty());
    Ok(Listings { all: listed.into_iter().filter_map(listing).collect(), has_more })
}

fn listing(listed: Listed) -> Option<Listing> {
    let Listed { price_filter, lot_size_filter: lots, .. } = listed;
    let size_step = lots.qty_step.or(lots.base_precision)?;
    let names = [listed.symbol, listed.base_coin, listed.quote_coin].map(Cow::into_owned);
    Listing::of_steps(names, [&price_filter.tick_size, &size_step], listed.status.into_owned())
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Instrument;

    use super::*;

    #[test]
    fn instruments_have_their_scales() {
        let text = r#"{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[
            {"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","innovation":"0","status":"Trading","marginTrading":"both","lotSizeFilter":{"basePrecision":"0.000001","quotePrecision":"0.00000001","minOrderQty":"0.000048"},"priceFilter":{"tickSize":"0.01"}},
            {"symbol":"ETHPERP","baseCoin":"ETH","quoteCoin":"USDC","status":"Closed","contractType":"LinearPerpetual","priceScale":"2","lotSizeFilter":{"qtyStep":"0.01","maxOrderQty":"7000"},"priceFilter":{"minPrice":"0.05","tickSize":"0.05"}},
            {"symbol":"ODD","baseCoin":"O","quoteCoin":"D","status":"Trading","lotSizeFilter":{},"priceFilter":{"tickSize":"1"}}]},"time":1}"#;
        let Listings { all, has_more } = listings(text).unwrap();
        let words: Vec<_> = all
            .iter()
            .map(|Listing { definition, status }| {
                let Instrument { symbol, price_decimals, size_decimals, tick_size, quote, .. } = definition;
                format!("{symbol} {price_decimals} {size_decimals} {tick_size} {quote} {status}")
            })
            .collect();
        assert_eq!(words, ["BTCUSDT 2 6 1 USDT Trading", "ETHPERP 2 2 5 USDC Closed"]);
        assert!(!has_more);
        let more = r#"{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DX"}}"#;
        assert!(listings(more).unwrap().has_more);
        let refused = listings(r#"{"retCode":10006,"retMsg":"Too many visits!","result":{}}"#).unwrap_err();
        assert!(refused.to_string().contains("Too many visits! (code 10006)"));
        assert!(listings("{}").is_err() && listings("[]").is_err());
    }
}
