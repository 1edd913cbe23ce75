//! Recordings of the bus: what passed between ingesters and gateways, byte for byte.

mod entries;
mod source;

pub use entries::{Content, Entries, Kind, MAGIC, Note, ReadError, Recorded, Writer};
pub(crate) use source::BusSource;
