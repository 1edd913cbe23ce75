//! A strict client: it subscribes, checks all that it reads, answers pings, reconnects and resumes.

use std::collections::{BTreeMap, BTreeSet};

use tickwire_wire::{
    Batch, Channel, Command, Encoding, FeedState, Granted, Ledger, LedgerRequest, Message, Receipt, Refused,
    Resume, ResumePosition, SetRate, Subscribe, Subscribed, Unsubscribe, encode_command,
};

use crate::frames::{BINARY, CLOSE, PING, PONG, TEXT, take_frame};
use crate::truth::Truth;
use crate::view::View;
use crate::{MS, Position, START_NS, VENUE, symbol};

/// The time between two receipts, as the SDK has it.
const RECEIPT_EVERY_MS: u64 = 250;

/// A channel of a symbol.
pub(crate) type Want = (Channel, usize);

/// A message that a client sends.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    Command(Vec<u8>),
    Pong(Vec<u8>),
    Ping(Vec<u8>),
    Close,
}

#[derive(Debug)]
enum PendingCommand {
    Subscribe(Vec<Want>),
    Unsubscribe(Vec<Want>),
    SetRate,
    Ledger,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) encoding: Encoding,
    /// The bytes a millisecond that it reads; `None`: all that comes.
    pub(crate) rate: Option<usize>,
    pub(crate) stalled_until: u64,
    /// Whether it never answers pings.
    pub(crate) is_silent: bool,
    pub(crate) sends_receipts: bool,
    pub(crate) wanted: BTreeMap<Want, f64>,
    left: BTreeMap<Want, Position>,
    pub(crate) session: Option<Session>,
    next_id: u64,
    /// The time since when it reads all that comes.
    pub(crate) prompt_since: u64,
    /// The number of instruments that were there from the start.
    old_instruments: usize,
    /// Whether instruments may end, or not be at every ingester.
    pub(crate) may_end: bool,
    /// The age that everything has which it may see, in milliseconds; 0: it may see live data.
    pub(crate) delay: u64,
    /// The levels of each side of a book that it may see; `None` for all.
    pub(crate) depth: Option<u32>,
    pub(crate) counts: Counts,
}

/// Counts of what was seen, so that a run that tests nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) gaps: u64,
    pub(crate) ledgers: u64,
    pub(crate) resumes: u64,
    pub(crate) sessions: u64,
    pub(crate) conflating: u64,
    pub(crate) bytes: u64,
    pub(crate) closed: u64,
    pub(crate) ended: u64,
    pub(crate) late: u64,
    pub(crate) shallow: u64,
    pub(crate) waited: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, more: Self) {
        self.records += more.records;
        self.gaps += more.gaps;
        self.ledgers += more.ledgers;
        self.resumes += more.resumes;
        self.sessions += more.sessions;
        self.conflating += more.conflating;
        self.bytes += more.bytes;
        self.closed += more.closed;
        self.ended += more.ended;
        self.late += more.late;
        self.shallow += more.shallow;
        self.waited += more.waited;
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) pipe: u64,
    pub(crate) gateway: usize,
    pub(crate) opened_at: u64,
    bytes: Vec<u8>,
    pub(crate) is_greeted: bool,
    /// The longest silence that the gateway promised.
    pub(crate) heartbeat_ms: u64,
    /// The subscriptions, by the number that the session has for the instrument.
    pub(crate) views: BTreeMap<(u32, Channel), View>,
    pending_commands: BTreeMap<u64, PendingCommand>,
    /// The subscriptions whose response is to come.
    waiting: BTreeSet<Want>,
    retry: BTreeMap<Want, u64>,
    resumes: BTreeMap<Want, Position>,
    pub(crate) feed: FeedState,
    /// The time at which something was last read.
    pub(crate) read_at: u64,
    is_last_a_ledger: bool,
    /// The code of the close frame, once it came.
    pub(crate) closed: Option<u16>,
    receipt_at: u64,
    /// The records of the message that is being read: for measures of age.
    pub(crate) fresh: Vec<(u32, Channel, Position)>,
}

impl Session {
    fn granted(&mut self, granted: &Granted, want: Want, now: u64) {
        self.waiting.remove(&want);
        let resumed = self.resumes.remove(&want);
        let view = View::new(granted, want.1, resumed, now);
        let before = self.views.insert((granted.instrument, granted.channel()), view);
        assert!(before.is_none(), "granted twice: {granted:?}");
    }

    fn told_of_ends(&mut self, response: &Subscribed) {
        assert!(response.granted.is_empty() && !response.refused.is_empty());
        for refused in &response.refused {
            assert_eq!(refused.code, "ended", "{refused:?}");
            let is_it = |view: &&mut View| {
                refused.channel == view.key.1 as i32 && refused.symbol == name(view.symbol)
            };
            let view = self.views.values_mut().find(is_it);
            let view = view.unwrap_or_else(|| panic!("what is not there ended: {refused:?}"));
            assert!(!view.has_ended, "{refused:?} twice");
            view.has_ended = true;
        }
    }
}

impl Client {
    pub(crate) fn new(encoding: Encoding, old_instruments: usize) -> Self {
        Self {
            encoding,
            rate: None,
            stalled_until: 0,
            is_silent: false,
            sends_receipts: false,
            wanted: BTreeMap::new(),
            left: BTreeMap::new(),
            session: None,
            next_id: 1,
            prompt_since: 0,
            old_instruments,
            may_end: false,
            delay: 0,
            depth: None,
            counts: Counts::default(),
        }
    }

    pub(crate) fn connected(&mut self, pipe: u64, gateway: usize, now: u64) {
        self.counts.sessions += 1;
        self.session = Some(Session {
            pipe,
            gateway,
            opened_at: now,
            bytes: Vec::new(),
            is_greeted: false,
            heartbeat_ms: 1_000,
            views: BTreeMap::new(),
            pending_commands: BTreeMap::new(),
            waiting: BTreeSet::new(),
            retry: BTreeMap::new(),
            resumes: BTreeMap::new(),
            feed: FeedState::Unknown,
            read_at: now,
            is_last_a_ledger: false,
            closed: None,
            receipt_at: now,
            fresh: Vec::new(),
        });
    }

    /// Takes in that the connection is gone: what was had of lossless channels is kept for the next one.
    pub(crate) fn disconnected(&mut self) {
        let Some(session) = self.session.take() else { return };
        let Session { views, resumes, .. } = session;
        self.left.extend(resumes);
        for view in views.into_values().filter(|view| view.key.1.is_lossless()) {
            let want = (view.key.1, view.symbol);
            if self.wanted.contains_key(&want) && !view.is_leaving {
                self.left.insert(want, view.position());
            }
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn command(&self, command: &Command, out: &mut Vec<ClientMessage>) {
        let mut bytes = Vec::new();
        encode_command(self.encoding, command, &mut bytes);
        out.push(ClientMessage::Command(bytes));
    }

    /// Takes what was read off the socket.
    pub(crate) fn read(&mut self, bytes: &[u8], now: u64, truth: &Truth, out: &mut Vec<ClientMessage>) {
        let Some(session) = &mut self.session else { return };
        session.bytes.extend_from_slice(bytes);
        session.read_at = now;
        self.counts.bytes += bytes.len() as u64;
        while let Some(frame) = self.session.as_mut().and_then(|session| take_frame(&mut session.bytes)) {
            let Some(session) = &mut self.session else { return };
            assert!(session.closed.is_none(), "something came after the close frame");
            match frame.opcode {
                TEXT | BINARY => {
                    assert_eq!(frame.opcode == TEXT, self.encoding.is_text());
                    for message in Batch::new(self.encoding, &frame.payload) {
                        self.message(message.expect("a message that can be read"), now, truth, out);
                    }
                }
                PING => {
                    if !self.is_silent {
                        // The SDK does the same: its program took everything that came before the ping.
                        let time = frame.payload[..].try_into().map(u64::from_le_bytes);
                        out.push(ClientMessage::Pong(frame.payload));
                        if let (true, Ok(sent_time)) = (self.sends_receipts, time) {
                            let receipt = Receipt { sent_time, reader_lag_ns: 1_000_000 };
                            self.command(&Command::Receipt(receipt), out);
                        }
                    }
                }
                PONG => assert_eq!(frame.payload, b"hello?", "the response to a ping"),
                CLOSE => {
                    assert!(session.is_last_a_ledger, "the ledger is the last record before a close frame");
                    let code = frame.payload.first_chunk().expect("a close code");
                    session.closed = Some(u16::from_be_bytes(*code));
                    self.counts.closed += 1;
                    out.push(ClientMessage::Close);
                }
                other => panic!("a frame of kind {other}"),
            }
        }
    }

    fn message(&mut self, message: Message, now: u64, truth: &Truth, out: &mut Vec<ClientMessage>) {
        let encoding = self.encoding;
        let Some(session) = &mut self.session else { return };
        session.is_last_a_ledger = matches!(message, Message::Ledger(_))
            || (session.is_last_a_ledger && matches!(message, Message::Sent(_)));
        assert!(session.is_greeted || matches!(message, Message::Hello(_)), "first {message:?}");
        match message {
            Message::Hello(hello) => {
                assert!(!session.is_greeted, "greeted twice");
                session.is_greeted = true;
                session.heartbeat_ms = hello.heartbeat_ms.into();
                self.resume(out);
                self.reconcile(now, out);
            }
            Message::Record(record) => {
                self.counts.records += 1;
                self.counts.gaps += u64::from(matches!(record.body, tickwire_wire::Body::Gap(_)));
                let key = (record.instrument, record.channel());
                let view = session.views.get_mut(&key);
                let view = view.unwrap_or_else(|| panic!("never granted: {record:?}"));
                view.record(&record, encoding, truth);
                self.counts.shallow += u64::from(view.depth.is_some());
                if self.delay > 0 {
                    self.counts.late += 1;
                    let (age, received) = (self.delay, truth.received(view.at.0, record.receive_time));
                    assert!(received + age * MS <= START_NS + now * MS, "younger than {age} ms: {record:?}");
                }
                session.fresh.push((key.0, key.1, (view.at.0, record.sequence)));
            }
            Message::Subscribed(response) => self.subscribed(&response, now, out),
            Message::Heartbeat(heartbeat) => {
                for feed in &heartbeat.feeds {
                    assert_eq!(feed.venue, VENUE);
                    session.feed = feed.state();
                }
            }
            Message::Ledger(ledger) => self.ledger(&ledger, now, out),
            Message::Notice(notice) => self.counts.conflating += u64::from(notice.code == "conflating"),
            Message::Sent(time) => {
                // It is sent for what brought records, too, four times a second at most.
                let has_records = !session.fresh.is_empty();
                if self.sends_receipts && has_records && now >= session.receipt_at + RECEIPT_EVERY_MS {
                    session.receipt_at = now;
                    let receipt = Receipt { sent_time: time, reader_lag_ns: 1_000_000 };
                    self.command(&Command::Receipt(receipt), out);
                }
            }
            // This is an error, or something that this check does not know.
            other => panic!("{other:?}"),
        }
    }

    fn resume(&mut self, out: &mut Vec<ClientMessage>) {
        let left = std::mem::take(&mut self.left);
        let left: BTreeMap<_, _> = left.into_iter().filter(|(w, _)| self.wanted.contains_key(w)).collect();
        if left.is_empty() {
            return;
        }
        self.counts.resumes += 1;
        let positions = left.iter().map(|((channel, at), (epoch, sequence))| ResumePosition {
            channel: channel.name().to_owned(),
            symbol: name(*at),
            epoch: *epoch,
            sequence: *sequence,
        });
        let command = Command::Resume(Resume { id: 0, positions: positions.collect() });
        self.command(&command, out);
        if let Some(session) = &mut self.session {
            session.resumes = left;
        }
    }

    /// Subscribes to what is wanted and not had, unsubscribes from what is had and not wanted.
    pub(crate) fn reconcile(&mut self, now: u64, out: &mut Vec<ClientMessage>) {
        let Some(session) = self.session.as_mut().filter(|s| s.is_greeted && s.closed.is_none()) else {
            return;
        };
        let mut commands = Vec::new();
        let had: BTreeSet<Want> = session.views.values().map(|view| (view.key.1, view.symbol)).collect();
        let mut fresh: BTreeMap<(Channel, u64), Vec<Want>> = BTreeMap::new();
        for (want, rate) in &self.wanted {
            if !had.contains(want)
                && !session.waiting.contains(want)
                && session.retry.get(want).is_none_or(|at| now >= *at)
            {
                fresh.entry((want.0, rate.to_bits())).or_default().push(*want);
            }
        }
        for ((channel, rate), wants) in fresh {
            session.waiting.extend(wants.iter().copied());
            let symbols = wants.iter().map(|(_, at)| name(*at)).collect();
            self.next_id += 1;
            let (id, max_rate) = (self.next_id, f64::from_bits(rate));
            session.pending_commands.insert(id, PendingCommand::Subscribe(wants));
            let channel = channel.name().to_owned();
            commands.push(Command::Subscribe(Subscribe { id, channel, symbols, max_rate }));
        }
        for view in session.views.values_mut() {
            let want = (view.key.1, view.symbol);
            if !self.wanted.contains_key(&want) && !view.is_leaving {
                view.is_leaving = true;
                self.next_id += 1;
                let (id, channel) = (self.next_id, want.0.name().to_owned());
                session.pending_commands.insert(id, PendingCommand::Unsubscribe(vec![want]));
                commands.push(Command::Unsubscribe(Unsubscribe { id, channel, symbols: vec![name(want.1)] }));
            }
        }
        for command in commands {
            self.command(&command, out);
        }
    }

    /// Asks for the account.
    pub(crate) fn ask_ledger(&mut self, out: &mut Vec<ClientMessage>) {
        let id = self.id();
        let Some(session) = self.session.as_mut().filter(|s| s.is_greeted && s.closed.is_none()) else {
            return;
        };
        session.pending_commands.insert(id, PendingCommand::Ledger);
        self.command(&Command::Ledger(LedgerRequest { id }), out);
    }

    pub(crate) fn set_rate(&mut self, want: Want, max_rate: f64, out: &mut Vec<ClientMessage>) {
        let id = self.id();
        self.wanted.entry(want).and_modify(|rate| *rate = max_rate);
        let Some(session) = self.session.as_mut().filter(|s| s.is_greeted && s.closed.is_none()) else {
            return;
        };
        session.pending_commands.insert(id, PendingCommand::SetRate);
        let (channel, symbols) = (want.0.name().to_owned(), vec![name(want.1)]);
        self.command(&Command::SetRate(SetRate { id, channel, symbols, max_rate }), out);
    }

    fn subscribed(&mut self, response: &Subscribed, now: u64, out: &mut Vec<ClientMessage>) {
        let Some(session) = &mut self.session else { return };
        if response.id == 0 && response.refused.iter().any(|refused| refused.code == "ended") {
            session.told_of_ends(response);
            self.counts.ended += response.refused.len() as u64;
            return;
        }
        if response.id == 0 {
            self.granted_by_itself(response, now);
            self.reconcile(now, out);
            return;
        }
        match session.pending_commands.get(&response.id) {
            Some(PendingCommand::Subscribe(_)) => {
                let Some(PendingCommand::Subscribe(wants)) = session.pending_commands.remove(&response.id)
                else {
                    return;
                };
                for want in wants {
                    let is_it =
                        |channel: i32, symbol: &str| channel == want.0 as i32 && symbol == name(want.1);
                    let granted: Vec<_> =
                        response.granted.iter().filter(|g| is_it(g.channel, &g.symbol)).collect();
                    let refused: Vec<_> =
                        response.refused.iter().filter(|r| is_it(r.channel, &r.symbol)).collect();
                    assert_eq!(granted.len() + refused.len(), 1, "{want:?} in {response:?}");
                    for granted in granted {
                        check_grant(granted, self.delay, self.depth);
                        session.granted(granted, want, now);
                    }
                    for refused in refused {
                        if refused.code == "delayed" {
                            // It is granted by itself.
                            assert!(self.delay > 0, "{refused:?}");
                            self.counts.waited += 1;
                            continue;
                        }
                        session.waiting.remove(&want);
                        check_refusal(refused, self.may_end || want.1 >= self.old_instruments);
                        session.retry.insert(want, now + 400);
                    }
                }
            }
            Some(PendingCommand::SetRate) => {
                session.pending_commands.remove(&response.id);
                for granted in &response.granted {
                    let view = session.views.get_mut(&(granted.instrument, granted.channel()));
                    let view = view.expect("a rate of something that is subscribed");
                    (view.max_rate, view.rated) = (granted.max_rate, now);
                }
            }
            // The account follows and is the response.
            Some(PendingCommand::Unsubscribe(_)) => assert!(response.granted.is_empty()),
            Some(PendingCommand::Ledger) | None => panic!("{response:?} answers nothing"),
        }
        self.reconcile(now, out);
    }

    /// Takes what was waited for after the response, because it was too young.
    fn granted_by_itself(&mut self, response: &Subscribed, now: u64) {
        let Some(session) = &mut self.session else { return };
        assert!(self.delay > 0, "{response:?} was not asked for");
        let want = |channel: Channel, symbol: &str| {
            let (_, symbol) = symbol.split_once(':').expect("a symbol of the venue");
            (channel, crate::id_of(symbol) as usize - 1)
        };
        for granted in &response.granted {
            let want = want(granted.channel(), &granted.symbol);
            assert!(session.waiting.contains(&want), "{granted:?} was not waited for");
            check_grant(granted, self.delay, self.depth);
            session.granted(granted, want, now);
        }
        for refused in &response.refused {
            let want = want(refused.channel(), &refused.symbol);
            assert!(session.waiting.remove(&want), "{refused:?} was not waited for");
            check_refusal(refused, self.may_end || want.1 >= self.old_instruments);
            session.retry.insert(want, now + 400);
        }
    }

    fn ledger(&mut self, ledger: &Ledger, now: u64, out: &mut Vec<ClientMessage>) {
        self.counts.ledgers += 1;
        let Some(session) = &mut self.session else { return };
        for entry in &ledger.entries {
            let view = session.views.get(&(entry.instrument, entry.channel()));
            view.unwrap_or_else(|| panic!("an account of nothing: {entry:?}")).check_account(entry);
        }
        match session.pending_commands.remove(&ledger.id) {
            Some(PendingCommand::Unsubscribe(wants)) => {
                session.views.retain(|_, view| !wants.contains(&(view.key.1, view.symbol)));
            }
            Some(PendingCommand::Ledger) => assert_eq!(ledger.entries.len(), session.views.len()),
            Some(other) => panic!("{ledger:?} answers {other:?}"),
            None if session.views.values().any(|view| view.has_ended) => {
                // This is the account of what ended, directly behind the word that it did.
                let ended = session.views.values().filter(|view| view.has_ended).count();
                assert_eq!((ledger.id, ledger.entries.len()), (0, ended));
                session.views.retain(|_, view| !view.has_ended);
                session.is_last_a_ledger = false;
            }
            None => assert_eq!((ledger.id, ledger.entries.len()), (0, session.views.len())),
        }
        self.reconcile(now, out);
    }
}

/// Checks a refusal: a symbol that was there from the start is never said to be unknown for good; one that is new may
/// be.
fn check_refusal(refused: &Refused, is_new: bool) {
    let is_unknown = refused.code == "unknown_symbol" && is_new;
    assert!(refused.may_retry || is_unknown, "{refused:?}, though it will be there again");
}

/// Returns the name of a symbol in commands.
pub(crate) fn name(at: usize) -> String {
    format!("{VENUE}:{}", symbol(at))
}

/// Checks that a grant is of what the client may see.
fn check_grant(granted: &Granted, delay: u64, depth: Option<u32>) {
    let depth = depth.filter(|_| granted.channel() == Channel::Book);
    assert_eq!((granted.delay_ms, granted.depth), (delay, depth.unwrap_or(0)), "{granted:?}");
}
