//! One message of Bybit, as it stands in the text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that messages have in common.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) topic: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) ts: Option<u64>,
    /// The time of the matching engine, which books have.
    pub(super) cts: Option<u64>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) op: Option<Cow<'a, str>>,
    pub(super) success: Option<bool>,
    #[serde(borrow)]
    pub(super) ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) req_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct BookText<'a> {
    #[serde(borrow)]
    pub(super) b: Vec<LevelText<'a>>,
    #[serde(borrow)]
    pub(super) a: Vec<LevelText<'a>>,
    pub(super) u: u64,
}

/// Price and size.
pub(super) type LevelText<'a> = [&'a RawValue; 2];

#[derive(Deserialize)]
pub(super) struct TradeText<'a> {
    #[serde(rename = "T")]
    pub(super) time: u64,
    #[serde(borrow, rename = "S")]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow, rename = "v")]
    pub(super) size: &'a RawValue,
    #[serde(borrow, rename = "p")]
    pub(super) price: &'a RawValue,
    #[serde(borrow, rename = "i")]
    pub(super) id: Cow<'a, str>,
}

/// A ticker of a contract; a change has those members alone that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TickerText {
    pub(super) mark_price: Option<String>,
    pub(super) index_price: Option<String>,
    pub(super) funding_rate: Option<String>,
    pub(super) next_funding_time: Option<String>,
}

impl TickerText {
    /// Takes what changed.
    pub(super) fn change(&mut self, change: Self) {
        for (member, new) in [
            (&mut self.mark_price, change.mark_price),
            (&mut self.index_price, change.index_price),
            (&mut self.funding_rate, change.funding_rate),
            (&mut self.next_funding_time, change.next_funding_time),
        ] {
            if new.is_some() {
                *member = new;
            }
        }
    }
}
