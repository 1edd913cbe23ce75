//! One message of Bitstamp, as it stands in the text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that messages have in common.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

/// A change of a book, or a book of the REST service.
#[derive(Deserialize)]
pub(super) struct BookText<'a> {
    #[serde(borrow)]
    pub(super) microtimestamp: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) bids: Vec<[&'a RawValue; 2]>,
    #[serde(borrow)]
    pub(super) asks: Vec<[&'a RawValue; 2]>,
}

#[derive(Deserialize)]
pub(super) struct TradeText<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) amount_str: &'a RawValue,
    #[serde(borrow)]
    pub(super) price_str: &'a RawValue,
    #[serde(rename = "type")]
    pub(super) kind: Option<u64>,
    #[serde(borrow)]
    pub(super) microtimestamp: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct ErrorText<'a> {
    #[serde(borrow)]
    pub(super) message: Option<Cow<'a, str>>,
}
