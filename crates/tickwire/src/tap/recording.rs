//! Reads a recording: a stream of Protobuf `Frame` fields, as `--record` writes it and as gateways send it.
//!
//! Only one record and one batch are held at a time, however long the file is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickwire_client::{Event, GapEvent, Outcome, State, Update};
use tickwire_recordings::stream::{self, Messages};
use tickwire_wire::{Body, BookProof, FeedState, Message, Record, Scale};

use super::recorder::ENDED;

/// Events of one batch, at most, where the file does not say that it ends.
const BATCH_EVENTS_MAX: usize = 4096;

/// The reason why a file cannot be read any further. What came before was handed out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("{} cannot be read: {reason}; check the path and the rights", .path.display())]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("{} is empty: nothing was recorded", .path.display())]
    Empty { path: PathBuf },
    #[error(
        "{}, byte 0: not a recording: {reason}; --read takes what `tickwire tap --record` wrote, and raw recordings of \
         venues play with `tickwire demo --replay`",
        .path.display()
    )]
    Foreign { path: PathBuf, reason: String },
    #[error(
        "{}, byte {offset}: the file ends within a record: it was cut off while it was written or copied; what comes \
         before is whole, and `head -c {offset}` keeps just that",
        .path.display()
    )]
    CutOff { path: PathBuf, offset: u64 },
    #[error(
        "{}, byte {offset}: damaged: {reason}; what comes before is whole, and `head -c {offset}` keeps just that, the \
         rest has to come from a copy",
        .path.display()
    )]
    Damaged { path: PathBuf, offset: u64, reason: String },
}

/// The events of one WebSocket message.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) events: Vec<Event>,
    /// Nanoseconds since the Unix epoch.
    pub(super) sent_time: Option<u64>,
}

/// A recording that is being read.
pub(super) struct Recording<R> {
    path: PathBuf,
    messages: Messages<R>,
    instruments: Instruments,
    /// A `Hello` begins a batch of its own.
    held: Option<Event>,
    damage: Option<Damage>,
}

impl Recording<BufReader<File>> {
    /// # Errors
    /// There is no such file.
    pub(super) fn open(path: &Path) -> Result<Self, Damage> {
        let file = File::open(path).map_err(|reason| Damage::Unreadable { path: path.to_owned(), reason })?;
        Ok(Self::new(path, BufReader::with_capacity(64 << 10, file)))
    }
}

impl<R: Read> Recording<R> {
    fn new(path: &Path, input: R) -> Self {
        let (held, damage) = (None, None);
        Self {
            path: path.to_owned(),
            messages: Messages::new(input),
            instruments: Instruments::default(),
            held,
            damage,
        }
    }

    /// Returns the next batch; `None` at the end.
    ///
    /// # Errors
    /// Once, after everything in front of the damage.
    pub(super) fn next(&mut self) -> Result<Option<Recorded>, Damage> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        let mut batch = Recorded { events: self.held.take().into_iter().collect(), sent_time: None };
        while batch.events.len() < BATCH_EVENTS_MAX {
            match self.message() {
                Ok(Some(Message::Sent(time))) => {
                    batch.sent_time = Some(time);
                    break;
                }
                Ok(Some(message)) => {
                    let is_hello = matches!(message, Message::Hello(_));
                    match self.events(message, &mut batch.events) {
                        Ok(()) if is_hello && batch.events.len() > 1 => {
                            self.held = batch.events.pop();
                            break;
                        }
                        Ok(()) => {}
                        Err(damage) => {
                            self.damage = Some(damage);
                            break;
                        }
                    }
                }
                Ok(None) => break,
                Err(damage) if batch.events.is_empty() => return Err(damage),
                Err(damage) => {
                    self.damage = Some(damage);
                    break;
                }
            }
        }
        let is_end = batch.events.is_empty() && batch.sent_time.is_none();
        match self.damage.take() {
            Some(damage) if is_end => Err(damage),
            damage => {
                self.damage = damage;
                Ok((!is_end).then_some(batch))
            }
        }
    }

    fn message(&mut self) -> Result<Option<Message>, Damage> {
        let path = || self.path.clone();
        self.messages.next_message().map_err(|damage| match damage {
            stream::Damage::Unreadable(reason) => Damage::Unreadable { path: path(), reason },
            stream::Damage::Empty => Damage::Empty { path: path() },
            stream::Damage::Foreign(reason) => Damage::Foreign { path: path(), reason },
            stream::Damage::CutOff { offset } => Damage::CutOff { path: path(), offset },
            stream::Damage::Damaged { offset, reason } => Damage::Damaged { path: path(), offset, reason },
        })
    }

    /// Appends the events that a message means to a program.
    fn events(&mut self, message: Message, out: &mut Vec<Event>) -> Result<(), Damage> {
        match message {
            Message::Record(record) => {
                let Some(scale) = self.instruments.scale(&record) else {
                    let reason = format!("nothing before it names instrument {}", record.instrument);
                    return Err(Damage::Damaged {
                        path: self.path.clone(),
                        offset: self.messages.start(),
                        reason,
                    });
                };
                out.push(record_event(record, scale));
            }
            Message::Hello(hello) => {
                self.instruments = Instruments::default();
                let (address, hello) = (self.path.display().to_string(), Arc::new(hello));
                out.push(Event::State(State::Connected { address, hello }));
            }
            Message::Subscribed(subscribed) => {
                for granted in &subscribed.granted {
                    let (price_decimals, size_decimals) = (granted.price_decimals, granted.size_decimals);
                    let scale = Scale { symbol: granted.symbol.clone(), price_decimals, size_decimals };
                    self.instruments.name(granted.instrument, scale);
                }
                let (ended, refused): (Vec<_>, Vec<_>) =
                    subscribed.refused.into_iter().partition(|refused| refused.code == ENDED);
                for refused in ended {
                    let (channel, returns) = (refused.channel(), refused.may_retry);
                    let scale = self.instruments.named(&refused.symbol);
                    let reason = refused.message;
                    out.push(Event::State(State::Ended { scale, channel, reason, returns }));
                }
                let granted = subscribed.granted;
                if !granted.is_empty() || !refused.is_empty() {
                    out.push(Event::Subscribed(Outcome::new(granted, refused)));
                }
            }
            Message::Notice(notice) => out.push(Event::Notice(notice)),
            Message::Ledger(ledger) => out.push(Event::Ledger(ledger)),
            Message::Error(error) => out.push(Event::Rejected(error)),
            Message::Heartbeat(heartbeat) => {
                for feed in heartbeat.feeds {
                    let (state, book_proof) = (feed.state(), feed.book_proof());
                    let says = (state, book_proof);
                    if self.instruments.feeds.insert(feed.venue.clone(), says) != Some(says) {
                        let (venue, since, reason) = (feed.venue.into(), feed.since, feed.reason);
                        out.push(Event::State(State::Feed { venue, state, since, reason, book_proof }));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The names that a session gave to ids.
#[derive(Default)]
struct Instruments {
    scales: HashMap<u32, Arc<Scale>>,
    feeds: HashMap<String, (FeedState, BookProof)>,
}

impl Instruments {
    /// Gives an id its name, in the same allocation for all records as long as nothing changes.
    fn name(&mut self, id: u32, scale: Scale) {
        if self.scales.get(&id).is_none_or(|known| **known != scale) {
            self.scales.insert(id, Arc::new(scale));
        }
    }

    fn named(&self, symbol: &str) -> Arc<Scale> {
        let known = self.scales.values().find(|scale| scale.symbol == symbol);
        known.cloned().unwrap_or_else(|| Arc::new(Scale { symbol: symbol.to_owned(), ..Scale::default() }))
    }

    fn scale(&mut self, record: &Record) -> Option<Arc<Scale>> {
        if let Body::Instrument(i) = &record.body {
            let symbol = format!("{}:{}", i.venue, i.symbol);
            let (price_decimals, size_decimals) = (i.price_decimals, i.size_decimals);
            self.name(record.instrument, Scale { symbol, price_decimals, size_decimals });
        }
        self.scales.get(&record.instrument).cloned()
    }
}

fn record_event(record: Record, scale: Arc<Scale>) -> Event {
    let Body::Gap(gap) = &record.body else { return Event::Record(Update::new(record, scale)) };
    Event::Gap(GapEvent::announced(scale, gap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::recorder::Recorder;
    use crate::tap::recorder::tests::{connected, every_kind_of_event, quote, subscribed};
    use tickwire_wire::Channel;

    fn recorded(batches: &[Vec<Event>]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(&folder.path().join("a.tw")).unwrap();
        for (at, batch) in batches.iter().enumerate() {
            let sent_time = Some(2000 + at as u64);
            for event in batch {
                recorder.event(event, sent_time);
            }
            recorder.end_batch(sent_time).unwrap();
        }
        recorder.flush().unwrap();
        std::fs::read(recorder.path()).unwrap()
    }

    /// Returns all that can be read, and why there is no more.
    fn read(bytes: &[u8]) -> (Vec<Recorded>, Option<Damage>) {
        let mut recording = Recording::new(Path::new("a.tw"), bytes);
        let mut batches = Vec::new();
        loop {
            match recording.next() {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => return (batches, None),
                Err(damage) => return (batches, Some(damage)),
            }
        }
    }

    fn updates(batches: &[Recorded]) -> Vec<Update> {
        let events = batches.iter().flat_map(|batch| &batch.events);
        events
            .filter_map(|event| if let Event::Record(update) = event { Some(update.clone()) } else { None })
            .collect()
    }

    #[test]
    fn what_was_recorded_is_read() {
        let events = every_kind_of_event();
        let expected: Vec<_> = events
            .iter()
            .filter_map(|event| if let Event::Record(update) = event { Some(update.clone()) } else { None })
            .collect();
        let gaps = |events: &[Event]| -> Vec<GapEvent> {
            events
                .iter()
                .filter_map(|event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None })
                .collect()
        };
        let (batches, damage) = read(&recorded(std::slice::from_ref(&events)));
        assert!(damage.is_none(), "{damage:?}");
        assert_eq!(updates(&batches), expected);
        assert_eq!(gaps(&batches[0].events), gaps(&events));
        assert_eq!(batches[0].sent_time, Some(2000));
        assert_eq!(batches[0].events.len(), events.len());
    }

    #[test]
    fn batches_and_sessions_keep_apart() {
        let session = || vec![connected(), subscribed(&[Channel::Quote]), quote(7)];
        let (batches, damage) = read(&recorded(&[session(), vec![quote(8)], session()]));
        assert!(damage.is_none(), "{damage:?}");
        let shape: Vec<_> = batches.iter().map(|batch| (batch.events.len(), batch.sent_time)).collect();
        assert_eq!(shape, [(3, Some(2000)), (1, Some(2001)), (3, Some(2002))]);
    }

    /// Wherever a file is cut off, all whole records are read, and no error where the cut is between two.
    #[test]
    fn a_cut_off_file_is_read_up_to_the_cut() {
        let bytes =
            recorded(&[vec![connected(), subscribed(&[Channel::Quote])], vec![quote(7)], vec![quote(8)]]);
        let ends: Vec<usize> = (1..=bytes.len()).filter(|end| read(&bytes[..*end]).1.is_none()).collect();
        assert_eq!(ends.len(), 7, "four records and three send times end somewhere: {ends:?}");
        for cut in ends[0]..bytes.len() {
            let (batches, damage) = read(&bytes[..cut]);
            let whole = *ends.iter().rfind(|end| **end <= cut).unwrap();
            assert_eq!(updates(&batches), updates(&read(&bytes[..whole]).0));
            match damage {
                None => assert_eq!(whole, cut),
                Some(Damage::CutOff { offset, .. }) => assert_eq!(offset, whole as u64),
                Some(other) => panic!("cut at {cut}: {other}"),
            }
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], records: usize, parts: &[&str]) {
        let (batches, damage) = read(bytes);
        let text = damage.unwrap().to_string();
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(updates(&batches).len(), records);
    }

    #[test]
    fn damage_is_named_with_its_place_and_what_to_do() {
        let hello = recorded(&[vec![connected()]]).len();
        check(b"", 0, &["a.tw is empty"]);
        check(b"\x1f\x8b\x08\x00gzip", 0, &["a.tw, byte 0: not a recording", "--replay"]);
        check(b"{\"type\":\"quote\"}", 0, &["a.tw, byte 0: not a recording", "the key 123"]);
        check(
            &recorded(&[vec![connected()], vec![quote(7)]])[hello..],
            0,
            &["byte 0", "does not begin with the `Hello`"],
        );
        let head = recorded(&[vec![connected(), subscribed(&[Channel::Quote])], vec![quote(7)]]);
        let at = head.len();
        let with = |tail: &[u8]| [&head, tail].concat();
        check(
            &with(b"\xff\x01"),
            1,
            &[&format!("byte {at}: damaged: no record begins with the key"), "head -c"],
        );
        check(
            &with(b"\x0a\xff\xff\xff\xff\x0f"),
            1,
            &[&format!("byte {at}: damaged: a record claims 4294967295 bytes")],
        );
        check(&with(&[0xff; 12]), 1, &["longer than ten bytes"]);
        check(&with(b"\x0a\x02\x08"), 1, &[&format!("byte {at}: the file ends within a record"), "head -c"]);
        check(&with(b"\x0a\x01\xff"), 1, &[&format!("byte {at}: damaged")]);
        let nameless = recorded(&[vec![connected(), quote(7)]]);
        check(&nameless, 0, &["nothing before it names instrument 3"]);
    }
}
