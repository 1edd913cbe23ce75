//! Rust SDK of Tickwire: typed market data records, order books, gaps, reconnect and resume.
//!
//! ```no_run
//! use tickwire_client::{Client, Event, Options, State};
//! use tickwire_client::wire::Channel;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::builder("ws://127.0.0.1:7400/v1/stream")
//!     .subscribe(Channel::Quote, ["binance:BTCUSDT"])
//!     .connect()
//!     .await?;
//!
//! // Commands go through a handle, from any task, while this one reads.
//! let handle = client.handle();
//! tokio::spawn(async move {
//!     let outcome = handle.subscribe(Channel::Book, ["sim:BTC-USD"], Options::max_rate(10.0)).await;
//!     println!("{outcome:?}");
//! });
//!
//! while let Some(batch) = client.next().await {
//!     for event in batch {
//!         match event {
//!             Event::Record(update) => println!("{update}"),
//!             Event::Gap(gap) => println!("{gap}"),
//!             Event::State(State::Disconnected { reason, retry_in }) => println!("{reason}, again in {retry_in:?}"),
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     if let Some(book) = client.book("sim:BTC-USD").filter(|book| book.is_live()) {
//!         println!("{:?}", book.best());
//!     }
//! }
//! println!("ended: {:?}", client.end());
//! # Ok(()) }
//! ```
//!
//! # What can be relied on
//!
//! - **Order.** Records, gaps and changes of state come in one stream, in the order in which they happened.
//! - **No silent loss.** On lossless channels (`trade`, `status`, `instrument`) every number is delivered once or is in
//!   an [`Event::Gap`]: announced by the gateway, or noticed here. On the others a jump means "superseded".
//! - **Accounts are compared.** Every ledger of the gateway is checked against what came; a difference is an
//!   [`Event::LedgerMismatch`] before it.
//! - **Nothing broken is shown as live.** Without a connection, with a feed that is stale or down, and until the
//!   snapshot after a reconnect is there, [`Client::is_live`] is false. A book that does not agree with its numbers and
//!   checksums is marked at once ([`State::BookBroken`]) and subscribed anew by the client.
//! - **Quiet is not mute.** A market without trades raises no alarm. A connection without a byte for two heartbeats is
//!   dead ([`State::Mute`]) and replaced.
//! - **Reconnect.** Full-jitter back-off, reset only by a connection that was stable; it obeys the table of close codes
//!   and `Retry-After`. What was missed meanwhile is back-filled by the gateway or announced as a gap.
//! - **Tokens.** A token is shown at the handshake, in a header or by [`Builder::token_by_message`]; [`Event::Identity`] says whom the
//!   session belongs to and until when. One that will end is replaced by the next one of
//!   [`Builder::token_provider`] while the session goes on; one that was refused is never tried for ever.
//! - **Bounded.** At most [`Builder::buffer_bytes`] are read ahead of the program. Receipts tell the
//!   gateway what the program took, so it knows the program's true pace and conflates for it instead of queueing.
//!
//! # What it does not do
//!
//! Nothing happens while nobody calls [`Client::next`]: no response is read, no receipt is sent, nothing is reconnected.
//! A program that pauses for longer than the gateway waits (30 s by default) is disconnected, and reconnects when it
//! comes back.
//!
//! # TLS
//!
//! `wss://` trusts the authorities of the system, and those that [`Builder::ca_file`] or [`Builder::ca_pem`] name beside them. A
//! gateway that asks for a certificate of its clients gets the one of [`Builder::client_certificate`]. When TLS fails,
//! [`ConnectError::Tls`] says why and what to do.

mod batch_decoder;
mod builder;
mod client;
mod error;
mod event;
mod handle;
mod handshake;
mod link;
mod login;
mod outgoing;
mod reading;
pub mod receipts;
mod reconnect;
mod session;
mod silence;
mod target;
mod tls;
mod tokens;
mod view;

pub use builder::Builder;
pub use client::Client;
pub use error::{CommandError, ConnectError, Disconnect};
pub use event::{
    Batch, Event, GapEvent, LedgerMismatch, NoticedBy, Outcome, State, Update, decimal_text, explanation,
    price_text, size_text,
};
pub use handle::{Handle, Options};
pub use handshake::{BoxTransport, Transport};
pub use session::Counters;
pub use target::Target;
pub use tickwire_net::Backoff;
pub use tokens::TokenError;
pub use view::{BookView, QuoteView};

/// A fault in an entry of a ledger.
pub use tickwire_wire::LedgerFault;

/// The records and names that events are made of.
pub use tickwire_wire as wire;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
