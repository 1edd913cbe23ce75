//! Binance: spot, USD-margined and coin-margined futures.
//!
//! The [`Normalizer`] has no I/O: it takes the text of WebSocket messages, of the REST depth snapshot and of
//! `exchangeInfo`, from wherever they come. `tickwire-live` adds the connections, and fetches the snapshots that
//! [`Normalizer::take_wanted`] names.
//!
//! Formats and the procedure for books are described at <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>
//! and <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams>, "How to manage a
//! local order book correctly".

mod depth;
mod detect;
mod info;
mod message;
mod normalizer;
mod notes;
mod parse;
mod proven;
mod scale;
mod scan;
mod sequence;
mod stamp;
mod status;
mod symbol;

pub(crate) use sequence::{Arrival, Sequence, SequenceMark};

pub use depth::Need;
pub use normalizer::Normalizer;
pub use notes::Counts;
pub use scan::{Scan, listings};

/// One of Binance's markets. They differ in how books continue and in where times stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// `binance`
    Spot,
    /// `binance-usdm`
    Usdm,
    /// `binance-cm`
    Cm,
}

impl Market {
    /// All markets.
    pub const ALL: [Self; 3] = [Self::Spot, Self::Usdm, Self::Cm];

    /// Returns the venue's name.
    pub fn venue(self) -> &'static str {
        match self {
            Self::Spot => "binance",
            Self::Usdm => "binance-usdm",
            Self::Cm => "binance-cm",
        }
    }

    /// Returns the market of a venue's name.
    pub fn from_venue(venue: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|market| market.venue() == venue)
    }
}
