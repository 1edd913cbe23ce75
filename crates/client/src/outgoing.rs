//! The messages that wait to be written to the gateway, and their pace.
//!
//! Pongs and receipts need no queue: the newest says all that the older ones said. Receipts that answer a ping do not
//! count against the gateway's limit of commands, so they know only a pace of their own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tickwire_net::frame::{self, Close, OpCode};
use tickwire_net::{Refill, TokenBucket};
use tickwire_wire::{Command, Encoding, Receipt, encode_command};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time between two receipts, at least.
const RECEIPTS_APART: Duration = Duration::from_millis(10);

/// The lanes to one gateway; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Outgoing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    changed: Notify,
}

#[derive(Default)]
struct Lanes {
    pong: Option<Bytes>,
    commands: VecDeque<Command>,
    receipt: Option<Receipt>,
    /// The receipt answers a ping.
    is_response: bool,
    /// When the next receipt may go.
    receipt_at: Option<Instant>,
    close: Option<u16>,
}

enum Write {
    Pong(Bytes),
    Command(Command),
    Receipt { receipt: Receipt, counts: bool },
    Close(u16),
}

impl Outgoing {
    /// Replaces a pong that was not written yet, as RFC 6455, section 5.5.3 allows.
    pub(crate) fn pong(&self, payload: Bytes) {
        self.lanes().pong = Some(payload);
        self.0.changed.notify_one();
    }

    /// Adds commands, which the session bounds: one command for each subscription and request at most.
    pub(crate) fn commands(&self, commands: impl IntoIterator<Item = Command>) {
        self.lanes().commands.extend(commands);
        self.0.changed.notify_one();
    }

    /// Replaces a receipt that was not written yet.
    pub(crate) fn receipt(&self, receipt: Receipt, is_response: bool) {
        let mut lanes = self.lanes();
        lanes.is_response = is_response || (lanes.is_response && lanes.receipt.is_some());
        lanes.receipt = Some(receipt);
        drop(lanes);
        self.0.changed.notify_one();
    }

    /// Closes after what waits.
    pub(crate) fn close(&self, code: u16) {
        self.lanes().close = Some(code);
        self.0.changed.notify_one();
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, may_command: bool, now: Instant) -> Option<Write> {
        let mut lanes = self.lanes();
        if let Some(payload) = lanes.pong.take() {
            return Some(Write::Pong(payload));
        }
        if may_command && let Some(command) = lanes.commands.pop_front() {
            return Some(Write::Command(command));
        }
        let is_receipt_due = lanes.receipt_at.is_none_or(|at| now >= at);
        if is_receipt_due
            && (may_command || lanes.is_response)
            && let Some(receipt) = lanes.receipt.take()
        {
            lanes.receipt_at = Some(now + RECEIPTS_APART);
            return Some(Write::Receipt { receipt, counts: !lanes.is_response });
        }
        if lanes.commands.is_empty() { lanes.close.take().map(Write::Close) } else { None }
    }

    /// Returns when something that waits now may be written.
    fn due(&self, pace: &Pace) -> Option<Instant> {
        let lanes = self.lanes();
        let command = (!lanes.commands.is_empty()).then(|| pace.free_at());
        let receipt = lanes.receipt.as_ref().map(|_| {
            let at = lanes.receipt_at.unwrap_or_else(|| pace.free_at());
            if lanes.is_response { at } else { at.max(pace.free_at()) }
        });
        command.into_iter().chain(receipt).min()
    }

    /// Writes until the session is closed or the socket fails.
    ///
    /// # Cancel safety
    /// Not cancel safe: a frame may be half written.
    pub(crate) async fn write_to(
        &self,
        mut socket: impl AsyncWrite + Unpin,
        encoding: Encoding,
        mut pace: Pace,
    ) -> io::Result<()> {
        let (mut payload, mut frame) = (Vec::new(), Vec::new());
        loop {
            let now = Instant::now();
            let Some(write) = self.take(pace.is_free(now), now) else {
                let changed = self.0.changed.notified();
                if let Some(due) = self.due(&pace) {
                    let _ = tokio::time::timeout_at(due, changed).await;
                } else {
                    changed.await;
                }
                continue;
            };
            payload.clear();
            let (opcode, is_last) = match write {
                Write::Pong(bytes) => {
                    payload.extend_from_slice(&bytes);
                    (OpCode::Pong, false)
                }
                Write::Command(command) => {
                    pace.spend(Instant::now());
                    encode_command(encoding, &command, &mut payload);
                    (if encoding.is_text() { OpCode::Text } else { OpCode::Binary }, false)
                }
                Write::Receipt { receipt, counts } => {
                    if counts {
                        pace.spend(Instant::now());
                    }
                    encode_command(encoding, &Command::Receipt(receipt), &mut payload);
                    (if encoding.is_text() { OpCode::Text } else { OpCode::Binary }, false)
                }
                Write::Close(code) => {
                    payload.extend_from_slice(&Close::payload(code, ""));
                    (OpCode::Close, true)
                }
            };
            frame.clear();
            frame::write_masked(opcode, rand::random(), &payload, &mut frame);
            socket.write_all(&frame).await?;
            socket.flush().await?;
            if is_last {
                return socket.shutdown().await;
            }
        }
    }
}

/// Keeps commands below the gateway's limit, receipts included: who exceeds it is closed and must not come back. It uses half
/// of what the gateway allows: the two clocks differ, and commands that were apart when written may arrive together.
pub(crate) struct Pace {
    bucket: TokenBucket,
    refill: Refill,
    /// The time at which the bucket's clock begins.
    start: Instant,
}

impl Pace {
    /// Makes one for `commands_per_second` of the gateway's limits; 0 is no limit.
    pub(crate) fn new(commands_per_second: u32, now: Instant) -> Self {
        let refill =
            Refill::per(Duration::from_secs(2), commands_per_second, (commands_per_second / 2).max(1));
        Self { bucket: TokenBucket::default(), refill, start: now }
    }

    fn free_at(&self) -> Instant {
        self.start + Duration::from_nanos(self.bucket.has_at(1, self.refill))
    }

    fn is_free(&self, now: Instant) -> bool {
        self.bucket.has(1, self.elapsed_ns(now), self.refill)
    }

    fn spend(&mut self, now: Instant) {
        let now = self.elapsed_ns(now);
        self.bucket.take(1, now, self.refill);
    }

    fn elapsed_ns(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stay_below_the_limit() {
        let start = Instant::now() + Duration::from_secs(100);
        for limit in [1, 2, 5, 100] {
            let mut pace = Pace::new(limit, start);
            let mut sent = Vec::new();
            for step in 0..10_000u32 {
                let now = start + Duration::from_millis(1) * step;
                if pace.is_free(now) {
                    pace.spend(now);
                    sent.push(now);
                }
            }
            for at in &sent {
                let second = sent.iter().filter(|t| **t >= *at && **t < *at + Duration::from_secs(1)).count();
                assert!(second <= limit as usize, "{second} in a second, {limit} allowed");
            }
            assert!(sent.len() >= limit as usize * 4, "{limit}: only {}", sent.len());
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(0, now);
        for _ in 0..1000 {
            assert!(pace.is_free(now));
            pace.spend(now);
        }
    }
}
