//! The wire contract of Tickwire: what travels on the bus and between gateways and clients.
//!
//! Owns the record types, their three encodings, the rules of sequence numbers and accounts, the header of a bus message, the names
//! of symbols, the subjects of the bus and the table of close codes. A pure codec: no I/O, no runtime, no clock. The contract itself is `proto/tickwire/v1/*.proto`; the
//! bytes are pinned by `proto/vectors/`.
//!
//! # Memory
//!
//! Decoding never trusts a length that the sender claims, and yields one message at a time. While a caller reads a
//! WebSocket message, a bus message or a command of n bytes, and drops each message before it asks for the next, at most
//! factor * n + 2048 bytes are allocated at any moment:
//!
//! | encoding | factor | where it comes from |
//! |---|---|---|
//! | Protobuf | 120 | an empty [`Refused`] takes 2 bytes on the wire and 80 in memory; a list that doubles holds the old room and twice that for a moment: 80 * (1 + 2) / 2 |
//! | MessagePack | 40 | a `Refused` takes at least 2 bytes (an empty array is no message); counts are checked against the bytes that are there, so the list gets its room at once: 80 / 2 |
//! | JSON | 80 | `{},` takes 3 bytes, and the list doubles: 80 * (1 + 2) / 3 |
//!
//! [`bus_frame::BusHeader::parse`] and `split` allocate nothing but the text of an error. `tests/hostile` counts
//! allocations, checks these bounds, and shows that no factor can be 5 % smaller.

mod account;
mod book;
pub mod bus_frame;
mod channel;
mod close;
mod codec;
pub mod decimal;
mod forms;
mod json;
mod message;
mod msgpack;
mod number;
pub mod pb;
mod proto;
mod record;
mod secret;
mod sequence;
pub mod subject;
mod symbol;

pub use account::{Account, LedgerFault};
pub use book::{Applied, BookError, BookState};
pub use channel::Class;
pub use close::{CloseCode, may_retry};
pub use codec::{
    Batch, DecodeError, Encoding, command_id, decode_command, encode_command, encode_message,
    encode_sent_time,
};
pub use message::{Command, Message};
pub use number::InstrumentNumbers;
pub use pb::{
    Bar, BookProof, Channel, Derivative, Error, Feed, FeedState, Gap, GapCause, Granted, Heartbeat, Hello,
    Identity, Instrument, Ledger, LedgerEntry, LedgerRequest, Limits, Notice, Position, Receipt, Refused,
    Resume, ResumePosition, SetRate, Side, Stat, Status, Subscribe, Subscribed, Token, Trade, TradingState,
    Unsubscribe,
};
pub use record::{Body, Book, Level, Quote, Record, Scale, book_checksum};
pub use secret::Secret;
pub use sequence::{Missing, Numbered, Sequence, Verdict};
pub use subject::Subject;
pub use symbol::{SymbolError, SymbolName, is_venue};

/// The version of the wire rules, as `Hello::protocol_version` states it.
pub const PROTOCOL_VERSION: u32 = 1;

/// The CRC-32 of the `.proto` files that this build speaks, as `Hello::schema` states it.
pub const SCHEMA: &str = env!("TICKWIRE_SCHEMA");

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
