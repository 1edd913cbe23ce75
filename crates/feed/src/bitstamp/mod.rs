//! Bitstamp: the changes of whole books, joined with the book of its REST service, and trades.
//!
//! The [`Normalizer`] has no I/O: it takes the text of messages, and of the books that [`Normalizer::take_wanted`] names. A change has a
//! time in microseconds, and neither a number nor a checksum: nothing tells that one is missing. So a book is compared with the one of the REST service
//! from time to time, and one that differs is a gap. The ids of trades are shared by all instruments: what is missing between
//! two of them cannot be told.
//!
//! The API is described at <https://www.bitstamp.net/websocket/v2/>.

mod book;
mod listing;
mod message;
mod normalizer;

pub use book::{Book, Kept};
pub use listing::listings;
pub use normalizer::{Normalizer, Said, trading_state};
