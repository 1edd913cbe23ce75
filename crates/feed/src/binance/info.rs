//! The content of `exchangeInfo`: what the venue says of its instruments.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::needed;
use super::parse::Fields;
use super::stamp::Stamp;
use crate::normalize_error::NormalizeError;
use crate::number::{Number, text};

pub(crate) struct InfoText<'a> {
    pub(crate) time: Stamp,
    pub(crate) symbols: Vec<SymbolInfo<'a>>,
}

/// One instrument of `exchangeInfo`.
#[derive(Deserialize)]
pub(crate) struct SymbolInfo<'a> {
    #[serde(borrow)]
    symbol: Option<&'a RawValue>,
    #[serde(borrow, rename = "baseAsset")]
    base: Option<&'a RawValue>,
    #[serde(borrow, rename = "quoteAsset")]
    quote: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow, rename = "contractStatus")]
    contract_status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    filters: Vec<Filter<'a>>,
}

#[derive(Deserialize)]
struct Filter<'a> {
    #[serde(borrow, rename = "filterType")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "tickSize")]
    tick_size: Option<&'a RawValue>,
    #[serde(borrow, rename = "stepSize")]
    step_size: Option<&'a RawValue>,
}

impl<'a> SymbolInfo<'a> {
    pub(crate) fn name(&self) -> Option<Cow<'a, str>> {
        self.symbol.and_then(text)
    }

    pub(crate) fn assets(&self) -> (Cow<'a, str>, Cow<'a, str>) {
        let asset = |raw: Option<&'a RawValue>| raw.and_then(text).unwrap_or_default();
        (asset(self.base), asset(self.quote))
    }

    /// Returns the trading state, in the venue's word.
    pub(crate) fn status(&self) -> Option<Cow<'a, str>> {
        self.status.or(self.contract_status).and_then(text)
    }

    pub(crate) fn tick_size(&self) -> Option<Number<'a>> {
        self.step("PRICE_FILTER", |filter| filter.tick_size)
    }

    pub(crate) fn lot_size(&self) -> Option<Number<'a>> {
        self.step("LOT_SIZE", |filter| filter.step_size)
    }

    fn step(&self, kind: &str, step: fn(&Filter<'a>) -> Option<&'a RawValue>) -> Option<Number<'a>> {
        let of_kind = |filter: &&Filter<'a>| filter.kind.and_then(text).as_deref() == Some(kind);
        let step = self.filters.iter().find(of_kind).and_then(step)?;
        Number::read("step", step).ok()
    }
}

pub(crate) fn info<'a>(fields: &Fields<'a>) -> Result<InfoText<'a>, NormalizeError> {
    let symbols: Vec<&RawValue> = serde_json::from_str(needed("symbols", fields.symbols)?.get())?;
    let symbols = symbols.into_iter().filter(|symbol| symbol.get().starts_with('{'));
    Ok(InfoText {
        time: Stamp::read([fields.server_time, None]),
        symbols: symbols.map(|raw| serde_json::from_str(raw.get())).collect::<Result<_, _>>()?,
    })
}
