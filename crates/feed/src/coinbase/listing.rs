//! The instruments of Coinbase, from the list of products of its REST service.

use std::borrow::Cow;

use serde::Deserialize;

use crate::listing::Listing;
use crate::normalize_error::NormalizeError;

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    products: Option<Vec<Product<'a>>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the venue says each restriction apart")]
struct Product<'a> {
    #[serde(borrow, rename = "product_id")]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "product_type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base_currency_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    quote_currency_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base_increment: Option<Cow<'a, str>>,
    #[serde(borrow)]
    quote_increment: Option<Cow<'a, str>>,
    #[serde(borrow)]
    price_increment: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    /// The product whose data comes in place of this one's.
    #[serde(borrow)]
    alias: Option<Cow<'a, str>>,
    #[serde(default)]
    is_disabled: bool,
    #[serde(default)]
    trading_disabled: bool,
    #[serde(default)]
    cancel_only: bool,
    #[serde(default)]
    post_only: bool,
    #[serde(default)]
    limit_only: bool,
    #[serde(default)]
    auction_mode: bool,
}

/// Returns the products at spot that have streams of their own: one with `-USDC` is served as the one with `-USD`.
///
/// # Errors
/// Returns an error when the text is something else, or says that the venue has none.
pub fn listings(text: &str) -> Result<Vec<Listing>, NormalizeError> {
    let response: Response = serde_json::from_str(text)?;
    if let (None, Some(message)) = (&response.products, &response.message) {
        return Err(NormalizeError::Venue(message.chars().take(200).collect()));
    }
    let products = response.products.ok_or(NormalizeError::Foreign)?;
    Ok(products.into_iter().filter_map(listing).collect())
}

fn listing(product: Product) -> Option<Listing> {
    let is_spot = product.kind.as_deref().is_none_or(|kind| kind == "SPOT");
    let is_served_as_another = product.alias.as_deref().is_some_and(|alias| !alias.is_empty());
    if !is_spot || is_served_as_another {
        return None;
    }
    let status = state(&product).to_owned();
    let (base, quote) = product.name.split_once('-')?;
    let price_step = product.price_increment.or(product.quote_increment)?;
    let size_step = product.base_increment?;
    let base = product.base_currency_id.map_or_else(|| base.to_owned(), Cow::into_owned);
    let quote = product.quote_currency_id.map_or_else(|| quote.to_owned(), Cow::into_owned);
    Listing::of_steps([product.name.to_string(), base, quote], [&price_step, &size_step], status)
}

/// Returns the state in one word: what restricts trading most, or the venue's own.
fn state<'p>(product: &'p Product<'_>) -> &'p str {
    let states = [
        (product.is_disabled, "disabled"),
        (product.trading_disabled, "trading disabled"),
        (product.auction_mode, "auction"),
        (product.cancel_only, "cancel only"),
        (product.post_only, "post only"),
        (product.limit_only, "limit only"),
    ];
    let state = states.iter().find(|(is_so, _)| *is_so).map(|(_, words)| *words);
    state.unwrap_or_else(|| product.status.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Instrument;

    use super::*;

    #[test]
    fn products_have_their_scales_and_states() {
        let text = r#"{"products":[
            {"product_id":"BTC-USD","product_type":"SPOT","base_currency_id":"BTC","quote_currency_id":"USD","base_increment":"0.00000001","quote_increment":"0.01","price_increment":"0.01","status":"online","alias":"","alias_to":["BTC-USDC"]},
            {"product_id":"BTC-USDC","product_type":"SPOT","base_increment":"0.00000001","quote_increment":"0.01","status":"online","alias":"BTC-USD"},
            {"product_id":"PEPE-USD","product_type":"SPOT","base_increment":"1","quote_increment":"0.00000001","status":"online","cancel_only":true},
            {"product_id":"BIT-28FEB-CDE","product_type":"FUTURE","base_increment":"1","quote_increment":"5","status":""}],"num_products":4}"#;
        let words: Vec<_> = listings(text)
            .unwrap()
            .iter()
            .map(|Listing { definition, status }| {
                let Instrument { symbol, price_decimals, size_decimals, tick_size, base, quote, .. } =
                    definition;
                format!("{symbol} {price_decimals} {size_decimals} {tick_size} {base} {quote} {status}")
            })
            .collect();
        assert_eq!(words, ["BTC-USD 2 8 1 BTC USD online", "PEPE-USD 8 0 1 PEPE USD cancel only"]);
        let refused = listings(r#"{"error":"unknown","code":12,"message":"not now"}"#).unwrap_err();
        assert!(refused.to_string().contains("not now"));
        assert!(listings("{}").is_err() && listings("[]").is_err());
    }
}
