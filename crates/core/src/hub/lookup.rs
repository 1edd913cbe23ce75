//! Requests of shards for what lies in the bus's history.

use std::sync::Arc;

use crate::vocabulary::{BackfillAsk, Backfilled, Event, InstrumentInfo, Update};

/// A request of a shard; see the module.
#[derive(Clone, Debug)]
pub struct LookUp {
    /// The shard that asks.
    pub shard: usize,
    /// The part of history that it asks for.
    pub ask: BackfillAsk,
    /// The instrument.
    pub info: Arc<InstrumentInfo>,
    /// The ingester's number of the instrument.
    pub source: u32,
}

impl LookUp {
    /// Makes the response that nothing is to be had.
    pub fn nothing(&self) -> Event {
        self.respond(Vec::new(), self.ask.last, 0)
    }

    /// Makes the response with what was found of all sequence numbers up to `upto`; `cursor` is for the next request.
    pub fn respond(&self, updates: Vec<Arc<Update>>, upto: u64, cursor: u64) -> Event {
        Event::Backfill(Arc::new(Backfilled { ticket: self.ask.ticket, updates, upto, cursor }))
    }
}
