//! The instruments of all files that play together: one scale each, and what holds of them.

use std::collections::{BTreeMap, HashMap};

use tickwire_feed::adapter::{Levels, MarketBody, MarketEvent};
use tickwire_wire::{Channel, Derivative, Instrument, Level, Quote, Trade};

use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};

/// The instruments of a player.
#[derive(Debug, Default)]
pub(crate) struct Instruments {
    definitions: Vec<Instrument>,
    by_name: HashMap<String, u32>,
    /// The statements about each derivative so far: a statement replaces the one before it.
    derivatives: HashMap<u32, Derivative>,
    kept: BTreeMap<u32, Kept>,
}

/// The state of an instrument at a time.
#[derive(Debug, Default)]
struct Kept {
    event_time: u64,
    status: Option<MarketBody>,
    quote: Option<MarketBody>,
    derivative: Option<MarketBody>,
    book: Option<(BTreeMap<i64, u64>, BTreeMap<i64, u64>)>,
}

impl Instruments {
    /// Puts the definitions of all files together: the finer scale of two holds the numbers of both.
    pub(crate) fn of<'d>(definitions: impl Iterator<Item = &'d Instrument>) -> Self {
        let mut all = Self::default();
        for definition in definitions {
            let Some(known) = all.find(&definition.symbol) else {
                all.by_name.insert(definition.symbol.clone(), all.definitions.len() as u32);
                all.definitions.push(definition.clone());
                continue;
            };
            let known = &mut all.definitions[known as usize];
            for (decimals, step, other_decimals, other_step) in [
                (
                    &mut known.price_decimals,
                    &mut known.tick_size,
                    definition.price_decimals,
                    definition.tick_size,
                ),
                (
                    &mut known.size_decimals,
                    &mut known.lot_size,
                    definition.size_decimals,
                    definition.lot_size,
                ),
            ] {
                let finest = (*decimals).max(other_decimals);
                let scaled = |step: u64, own: u32| step.checked_mul(10u64.pow(finest - own)).unwrap_or(0);
                let (mine, other) = (scaled(*step, *decimals), scaled(other_step, other_decimals));
                *step = if mine == 0 || other == 0 { mine.max(other) } else { mine.min(other) };
                *decimals = finest;
            }
        }
        all
    }

    pub(crate) fn definitions(&self) -> &[Instrument] {
        &self.definitions
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Makes an event of a statement, at the scale of its instrument.
    ///
    /// # Errors
    /// Returns what does not fit, in words.
    pub(crate) fn event(&mut self, index: u32, said: Said) -> Result<MarketEvent, String> {
        let definition = &self.definitions[index as usize];
        let scale = Scale { prices: definition.price_decimals, sizes: definition.size_decimals };
        let wrong = |reason| format!("{}: {reason}", definition.symbol);
        let body = match said.what {
            What::Trade { price, size, aggressor, id, id_text } => MarketBody::Trade(Trade {
                price: scale.price(price).map_err(wrong)?,
                size: scale.size(size).map_err(wrong)?,
                aggressor: aggressor as i32,
                id,
                id_text,
            }),
            What::Quote { bid, ask } => {
                let level = |level: Option<FixedLevel>| level.map(|level| scale.level(level)).transpose();
                MarketBody::Quote(Quote { bid: level(bid).map_err(wrong)?, ask: level(ask).map_err(wrong)? })
            }
            What::Book(levels) => MarketBody::BookSnapshot(scale.levels(levels, true).map_err(wrong)?),
            What::Change(levels) => MarketBody::BookDelta(scale.levels(levels, false).map_err(wrong)?),
            What::Status(status) => MarketBody::Status(status),
            What::Gap { channel, count } => MarketBody::UpstreamGap { channel, count },
            What::OpenInterest(open_interest) => {
                let open_interest = scale.size(open_interest).map_err(wrong)?;
                let derivative = self.derivatives.entry(index).or_default();
                derivative.open_interest = Some(open_interest);
                MarketBody::Derivative(*derivative)
            }
            What::Derivative(derivative, open_interest) => {
                let open_interest = open_interest.map(|of| scale.size(of)).transpose().map_err(wrong)?;
                MarketBody::Derivative(Derivative { open_interest, ..*derivative })
            }
            What::MarkPrice(price) => {
                let derivative = self.derivatives.entry(index).or_default();
                derivative.price_decimals = price.needs(0);
                derivative.mark_price = price.at(derivative.price_decimals);
                MarketBody::Derivative(*derivative)
            }
        };
        Ok(MarketEvent { index, event_time: said.event_time, receive_time: said.receive_time, body })
    }

    /// Keeps what holds after an event that is not played.
    pub(crate) fn keep(&mut self, event: MarketEvent) {
        let kept = self.kept.entry(event.index).or_default();
        kept.event_time = event.event_time;
        match event.body {
            MarketBody::Status(_) => kept.status = Some(event.body),
            MarketBody::Quote(_) => kept.quote = Some(event.body),
            MarketBody::Derivative(_) => kept.derivative = Some(event.body),
            MarketBody::BookSnapshot(levels) => {
                let side =
                    |levels: Vec<Level>| levels.iter().map(|level| (level.price, level.size)).collect();
                kept.book = Some((side(levels.bids), side(levels.asks)));
            }
            MarketBody::BookDelta(levels) => {
                let Some((bids, asks)) = &mut kept.book else { return };
                for (side, levels) in [(bids, levels.bids), (asks, levels.asks)] {
                    side.extend(levels.iter().map(|level| (level.price, level.size)));
                    for level in levels.iter().filter(|level| level.size == 0) {
                        side.remove(&level.price);
                    }
                }
            }
            MarketBody::UpstreamGap { channel: Channel::Book, .. } => kept.book = None,
            MarketBody::UpstreamGap { channel: Channel::Quote, .. } => kept.quote = None,
            MarketBody::Trade(_) | MarketBody::UpstreamGap { .. } => {}
        }
    }

    /// Takes what was kept, as events that were received at a time.
    pub(crate) fn take_kept(&mut self, receive_time: u64) -> Vec<MarketEvent> {
        let mut events = Vec::new();
        for (index, Kept { event_time, status, quote, derivative, book }) in std::mem::take(&mut self.kept) {
            let book = book.map(|(bids, asks)| {
                let level = |(price, size)| Level { price, size };
                let bids = bids.into_iter().rev().map(level).collect();
                MarketBody::BookSnapshot(Levels { bids, asks: asks.into_iter().map(level).collect() })
            });
            let bodies = [status, derivative, book, quote].into_iter().flatten();
            events.extend(bodies.map(|body| MarketEvent { index, event_time, receive_time, body }));
        }
        events
    }
}

#[derive(Clone, Copy)]
struct Scale {
    prices: u32,
    sizes: u32,
}

impl Scale {
    fn price(self, price: Fixed) -> Result<i64, String> {
        price
            .at(self.prices)
            .ok_or_else(|| format!("the price {price:?} does not fit at {} decimals", self.prices))
    }

    fn size(self, size: Fixed) -> Result<u64, String> {
        let at = size.at(self.sizes).and_then(|size| u64::try_from(size).ok());
        at.ok_or_else(|| format!("the size {size:?} does not fit at {} decimals", self.sizes))
    }

    fn level(self, level: FixedLevel) -> Result<Level, String> {
        Ok(Level { price: self.price(level.price)?, size: self.size(level.size)? })
    }

    /// Returns levels with the best first; whole books have no empty ones.
    fn levels(self, levels: FixedLevels, is_whole: bool) -> Result<Levels, String> {
        let side = |levels: Vec<FixedLevel>| {
            let levels = levels.into_iter().map(|level| self.level(level)).collect::<Result<Vec<_>, _>>();
            levels.map(|mut levels| {
                if is_whole {
                    levels.retain(|level| level.size > 0);
                }
                levels
            })
        };
        let (mut bids, mut asks) = (side(levels.bids)?, side(levels.asks)?);
        bids.sort_unstable_by_key(|level| std::cmp::Reverse(level.price));
        asks.sort_unstable_by_key(|level| level.price);
        Ok(Levels { bids, asks })
    }
}
