//! From the bytes of one message to the batches that a program takes, and the receipt for them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::{Encoding, Message, Receipt};
use tokio::time::Instant;

use crate::error::Disconnect;
use crate::event::{Batch, Event};
use crate::link::Room;
use crate::session::Session;

/// The message that is being handed out.
pub(crate) struct Handout {
    encoding: Encoding,
    batch_events_max: usize,
    receipt_interval: Option<Duration>,
    /// Decoded, and not handed out.
    decoded: VecDeque<Message>,
    /// Why nothing can follow what is decoded.
    failure: Option<Disconnect>,
    /// What the message takes up; given back when the program took it.
    room: Option<Room>,
    read_at: Instant,
    sent_time: Option<u64>,
    /// All of it was handed out.
    receipt: Option<Receipt>,
    /// The program took it, and the gateway was not told yet.
    owed: Option<Receipt>,
    /// There is data among what is owed or handed out.
    has_data: bool,
    last_receipt: Option<Instant>,
}

impl Handout {
    pub(crate) fn new(
        encoding: Encoding,
        batch_events_max: usize,
        receipt_interval: Option<Duration>,
    ) -> Self {
        Self {
            encoding,
            batch_events_max,
            receipt_interval,
            decoded: VecDeque::new(),
            failure: None,
            room: None,
            read_at: Instant::now(),
            sent_time: None,
            receipt: None,
            owed: None,
            has_data: false,
            last_receipt: None,
        }
    }

    /// The next message, once the one before is handed out.
    pub(crate) fn decode(&mut self, bytes: &Bytes, read_at: Instant, room: Option<Room>) {
        (self.read_at, self.room, self.sent_time) = (read_at, room, None);
        for message in tickwire_wire::Batch::new(self.encoding, bytes) {
            match message {
                Ok(message) => {
                    if let Message::Sent(time) = message {
                        self.sent_time = Some(time);
                    }
                    self.decoded.push_back(message);
                }
                // What came before it still counts.
                Err(error) => self.failure = Some(Disconnect::Protocol(error.to_string())),
            }
        }
    }

    /// Lets the session see the next part of the message, and returns what it makes of it.
    pub(crate) fn batch(&mut self, session: &mut Session) -> Option<Batch> {
        let mut sent_time = None;
        while session.events().is_empty() && !self.decoded.is_empty() {
            let now = Instant::now();
            sent_time = self.sent_time;
            let count = self.batch_events_max.min(self.decoded.len());
            for message in self.decoded.drain(..count) {
                session.message(message, now);
            }
        }
        self.decoded.shrink_to(self.batch_events_max);
        let events: Vec<_> = session.events().drain(..).collect();
        self.has_data |= events.iter().any(|event| matches!(event, Event::Record(_)));
        if self.decoded.is_empty()
            && let Some(sent_time) = sent_time
        {
            let reader_lag_ns = self.read_at.elapsed().as_nanos() as u64;
            self.receipt = Some(Receipt { sent_time, reader_lag_ns });
        }
        (!events.is_empty()).then_some(Batch { events, sent_time })
    }

    /// After all of the message: what was wrong with it.
    pub(crate) fn failure(&mut self) -> Option<Disconnect> {
        if self.decoded.is_empty() { self.failure.take() } else { None }
    }

    /// The program came back: it took what it was given, and there is room again. Returns the receipt that is due.
    pub(crate) fn taken(&mut self) -> Option<Receipt> {
        self.room = None;
        if let Some(receipt) = self.receipt.take() {
            self.owed = Some(receipt);
        }
        let interval = self.receipt_interval?;
        let is_young = self.last_receipt.is_some_and(|at| at.elapsed() < interval);
        if is_young || !self.has_data { None } else { self.tell() }
    }

    /// The gateway asks how far the program is: what it took is told now. A gateway that holds back until then would
    /// otherwise wait for a receipt, and the receipt for more data.
    pub(crate) fn asked(&mut self) -> Option<Receipt> {
        self.receipt_interval?;
        self.tell()
    }

    fn tell(&mut self) -> Option<Receipt> {
        let receipt = self.owed.take()?;
        (self.last_receipt, self.has_data) = (Some(Instant::now()), false);
        Some(receipt)
    }

    /// The connection is gone, and with it who would want a receipt.
    pub(crate) fn disconnected(&mut self) {
        (self.room, self.receipt, self.owed, self.has_data) = (None, None, None, false);
    }
}
