//! `tickwire tap`: shows or records a stream.

mod arrow;
mod board;
mod csv_rows;
mod json_lines;
mod live;
mod progress;
mod read;
mod recorder;
mod recording;
mod refusals;
mod screen;
mod show;
mod sink;
mod tally;
mod view;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tickwire_wire::{Channel, Encoding};

use self::show::Form;
use crate::arguments::{channel, duration};
use crate::cli::{Settings, Usage};
use crate::stop;
use crate::trust::TrustFlags;

const FORMS: &str = "\
Forms:
  On a terminal: a table that refreshes in place. q or Ctrl-C ends it, arrow
  keys scroll. With one symbol and its book, a ladder of the book. Dead prices
  are dimmed and marked, never shown as live.

  Elsewhere, and with --csv: CSV. One header for all channels, one row per
  record, and in a book one row per level (size 0 removes the level; `state`
  says whether it is a snapshot or a change). Prices and sizes are exact
  decimals; times are nanoseconds since the Unix epoch. Beside records there are
  rows of the types `gap`, `connection`, `feed`, `book_state`, `ended`, `refused`,
  `notice` and `error`.

  With --json: one object a line. Records are as in the JSON encoding of the
  protocol; beside them the types `hello`, `connected`, `disconnected`, `mute`,
  `feed`, `book_broken`, `book_repaired`, `subscribed`, `ended`, `gap`,
  `notice`, `identity`, `ledger` and `error`.

  With --record alone: nothing on standard output, progress on standard error.

Examples:
  tickwire tap 'sim:*'
  tickwire tap --channel book,trade sim:BTC-USD
  tickwire tap --json --count 100 --channel quote,trade binance:BTCUSDT | jq .
  tickwire tap --record morning.tw --for 10m --channel quote,trade 'binance:*'
  tickwire tap --read morning.tw --csv binance:BTCUSDT > btc.csv
  tickwire tap --channel trade 'binance:*' --arrow trades.arrows
  tickwire tap --url wss://feed.example/v1/stream --ca-file ca.pem 'sim:*'
  tickwire tap --ledger --for 10s --json 'sim:*' > /dev/null

Exit status:
  0  ended as asked: count, duration, Ctrl-C, q, the reader went away, or all
     symbols have ended
  1  no connection, all symbols refused, closed with a code that must not be
     retried, a damaged file, or a ledger that does not add up
  2  wrong command line";

/// The options of `tickwire tap`.
#[derive(Debug, Args)]
#[command(after_help = FORMS)]
pub(crate) struct TapCommand {
    /// Symbols to subscribe to: `venue:SYMBOL`, or `venue:*` for all of a venue; with --read: symbols to show of the file
    #[arg(value_name = "SYMBOL", required_unless_present = "read")]
    pub(crate) symbols: Vec<String>,
    /// Gateway; may be given several times: they are tried in turn
    #[arg(
        long = "url",
        value_name = "URL",
        env = "TICKWIRE_URL",
        value_delimiter = ',',
        default_value = "ws://127.0.0.1:7400/v1/stream"
    )]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    /// File with a token or an API key, which is read again before the token ends; without it the variable TICKWIRE_TOKEN
    #[arg(long, value_name = "FILE", conflicts_with = "read")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show the token in the first message, not in a header: for proxies that lose it
    #[arg(long, conflicts_with = "read")]
    pub(crate) token_by_message: bool,
    /// quote, trade, book, bar, stat, status, instrument; several with commas [default: quote; with --read: all]
    #[arg(long = "channel", value_name = "CHANNEL", value_delimiter = ',', value_parser = channel)]
    pub(crate) channels: Vec<Channel>,
    /// Encoding of records: proto, msgpack, json
    #[arg(long, value_name = "ENCODING", default_value = "proto", value_parser = encoding)]
    pub(crate) encoding: Encoding,
    /// Updates per second of each subscription, at most, on conflated channels
    #[arg(long, value_name = "UPDATES", value_parser = rate)]
    pub(crate) max_rate: Option<f64>,
    /// Data at most once in this many milliseconds, fewer and larger messages: 16 for a screen
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) window_ms: Option<u16>,
    /// A heartbeat after this much silence in milliseconds, instead of the gateway's own
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(250..=60_000))]
    pub(crate) heartbeat_ms: Option<u32>,
    /// End after this many records
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time since the connection: 500ms, 10s, 5m, 1h30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "read")]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    shown: FormFlags,
    /// Record into this file, which must not exist: Protobuf frames one after another, which together are one frame
    #[arg(long, value_name = "FILE", conflicts_with = "read")]
    pub(crate) record: Option<PathBuf>,
    /// Show a file that --record wrote; no gateway is needed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "wait", "max_rate", "window_ms", "heartbeat_ms"])]
    pub(crate) read: Option<PathBuf>,
    /// Ask the gateway at the end what became of every record, and check it against what came
    #[arg(long)]
    pub(crate) ledger: bool,
    /// Wait for the gateway, and for symbols that it will have later
    #[arg(long)]
    pub(crate) wait: bool,
}

/// The ways to show a stream.
#[derive(Debug, Args)]
struct FormFlags {
    /// One JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// CSV with one header
    #[arg(long)]
    csv: bool,
    /// Arrow IPC of one channel into this file, `-` for standard output; tickwire-export has to lie beside tickwire
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    arrow: Option<PathBuf>,
}

impl TapCommand {
    /// Returns the form in which the stream is shown.
    fn form(&self, is_terminal: bool) -> Form {
        if self.shown.arrow.is_some() {
            return Form::Arrow;
        }
        match (self.shown.json, self.shown.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ if self.record.is_some() => Form::Nothing,
            _ if is_terminal => Form::Table,
            _ => Form::Csv,
        }
    }
}

impl TapCommand {
    /// Returns the channel that is written as Arrow, and where.
    ///
    /// # Errors
    /// Several channels have several tables, and some have no columns.
    fn arrow(&self) -> Result<Option<(Channel, &Path)>, Usage> {
        let Some(file) = &self.shown.arrow else { return Ok(None) };
        let channel = match self.channels[..] {
            [] if self.read.is_none() => Channel::Quote,
            [channel] => channel,
            _ => return Err(Usage("--arrow writes one table: choose one channel with --channel".to_owned())),
        };
        let has_columns = !matches!(channel, Channel::Bar | Channel::Stat | Channel::Instrument);
        if has_columns {
            return Ok(Some((channel, file)));
        }
        let known = "trade, quote, book, status, derivative";
        Err(Usage(format!("channel {} cannot be written as Arrow; known: {known}", channel.name())))
    }
}

/// Runs until what was asked for has come, the user ends it, or it cannot go on.
pub(crate) async fn run(settings: &Settings, command: TapCommand) -> anyhow::Result<()> {
    settings.load(&[])?;
    let stop = stop::on_signal()?;
    let form = command.form(std::io::stdout().is_terminal());
    command.arrow()?;
    match &command.read {
        Some(file) => read::run(file, &command, form, &stop).await,
        None => live::run(&command, form, &stop).await,
    }
}

fn encoding(name: &str) -> Result<Encoding, String> {
    Encoding::from_name(name)
        .ok_or_else(|| format!("known: {}", Encoding::ALL.map(Encoding::name).join(", ")))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("write updates per second, as in 10 or 0.5; 0: as many as can be taken".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        tap: TapCommand,
    }

    #[track_caller]
    fn check(line: &str, expected: Result<(Form, Form), &str>) {
        let parsed = Line::try_parse_from(std::iter::once("tap").chain(line.split_whitespace()));
        match (parsed, expected) {
            (Ok(line), Ok(forms)) => assert_eq!((line.tap.form(true), line.tap.form(false)), forms),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (parsed, _) => panic!("{parsed:?}"),
        }
    }

    #[test]
    fn command_lines() {
        check("sim:A", Ok((Form::Table, Form::Csv)));
        check("sim:A --json", Ok((Form::Json, Form::Json)));
        check("sim:A --csv --channel quote,trade", Ok((Form::Csv, Form::Csv)));
        check("sim:A --record f", Ok((Form::Nothing, Form::Nothing)));
        check("sim:A --record f --json", Ok((Form::Json, Form::Json)));
        check("--read f", Ok((Form::Table, Form::Csv)));
        check("", Err("SYMBOL"));
        check("sim:A --json --csv", Err("cannot be used with"));
        check("sim:A --channel quotes", Err("known: quote, trade"));
        check("sim:A --encoding xml", Err("known: proto, msgpack, json"));
        check("sim:A --max-rate=-1", Err("updates per second"));
        check("sim:A --for 1h30m", Ok((Form::Table, Form::Csv)));
        for time in ["10", "s", "1.2.3s", "99999999999999999999h", "0s"] {
            check(&format!("sim:A --for {time}"), Err("write a number and a unit"));
        }
        check("sim:A --count 0", Err("--count"));
        check("--read f --record g", Err("cannot be used with"));
    }

    #[test]
    fn urls_may_be_several() {
        let line = Line::try_parse_from(["tap", "--url", "ws://a", "--url", "ws://b", "sim:A"]).unwrap();
        assert_eq!(line.tap.urls, ["ws://a", "ws://b"]);
    }
}
