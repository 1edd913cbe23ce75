//! The way from the bytes of one message to the batches that a program takes, and to the receipt for them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::{Encoding, Message, Receipt};
use tokio::time::Instant;

use crate::error::Disconnect;
use crate::event::{Batch, Event};
use crate::link::Room;
use crate::receipts::{Receipts, ping_time};
use crate::session::Session;

/// The message that is being handed out.
pub(crate) struct BatchDecoder {
    encoding: Encoding,
    batch_events_max: usize,
    /// None: the program sends no receipts.
    receipts: Option<Receipts>,
    /// Times of receipts count from here.
    began: Instant,
    /// Decoded, and not handed out.
    decoded: VecDeque<Message>,
    /// The reason why nothing can follow what is decoded.
    failure: Option<Disconnect>,
    /// The room that the message takes up. It is given back when the program took the message.
    room: Option<Room>,
    read_at: Instant,
    sent_time: Option<u64>,
    /// All of it was handed out, and there was data in it.
    receipt: Option<Receipt>,
}

impl BatchDecoder {
    pub(crate) fn new(
        encoding: Encoding,
        batch_events_max: usize,
        receipt_interval: Option<Duration>,
    ) -> Self {
        Self {
            encoding,
            batch_events_max,
            receipts: receipt_interval.map(|interval| Receipts::new(interval.as_nanos() as u64)),
            began: Instant::now(),
            decoded: VecDeque::new(),
            failure: None,
            room: None,
            read_at: Instant::now(),
            sent_time: None,
            receipt: None,
        }
    }

    /// Decodes the next message, once the one before is handed out.
    pub(crate) fn decode(&mut self, bytes: &Bytes, read_at: Instant, room: Option<Room>) {
        (self.read_at, self.room, self.sent_time) = (read_at, room, None);
        for message in tickwire_wire::Batch::new(self.encoding, bytes) {
            match message {
                Ok(message) => {
                    if let Message::Sent(time) = message {
                        self.sent_time = Some(time);
                        if let Some(receipts) = &mut self.receipts {
                            receipts.sent(time);
                        }
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
        if self.decoded.is_empty() && events.iter().any(|event| matches!(event, Event::Record(_))) {
            let reader_lag_ns = self.read_at.elapsed().as_nanos() as u64;
            self.receipt = sent_time.map(|sent_time| Receipt { sent_time, reader_lag_ns });
        }
        (!events.is_empty()).then_some(Batch { events, sent_time })
    }

    /// Returns what was wrong with the message, after all that could be read of it.
    pub(crate) fn failure(&mut self) -> Option<Disconnect> {
        if self.decoded.is_empty() { self.failure.take() } else { None }
    }

    /// Notes that the program came back: it took what it was given, and there is room again. Returns the receipt that is due.
    pub(crate) fn taken(&mut self) -> Option<Receipt> {
        self.room = None;
        let Receipt { sent_time, reader_lag_ns } = self.receipt.take()?;
        self.receipts.as_mut()?.taken(sent_time, reader_lag_ns, self.began.elapsed().as_nanos() as u64)
    }

    /// The program took everything that was read before this ping. Returns the receipt that is due.
    pub(crate) fn passed(&mut self, ping: &[u8]) -> Option<Receipt> {
        let receipt =
            self.receipts.as_mut()?.passed(ping_time(ping), self.began.elapsed().as_nanos() as u64)?;
        self.receipt = None;
        Some(receipt)
    }

    /// The connection is gone, and with it who would want a receipt.
    pub(crate) fn disconnected(&mut self) {
        (self.room, self.receipt) = (None, None);
        if let Some(receipts) = &mut self.receipts {
            receipts.disconnected();
        }
    }
}
