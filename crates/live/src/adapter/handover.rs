//! The way from the tasks to the adapter, bounded in messages and bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_feed::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::driver::{LinkId, RequestId, Response};

/// The bytes that a message costs beside its text.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// A thing that a task has to tell.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) link: LinkId,
    pub(super) attempt: u64,
    /// The time of receipt.
    pub(super) time: u64,
    pub(super) what: What,
    /// The room that it takes, until it was taken.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) enum What {
    Opened,
    Message(String),
    Ping(Bytes),
    Pong,
    Closed { reason: String, retry_after: Option<Duration> },
    Response { request: RequestId, outcome: Result<Response, String> },
}

/// The way from the tasks to the adapter, bounded in messages and bytes.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    pub(super) sender: mpsc::Sender<Arrived>,
    pub(super) room: Arc<Semaphore>,
    pub(super) room_max: usize,
    pub(super) clock: Clock,
}

impl Handover {
    /// Hands over; returns false where nobody takes it any more.
    pub(super) async fn give(&self, (link, attempt): (LinkId, u64), what: What, bytes: usize) -> bool {
        let time = self.clock.now();
        // One that is larger than all of the room waits until there is nothing else.
        let cost = (bytes + MESSAGE_OVERHEAD_BYTES).min(self.room_max) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await.ok();
        self.sender.send(Arrived { link, attempt, time, what, room }).await.is_ok()
    }
}
