//! The rows of one file: columns by channel, and a gap where something is missing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use tickwire_feed::adapter::{Levels, MarketBody, MarketEvent};
use tickwire_wire::{Channel, Derivative, Instrument, Level, Quote, Side, Status, Trade, TradingState};

/// A row: its times, and what a channel has besides. All of its columns are empty where it is a gap.
#[derive(Debug)]
pub(crate) struct Row {
    event_time: u64,
    receive_time: u64,
    /// The gap that it is, where it is one.
    gap: Option<Missing>,
    cells: Cells,
}

/// The number of events that are missing, where it is known.
#[derive(Debug)]
struct Missing(Option<u64>);

#[derive(Debug)]
enum Cells {
    None,
    Trade(Trade),
    Quote(Quote),
    Level { change: u64, is_snapshot: bool, level: Option<(bool, Level)> },
    Status(Status),
    Derivative(Derivative),
}

/// The rows that wait for their file.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes an event. `change` is the number of changes of the book in this file so far: the levels of one change share it.
    pub(crate) fn take(&mut self, event: MarketEvent, change: &mut u64) {
        let MarketEvent { event_time, receive_time, body, .. } = event;
        let mut push = |gap, cells| self.0.push(Row { event_time, receive_time, gap, cells });
        match body {
            MarketBody::Trade(trade) => push(None, Cells::Trade(trade)),
            MarketBody::Quote(quote) => push(None, Cells::Quote(quote)),
            MarketBody::Status(status) => push(None, Cells::Status(status)),
            MarketBody::Derivative(derivative) => push(None, Cells::Derivative(derivative)),
            MarketBody::UpstreamGap { count, .. } => push(Some(Missing(count)), Cells::None),
            // An empty book is something to say, a change of nothing is not.
            MarketBody::BookSnapshot(levels) if levels == Levels::default() => {
                *change += 1;
                push(None, Cells::Level { change: *change, is_snapshot: true, level: None });
            }
            body @ (MarketBody::BookSnapshot(_) | MarketBody::BookDelta(_)) => {
                let is_snapshot = matches!(body, MarketBody::BookSnapshot(_));
                let (MarketBody::BookSnapshot(levels) | MarketBody::BookDelta(levels)) = body else { return };
                *change += 1;
                let sides = [(true, levels.bids), (false, levels.asks)];
                for level in
                    sides.into_iter().flat_map(|(bid, side)| side.into_iter().map(move |it| (bid, it)))
                {
                    push(None, Cells::Level { change: *change, is_snapshot, level: Some(level) });
                }
            }
        }
    }

    /// Turns the rows into a batch of columns, and forgets them.
    pub(crate) fn batch(&mut self, channel: Channel, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.0);
        let mut columns: Vec<ArrayRef> = vec![
            time(rows.iter().map(|row| Some(row.receive_time))),
            time(rows.iter().map(|row| Some(row.event_time))),
        ];
        columns.extend(cells(channel, &rows));
        columns.push(collected::<BooleanArray, _>(rows.iter().map(|row| Some(row.gap.is_some()))));
        columns.push(collected::<UInt64Array, _>(rows.iter().map(|row| row.gap.as_ref()?.0)));
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}

fn collected<A: FromIterator<Option<T>> + Array + 'static, T>(
    values: impl Iterator<Item = Option<T>>,
) -> ArrayRef {
    Arc::new(values.collect::<A>())
}

fn time(times: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let times = times.map(|time| time.and_then(|time| i64::try_from(time).ok()));
    Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

/// Returns the columns that a channel has besides times and gaps.
fn cells(channel: Channel, rows: &[Row]) -> Vec<ArrayRef> {
    fn signed(rows: &[Row], of: impl Fn(&Cells) -> Option<i64>) -> ArrayRef {
        collected::<Int64Array, _>(rows.iter().map(|row| of(&row.cells)))
    }
    fn unsigned(rows: &[Row], of: impl Fn(&Cells) -> Option<u64>) -> ArrayRef {
        collected::<UInt64Array, _>(rows.iter().map(|row| of(&row.cells)))
    }
    fn text<'r>(rows: &'r [Row], of: impl Fn(&'r Cells) -> Option<&'r str>) -> ArrayRef {
        collected::<StringArray, _>(rows.iter().map(|row| of(&row.cells)))
    }
    fn trade(cells: &Cells) -> Option<&Trade> {
        if let Cells::Trade(trade) = cells { Some(trade) } else { None }
    }
    fn quote(cells: &Cells) -> Option<&Quote> {
        if let Cells::Quote(quote) = cells { Some(quote) } else { None }
    }
    fn level(cells: &Cells) -> Option<(bool, Level)> {
        if let Cells::Level { level, .. } = cells { *level } else { None }
    }
    fn derivative(cells: &Cells) -> Option<&Derivative> {
        if let Cells::Derivative(derivative) = cells { Some(derivative) } else { None }
    }
    fn status(cells: &Cells) -> Option<&Status> {
        if let Cells::Status(status) = cells { Some(status) } else { None }
    }
    match channel {
        Channel::Trade => vec![
            signed(rows, |cells| Some(trade(cells)?.price)),
            unsigned(rows, |cells| Some(trade(cells)?.size)),
            text(rows, |cells| match Side::try_from(trade(cells)?.aggressor) {
                Ok(Side::Buy) => Some("buy"),
                Ok(Side::Sell) => Some("sell"),
                _ => None,
            }),
            unsigned(rows, |cells| trade(cells).map(|trade| trade.id).filter(|id| *id > 0)),
            text(rows, |cells| trade(cells).map(|trade| trade.id_text.as_str()).filter(|id| !id.is_empty())),
        ],
        Channel::Quote => vec![
            signed(rows, |cells| Some(quote(cells)?.bid?.price)),
            unsigned(rows, |cells| Some(quote(cells)?.bid?.size)),
            signed(rows, |cells| Some(quote(cells)?.ask?.price)),
            unsigned(rows, |cells| Some(quote(cells)?.ask?.size)),
        ],
        Channel::Book => vec![
            unsigned(
                rows,
                |cells| if let Cells::Level { change, .. } = cells { Some(*change) } else { None },
            ),
            collected::<BooleanArray, _>(rows.iter().map(|row| match row.cells {
                Cells::Level { is_snapshot, .. } => Some(is_snapshot),
                _ => None,
            })),
            text(rows, |cells| level(cells).map(|(is_bid, _)| if is_bid { "bid" } else { "ask" })),
            signed(rows, |cells| Some(level(cells)?.1.price)),
            unsigned(rows, |cells| Some(level(cells)?.1.size)),
        ],
        Channel::Status => vec![
            text(rows, |cells| Some(state(TradingState::try_from(status(cells)?.state).ok()?))),
            text(rows, |cells| Some(status(cells)?.reason.as_str())),
        ],
        _ => vec![
            signed(rows, |cells| derivative(cells)?.mark_price),
            signed(rows, |cells| derivative(cells)?.index_price),
            collected::<UInt32Array, _>(rows.iter().map(|row| Some(derivative(&row.cells)?.price_decimals))),
            signed(rows, |cells| derivative(cells)?.funding_rate),
            collected::<UInt32Array, _>(rows.iter().map(|row| Some(derivative(&row.cells)?.rate_decimals))),
            time(rows.iter().map(|row| {
                derivative(&row.cells).map(|derivative| derivative.next_funding_time).filter(|time| *time > 0)
            })),
            unsigned(rows, |cells| derivative(cells)?.open_interest),
        ],
    }
}

fn state(state: TradingState) -> &'static str {
    match state {
        TradingState::PreOpen => "pre_open",
        TradingState::Open => "open",
        TradingState::Auction => "auction",
        TradingState::Halted => "halted",
        TradingState::Closed => "closed",
        _ => "unknown",
    }
}

/// Returns the columns of a channel; prices and sizes carry their decimals.
pub(crate) fn schema(channel: Channel, definition: &Instrument) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let decimals = |decimals: u32| HashMap::from([("decimals".to_owned(), decimals.to_string())]);
    let price = |name: &str| {
        Field::new(name, DataType::Int64, true).with_metadata(decimals(definition.price_decimals))
    };
    let size = |name: &str| {
        Field::new(name, DataType::UInt64, true).with_metadata(decimals(definition.size_decimals))
    };
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let own = match channel {
        Channel::Trade => vec![
            price("price"),
            size("size"),
            text("aggressor"),
            Field::new("id", DataType::UInt64, true),
            text("id_text"),
        ],
        Channel::Quote => vec![price("bid_price"), size("bid_size"), price("ask_price"), size("ask_size")],
        Channel::Book => vec![
            Field::new("change", DataType::UInt64, true),
            Field::new("is_snapshot", DataType::Boolean, true),
            text("side"),
            price("price"),
            size("size"),
        ],
        Channel::Status => vec![text("state"), text("reason")],
        _ => vec![
            Field::new("mark_price", DataType::Int64, true),
            Field::new("index_price", DataType::Int64, true),
            Field::new("price_decimals", DataType::UInt32, true),
            Field::new("funding_rate", DataType::Int64, true),
            Field::new("rate_decimals", DataType::UInt32, true),
            Field::new("next_funding_time", time.clone(), true),
            size("open_interest"),
        ],
    };
    let times = ["receive_time", "event_time"].map(|name| Field::new(name, time.clone(), true));
    let gaps =
        [Field::new("is_gap", DataType::Boolean, false), Field::new("missing", DataType::UInt64, true)];
    Arc::new(Schema::new(times.into_iter().chain(own).chain(gaps).collect::<Vec<_>>()))
}
