//! Binance's messages as they stand in the text.

use serde::Deserialize;
use serde_json::value::RawValue;
use tickwire_wire::decimal::{self, DecimalError};
use tickwire_wire::{Level, Side, Trade};

/// What is wrong with a message.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NormalizeError {
    #[error("not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{field}: {source}")]
    Decimal { field: &'static str, source: DecimalError },
    #[error("{field} is negative: {value}")]
    Negative { field: &'static str, value: i64 },
    #[error("symbol `{0}` is not among the instruments")]
    UnknownSymbol(String),
    #[error("a depth snapshot that does not say of which symbol, and the recording has several")]
    WhoseSnapshot,
    #[error("update ids {first} to {last} are no range")]
    Range { first: u64, last: u64 },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("neither a stream message nor a depth snapshot nor exchangeInfo")]
    Foreign,
}

/// Whatever a message may be at its top.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    pub(crate) stream: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(rename = "lastUpdateId")]
    pub(crate) last_update_id: Option<u64>,
    /// Coin-margined snapshots name it.
    pub(crate) symbol: Option<&'a str>,
    #[serde(rename = "T")]
    pub(crate) transaction_time: Option<u64>,
    #[serde(borrow)]
    pub(crate) bids: Option<Levels<'a>>,
    #[serde(borrow)]
    pub(crate) asks: Option<Levels<'a>>,
    #[serde(borrow)]
    pub(crate) symbols: Option<Vec<SymbolInfo<'a>>>,
    /// The answer to a subscription.
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
}

pub(crate) type Levels<'a> = Vec<(&'a str, &'a str)>;

#[derive(Deserialize)]
pub(crate) struct TradeText<'a> {
    #[serde(rename = "s")]
    pub(crate) symbol: &'a str,
    #[serde(rename = "t")]
    pub(crate) id: u64,
    #[serde(rename = "p")]
    pub(crate) price: &'a str,
    #[serde(rename = "q")]
    pub(crate) size: &'a str,
    #[serde(rename = "T")]
    pub(crate) trade_time: u64,
    #[serde(rename = "m")]
    pub(crate) is_buyer_maker: bool,
}

#[derive(Deserialize)]
pub(crate) struct TickerText<'a> {
    #[serde(rename = "s")]
    pub(crate) symbol: &'a str,
    #[serde(rename = "u")]
    pub(crate) update: u64,
    #[serde(rename = "b")]
    pub(crate) bid_price: &'a str,
    #[serde(rename = "B")]
    pub(crate) bid_size: &'a str,
    #[serde(rename = "a")]
    pub(crate) ask_price: &'a str,
    #[serde(rename = "A")]
    pub(crate) ask_size: &'a str,
    #[serde(rename = "T")]
    pub(crate) transaction_time: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct DepthText<'a> {
    #[serde(rename = "s")]
    pub(crate) symbol: &'a str,
    #[serde(rename = "U")]
    pub(crate) first_update: u64,
    #[serde(rename = "u")]
    pub(crate) last_update: u64,
    #[serde(rename = "pu")]
    pub(crate) previous_update: Option<u64>,
    #[serde(rename = "E")]
    pub(crate) event_time: u64,
    #[serde(rename = "T")]
    pub(crate) transaction_time: Option<u64>,
    #[serde(rename = "b", borrow)]
    pub(crate) bids: Levels<'a>,
    #[serde(rename = "a", borrow)]
    pub(crate) asks: Levels<'a>,
}

/// One instrument of `exchangeInfo`.
#[derive(Deserialize)]
pub(crate) struct SymbolInfo<'a> {
    pub(crate) symbol: &'a str,
    #[serde(rename = "baseAsset")]
    pub(crate) base: &'a str,
    #[serde(rename = "quoteAsset")]
    pub(crate) quote: &'a str,
    #[serde(borrow, default)]
    pub(crate) filters: Vec<Filter<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct Filter<'a> {
    #[serde(rename = "filterType")]
    pub(crate) kind: &'a str,
    #[serde(rename = "tickSize")]
    pub(crate) tick_size: Option<&'a str>,
    #[serde(rename = "stepSize")]
    pub(crate) step_size: Option<&'a str>,
}

/// Decimals of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decimals {
    pub(crate) price: u32,
    pub(crate) size: u32,
}

impl Decimals {
    /// Makes room for these prices and quantities.
    pub(crate) fn widen(&mut self, levels: &[(&str, &str)]) {
        for (price, size) in levels {
            let (price, size) = (decimal::used_decimals(price), decimal::used_decimals(size));
            self.join(Self { price, size });
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.price = self.price.max(other.price);
        self.size = self.size.max(other.size);
    }

    pub(crate) fn price(self, field: &'static str, text: &str) -> Result<i64, NormalizeError> {
        decimal::parse(text, self.price).map_err(|source| NormalizeError::Decimal { field, source })
    }

    pub(crate) fn size(self, field: &'static str, text: &str) -> Result<u64, NormalizeError> {
        let value =
            decimal::parse(text, self.size).map_err(|source| NormalizeError::Decimal { field, source })?;
        u64::try_from(value).map_err(|_| NormalizeError::Negative { field, value })
    }

    /// One side of a quote; an empty side stands as zeros.
    pub(crate) fn side(self, price: &str, size: &str) -> Result<Option<Level>, NormalizeError> {
        let level = Level { price: self.price("price", price)?, size: self.size("quantity", size)? };
        Ok((level.size > 0).then_some(level))
    }

    pub(crate) fn levels(
        self,
        bids: &Levels,
        asks: &Levels,
    ) -> Result<crate::adapter::Levels, NormalizeError> {
        let side = |levels: &Levels| -> Result<Vec<Level>, NormalizeError> {
            let level = |(price, size): &(&str, &str)| {
                Ok(Level { price: self.price("price", price)?, size: self.size("quantity", size)? })
            };
            levels.iter().map(level).collect()
        };
        let (mut bids, mut asks) = (side(bids)?, side(asks)?);
        // Spot sends the best first, the futures the lowest price.
        bids.sort_by_key(|level| std::cmp::Reverse(level.price));
        asks.sort_by_key(|level| level.price);
        Ok(crate::adapter::Levels { bids, asks })
    }

    pub(crate) fn trade(self, text: &TradeText) -> Result<Trade, NormalizeError> {
        let aggressor = if text.is_buyer_maker { Side::Sell } else { Side::Buy };
        Ok(Trade {
            price: self.price("price", text.price)?,
            size: self.size("quantity", text.size)?,
            aggressor: aggressor.into(),
            id: text.id,
            id_text: String::new(),
        })
    }
}

/// Binance gives milliseconds, or microseconds to those who ask for them.
pub(crate) fn nanoseconds(time: u64) -> u64 {
    // Milliseconds reach this in the year 2286, microseconds passed it in 1970.
    const MILLISECONDS_MAX: u64 = 10_000_000_000_000;
    if time < MILLISECONDS_MAX { time * 1_000_000 } else { time.saturating_mul(1_000) }
}
