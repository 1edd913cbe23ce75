//! Writes a stream as Protobuf frames, one after another. Frames concatenate, so the file is one valid `Frame`.
//!
//! Every session begins with its `Hello`, and the `Subscribed` responses tell names and scales, so the file explains
//! itself. What the wire has no message for becomes a `Notice` of a code that gateways do not use: `disconnected`,
//! `book_broken`, `book_repaired`.
//!
//! Whole batches are handed to the kernel: a process that is killed leaves a file that ends with a whole record.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tickwire_client::{Event, GapEvent, State};
use tickwire_wire::{
    Body, Encoding, Feed, Gap, Heartbeat, Message, Notice, Record, Refused, Scale, Subscribed, encode_message,
};

/// Bytes that wait for the kernel; besides, all that waits goes once a second.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// A recording on its way to a file.
pub(super) struct Recorder {
    path: PathBuf,
    file: Box<dyn Write + Send>,
    encoder: Encoder,
    waiting: Vec<u8>,
    bytes: u64,
    records: u64,
}

impl Recorder {
    /// Starts a new file.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be made.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                "{} exists already and is left as it is: give --record another name, or remove it first",
                path.display()
            ),
            _ => anyhow::anyhow!("{} cannot be written: {error}; check folder and rights", path.display()),
        })?;
        Ok(Self::to(path, Box::new(file)))
    }

    /// Starts a recording into something that is called so.
    pub(super) fn to(name: &Path, file: Box<dyn Write + Send>) -> Self {
        let (encoder, waiting) = (Encoder::default(), Vec::new());
        Self { path: name.to_owned(), file, encoder, waiting, bytes: 0, records: 0 }
    }

    pub(super) fn event(&mut self, event: &Event, sent_time: Option<u64>) {
        self.records += u64::from(matches!(event, Event::Record(_)));
        self.encoder.event(event, sent_time, &mut self.waiting);
    }

    /// Ends a batch: the place where the file may end.
    pub(super) fn end_batch(&mut self, sent_time: Option<u64>) -> anyhow::Result<()> {
        if let Some(time) = sent_time {
            tickwire_wire::encode_sent_time(Encoding::Proto, time, &mut self.waiting);
        }
        if self.waiting.len() >= WAITING_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the kernel.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.write_waiting();
        written.with_context(|| format!("{} cannot be written any further", self.path.display()))
    }

    pub(super) fn write_waiting(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.waiting)?;
        self.bytes += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Ends a batch and hands it over.
    pub(super) fn hand_over(&mut self, sent_time: Option<u64>) -> std::io::Result<()> {
        if let Some(time) = sent_time {
            tickwire_wire::encode_sent_time(Encoding::Proto, time, &mut self.waiting);
        }
        self.write_waiting()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes of the file, those that wait included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.waiting.len() as u64
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }
}

/// The code of a refusal that says that an instrument ended.
pub(super) const ENDED: &str = "ended";

/// Turns events into the messages that they came from.
#[derive(Default)]
struct Encoder {
    /// A file begins with a `Hello`, whatever was said before there was a session.
    has_begun: bool,
    /// Gap events name the symbol only.
    instruments: HashMap<String, u32>,
}

impl Encoder {
    fn event(&mut self, event: &Event, sent_time: Option<u64>, out: &mut Vec<u8>) {
        self.has_begun |= matches!(event, Event::State(State::Connected { .. }));
        if self.has_begun
            && let Some(message) = self.message(event, sent_time)
        {
            encode_message(Encoding::Proto, &message, &Scale::default(), out);
        }
    }

    fn message(&mut self, event: &Event, sent_time: Option<u64>) -> Option<Message> {
        Some(match event {
            Event::Record(update) => Message::Record(update.record.clone()),
            Event::Gap(gap) => Message::Record(self.gap(gap)?),
            Event::Subscribed(outcome) => {
                let names =
                    outcome.granted.iter().map(|granted| (granted.symbol.clone(), granted.instrument));
                self.instruments.extend(names);
                let (granted, refused) = (outcome.granted.clone(), outcome.refused.clone());
                Message::Subscribed(Subscribed { id: 0, granted, refused })
            }
            Event::Notice(notice) => Message::Notice(notice.clone()),
            Event::Ledger(ledger) => Message::Ledger(ledger.clone()),
            Event::Rejected(error) => Message::Error(error.clone()),
            Event::State(State::Connected { hello, .. }) => Message::Hello(hello.as_ref().clone()),
            Event::State(State::Disconnected { reason, .. }) => notice("disconnected", reason.to_string()),
            Event::State(State::BookBroken { scale, reason }) => {
                notice("book_broken", format!("{}: {reason}", scale.symbol))
            }
            Event::State(State::BookRepaired { scale }) => notice("book_repaired", scale.symbol.clone()),
            Event::State(State::Ended { scale, channel, reason, returns }) => {
                let refused = Refused {
                    channel: *channel as i32,
                    symbol: scale.symbol.clone(),
                    code: ENDED.to_owned(),
                    message: reason.clone(),
                    may_retry: *returns,
                };
                Message::Subscribed(Subscribed { id: 0, granted: Vec::new(), refused: vec![refused] })
            }
            Event::State(State::Feed { venue, state, since, reason, book_proof }) => {
                let (venue, reason, book_proof) = (venue.to_string(), reason.clone(), *book_proof as i32);
                let feed = Feed { venue, state: *state as i32, since: *since, reason, book_proof };
                let time = sent_time.unwrap_or(*since);
                Message::Heartbeat(Heartbeat { time, feeds: vec![feed], positions: Vec::new() })
            }
            _ => return None,
        })
    }

    fn gap(&self, gap: &GapEvent) -> Option<Record> {
        let body = Gap {
            channel: gap.channel as i32,
            cause: gap.cause as i32,
            first_sequence: gap.first,
            last_sequence: gap.last.unwrap_or(0),
            epoch: gap.epoch,
        };
        Some(Record {
            instrument: *self.instruments.get(&gap.scale.symbol)?,
            sequence: body.last_sequence,
            event_time: 0,
            receive_time: 0,
            body: Body::Gap(body),
        })
    }
}

fn notice(code: &str, message: String) -> Message {
    Message::Notice(Notice { code: code.to_owned(), message, ..Notice::default() })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use tickwire_client::{Disconnect, Outcome, Update};
    use tickwire_wire::{
        Bar, Book, BookProof, Channel, Derivative, Error, FeedState, Gap, GapCause, Granted, Hello,
        Instrument, Ledger, Level, Quote, Side, Stat, Status, Trade, TradingState,
    };

    use super::*;

    pub(in crate::tap) fn scale() -> Arc<Scale> {
        Arc::new(Scale { symbol: "sim:A B".to_owned(), price_decimals: 2, size_decimals: 3 })
    }

    pub(in crate::tap) fn record(sequence: u64, body: Body) -> Event {
        let record = Record { instrument: 3, sequence, event_time: 1000, receive_time: 1500, body };
        Event::Record(Update::new(record, scale()))
    }

    pub(in crate::tap) fn level(price: i64, size: u64) -> Level {
        Level { price, size }
    }

    pub(in crate::tap) fn quote(sequence: u64) -> Event {
        record(sequence, Body::Quote(Quote { bid: Some(level(9950, 1000)), ask: Some(level(10_000, 20)) }))
    }

    pub(in crate::tap) fn gap(channel: Channel, first: u64, last: Option<u64>, cause: GapCause) -> Event {
        let (channel, cause, last_sequence) = (channel as i32, cause as i32, last.unwrap_or(0));
        let gap = Gap { channel, cause, first_sequence: first, last_sequence, epoch: 5 };
        Event::Gap(GapEvent::announced(scale(), &gap))
    }

    pub(in crate::tap) fn connected() -> Event {
        let hello = Hello { session: "s-1".to_owned(), protocol_version: 1, ..Hello::default() };
        Event::State(State::Connected { address: "127.0.0.1:7400".to_owned(), hello: Arc::new(hello) })
    }

    pub(in crate::tap) fn disconnected() -> Event {
        let reason = Disconnect::Closed { code: Some(1001), text: "draining".to_owned() };
        Event::State(State::Disconnected { reason, retry_in: None })
    }

    pub(in crate::tap) fn granted(channel: Channel, sequence: u64) -> Granted {
        Granted {
            channel: channel as i32,
            symbol: "sim:A B".to_owned(),
            instrument: 3,
            price_decimals: 2,
            size_decimals: 3,
            max_rate: 0.0,
            epoch: 5,
            sequence,
            delay_ms: 0,
            depth: 0,
        }
    }

    pub(in crate::tap) fn subscribed(channels: &[Channel]) -> Event {
        let granted = channels.iter().map(|channel| granted(*channel, 6)).collect();
        Event::Subscribed(Outcome::new(granted, Vec::new()))
    }

    pub(in crate::tap) fn refused(symbol: &str, may_retry: bool) -> Refused {
        Refused {
            channel: Channel::Quote as i32,
            symbol: symbol.to_owned(),
            code: "unknown_symbol".to_owned(),
            message: "there is no `NOPE`".to_owned(),
            may_retry,
        }
    }

    pub(in crate::tap) fn ended(channel: Channel, returns: bool) -> Event {
        let reason = "it expired".to_owned();
        Event::State(State::Ended { scale: scale(), channel, reason, returns })
    }

    pub(in crate::tap) fn feed(state: FeedState, reason: &str) -> Event {
        let (venue, reason, book_proof) = ("sim".into(), reason.to_owned(), BookProof::Chain);
        Event::State(State::Feed { venue, state, since: 77, reason, book_proof })
    }

    /// Returns events of every kind, as a session would have them.
    pub(in crate::tap) fn every_kind_of_event() -> Vec<Event> {
        let bar = Bar {
            interval: 1_000_000_000,
            open_time: 5000,
            open: 100,
            high: 200,
            low: 50,
            close: 150,
            volume: 100,
            trades: 3,
            closed: true,
            ..Bar::default()
        };
        let instrument = Instrument {
            venue: "sim".to_owned(),
            symbol: "A B".to_owned(),
            price_decimals: 2,
            size_decimals: 3,
            tick_size: 5,
            lot_size: 10,
            ..Instrument::default()
        };
        let book = Book {
            first_sequence: 4,
            bids: vec![level(9950, 1000)],
            asks: vec![level(10_000, 0)],
            ..Book::default()
        };
        let trade = Trade {
            price: -37,
            size: 12_345,
            aggressor: Side::Sell as i32,
            id: 0,
            id_text: "t-1".to_owned(),
        };
        let derivative = Derivative {
            mark_price: Some(6_183_832_456_789),
            index_price: Some(6_184_012_300_000),
            price_decimals: 8,
            funding_rate: Some(-12_500),
            rate_decimals: 8,
            next_funding_time: 1_767_628_800_000_000_000,
            open_interest: Some(1_000),
        };
        let stat = Stat { since: 1, last: Some(150), volume: 100, trades: 3, ..Stat::default() };
        let status = Status { state: TradingState::Halted as i32, reason: "news, pending".to_owned() };
        let outcome = Outcome::new(
            Channel::ALL.map(|channel| granted(channel, 6)).to_vec(),
            vec![refused("sim:NOPE", false)],
        );
        let notice =
            Notice { code: "conflating".to_owned(), message: "slow".to_owned(), ..Notice::default() };
        let error = Error { id: 0, code: "bad_command".to_owned(), message: "no".to_owned() };
        vec![
            connected(),
            Event::Subscribed(outcome),
            feed(FeedState::Live, "started"),
            record(1, Body::Instrument(instrument)),
            quote(7),
            record(8, Body::Trade(trade)),
            record(9, Body::Book(book)),
            record(10, Body::Bar(bar)),
            record(11, Body::Stat(stat)),
            record(12, Body::Status(status)),
            record(13, Body::Derivative(derivative)),
            gap(Channel::Trade, 13, Some(20), GapCause::Shed),
            gap(Channel::Quote, 21, None, GapCause::Ingest),
            ended(Channel::Trade, false),
            Event::Notice(notice),
            Event::Ledger(Ledger { id: 9, entries: Vec::new() }),
            Event::Rejected(error),
            disconnected(),
        ]
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tw");
        std::fs::write(&path, "mine").unwrap();
        let error = Recorder::create(&path).err().unwrap().to_string();
        assert!(error.contains("a.tw exists already") && error.contains("another name"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    /// A recording is readable by anything that reads Protobuf.
    #[test]
    fn the_file_is_one_frame() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(&folder.path().join("a.tw")).unwrap();
        recorder.event(&disconnected(), None);
        for event in every_kind_of_event() {
            recorder.event(&event, Some(2000));
            recorder.end_batch(Some(2000)).unwrap();
        }
        recorder.flush().unwrap();
        let bytes = std::fs::read(recorder.path()).unwrap();
        assert_eq!(bytes.len() as u64, recorder.bytes());
        assert_eq!(recorder.records(), 8);
        let messages: Vec<_> =
            tickwire_wire::Batch::new(Encoding::Proto, &bytes).map(Result::unwrap).collect();
        assert_eq!(messages.len(), 18 * 2);
        assert!(matches!(messages[0], Message::Hello(_)));
    }
}
