//! A recorded stream as Arrow's streaming IPC format, while it comes: one channel, all of its instruments.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tickwire_feed::adapter::{Levels, MarketBody, MarketEvent};
use tickwire_recordings::said::{Fixed, FixedLevel, Said, What};
use tickwire_recordings::source::Entry;
use tickwire_recordings::stream;
use tickwire_wire::{Channel, Instrument, Level, Quote, Trade};

use crate::exported::Exported;
use crate::rows::{Rows, schema};

/// The rows of a batch, at most.
const ROWS_MAX: usize = 8 << 10;
/// The longest time for which a row waits for others.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// The turns that wait between the reader and the writer.
const TURNS_MAX: usize = 64;

/// The reason why a stream cannot be written any further.
#[derive(Debug, thiserror::Error)]
pub enum ArrowStreamError {
    /// The input is no recorded stream.
    #[error("the input cannot be read: {0}")]
    Input(String),
    /// The channel has no columns here.
    #[error("channel {0} has no form in Arrow: choose one of trade, quote, book, status, derivative")]
    Channel(&'static str),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] ArrowError),
}

/// The columns of an instrument, beside those of its channel.
#[derive(Default)]
struct Names {
    symbols: Vec<String>,
    /// The decimals of prices and sizes.
    decimals: Vec<(u32, u32)>,
}

/// A turn of the reader: entries, and the names of instruments that are new.
struct Turn {
    entries: Vec<Entry>,
    symbols: Vec<String>,
}

/// Reads a stream as `tickwire tap --record` writes it, and writes what it says of a channel, until it ends.
///
/// # Errors
/// The input is no such stream, the channel has no columns, or the output cannot be written.
pub fn arrow(
    input: impl Read + Send + 'static,
    channel: Channel,
    out: impl Write,
) -> Result<Exported, ArrowStreamError> {
    if !matches!(
        channel,
        Channel::Trade | Channel::Quote | Channel::Book | Channel::Status | Channel::Derivative
    ) {
        return Err(ArrowStreamError::Channel(channel.name()));
    }
    let schema = with_names(&schema(channel, &Instrument::default()));
    // The columns are there before the first row, so a reader can begin.
    let mut writer = StreamWriter::try_new(out, &schema)?;
    writer.flush()?;
    let (sender, turns) = mpsc::sync_channel(TURNS_MAX);
    let reading = std::thread::spawn(move || read(input, &sender));
    let mut pending = Pending::new(channel, schema);
    let mut since = None;
    loop {
        let turn = match since {
            None => turns.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => turns.recv_timeout(BATCH_TIME.saturating_sub(Instant::elapsed(&since))),
        };
        let is_over = match turn {
            Ok(turn) => {
                pending.take(turn);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let is_due = since.is_some_and(|since: Instant| since.elapsed() >= BATCH_TIME);
        if pending.rows.len() > 0 && (is_over || is_due || pending.rows.len() >= ROWS_MAX) {
            writer.write(&pending.batch()?)?;
            writer.flush()?;
        }
        since = if pending.rows.len() == 0 { None } else { since.or_else(|| Some(Instant::now())) };
        if is_over {
            break;
        }
    }
    writer.finish()?;
    match reading.join() {
        Ok(Ok(())) => Ok(pending.exported),
        Ok(Err(reason)) => Err(ArrowStreamError::Input(reason)),
        Err(_) => Err(ArrowStreamError::Input("its reader failed".to_owned())),
    }
}

/// Reads to the end, or until nobody takes it any more.
fn read(input: impl Read + Send + 'static, turns: &SyncSender<Turn>) -> Result<(), String> {
    let mut source = stream::source(Box::new(input))?;
    let mut known = 0;
    loop {
        let mut entries = Vec::new();
        let goes_on = source.read(&mut entries);
        let symbols = source.symbols()[known..].iter().map(|symbol| symbol.name.clone()).collect::<Vec<_>>();
        known += symbols.len();
        if turns.send(Turn { entries, symbols }).is_err() || !goes_on {
            return Ok(());
        }
    }
}

/// The rows of the next batch, with the instrument of each.
struct Pending {
    channel: Channel,
    schema: SchemaRef,
    rows: Rows,
    of: Vec<u32>,
    names: Names,
    change: u64,
    exported: Exported,
}

impl Pending {
    fn new(channel: Channel, schema: SchemaRef) -> Self {
        Self {
            channel,
            schema,
            rows: Rows::default(),
            of: Vec::new(),
            names: Names::default(),
            change: 0,
            exported: Exported::default(),
        }
    }

    fn take(&mut self, turn: Turn) {
        self.names.decimals.resize(self.names.symbols.len() + turn.symbols.len(), (0, 0));
        self.names.symbols.extend(turn.symbols);
        for entry in turn.entries {
            match entry {
                Entry::Said(said) if said.what.channel() == self.channel => self.said(said),
                Entry::Fault(..) => self.exported.faults += 1,
                Entry::Said(_) | Entry::Unused(_) => {}
            }
        }
    }

    fn said(&mut self, said: Said) {
        let Said { symbol, receive_time, event_time, what } = said;
        if let What::Gap { count, .. } = &what {
            self.exported.gaps += 1;
            self.exported.missing += count.unwrap_or(0);
            self.exported.unknown_gaps += u64::from(count.is_none());
        }
        if let Some(decimals) = self.names.decimals.get_mut(symbol as usize) {
            // A stream states all numbers of an instrument at its scale.
            what.numbers(
                |price| decimals.0 = u32::from(price.decimals),
                |size| decimals.1 = u32::from(size.decimals),
            );
        }
        let Some(body) = body(what) else { return };
        self.rows.take(MarketEvent { index: symbol, event_time, receive_time, body }, &mut self.change);
        self.exported.rows += (self.rows.len() - self.of.len()) as u64;
        self.of.resize(self.rows.len(), symbol);
    }

    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let own: Vec<_> = self.schema.fields().iter().skip(3).cloned().collect();
        let own = self.rows.batch(self.channel, &Arc::new(Schema::new(own)))?;
        let of = std::mem::take(&mut self.of);
        let name = |symbol: &u32| self.names.symbols.get(*symbol as usize).map(String::as_str);
        let decimals = |symbol: &u32| self.names.decimals.get(*symbol as usize).copied().unwrap_or_default();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(of.iter().map(name).collect::<StringArray>()),
            Arc::new(of.iter().map(|symbol| Some(decimals(symbol).0)).collect::<UInt32Array>()),
            Arc::new(of.iter().map(|symbol| Some(decimals(symbol).1)).collect::<UInt32Array>()),
        ];
        columns.extend(own.columns().iter().cloned());
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// Puts the columns of the instrument in front of those of a channel.
fn with_names(own: &SchemaRef) -> SchemaRef {
    let names = [
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price_scale", DataType::UInt32, false),
        Field::new("size_scale", DataType::UInt32, false),
    ];
    // The decimals are those of each row.
    let own = own
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_metadata(std::collections::HashMap::new()));
    Arc::new(Schema::new(names.into_iter().chain(own).collect::<Vec<_>>()))
}

/// Takes the digits of all numbers as they stand.
fn body(what: What) -> Option<MarketBody> {
    let size = |size: Fixed| u64::try_from(size.mantissa).unwrap_or(0);
    let level = |level: FixedLevel| Level { price: level.price.mantissa, size: size(level.size) };
    let levels = |levels: tickwire_recordings::said::FixedLevels| Levels {
        bids: levels.bids.into_iter().map(level).collect(),
        asks: levels.asks.into_iter().map(level).collect(),
    };
    Some(match what {
        What::Trade { price, size: of, aggressor, id, id_text } => MarketBody::Trade(Trade {
            price: price.mantissa,
            size: size(of),
            aggressor: aggressor as i32,
            id,
            id_text,
        }),
        What::Quote { bid, ask } => MarketBody::Quote(Quote { bid: bid.map(level), ask: ask.map(level) }),
        What::Book(all) => MarketBody::BookSnapshot(levels(all)),
        What::Change(changed) => MarketBody::BookDelta(levels(changed)),
        What::Status(status) => MarketBody::Status(status),
        What::Derivative(derivative, open_interest) => {
            let open_interest = open_interest.map(size);
            MarketBody::Derivative(tickwire_wire::Derivative { open_interest, ..*derivative })
        }
        What::Gap { channel, count } => MarketBody::UpstreamGap { channel, count },
        What::OpenInterest(_) | What::MarkPrice(_) => return None,
    })
}
