//! Recordings as Parquet: one file for each channel, instrument and hour, with what is missing in the file itself.
//!
//! Prices and sizes are integers; each column says its decimals in its metadata. A gap is a row: `is_gap` is true, `missing` is
//! the number of events that are missing where it is known, and all else is empty. What a file lacks as a whole is in its
//! key-value metadata, so that a file that is copied elsewhere says it still.

mod arrow;
mod exported;
mod rows;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use arrow::{ArrowStreamError, arrow};
use arrow_schema::SchemaRef;
pub use exported::Exported;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tickwire_feed::adapter::{FeedEvent, MarketBody, MarketEvent};
use tickwire_wire::{Channel, Instrument};
use time::OffsetDateTime;

use crate::rows::{Rows, schema};

/// The rows that are written at a time.
const ROWS_MAX: usize = 32 << 10;
/// The rows of a row group: readers pass over whole groups by their times.
const GROUP_ROWS: usize = 256 << 10;
/// The files that are open at a time; one more ends the one that was written to longest ago.
const OPEN_MAX: usize = 256;
/// The characters of a symbol that a path may have as they are.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@');
const HOUR: u64 = 3_600_000_000_000;

/// The reason why an export cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The system refuses something.
    #[error("`{path}` cannot be written: {source}; check the folder, the rights and the space")]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// There is such a file already.
    #[error("`{0}` exists already and is left as it is; export to another folder, or remove it first")]
    Exists(PathBuf),
    /// The library refuses something.
    #[error("`{path}` cannot be written: {source}")]
    Parquet {
        /// The path.
        path: PathBuf,
        /// The error of the library.
        source: ParquetError,
    },
}

/// A writer of Parquet files.
pub struct Exporter {
    folder: PathBuf,
    /// The origin that every file names.
    origin: String,
    definitions: HashMap<u32, Instrument>,
    open: HashMap<(u32, Channel), Open>,
    turn: u64,
    exported: Exported,
}

/// A file that is written to.
struct Open {
    path: PathBuf,
    hour: u64,
    writer: ArrowWriter<File>,
    rows: Rows,
    schema: SchemaRef,
    /// The changes of the book in this file so far.
    change: u64,
    /// The counts of this file.
    told: Exported,
    last_turn: u64,
}

impl Exporter {
    /// Begins an export to a folder, which is made where it is not there. `origin` says in each file where it comes from.
    pub fn new(folder: &Path, origin: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            origin: origin.to_owned(),
            definitions: HashMap::new(),
            open: HashMap::new(),
            turn: 0,
            exported: Exported::default(),
        }
    }

    /// Takes what a source says.
    ///
    /// # Errors
    /// Something cannot be written. The files that are closed are whole, the others have the suffix `.part`.
    pub fn take(&mut self, event: FeedEvent) -> Result<(), ExportError> {
        match event {
            FeedEvent::Define { index, definition } => {
                self.definitions.insert(index, definition);
                Ok(())
            }
            FeedEvent::Market(event) => self.event(event),
            FeedEvent::Fault(_) => {
                self.exported.faults += 1;
                Ok(())
            }
            FeedEvent::End { .. } | FeedEvent::Source(_) | FeedEvent::Repeat => Ok(()),
        }
    }

    fn event(&mut self, event: MarketEvent) -> Result<(), ExportError> {
        let channel = channel(&event.body);
        let (key, hour) = ((event.index, channel), event.receive_time / HOUR);
        self.turn += 1;
        if self.open.get(&key).is_some_and(|open| open.hour != hour) {
            self.close(key)?;
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_MAX
                && let Some(oldest) =
                    self.open.iter().min_by_key(|(_, open)| open.last_turn).map(|(key, _)| *key)
            {
                self.close(oldest)?;
            }
            let open = self.begin(key, hour)?;
            self.open.insert(key, open);
        }
        let Some(open) = self.open.get_mut(&key) else { return Ok(()) };
        open.last_turn = self.turn;
        if let MarketBody::UpstreamGap { count, .. } = &event.body {
            open.told.gaps += 1;
            open.told.missing += count.unwrap_or(0);
            open.told.unknown_gaps += u64::from(count.is_none());
        }
        open.rows.take(event, &mut open.change);
        if open.rows.len() >= ROWS_MAX { open.write(channel) } else { Ok(()) }
    }

    fn begin(&self, (index, channel): (u32, Channel), hour: u64) -> Result<Open, ExportError> {
        let definition = self.definitions.get(&index).cloned().unwrap_or_default();
        let path = free_path(&self.folder, &definition, channel, hour);
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(|source| unwritable(folder, source))?;
        let file = File::create_new(part(&path)).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(part(&path)),
            _ => unwritable(&path, source),
        })?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("tickwire ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = schema(channel, &definition);
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|source| ExportError::Parquet { path: path.clone(), source })?;
        let (rows, told) = (Rows::default(), Exported::default());
        Ok(Open { path, hour, writer, rows, schema, change: 0, told, last_turn: self.turn })
    }

    fn close(&mut self, key: (u32, Channel)) -> Result<(), ExportError> {
        let Some(mut open) = self.open.remove(&key) else { return Ok(()) };
        open.write(key.1)?;
        let definition = self.definitions.get(&key.0).cloned().unwrap_or_default();
        let told = &open.told;
        let said = [
            ("venue", definition.venue.clone()),
            ("symbol", definition.symbol.clone()),
            ("channel", key.1.name().to_owned()),
            ("price_decimals", definition.price_decimals.to_string()),
            ("size_decimals", definition.size_decimals.to_string()),
            ("rows", told.rows.to_string()),
            ("gaps", told.gaps.to_string()),
            ("missing", told.missing.to_string()),
            ("gaps_of_unknown_size", told.unknown_gaps.to_string()),
            ("unreadable_places_so_far", self.exported.faults.to_string()),
            ("origin", self.origin.clone()),
        ];
        for (name, value) in said {
            open.writer.append_key_value_metadata(KeyValue::new(format!("tickwire.{name}"), value));
        }
        let path = open.path;
        open.writer.close().map_err(|source| ExportError::Parquet { path: path.clone(), source })?;
        std::fs::rename(part(&path), &path).map_err(|source| unwritable(&path, source))?;
        let exported = &mut self.exported;
        exported.files += 1;
        exported.rows += told.rows;
        exported.gaps += told.gaps;
        exported.missing += told.missing;
        exported.unknown_gaps += told.unknown_gaps;
        Ok(())
    }

    /// Closes all files, and returns what it came to.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn finish(mut self) -> Result<Exported, ExportError> {
        let keys: Vec<_> = self.open.keys().copied().collect();
        keys.into_iter().try_for_each(|key| self.close(key))?;
        Ok(self.exported)
    }
}

impl Open {
    fn write(&mut self, channel: Channel) -> Result<(), ExportError> {
        let wrong = |source| ExportError::Parquet { path: self.path.clone(), source };
        self.told.rows += self.rows.len() as u64;
        let batch = self.rows.batch(channel, &self.schema).map_err(|error| wrong(error.into()))?;
        self.writer.write(&batch).map_err(wrong)
    }
}

fn unwritable(path: &Path, source: io::Error) -> ExportError {
    ExportError::Unwritable { path: path.to_owned(), source }
}

/// Returns the channel whose file has an event.
fn channel(body: &MarketBody) -> Channel {
    match body {
        MarketBody::Trade(_) => Channel::Trade,
        MarketBody::Quote(_) => Channel::Quote,
        MarketBody::BookSnapshot(_) | MarketBody::BookDelta(_) => Channel::Book,
        MarketBody::Derivative(_) => Channel::Derivative,
        MarketBody::Status(_) => Channel::Status,
        MarketBody::UpstreamGap { channel, .. } => *channel,
    }
}

/// Returns a path that no file has: receive times that go back, and hours that were closed early, make a second one.
fn free_path(folder: &Path, definition: &Instrument, channel: Channel, hour: u64) -> PathBuf {
    let time = OffsetDateTime::from_unix_timestamp((hour * HOUR / 1_000_000_000) as i64);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let symbol = utf8_percent_encode(&definition.symbol, PATH);
    let folder = folder
        .join(format!("venue={}", definition.venue))
        .join(format!("channel={}", channel.name()))
        .join(format!("symbol={symbol}"));
    let stem = format!("{}T{:02}", time.date(), time.hour());
    let name = |number: u32| {
        if number == 0 { format!("{stem}.parquet") } else { format!("{stem}-{number}.parquet") }
    };
    let mut number = 0;
    loop {
        let path = folder.join(name(number));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

fn part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}
