//! The wire contract of Tickwire: what travels on the bus and between gateways and clients.
//!
//! Owns the record types, their three encodings, the header of a bus message, the names of symbols and the table of
//! close codes. A pure codec: no I/O, no runtime, no clock. The contract itself is `proto/tickwire/v1/*.proto`; the
//! bytes are pinned by `proto/vectors/`.
//!
//! Decoding never trusts a length that the sender claims: a message of n bytes allocates in the order of n.

mod book;
pub mod bus_frame;
mod close;
mod codec;
pub mod decimal;
mod forms;
mod json;
mod message;
mod msgpack;
pub mod pb;
mod proto;
mod record;
mod symbol;

pub use book::{Applied, BookError, BookState};
pub use close::{CloseCode, may_retry};
pub use codec::{
    Batch, DecodeError, Encoding, decode_command, encode_command, encode_message, encode_sent_time,
};
pub use message::{Command, Message};
pub use pb::{
    Bar, Channel, Error, Feed, FeedState, Gap, GapCause, Granted, Heartbeat, Hello, Instrument, Ledger,
    LedgerEntry, LedgerRequest, Limits, Notice, Position, Receipt, Refused, Resume, ResumePosition, SetRate,
    Side, Stat, Status, Subscribe, Subscribed, Trade, TradingState, Unsubscribe,
};
pub use record::{Body, Book, Level, Quote, Record, Scale, book_checksum};
pub use symbol::{SymbolError, SymbolName, is_venue};

/// Of the wire rules, as `Hello::protocol_version` states it.
pub const PROTOCOL_VERSION: u32 = 1;

/// CRC-32 of the `.proto` files that this build speaks, as `Hello::schema` states it.
pub const SCHEMA: &str = env!("TICKWIRE_SCHEMA");
