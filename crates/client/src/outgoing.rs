//! What waits to be written to the gateway, and its pace.
//!
//! Pongs and receipts need no queue: the newest says all that the older ones said.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload};
use tickwire_wire::{Command, Encoding, Receipt, encode_command};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

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
    close: Option<u16>,
}

enum Write {
    Pong(Bytes),
    Command(Command),
    Close(u16),
}

impl Outgoing {
    /// Replaces a pong that was not written yet, as RFC 6455, section 5.5.3 allows.
    pub(crate) fn pong(&self, payload: Bytes) {
        self.lanes().pong = Some(payload);
        self.0.changed.notify_one();
    }

    /// Bounded by the session: one command for each subscription and request at most.
    pub(crate) fn commands(&self, commands: impl IntoIterator<Item = Command>) {
        self.lanes().commands.extend(commands);
        self.0.changed.notify_one();
    }

    /// Replaces a receipt that was not written yet.
    pub(crate) fn receipt(&self, receipt: Receipt) {
        self.lanes().receipt = Some(receipt);
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

    fn take(&self, may_command: bool) -> Option<Write> {
        let mut lanes = self.lanes();
        if let Some(payload) = lanes.pong.take() {
            return Some(Write::Pong(payload));
        }
        if may_command {
            if let Some(command) = lanes.commands.pop_front() {
                return Some(Write::Command(command));
            }
            if let Some(receipt) = lanes.receipt.take() {
                return Some(Write::Command(Command::Receipt(receipt)));
            }
        }
        if lanes.commands.is_empty() { lanes.close.take().map(Write::Close) } else { None }
    }

    fn wants_to_command(&self) -> bool {
        let lanes = self.lanes();
        !lanes.commands.is_empty() || lanes.receipt.is_some()
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
            let Some(write) = self.take(pace.is_free(Instant::now())) else {
                let changed = self.0.changed.notified();
                if self.wants_to_command() {
                    let _ = tokio::time::timeout_at(pace.free_at(), changed).await;
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
                Write::Close(code) => {
                    payload.extend_from_slice(&code.to_be_bytes());
                    (OpCode::Close, true)
                }
            };
            let mut head = Frame::new(true, opcode, None, Payload::BorrowedMut(&mut payload));
            head.mask();
            socket.write_all(head.write(&mut frame)).await?;
            socket.flush().await?;
            if is_last {
                return socket.shutdown().await;
            }
        }
    }
}

/// Keeps commands below the gateway's limit, receipts included: who exceeds it is closed and must not come back.
///
/// A token bucket in the form of one time stamp (GCRA). It uses half of what the gateway allows: the two clocks differ,
/// and commands that were apart when written may arrive together.
pub(crate) struct Pace {
    interval: Duration,
    burst: Duration,
    due: Instant,
}

impl Pace {
    /// For `commands_per_second` of the gateway's limits; 0: no limit.
    pub(crate) fn new(commands_per_second: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(2).checked_div(commands_per_second).unwrap_or_default();
        Self { interval, burst: interval * (commands_per_second / 2).max(1), due: now }
    }

    fn free_at(&self) -> Instant {
        (self.due + self.interval).checked_sub(self.burst).unwrap_or(self.due)
    }

    fn is_free(&self, now: Instant) -> bool {
        now >= self.free_at()
    }

    fn spend(&mut self, now: Instant) {
        self.due = self.due.max(now) + self.interval;
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
