//! The way from the bytes of one message to the batches that a program takes, and to the receipt for them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::{Encoding, Message, Receipt};
use tokio::time::Instant;

use crate::error::Disconnect;
use crate::event::{Batch, Event};
use crate::link::Room;
use crate::session::Session;

/// A ping with a time that is further from the gateway's is not from the gateway: an hour.
const PING_TIME_OFF_MAX_NS: u64 = 3_600_000_000_000;

/// The message that is being handed out.
pub(crate) struct BatchDecoder {
    encoding: Encoding,
    batch_events_max: usize,
    receipt_interval: Option<Duration>,
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
    last_receipt: Option<Instant>,
    /// The age of the last message's first record when the program took it.
    lag_ns: u64,
    /// Up to when the gateway was told that the program took everything.
    confirmed: u64,
    /// Send time of the newest message with records that the program took.
    taken_time: u64,
    /// The gateway's time, as it last said it.
    newest_sent: u64,
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
            receipt_interval,
            decoded: VecDeque::new(),
            failure: None,
            room: None,
            read_at: Instant::now(),
            sent_time: None,
            receipt: None,
            last_receipt: None,
            lag_ns: 0,
            confirmed: 0,
            taken_time: 0,
            newest_sent: 0,
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
                        self.newest_sent = time;
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
            self.lag_ns = reader_lag_ns;
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
        let (receipt, interval) = (self.receipt.take()?, self.receipt_interval?);
        self.taken_time = self.taken_time.max(receipt.sent_time);
        if self.last_receipt.is_some_and(|at| at.elapsed() < interval) {
            return None;
        }
        self.last_receipt = Some(Instant::now());
        self.confirmed = self.confirmed.max(receipt.sent_time);
        Some(receipt)
    }

    /// The program took everything that was read before this ping. It gets a receipt at once, so
    /// that the gateway can look at the program's progress as often as it wants: for the time that it carries where it is
    /// the gateway's, else for the newest message.
    pub(crate) fn passed(&mut self, ping: &[u8]) -> Option<Receipt> {
        self.receipt_interval?;
        // Others may ping too, with what they like.
        let is_ours = |time: &u64| time.abs_diff(self.newest_sent) < PING_TIME_OFF_MAX_NS;
        let named = ping.try_into().map(u64::from_le_bytes).ok().filter(is_ours);
        let sent_time = named.unwrap_or(self.taken_time);
        if sent_time <= self.confirmed {
            return None;
        }
        self.confirmed = sent_time;
        (self.receipt, self.last_receipt) = (None, Some(Instant::now()));
        Some(Receipt { sent_time, reader_lag_ns: std::mem::take(&mut self.lag_ns) })
    }

    /// The connection is gone, and with it who would want a receipt.
    pub(crate) fn disconnected(&mut self) {
        (self.room, self.receipt) = (None, None);
        (self.confirmed, self.taken_time, self.newest_sent) = (0, 0, 0);
    }
}
