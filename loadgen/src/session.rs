//! One session: opens, subscribes, reads and checks, asks for its ledger, closes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastwebsockets::{Frame, OpCode, Payload, WebSocketError};
use tickwire_wire::{
    Batch, Body, Channel, Command, Ledger, LedgerRequest, Message, Record, Subscribe, Subscribed,
    encode_command,
};
use tokio::sync::Mutex;

use crate::cli::Plan;
use crate::handshake::{self, Reading, Writing};
use crate::numbering::{Numbered, Numbering, Verdict};
use crate::tally::Tally;
use crate::worker::{Phase, Signals};

/// From the first byte to the last answer.
const OPEN_WAIT: Duration = Duration::from_secs(30);
/// The ledger comes before anything else that waits, but behind what is under way.
const LEDGER_WAIT: Duration = Duration::from_secs(20);
/// Of the command that asks for the ledger. Those of subscriptions count from 1.
const LEDGER_ID: u64 = u64::MAX;

/// What one session knows.
struct Session<'a> {
    plan: &'a Plan,
    signals: &'a Signals,
    tally: &'a RefCell<Tally>,
    numberings: HashMap<(u32, Channel), Numbering>,
    /// Subscriptions that were asked for and not answered yet.
    unanswered: usize,
    is_open: bool,
}

/// Why reading ended.
enum End {
    Ledger,
    Lost(String),
}

/// Runs a session from beginning to end; what it saw goes into the tally.
pub(crate) async fn run(plan: &Plan, signals: &Signals, tally: &RefCell<Tally>) {
    let mut session = Session {
        plan,
        signals,
        tally,
        numberings: HashMap::new(),
        unanswered: plan.channels.len(),
        is_open: false,
    };
    let outcome = session.live().await;
    let mut tally = tally.borrow_mut();
    if let Err(reason) = outcome {
        if session.is_open {
            signals.ended_early();
            tally.ended_early.note(|| reason);
        } else {
            signals.not_opened();
            tally.not_opened.note(|| reason);
        }
    }
}

impl Session<'_> {
    async fn live(&mut self) -> Result<(), String> {
        let signals = self.signals;
        let opening = handshake::open(&self.plan.target, self.plan.encoding);
        let opened = tokio::time::timeout(OPEN_WAIT, opening).await;
        let opened = opened.map_err(|_| format!("no answer within {OPEN_WAIT:?}"))?;
        let (reading, writing) = opened.map_err(|error| format!("{error:#}"))?;
        let writing = Mutex::new(writing);
        let plan = self.plan;
        for (channel, id) in plan.channels.iter().zip(1..) {
            let (channel, symbols) = (channel.name().to_owned(), plan.symbols.clone());
            let command = Command::Subscribe(Subscribe { id, channel, symbols, max_rate: 0.0 });
            send(&writing, plan, &command).await.map_err(|error| error.to_string())?;
        }
        let end = {
            // Reading is never cancelled between frames and taken up again: that would lose bytes.
            let read = pin!(self.read(reading, &writing));
            let asked = async {
                signals.reaches(Phase::Finish).await;
                let ledger = Command::Ledger(LedgerRequest { id: LEDGER_ID });
                if let Err(error) = send(&writing, plan, &ledger).await {
                    return End::Lost(error.to_string());
                }
                tokio::time::sleep(LEDGER_WAIT).await;
                End::Lost(format!("no ledger within {LEDGER_WAIT:?}"))
            };
            tokio::select! { end = read => end, end = asked => end }
        };
        let code = 1000_u16.to_be_bytes();
        let close = Frame::new(true, OpCode::Close, None, Payload::Borrowed(&code));
        let _ = writing.lock().await.write_frame(close).await;
        match end {
            End::Ledger if self.numberings.is_empty() => Err("nothing was granted".to_owned()),
            End::Ledger => Ok(()),
            End::Lost(reason) => Err(reason),
        }
    }

    /// Until the ledger that was asked for, or the end of the connection.
    async fn read(&mut self, mut reading: Reading, writing: &Mutex<Writing>) -> End {
        loop {
            let frame = reading.read_frame(&mut |_| std::future::ready(Ok::<(), WebSocketError>(()))).await;
            let now = now();
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return End::Lost(format!("the connection broke: {error}")),
            };
            match frame.opcode {
                OpCode::Ping => {
                    let pong = Frame::pong(Payload::Owned(frame.payload.to_vec()));
                    if let Err(error) = writing.lock().await.write_frame(pong).await {
                        return End::Lost(format!("the connection broke: {error}"));
                    }
                }
                OpCode::Close => return End::Lost(closed(&frame.payload)),
                OpCode::Text | OpCode::Binary if frame.fin => {
                    if self.message(&frame.payload, now) {
                        return End::Ledger;
                    }
                }
                OpCode::Pong => {}
                _ => return End::Lost("a message came in fragments".to_owned()),
            }
        }
    }

    /// One WebSocket message. Returns whether it held the last ledger.
    fn message(&mut self, bytes: &[u8], now: u64) -> bool {
        let is_measured = self.signals.is(Phase::Measure);
        let mut is_last = false;
        let (mut records, mut sent) = (0, None);
        for message in Batch::new(self.plan.encoding, bytes) {
            match message {
                Ok(Message::Record(record)) => {
                    records += 1;
                    self.record(&record, is_measured.then_some(now));
                }
                Ok(Message::Sent(time)) => sent = Some(time),
                Ok(Message::Hello(hello)) => self.tally.borrow_mut().server = hello.server,
                Ok(Message::Subscribed(answer)) => self.answer(answer),
                Ok(Message::Ledger(ledger)) => {
                    is_last |= ledger.id == LEDGER_ID;
                    self.ledger(&ledger);
                }
                Ok(Message::Notice(notice)) => {
                    let is_conflating = notice.code == "conflating";
                    self.tally.borrow_mut().conflating_notices += u64::from(is_conflating);
                }
                Ok(Message::Heartbeat(_)) => {}
                Ok(Message::Error(error)) => self.violation(|| format!("{}: {}", error.code, error.message)),
                Err(error) => self.violation(|| error.to_string()),
            }
        }
        self.signals.passed(records, bytes.len());
        let mut tally = self.tally.borrow_mut();
        if is_measured {
            tally.flow.messages += 1;
            tally.flow.records += records;
            tally.flow.bytes += bytes.len() as u64;
            if let Some(sent) = sent {
                tally.from_sent.record(sent, now);
            }
        }
        if sent.is_none() {
            tally.violations.note(|| "a message without a send time".to_owned());
            self.signals.violated();
        }
        is_last
    }

    fn answer(&mut self, answer: Subscribed) {
        for granted in answer.granted {
            let numbering = Numbering::new(granted.channel(), granted.epoch, granted.sequence);
            self.numberings.insert((granted.instrument, granted.channel()), numbering);
        }
        for refused in answer.refused {
            let name = refused.channel().name();
            let text = || format!("{name} of {}: {}: {}", refused.symbol, refused.code, refused.message);
            self.tally.borrow_mut().refused.note(text);
        }
        if answer.id != 0 && self.unanswered > 0 {
            self.unanswered -= 1;
            if self.unanswered == 0 {
                self.is_open = true;
                self.signals.opened();
            }
        }
    }

    /// Checks the number; `measured` is the time of reading while it is measured.
    fn record(&mut self, record: &Record, measured: Option<u64>) {
        let channel = record.channel();
        let Some(numbering) = self.numberings.get_mut(&(record.instrument, channel)) else {
            return self.violation(|| format!("a {} of {} came unasked", channel.name(), record.instrument));
        };
        let verdict = match &record.body {
            Body::Gap(gap) => {
                let (settled, verdict) = match numbering.gap(gap) {
                    Ok(settled) => (settled, Verdict::State),
                    Err(verdict) => (0, verdict),
                };
                let cause = gap.cause().as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
                let mut tally = self.tally.borrow_mut();
                let gaps = tally.gaps.entry(cause).or_default();
                gaps.announced += 1;
                gaps.numbers += settled;
                verdict
            }
            body => {
                let (first_sequence, is_snapshot) = match body {
                    Body::Book(book) => (book.first_sequence, book.snapshot),
                    _ => (0, false),
                };
                numbering.record(Numbered { sequence: record.sequence, first_sequence, is_snapshot })
            }
        };
        match verdict {
            Verdict::Live => {
                if let Some(now) = measured {
                    self.tally.borrow_mut().record(channel, record.event_time, now);
                }
            }
            Verdict::State => {}
            Verdict::Violation { expected } => self.violation(|| {
                let name = channel.name();
                format!("{name} of {}: {} came where {expected} was due", record.instrument, record.sequence)
            }),
        }
    }

    fn ledger(&mut self, ledger: &Ledger) {
        let mut checked = 0;
        for entry in &ledger.entries {
            let outcome = match self.numberings.get(&(entry.instrument, entry.channel())) {
                Some(numbering) => numbering.check(entry),
                None => Err(format!("the ledger names {}, which was not granted", entry.symbol)),
            };
            checked += 1;
            let mut tally = self.tally.borrow_mut();
            let sums = &mut tally.ledger;
            sums.checked += 1;
            sums.published += entry.published;
            sums.delivered += entry.delivered;
            sums.conflated += entry.conflated;
            sums.dropped += entry.dropped;
            sums.filtered += entry.filtered;
            drop(tally);
            if let Err(reason) = outcome {
                self.violation(|| reason);
            }
        }
        let granted = self.numberings.len();
        if checked != granted {
            self.violation(|| format!("the ledger has {checked} entries for {granted} subscriptions"));
        }
    }

    fn violation(&self, text: impl FnOnce() -> String) {
        self.tally.borrow_mut().violations.note(text);
        self.signals.violated();
    }
}

async fn send(writing: &Mutex<Writing>, plan: &Plan, command: &Command) -> Result<(), WebSocketError> {
    let mut bytes = Vec::new();
    encode_command(plan.encoding, command, &mut bytes);
    let opcode = if plan.encoding.is_text() { OpCode::Text } else { OpCode::Binary };
    writing.lock().await.write_frame(Frame::new(true, opcode, None, Payload::Owned(bytes))).await
}

fn closed(payload: &[u8]) -> String {
    match payload {
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("closed by the gateway: {code} {}", String::from_utf8_lossy(text))
        }
        _ => "closed by the gateway".to_owned(),
    }
}

/// Nanoseconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
