//! The backplane of Tickwire: NATS, or in memory. The only crate that knows async-nats.
//!
//! It carries opaque payloads from ingesters to gateways. Publishers never wait; what cannot be taken is refused at
//! once, and the caller counts it. A consumer opens an [`Inbox`] and changes the subjects that it wants through the
//! [`Interest`] beside it.
//!
//! # What is promised
//!
//! - **Order.** Messages of one bus handle come out of one inbox in the order of their `publish` calls, across
//!   subjects. A message that could only be delivered out of order is dropped and reported as [`LostCause::Late`].
//! - **Interest before requests.** What a handle publishes or asks after `Interest::subscribe` returned reaches the
//!   other side after that subscription is in force: subscribe, then ask for a snapshot, leaves no hole.
//! - **Bounds.** Every queue has a maximum in [`InboxLimits`], [`NatsConfig`] or [`MemoryLimits`].
//!
//! # What is not
//!
//! - **Silent losses.** [`BusEvent::Lost`] says what this side of the bus noticed. A server may drop messages, a
//!   publisher's connection may break with messages in it, and no one here is told. Payloads carry sequence numbers,
//!   and the consumer finds such losses by them.
//! - **Memory of payloads.** A payload shares a read buffer of up to 64 KiB with its neighbours. Copy what is kept
//!   longer than one turn of the loop.

mod backplane;
mod future;
mod history;
mod inbox;
pub mod lease;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod queue;
mod register;

pub use backplane::{
    Backplane, BusState, FlushError, PublishError, Request, RequestError, Requests, ServeError,
};
pub use future::BoxFuture;
pub use history::{History, HistoryError, HistoryState, Place, Recall, Recalled};
pub use inbox::{BusEvent, Inbox, InboxLimits, Interest, InterestError, LostCause};
pub use memory::{MemoryBus, MemoryLimits};
#[cfg(feature = "nats")]
pub use nats::{ConfigError, ConnectError, HistoryConfig, NatsBus, NatsConfig, Secret, TlsConfig};
pub use tickwire_wire::subject::{CHANNEL_BYTES_MAX, NAME_BYTES_MAX, ParsedSubject, Subject, SubjectError};

/// The directive for the log filter of a process that uses this crate: the client library logs every attempt and
/// message, and this crate logs each change once.
pub const LOG_DIRECTIVE: &str = "async_nats=off";

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
