//! One message of OKX, as it stands in the text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that messages have in common.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) arg: Option<Arg<'a>>,
    #[serde(borrow)]
    pub(super) action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) msg: Option<Cow<'a, str>>,
}

/// The subscription that a message is of.
#[derive(Deserialize)]
pub(super) struct Arg<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    #[serde(borrow, rename = "instId")]
    pub(super) symbol: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BookText<'a> {
    #[serde(borrow)]
    pub(super) bids: Vec<LevelText<'a>>,
    #[serde(borrow)]
    pub(super) asks: Vec<LevelText<'a>>,
    #[serde(borrow)]
    pub(super) ts: Option<Cow<'a, str>>,
    /// Both prove a book; quotes have none.
    pub(super) prev_seq_id: Option<i64>,
    pub(super) seq_id: Option<i64>,
}

/// Price, size, a number that is not used any more, and the number of orders.
pub(super) type LevelText<'a> = [&'a RawValue; 4];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TradeText<'a> {
    #[serde(borrow)]
    pub(super) trade_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) px: &'a RawValue,
    #[serde(borrow)]
    pub(super) sz: &'a RawValue,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) ts: Option<Cow<'a, str>>,
    /// The trades that are one here.
    #[serde(borrow)]
    pub(super) count: Option<Cow<'a, str>>,
}
