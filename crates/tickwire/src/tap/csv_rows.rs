//! CSV: one header for all channels, so that a file can be read without knowing what was asked for.

use std::io::{self, Write};

use tickwire_client::{Event, GapEvent, State, Update, decimal_text, price_text, size_text};
use tickwire_wire::{Bar, Body, Book, Derivative, Level, Quote, Stat, Trade};

use super::show::word;

/// Declares the columns: their names in the header and their places in a row.
macro_rules! columns {
    ($($column:ident),*) => {
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        enum Column { $($column),* }

        const HEADER: &[&str] = &[$(stringify!($column)),*];
    };
}

columns! {
    r#type, symbol, sequence, first_sequence, event_time, receive_time, sent_time, bid_price, bid_size, ask_price,
    ask_size, side, price, size, id, interval, open_time, open, high, low, close, volume, trades, state, reason,
    explanation, mark_price, index_price, funding_rate, next_funding_time, open_interest
}

/// A row; what is not set stays empty.
struct Row(Vec<String>);

impl Row {
    fn new(kind: &str, symbol: &str, sent_time: Option<u64>) -> Self {
        let mut row = Self(vec![String::new(); HEADER.len()]);
        row.set(Column::r#type, kind);
        row.set(Column::symbol, symbol);
        row.put(Column::sent_time, sent_time);
        row
    }

    fn set(&mut self, column: Column, value: impl Into<String>) {
        self.0[column as usize] = value.into();
    }

    fn put(&mut self, column: Column, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.set(column, value.to_string());
        }
    }
}

/// Writes events as rows.
pub(super) struct CsvRows<W: Write>(csv::Writer<W>);

impl<W: Write> CsvRows<W> {
    /// Writes the header.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(HEADER.iter().map(|name| name.trim_start_matches("r#"))).map_err(reason)?;
        Ok(Self(writer))
    }

    pub(super) fn write(&mut self, event: &Event, sent_time: Option<u64>) -> io::Result<()> {
        match event {
            Event::Record(update) => self.record(update, sent_time),
            Event::Gap(gap) => self.row(&gap_row(gap, sent_time)),
            Event::State(state) => state_row(state, sent_time).map_or(Ok(()), |row| self.row(&row)),
            Event::Subscribed(outcome) => {
                for refused in &outcome.refused {
                    self.said("refused", &refused.symbol, &refused.code, &refused.message, sent_time)?;
                }
                Ok(())
            }
            Event::Notice(notice) => self.said("notice", "", &notice.code, &notice.message, sent_time),
            Event::Rejected(error) => self.said("error", "", &error.code, &error.message, sent_time),
            _ => Ok(()),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.0.write_record(&row.0).map_err(reason)
    }

    fn said(
        &mut self,
        kind: &str,
        symbol: &str,
        code: &str,
        text: &str,
        sent_time: Option<u64>,
    ) -> io::Result<()> {
        let mut row = Row::new(kind, symbol, sent_time);
        row.set(Column::state, code);
        row.set(Column::reason, text);
        self.row(&row)
    }

    fn record(&mut self, update: &Update, sent_time: Option<u64>) -> io::Result<()> {
        let record = &update.record;
        let mut row = Row::new(record.channel().name(), update.symbol(), sent_time);
        row.set(Column::sequence, record.sequence.to_string());
        row.set(Column::event_time, record.event_time.to_string());
        row.set(Column::receive_time, record.receive_time.to_string());
        match &record.body {
            Body::Quote(quote) => quote_cells(&mut row, update, *quote),
            Body::Trade(trade) => trade_cells(&mut row, update, trade),
            Body::Book(book) => return self.book(row, update, book),
            Body::Bar(bar) => bar_cells(&mut row, update, bar),
            Body::Stat(stat) => stat_cells(&mut row, update, stat),
            Body::Derivative(derivative) => derivative_cells(&mut row, update, derivative),
            Body::Status(status) => {
                row.set(Column::state, word(status.state().as_str_name(), "TRADING_STATE_"));
                row.set(Column::reason, status.reason.clone());
            }
            Body::Instrument(i) => {
                let steps = [
                    ("price_decimals", u64::from(i.price_decimals)),
                    ("size_decimals", u64::from(i.size_decimals)),
                ];
                let text = steps.map(|(name, value)| format!("{name}={value}")).join(" ");
                row.set(Column::price, price_text(&update.scale, i.tick_size as i64));
                row.set(Column::size, size_text(&update.scale, i.lot_size));
                row.set(Column::reason, text);
            }
            // Gaps are events of their own.
            Body::Gap(_) => return Ok(()),
            _ => {}
        }
        self.row(&row)
    }

    /// Writes a row for each level. A record without levels is a row too: an empty snapshot says that the book is empty.
    fn book(&mut self, mut row: Row, update: &Update, book: &Book) -> io::Result<()> {
        row.set(Column::state, if book.snapshot { "snapshot" } else { "change" });
        row.put(Column::first_sequence, (book.first_sequence > 0).then_some(book.first_sequence));
        if book.bids.is_empty() && book.asks.is_empty() {
            return self.row(&row);
        }
        let sides = [("bid", &book.bids), ("ask", &book.asks)];
        for (side, level) in
            sides.into_iter().flat_map(|(side, levels)| levels.iter().map(move |level| (side, level)))
        {
            row.set(Column::side, side);
            row.set(Column::price, update.price_text(level.price));
            row.set(Column::size, update.size_text(level.size));
            self.row(&row)?;
        }
        Ok(())
    }
}

/// Returns the writer's own error, so that a reader that went away is told from a full disk.
fn reason(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn quote_cells(row: &mut Row, update: &Update, quote: Quote) {
    let price = |level: Option<Level>| level.map(|level| update.price_text(level.price));
    let size = |level: Option<Level>| level.map(|level| update.size_text(level.size));
    row.put(Column::bid_price, price(quote.bid));
    row.put(Column::bid_size, size(quote.bid));
    row.put(Column::ask_price, price(quote.ask));
    row.put(Column::ask_size, size(quote.ask));
}

fn trade_cells(row: &mut Row, update: &Update, trade: &Trade) {
    row.set(Column::side, word(trade.aggressor().as_str_name(), "SIDE_"));
    row.set(Column::price, update.price_text(trade.price));
    row.set(Column::size, update.size_text(trade.size));
    row.set(Column::id, if trade.id > 0 { trade.id.to_string() } else { trade.id_text.clone() });
}

fn bar_cells(row: &mut Row, update: &Update, bar: &Bar) {
    row.set(Column::interval, bar.interval.to_string());
    row.set(Column::open_time, bar.open_time.to_string());
    row.set(Column::open, update.price_text(bar.open));
    row.set(Column::high, update.price_text(bar.high));
    row.set(Column::low, update.price_text(bar.low));
    row.set(Column::close, update.price_text(bar.close));
    row.set(Column::volume, update.size_text(bar.volume));
    row.set(Column::trades, bar.trades.to_string());
    let state = match (bar.correction, bar.closed) {
        (true, _) => "correction",
        (false, true) => "closed",
        (false, false) => "open",
    };
    row.set(Column::state, state);
    incomplete_cell(row, bar.incomplete);
}

fn incomplete_cell(row: &mut Row, is_incomplete: bool) {
    if is_incomplete {
        row.set(Column::reason, "incomplete");
    }
}

/// `close` is the last price so far, `open_time` the time from which the statistics count.
fn stat_cells(row: &mut Row, update: &Update, stat: &Stat) {
    let price = |price: Option<i64>| price.map(|price| update.price_text(price));
    row.set(Column::open_time, stat.since.to_string());
    row.put(Column::open, price(stat.open));
    row.put(Column::high, price(stat.high));
    row.put(Column::low, price(stat.low));
    row.put(Column::close, price(stat.last));
    row.set(Column::volume, update.size_text(stat.volume));
    row.set(Column::trades, stat.trades.to_string());
    incomplete_cell(row, stat.incomplete);
}

fn derivative_cells(row: &mut Row, update: &Update, derivative: &Derivative) {
    let number = |value: Option<i64>, decimals| value.map(|value| decimal_text(value, decimals));
    row.put(Column::mark_price, number(derivative.mark_price, derivative.price_decimals));
    row.put(Column::index_price, number(derivative.index_price, derivative.price_decimals));
    row.put(Column::funding_rate, number(derivative.funding_rate, derivative.rate_decimals));
    let time = derivative.next_funding_time;
    row.put(Column::next_funding_time, (time > 0).then_some(time));
    row.put(Column::open_interest, derivative.open_interest.map(|size| update.size_text(size)));
}

/// From `first_sequence` to `sequence`, which is empty where the end is not known.
fn gap_row(gap: &GapEvent, sent_time: Option<u64>) -> Row {
    let mut row = Row::new("gap", &gap.scale.symbol, sent_time);
    row.set(Column::first_sequence, gap.first.to_string());
    row.put(Column::sequence, gap.last);
    row.set(Column::state, word(gap.cause.as_str_name(), "GAP_CAUSE_"));
    row.set(Column::reason, gap.channel.name());
    row.set(Column::explanation, gap.explanation());
    row
}

fn state_row(state: &State, sent_time: Option<u64>) -> Option<Row> {
    let (kind, name, state, reason) = match state {
        State::Connected { address, hello } => {
            ("connection", "", "connected".to_owned(), format!("{address}, session {}", hello.session))
        }
        State::Disconnected { reason, .. } => {
            ("connection", "", "disconnected".to_owned(), reason.to_string())
        }
        State::Mute { silence } => {
            ("connection", "", "mute".to_owned(), format!("for {} ms", silence.as_millis()))
        }
        State::Feed { venue, state, reason, .. } => {
            ("feed", venue.as_ref(), word(state.as_str_name(), "FEED_STATE_"), reason.clone())
        }
        State::BookBroken { scale, reason } => {
            ("book_state", scale.symbol.as_str(), "broken".to_owned(), reason.clone())
        }
        State::BookRepaired { scale } => {
            ("book_state", scale.symbol.as_str(), "repaired".to_owned(), String::new())
        }
        State::Ended { scale, channel, reason, .. } => {
            ("ended", scale.symbol.as_str(), channel.name().to_owned(), reason.clone())
        }
        _ => return None,
    };
    let mut row = Row::new(kind, name, sent_time);
    row.set(Column::state, state);
    row.set(Column::reason, reason);
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::recorder::tests::{every_kind_of_event, quote, record};

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told_apart() {
        let mut rows = CsvRows::new(Gone).unwrap();
        let errors = (0..1000).filter_map(|sequence| rows.write(&quote(sequence), None).err());
        assert_eq!(errors.last().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn corrections_and_incomplete_bars_say_so() {
        let ends = |correction, closed, incomplete| {
            let bar = Bar { interval: 1, correction, closed, incomplete, ..Bar::default() };
            let mut out = Vec::new();
            let mut rows = CsvRows::new(&mut out).unwrap();
            rows.write(&record(1, Body::Bar(bar)), None).unwrap();
            drop(rows);
            let text = String::from_utf8(out).unwrap();
            let cells: Vec<_> = text.lines().last().unwrap().split(',').collect();
            (cells[Column::state as usize].to_owned(), cells[Column::reason as usize].to_owned())
        };
        let pair = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
        assert_eq!(ends(false, false, false), pair("open", ""));
        assert_eq!(ends(false, true, true), pair("closed", "incomplete"));
        assert_eq!(ends(true, true, false), pair("correction", ""));
    }

    #[test]
    fn every_kind_of_event_has_its_row() {
        let mut out = Vec::new();
        let mut rows = CsvRows::new(&mut out).unwrap();
        for event in every_kind_of_event() {
            rows.write(&event, Some(2000)).unwrap();
        }
        rows.flush().unwrap();
        drop(rows);
        let expected = "\
type,symbol,sequence,first_sequence,event_time,receive_time,sent_time,bid_price,bid_size,ask_price,ask_size,side,price,\
size,id,interval,open_time,open,high,low,close,volume,trades,state,reason,explanation,mark_price,index_price,funding_rate,next_funding_time,open_interest
connection,,,,,,2000,,,,,,,,,,,,,,,,,connected,\"127.0.0.1:7400, session s-1\",,,,,,
refused,sim:NOPE,,,,,2000,,,,,,,,,,,,,,,,,unknown_symbol,there is no `NOPE`,,,,,,
feed,sim,,,,,2000,,,,,,,,,,,,,,,,,live,started,,,,,,
instrument,sim:A B,1,,1000,1500,2000,,,,,,0.05,0.010,,,,,,,,,,,price_decimals=2 size_decimals=3,,,,,,
quote,sim:A B,7,,1000,1500,2000,99.50,1.000,100.00,0.020,,,,,,,,,,,,,,,,,,,,
trade,sim:A B,8,,1000,1500,2000,,,,,sell,-0.37,12.345,t-1,,,,,,,,,,,,,,,,
book,sim:A B,9,4,1000,1500,2000,,,,,bid,99.50,1.000,,,,,,,,,,change,,,,,,,
book,sim:A B,9,4,1000,1500,2000,,,,,ask,100.00,0.000,,,,,,,,,,change,,,,,,,
bar,sim:A B,10,,1000,1500,2000,,,,,,,,,1000000000,5000,1.00,2.00,0.50,1.50,0.100,3,closed,,,,,,,
stat,sim:A B,11,,1000,1500,2000,,,,,,,,,,1,,,,1.50,0.100,3,,,,,,,,
status,sim:A B,12,,1000,1500,2000,,,,,,,,,,,,,,,,,halted,\"news, pending\",,,,,,
derivative,sim:A B,13,,1000,1500,2000,,,,,,,,,,,,,,,,,,,,61838.32456789,61840.12300000,-0.00012500,1767628800000000000,1.000
gap,sim:A B,20,13,,,2000,,,,,,,,,,,,,,,,,shed,trade,\"the gateway dropped records, because this client reads too slowly; nothing brings them back\",,,,,
gap,sim:A B,,21,,,2000,,,,,,,,,,,,,,,,,ingest,quote,\"records were lost in the ingester, or it was replaced; what is shown is old until the next record, which is the newest\",,,,,
ended,sim:A B,,,,,2000,,,,,,,,,,,,,,,,,trade,it expired,,,,,,
notice,,,,,,2000,,,,,,,,,,,,,,,,,conflating,slow,,,,,,
error,,,,,,2000,,,,,,,,,,,,,,,,,bad_command,no,,,,,,
connection,,,,,,2000,,,,,,,,,,,,,,,,,disconnected,\"closed by the gateway: code 1001, draining\",,,,,,
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
