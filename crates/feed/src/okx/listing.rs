//! The instruments of OKX, from the list of its REST service.

use std::borrow::Cow;

use serde::Deserialize;

use crate::listing::Listing;
use crate::normalize_error::NormalizeError;

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Vec<Listed<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    inst_id: Cow<'a, str>,
    #[serde(borrow)]
    base_ccy: Cow<'a, str>,
    #[serde(borrow)]
    quote_ccy: Cow<'a, str>,
    #[serde(borrow)]
    tick_sz: Cow<'a, str>,
    #[serde(borrow)]
    lot_sz: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
}

/// Returns the instruments of `public/instruments` at spot.
///
/// # Errors
/// Returns an error when the text is something else, or says that the venue has none.
pub fn listings(text: &str) -> Result<Vec<Listing>, NormalizeError> {
    let response: Response = serde_json::from_str(text)?;
    let code = response.code.ok_or(NormalizeError::Foreign)?;
    if code != "0" {
        let words = format!("{} (code {code})", response.msg.unwrap_or_default());
        return Err(NormalizeError::Venue(words.chars().take(200).collect()));
    }
    Ok(response.data.ok_or(NormalizeError::Foreign)?.into_iter().filter_map(listing).collect())
}

fn listing(listed: Listed) -> Option<Listing> {
    let names = [listed.inst_id, listed.base_ccy, listed.quote_ccy].map(Cow::into_owned);
    Listing::of_steps(names, [&listed.tick_sz, &listed.lot_sz], listed.state.into_owned())
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Instrument;

    use super::*;

    #[test]
    fn instruments_have_their_scales() {
        let text = r#"{"code":"0","msg":"","data":[
            {"instId":"BTC-USDT","instType":"SPOT","baseCcy":"BTC","quoteCcy":"USDT","tickSz":"0.1","lotSz":"0.00000001","minSz":"0.00001","state":"live"},
            {"instId":"PEPE-USDT","instType":"SPOT","baseCcy":"PEPE","quoteCcy":"USDT","tickSz":"0.000000001","lotSz":"1","state":"suspend"},
            {"instId":"NEW-USDT","instType":"SPOT","baseCcy":"NEW","quoteCcy":"USDT","tickSz":"","lotSz":"","state":"preopen"}]}"#;
        let words: Vec<_> = listings(text)
            .unwrap()
            .iter()
            .map(|Listing { definition, status }| {
                let Instrument { symbol, price_decimals, size_decimals, tick_size, quote, .. } = definition;
                format!("{symbol} {price_decimals} {size_decimals} {tick_size} {quote} {status}")
            })
            .collect();
        assert_eq!(words, ["BTC-USDT 1 8 1 USDT live", "PEPE-USDT 9 0 1 USDT suspend"]);
        let refused = listings(r#"{"code":"50011","msg":"Too many requests","data":[]}"#).unwrap_err();
        assert!(refused.to_string().contains("Too many requests (code 50011)"));
        assert!(listings("{}").is_err() && listings("[]").is_err());
    }
}
