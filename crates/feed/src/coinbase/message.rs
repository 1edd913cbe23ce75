//! One message of Coinbase, as it stands in the text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that messages have in common.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) channel: Option<Cow<'a, str>>,
    pub(super) sequence_num: Option<u64>,
    #[serde(borrow)]
    pub(super) timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) events: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct BookText<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) product_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) updates: Vec<LevelText<'a>>,
}

#[derive(Deserialize)]
pub(super) struct LevelText<'a> {
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) price_level: &'a RawValue,
    #[serde(borrow)]
    pub(super) new_quantity: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct TradesText<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) trades: Vec<TradeText<'a>>,
}

#[derive(Deserialize)]
pub(super) struct TradeText<'a> {
    #[serde(borrow)]
    pub(super) trade_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) product_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) price: &'a RawValue,
    #[serde(borrow)]
    pub(super) size: &'a RawValue,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) time: Option<Cow<'a, str>>,
}

/// The subscriptions of the connection, by channel.
#[derive(Deserialize)]
pub(super) struct SubscriptionsText<'a> {
    #[serde(borrow)]
    pub(super) subscriptions: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
}
