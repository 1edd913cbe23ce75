//! The members of Binance's messages, field by field.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tickwire_wire::{Instrument, Level, Side, Trade};

use super::message::TradeText;
use crate::normalize_error::NormalizeError;
use crate::number::Number;

/// The members of a message that mean something to anybody here, whatever kind it is of. What they say decides which
/// kind that is; spaces, order and unknown members do not matter.
#[derive(Deserialize)]
pub(crate) struct Fields<'a> {
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) e: Option<&'a RawValue>,
    #[serde(borrow, rename = "E")]
    pub(crate) event_time: Option<&'a RawValue>,
    #[serde(borrow, rename = "T")]
    pub(crate) transaction_time: Option<&'a RawValue>,
    #[serde(borrow, rename = "s")]
    pub(crate) symbol: Option<&'a RawValue>,
    #[serde(borrow, rename = "ps")]
    pub(crate) pair: Option<&'a RawValue>,
    #[serde(borrow, rename = "t")]
    pub(crate) trade_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "p")]
    pub(crate) price: Option<&'a RawValue>,
    /// The index price of mark prices, and the funding rate.
    #[serde(borrow)]
    pub(crate) i: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) r: Option<&'a RawValue>,
    #[serde(borrow, rename = "q")]
    pub(crate) size: Option<&'a RawValue>,
    #[serde(borrow, rename = "m")]
    pub(crate) is_buyer_maker: Option<&'a RawValue>,
    /// The buyer-is-maker mark of trades at spot.
    #[serde(borrow, rename = "M")]
    pub(crate) spot_mark: Option<&'a RawValue>,
    /// The mark of trades of the futures.
    #[serde(borrow, rename = "X")]
    pub(crate) futures_mark: Option<&'a RawValue>,
    #[serde(borrow, rename = "f")]
    pub(crate) first_trade: Option<&'a RawValue>,
    #[serde(borrow, rename = "U")]
    pub(crate) first_update: Option<&'a RawValue>,
    #[serde(borrow, rename = "u")]
    pub(crate) last_update: Option<&'a RawValue>,
    #[serde(borrow, rename = "pu")]
    pub(crate) previous_update: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) b: Option<&'a RawValue>,
    #[serde(borrow, rename = "B")]
    pub(crate) bid_size: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) a: Option<&'a RawValue>,
    #[serde(borrow, rename = "A")]
    pub(crate) ask_size: Option<&'a RawValue>,
    #[serde(borrow, rename = "lastUpdateId")]
    pub(crate) snapshot_update: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) bids: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) asks: Option<&'a RawValue>,
    /// The symbol, which coin-margined snapshots name.
    #[serde(borrow, rename = "symbol")]
    pub(crate) snapshot_symbol: Option<&'a RawValue>,
    /// The symbols of `exchangeInfo`.
    #[serde(borrow)]
    pub(crate) symbols: Option<&'a RawValue>,
    #[serde(borrow, rename = "serverTime")]
    pub(crate) server_time: Option<&'a RawValue>,
    #[serde(borrow, rename = "futuresType")]
    pub(crate) futures_type: Option<&'a RawValue>,
    /// The id in the response to a subscription or a request.
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow, rename = "msg")]
    pub(crate) error_text: Option<&'a RawValue>,
}

/// The price and size of levels, as they stand in the text.
pub(crate) type LevelTexts<'a> = Vec<(Number<'a>, Number<'a>)>;

/// Reads `[["1.5","2"], ...]`; what stands behind the two numbers of a level is passed over.
pub(crate) fn levels(raw: &RawValue) -> Result<LevelTexts<'_>, NormalizeError> {
    // The numbers nearly always are plain strings, which are read where they stand. Everything else is read by its
    // text.
    if let Ok(Levels(levels)) = serde_json::from_str(raw.get()) {
        return Ok(levels);
    }
    let pairs: Vec<Pair<&RawValue>> = serde_json::from_str(raw.get())?;
    let level = |Pair(price, size)| Ok((Number::read("price", price)?, Number::read("quantity", size)?));
    pairs.into_iter().map(level).collect()
}

/// The levels of which all numbers stand in strings.
struct Levels<'a>(LevelTexts<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Levels<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Levels<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("levels")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut levels = LevelTexts::new();
                while let Some(Pair(Text(price), Text(size))) = seq.next_element()? {
                    levels.push((price, size));
                }
                Ok(Levels(levels))
            }
        }
        deserializer.deserialize_seq(All)
    }
}

/// A number in a string.
struct Text<'a>(Number<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Number::of(text).map(Self).ok_or_else(|| D::Error::custom("no number"))
    }
}

struct Pair<T>(T, T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pair<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Two<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Two<T> {
            type Value = Pair<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("price and quantity")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let price = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let size = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Pair(price, size))
            }
        }
        deserializer.deserialize_seq(Two(PhantomData))
    }
}

/// The decimals of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decimals {
    pub(crate) price: u32,
    pub(crate) size: u32,
}

impl Decimals {
    pub(crate) fn of(definition: &Instrument) -> Self {
        Self { price: definition.price_decimals, size: definition.size_decimals }
    }

    fn level(self, price: Number, size: Number) -> Result<Level, NormalizeError> {
        Ok(Level { price: price.signed("price", self.price)?, size: size.unsigned("quantity", self.size)? })
    }

    /// Reads one side of a quote; an empty side stands as zeros.
    pub(crate) fn side(self, (price, size): (Number, Number)) -> Result<Option<Level>, NormalizeError> {
        let level = self.level(price, size)?;
        Ok((level.size > 0).then_some(level))
    }

    /// Reads both sides, best first; where a price is said twice, the last one counts.
    pub(crate) fn levels(
        self,
        bids: &LevelTexts,
        asks: &LevelTexts,
    ) -> Result<crate::adapter::Levels, NormalizeError> {
        let side = |levels: &LevelTexts, key: fn(i64) -> i64| -> Result<Vec<Level>, NormalizeError> {
            let mut side = levels
                .iter()
                .map(|(price, size)| self.level(*price, *size))
                .collect::<Result<Vec<Level>, _>>()?;
            // Spot sends the best first, the futures the lowest price. Equal prices stay in the order of the text.
            side.sort_by_key(|level| key(level.price));
            side.dedup_by(|later, kept| {
                let is_same = later.price == kept.price;
                if is_same {
                    kept.size = later.size;
                }
                is_same
            });
            Ok(side)
        };
        // `!` turns the order around, and has no price that it cannot turn.
        Ok(crate::adapter::Levels { bids: side(bids, |price| !price)?, asks: side(asks, |price| price)? })
    }

    pub(crate) fn trade(self, text: &TradeText) -> Result<Trade, NormalizeError> {
        let aggressor = match text.is_buyer_maker {
            Some(true) => Side::Sell,
            Some(false) => Side::Buy,
            None => Side::Unknown,
        };
        let Level { price, size } = self.level(text.price, text.size)?;
        Ok(Trade { price, size, aggressor: aggressor.into(), id: text.id, id_text: String::new() })
    }
}
