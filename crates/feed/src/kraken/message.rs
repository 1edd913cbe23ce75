//! One message of Kraken, as it stands in the text. Prices and sizes are JSON numbers whose text is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::normalize_error::NormalizeError;
use crate::number::Number;

/// The members that messages have in common.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    pub(crate) channel: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) method: Option<Cow<'a, str>>,
    pub(crate) success: Option<bool>,
    #[serde(borrow)]
    pub(crate) error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) result: Option<ResultText<'a>>,
    pub(crate) req_id: Option<u64>,
}

/// The subscription that the response to a command names.
#[derive(Deserialize)]
pub(crate) struct ResultText<'a> {
    #[serde(borrow)]
    pub(crate) channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) symbol: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(crate) struct BookText<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) bids: Vec<LevelText<'a>>,
    #[serde(borrow, default)]
    pub(crate) asks: Vec<LevelText<'a>>,
    pub(crate) checksum: u32,
    #[serde(borrow)]
    pub(crate) timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(crate) struct LevelText<'a> {
    #[serde(borrow)]
    pub(crate) price: &'a RawValue,
    #[serde(borrow)]
    pub(crate) qty: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct TradeText<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) price: &'a RawValue,
    #[serde(borrow)]
    pub(crate) qty: &'a RawValue,
    pub(crate) trade_id: u64,
    #[serde(borrow)]
    pub(crate) timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(crate) struct TickerText<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) bid: &'a RawValue,
    #[serde(borrow)]
    pub(crate) bid_qty: &'a RawValue,
    #[serde(borrow)]
    pub(crate) ask: &'a RawValue,
    #[serde(borrow)]
    pub(crate) ask_qty: &'a RawValue,
    #[serde(borrow)]
    pub(crate) timestamp: Option<Cow<'a, str>>,
}

pub(crate) fn price(raw: &RawValue, decimals: u32) -> Result<i64, NormalizeError> {
    Number::read("price", raw)?.signed("price", decimals)
}

pub(crate) fn size(raw: &RawValue, decimals: u32) -> Result<u64, NormalizeError> {
    Number::read("qty", raw)?.unsigned("qty", decimals)
}
