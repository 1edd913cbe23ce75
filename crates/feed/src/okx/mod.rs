//! OKX, version 5 of its API.
//!
//! The [`Normalizer`] has no I/O: it takes the text of messages. Snapshots of books are in the stream, and each change names the
//! one before it. The numbers have steps of any size, and may begin anew without a loss. The checksum that comes along is
//! always 0, so it proves nothing.
//!
//! The API is described at <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel>.

mod listing;
mod message;
mod normalizer;

pub use listing::listings;
pub use normalizer::{Normalizer, Said, trading_state};
