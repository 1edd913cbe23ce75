//! One connection's task: reads as far as the program keeps up, writes what waits, and ends with the reason.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::Encoding;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::error::Disconnect;
use crate::handshake::{AbortOnDrop, Established};
use crate::outgoing::{Outgoing, Pace};
use crate::reading::{Incoming, Reading};

/// The memory that a message takes beside its bytes: so that a flood of empty ones is bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 64;
/// The time that the gateway has to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Room in the buffer; given back when it is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

/// An item that the task hands over, in the order of the wire.
pub(crate) enum Item {
    Message { bytes: Bytes, read_at: Instant, room: Option<Room> },
    Ping { payload: Bytes, _room: Room },
    Ended(Disconnect),
}

/// A running connection. Dropping it drops the socket.
pub(crate) struct Link {
    pub(crate) items: mpsc::Receiver<Item>,
    pub(crate) outgoing: Outgoing,
    task: AbortOnDrop<()>,
}

impl Link {
    /// Starts the task. With `pong_at_once` a ping is answered when it is read; otherwise whoever takes it answers it.
    pub(crate) fn start(
        established: Established,
        encoding: Encoding,
        buffer_bytes: usize,
        pong_at_once: bool,
    ) -> Self {
        let Established { hello, first, reading, write, .. } = established;
        let (sender, items) = mpsc::channel(buffer_bytes / MESSAGE_OVERHEAD_BYTES + 2);
        let outgoing = Outgoing::default();
        let limits = hello.limits.unwrap_or_default();
        let pace = Pace::new(limits.commands_per_second, Instant::now());
        let writing = outgoing.clone();
        let task = tokio::spawn(async move {
            for bytes in first {
                let item = Item::Message { bytes, read_at: Instant::now(), room: None };
                if sender.send(item).await.is_err() {
                    return;
                }
            }
            let reason = {
                let mut read =
                    pin!(read_all(reading, &sender, buffer_bytes, pong_at_once.then_some(&writing)));
                let mut write = pin!(writing.write_to(write, encoding, pace));
                tokio::select! {
                    reason = &mut read => {
                        if let Some(Disconnect::Closed { code: Some(code), .. }) = reason {
                            writing.close(code);
                            let _ = tokio::time::timeout(CLOSE_WAIT, write).await;
                        }
                        reason
                    }
                    written = &mut write => match written {
                        Ok(()) => tokio::time::timeout(CLOSE_WAIT, read).await.ok().flatten(),
                        // What the gateway said last, its close code above all, is still to be read.
                        Err(_) => read.await,
                    },
                }
            };
            if let Some(reason) = reason {
                let _ = sender.send(Item::Ended(reason)).await;
            }
        });
        Self { items, outgoing, task: AbortOnDrop(task) }
    }

    /// Says goodbye; what was not read is dropped.
    pub(crate) async fn close(mut self) {
        self.outgoing.close(1000);
        self.items.close();
        let _ = tokio::time::timeout(CLOSE_WAIT * 2, &mut self.task.0).await;
    }
}

/// Reads until the connection ends; returns nothing where the program is gone.
async fn read_all(
    mut reading: Reading,
    items: &mpsc::Sender<Item>,
    buffer_bytes: usize,
    responding: Option<&Outgoing>,
) -> Option<Disconnect> {
    let budget = Arc::new(Semaphore::new(buffer_bytes));
    loop {
        let incoming = match reading.next().await {
            Ok(incoming) => incoming,
            Err(reason) => return Some(reason),
        };
        if let (Incoming::Ping(payload), Some(outgoing)) = (&incoming, responding) {
            outgoing.pong(payload.clone());
        }
        let bytes = match &incoming {
            Incoming::Message(bytes) | Incoming::Ping(bytes) => bytes.len(),
            Incoming::Closed { .. } => 0,
        };
        // A message above the whole budget waits until the buffer is empty, and then passes.
        let cost = (bytes + MESSAGE_OVERHEAD_BYTES).min(buffer_bytes) as u32;
        let read_at = Instant::now();
        let room = Arc::clone(&budget).acquire_many_owned(cost).await.ok()?;
        let item = match incoming {
            Incoming::Message(bytes) => Item::Message { bytes, read_at, room: Some(room) },
            Incoming::Ping(payload) => Item::Ping { payload, _room: room },
            Incoming::Closed { code, text } => return Some(Disconnect::Closed { code, text }),
        };
        items.send(item).await.ok()?;
    }
}
