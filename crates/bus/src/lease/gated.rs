//! A bus that takes messages only while a lease is held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::Subject;
use tokio::sync::watch;

use super::{Register, Term};
use crate::backplane::{Backplane, BusState, FlushError, PublishError, RequestError, Requests, ServeError};
use crate::future::BoxFuture;
use crate::history::History;
use crate::inbox::{Inbox, InboxLimits, Interest};

/// A bus whose messages go out only while a lease is held and opened; what is published else is passed over without a word. So a process that stands by does all that
/// the holder does, and has the state that it needs when it takes over.
pub struct LeasedBus {
    bus: Arc<dyn Backplane>,
    term: Term,
}

impl LeasedBus {
    /// Puts a lease before a bus.
    pub fn new(bus: Arc<dyn Backplane>, term: Term) -> Self {
        Self { bus, term }
    }
}

impl Backplane for LeasedBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        if self.term.opened() == 0 {
            return Ok(());
        }
        self.bus.publish(subject, payload)
    }

    fn payload_max(&self) -> usize {
        self.bus.payload_max()
    }

    fn inbox(&self, limits: InboxLimits) -> (Interest, Inbox) {
        self.bus.inbox(limits)
    }

    fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        self.bus.request(subject, payload, timeout)
    }

    fn serve(&self, subject: &Subject) -> BoxFuture<'_, Result<Requests, ServeError>> {
        self.bus.serve(subject)
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.bus.state()
    }

    fn flush(&self, timeout: Duration) -> BoxFuture<'_, Result<(), FlushError>> {
        self.bus.flush(timeout)
    }

    fn history(&self) -> Option<&dyn History> {
        self.bus.history()
    }

    fn register(&self) -> Option<&dyn Register> {
        self.bus.register()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.bus.close()
    }
}
