//! The ways in which events are shown.

use std::io::{self, Write as _};
use std::path::Path;

use tickwire_client::Event;
use tickwire_wire::Channel;

use super::arrow::ArrowOut;
use super::csv_rows::CsvRows;
use super::json_lines;
use super::screen::Screen;
use crate::printing::Output;

/// The form in which a stream is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
    Csv,
    Arrow,
    Nothing,
}

/// A form with what it writes to.
pub(super) enum Show {
    Table(Box<Screen>),
    Json(Output),
    Csv(Box<CsvRows<Output>>),
    Arrow(Box<ArrowOut>),
    Nothing,
}

impl Show {
    /// Starts the form: writes the header, or takes over the terminal.
    pub(super) fn open(form: Form, arrow: Option<(Channel, &Path)>) -> io::Result<Self> {
        Ok(match form {
            Form::Table => Self::Table(Box::new(Screen::open()?)),
            Form::Json => Self::Json(Output::new()),
            Form::Csv => Self::Csv(Box::new(CsvRows::new(Output::new())?)),
            Form::Arrow => {
                let (channel, file) = arrow.ok_or(io::ErrorKind::InvalidInput)?;
                Self::Arrow(Box::new(ArrowOut::start(channel, file)?))
            }
            Form::Nothing => Self::Nothing,
        })
    }

    /// `now` is in nanoseconds since the Unix epoch.
    pub(super) fn event(&mut self, event: &Event, sent_time: Option<u64>, now: u64) -> io::Result<()> {
        match self {
            Self::Table(screen) => {
                screen.board.event(event, sent_time, now);
                Ok(())
            }
            Self::Json(out) => json_lines::write(out, event),
            Self::Csv(rows) => rows.write(event, sent_time),
            Self::Arrow(out) => {
                out.event(event, sent_time);
                Ok(())
            }
            Self::Nothing => Ok(()),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Json(out) => out.flush(),
            Self::Csv(rows) => rows.flush(),
            Self::Arrow(out) => out.flush(),
            Self::Table(_) | Self::Nothing => Ok(()),
        }
    }

    /// Returns whether it is a table: only that covers what is written to standard error.
    pub(super) fn is_table(&self) -> bool {
        matches!(self, Self::Table(_))
    }
}

/// Returns the word for an enum's value: `halted` for `TRADING_STATE_HALTED`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}
