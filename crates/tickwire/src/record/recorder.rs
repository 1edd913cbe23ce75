//! The recorder's loop: messages of the bus in, entries of files out.
//!
//! A file explains itself: it begins with the instruments of the runs that are heard, and has what held of them when it began. So when
//! a file is full, the runs are asked first, and the next file begins when they said what they have.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use tickwire_bus::{Backplane, BusEvent, Inbox, InboxLimits, Interest, LostCause};
use tickwire_recordings::bus::{Content, Note, Recorded};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::subject::ParsedSubject;
use tickwire_wire::{Channel, Subject, pb};
use tokio::sync::mpsc;

use super::asks::{self, Responded, Run, Told, Wanted};
use super::files::{FileSettings, RecordFile};

/// The token of heartbeats; those of data are higher.
const HEARTBEATS: u64 = 0;
/// The events that are taken in one turn.
const EVENTS_MAX: usize = 4_096;
/// The time after which what was written is handed to the kernel.
const FLUSH_PERIOD: Duration = Duration::from_secs(1);
/// The most runs of a venue that are remembered, and venues.
const RUNS_MAX: usize = 8;
const VENUES_MAX: usize = 1_024;
/// The time for which a run counts as heard: some of its heartbeats may be lost.
const HEARD_NS: u64 = 2_000_000_000;
/// The time for which a run that is asked for its instruments keeps a full file open.
const ROTATION_WAIT_NS: u64 = 10_000_000_000;

const LIMITS: InboxLimits = InboxLimits { messages_max: 1 << 20, bytes_max: 256 << 20, subjects_max: 65_536 };

/// The sums of what was recorded so far.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(super) messages: u64,
    /// The bytes of these messages.
    pub(super) bytes: u64,
    /// The times at which the bus said that something was lost on its way to the recorder.
    pub(super) losses: u64,
    /// The files that ended.
    pub(super) files: Vec<String>,
}

/// A handle to what was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<Mutex<Totals>>);

impl Written {
    pub(super) fn get(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A recorder of the bus.
pub(crate) struct Recorder {
    bus: Arc<dyn Backplane>,
    settings: FileSettings,
    /// The venues that are wanted; empty for all.
    wanted: Vec<String>,
    interest: Interest,
    inbox: Inbox,
    venues: HashMap<String, Venue>,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    /// The runs that are being asked: one request after the other.
    asking: HashSet<Run>,
    written: Written,
}

/// The recording of a venue.
struct Venue {
    file: RecordFile,
    number: u64,
    /// The runs, the newest last.
    runs: VecDeque<Heard>,
    /// The last number of each book, by epoch and instrument.
    books: HashMap<(u64, u32), u64>,
    /// Whether something was lost, so that everything is to be asked for.
    has_lost: bool,
    /// The instruments whose books have holes.
    holes: HashSet<String>,
    /// The definitions that came since the runs were asked: the response may lack them.
    definitions: Vec<(u64, Subject, Bytes)>,
    /// The time since which the next file waits for the response of a run.
    rotates_since: Option<u64>,
}

/// A run of an ingester.
struct Heard {
    run: Run,
    /// When it was heard, and its heartbeat then.
    at: u64,
    heartbeat: Bytes,
    /// Whether it said its last word.
    is_over: bool,
}

impl Heard {
    fn is_heard(&self, now: u64) -> bool {
        !self.is_over && now.saturating_sub(self.at) <= HEARD_NS
    }
}

impl Recorder {
    /// Makes a recorder.
    ///
    /// # Errors
    /// Says which venue has no name that can be one.
    pub(crate) fn new(
        bus: Arc<dyn Backplane>,
        wanted: Vec<String>,
        settings: FileSettings,
    ) -> anyhow::Result<Self> {
        let (interest, inbox) = bus.inbox(LIMITS);
        if wanted.is_empty() {
            interest.subscribe(&Subject::heartbeats_all(), HEARTBEATS)?;
        }
        for venue in &wanted {
            let subject =
                Subject::heartbeat(venue).map_err(|error| anyhow::anyhow!("--venue {venue}: {error}"))?;
            interest.subscribe(&subject, HEARTBEATS)?;
        }
        let (venues, written) = (HashMap::new(), Written::default());
        Ok(Self {
            bus,
            settings,
            wanted,
            interest,
            inbox,
            venues,
            told: mpsc::channel(64),
            asking: HashSet::new(),
            written,
        })
    }

    /// Returns a handle to what is recorded.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Records until the end is asked for, or the bus is closed.
    ///
    /// # Errors
    /// Says which file cannot be written, and why.
    ///
    /// # Cancel safety
    /// Dropping the future leaves files without their end.
    pub(crate) async fn run(mut self, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut end = std::pin::pin!(end);
        let mut events = Vec::new();
        let mut flush = tokio::time::interval(FLUSH_PERIOD);
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                _ = flush.tick() => self.on_second()?,
                Some(told) = self.told.1.recv() => match told {
                    Told::Response(responded) => self.on_response(&responded)?,
                    Told::Done(run) => {
                        self.asking.remove(&run);
                    }
                },
                goes_on = self.inbox.recv_batch(&mut events, EVENTS_MAX) => {
                    for event in events.drain(..) {
                        self.on_event(event)?;
                    }
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        let now = now();
        for (_, venue) in std::mem::take(&mut self.venues) {
            let path = venue.file.end(now)?;
            self.ended(&path);
        }
        Ok(())
    }

    fn ended(&self, path: &Path) {
        tracing::info!(file = %path.display(), "a file of the recording is complete");
        self.written.change(|totals| totals.files.push(path.display().to_string()));
    }

    fn on_event(&mut self, event: BusEvent) -> anyhow::Result<()> {
        let now = now();
        match event {
            BusEvent::Message { token: HEARTBEATS, payload, .. } => self.on_heartbeat(&payload, now),
            BusEvent::Message { subject: Some(subject), payload, .. } => {
                self.on_data(&subject, &payload, now)
            }
            BusEvent::Message { .. } => Ok(()),
            BusEvent::Lost { messages, cause, .. } => {
                self.written.change(|totals| totals.losses += 1);
                let place = match cause {
                    LostCause::InboxFull => "the recorder was too slow",
                    LostCause::Late => "they came after newer ones",
                    LostCause::Upstream => "the server or the client library dropped them",
                };
                tracing::warn!(?messages, place, "messages were lost on their way to the recorder");
                self.note(now, &Note::Lost { messages, place: place.to_owned() })
            }
            BusEvent::Disconnected => self.note(now, &Note::Disconnected),
            BusEvent::Reconnected { .. } => self.note(now, &Note::Reconnected),
        }
    }

    /// Notes something of all venues, after which what changed meanwhile is not known.
    fn note(&mut self, now: u64, note: &Note) -> anyhow::Result<()> {
        self.venues.values_mut().try_for_each(|venue| {
            venue.has_lost = true;
            venue.file.note(now, note)
        })
    }

    fn ask(&mut self, run: Run, wanted: Wanted) {
        self.asking.insert(run.clone());
        tokio::spawn(asks::ask(Arc::clone(&self.bus), run, wanted, self.told.0.clone()));
    }

    fn on_heartbeat(&mut self, payload: &Bytes, now: u64) -> anyhow::Result<()> {
        let Ok(heartbeat) = pb::FeedHeartbeat::decode(payload.as_ref()) else { return Ok(()) };
        let Ok(subject) = Subject::heartbeat(&heartbeat.venue) else { return Ok(()) };
        let is_wanted = self.wanted.is_empty() || self.wanted.contains(&heartbeat.venue);
        let is_known = self.venues.contains_key(&heartbeat.venue);
        if !is_wanted || (!is_known && self.venues.len() == VENUES_MAX) {
            return Ok(());
        }
        if !is_known {
            let file = RecordFile::begin(&self.settings, &heartbeat.venue, 1, now)?;
            let venue = Venue {
                file,
                number: 1,
                runs: VecDeque::new(),
                books: HashMap::new(),
                has_lost: false,
                holes: HashSet::new(),
                definitions: Vec::new(),
                rotates_since: None,
            };
            self.venues.insert(heartbeat.venue.clone(), venue);
            let token = self.venues.len() as u64;
            for channel in Channel::ALL {
                self.interest
                    .subscribe(&Subject::data_all_symbols(&heartbeat.venue, channel.name())?, token)?;
            }
        }
        let Some(venue) = self.venues.get_mut(&heartbeat.venue) else { return Ok(()) };
        venue.file.write(&message(now, &subject, payload))?;
        self.written.change(|totals| {
            totals.messages += 1;
            totals.bytes += payload.len() as u64;
        });
        let run = Run { venue: heartbeat.venue, epoch: heartbeat.epoch };
        // The heartbeat shares memory with its neighbours on the bus.
        let payload = Bytes::copy_from_slice(payload);
        if venue.hear(Heard { run: run.clone(), at: now, heartbeat: payload, is_over: heartbeat.last }) {
            self.ask(run, Wanted::Everything);
        }
        Ok(())
    }

    fn on_data(&mut self, subject: &Subject, payload: &Bytes, now: u64) -> anyhow::Result<()> {
        let Ok(ParsedSubject::Data { venue, channel, symbol }) = Subject::parse(subject.as_str()) else {
            return Ok(());
        };
        let Some(venue) = self.venues.get_mut(&venue) else { return Ok(()) };
        venue.file.write(&message(now, subject, payload))?;
        if channel == Channel::Book.name() {
            venue.number_book(symbol, payload);
        }
        if venue.rotates_since.is_some() && channel == Channel::Instrument.name() {
            venue.definitions.push((now, subject.clone(), Bytes::copy_from_slice(payload)));
        }
        self.written.change(|totals| {
            totals.messages += 1;
            totals.bytes += payload.len() as u64;
        });
        Ok(())
    }

    /// Hands what was written to the kernel, and asks the runs of full files, and of books with holes.
    fn on_second(&mut self) -> anyhow::Result<()> {
        let now = now();
        let mut asked = Vec::new();
        let mut ended = Vec::new();
        for (name, venue) in &mut self.venues {
            venue.file.flush()?;
            let heard = venue.runs.iter().filter(|heard| heard.is_heard(now)).map(|heard| &heard.run);
            let heard: Vec<_> = heard.cloned().collect();
            // A run is asked one thing after the other; what is wanted meanwhile is asked later.
            let is_asking = heard.iter().any(|run| self.asking.contains(run));
            let is_full =
                !is_asking && venue.rotates_since.is_none() && venue.file.is_full(&self.settings, now);
            if is_full || (!is_asking && std::mem::take(&mut venue.has_lost)) {
                venue.holes.clear();
                asked.extend(heard.into_iter().map(|run| (run, Wanted::Everything)));
            } else if !is_asking && !venue.holes.is_empty() {
                let holes: Vec<_> = venue.holes.drain().collect();
                asked.extend(heard.into_iter().map(|run| (run, Wanted::Books(holes.clone()))));
            }
            match venue.rotates_since {
                None if is_full => venue.rotates_since = Some(now),
                // Nobody says them: the next file begins without the instruments.
                Some(since) if now.saturating_sub(since) > ROTATION_WAIT_NS => {
                    ended.push(venue.rotate(&self.settings, name, None, now)?);
                }
                _ => {}
            }
        }
        for (run, wanted) in asked {
            self.ask(run, wanted);
        }
        for path in ended {
            self.ended(&path);
        }
        Ok(())
    }

    fn on_response(&mut self, responded: &Responded) -> anyhow::Result<()> {
        let now = now();
        let Some(venue) = self.venues.get_mut(&responded.run.venue) else { return Ok(()) };
        if responded.is_catalogue && venue.rotates_since.is_some() {
            let path = venue.rotate(&self.settings, &responded.run.venue, Some(responded), now)?;
            self.ended(&path);
            return Ok(());
        }
        venue.file.write(&response(now, responded))
    }
}

impl Venue {
    /// Keeps a heartbeat of a run; returns whether the run is new.
    fn hear(&mut self, heard: Heard) -> bool {
        if let Some(known) = self.runs.iter_mut().find(|known| known.run == heard.run) {
            *known = heard;
            return false;
        }
        if self.runs.len() == RUNS_MAX
            && let Some(gone) = self.runs.pop_front()
        {
            self.books.retain(|(epoch, _), _| *epoch != gone.run.epoch);
        }
        self.runs.push_back(heard);
        true
    }

    /// Looks whether changes of a book are missing before this message.
    fn number_book(&mut self, symbol: String, payload: &[u8]) {
        let Ok((header, _)) = BusHeader::parse(payload) else { return };
        let before = self.books.insert((header.epoch, header.instrument), header.last_sequence);
        if before.is_some_and(|before| header.first_sequence > before + 1) {
            self.holes.insert(symbol);
        }
    }

    /// Ends the file and begins the next one, with the runs that are heard and their instruments; returns the path of the one that ended.
    fn rotate(
        &mut self,
        settings: &FileSettings,
        name: &str,
        catalogue: Option<&Responded>,
        now: u64,
    ) -> anyhow::Result<PathBuf> {
        self.number += 1;
        let next = RecordFile::begin(settings, name, self.number, now)?;
        let path = std::mem::replace(&mut self.file, next).end(now)?;
        let subject = Subject::heartbeat(name)?;
        // One that is gone would look as if it were heard now.
        for heard in self.runs.iter().filter(|heard| heard.is_heard(now)) {
            self.file.write(&message(now, &subject, &heard.heartbeat))?;
        }
        if let Some(catalogue) = catalogue {
            self.file.write(&response(now, catalogue))?;
        }
        for (time, subject, payload) in self.definitions.drain(..) {
            self.file.write(&message(time, &subject, &payload))?;
        }
        self.rotates_since = None;
        Ok(path)
    }
}

fn message<'a>(time: u64, subject: &'a Subject, payload: &'a [u8]) -> Recorded<'a> {
    Recorded { time, content: Content::Message { subject: subject.as_str(), payload } }
}

fn response(time: u64, responded: &Responded) -> Recorded<'_> {
    let Responded { subject, request, response, .. } = responded;
    Recorded { time, content: Content::Response { subject: subject.as_str(), request, payload: response } }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
