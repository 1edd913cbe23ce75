//! `venue:SYMBOL`, the way an instrument is named in commands and responses.

use std::fmt;

/// A venue and a symbol in it. The symbol may hold any character; `*` alone means all of the venue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolName {
    /// The venue, as [`is_venue`] allows.
    pub venue: String,
    /// The symbol, 1 to [`SymbolName::SYMBOL_BYTES_MAX`] bytes.
    pub symbol: String,
}

/// The reason why a text is no name of a symbol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolError {
    /// There is no colon.
    #[error("`{0}` has no venue; write `venue:SYMBOL`, as in `binance:BTCUSDT`")]
    NoVenue(String),
    /// The part before the colon can be no venue.
    #[error("the venue in `{0}` may hold a to z, 0 to 9, `-` and `_` only, 32 at most")]
    BadVenue(String),
    /// The part behind the colon can be no symbol.
    #[error("the symbol in `{0}` is empty or longer than 128 bytes")]
    BadSymbol(String),
}

impl SymbolName {
    /// The longest symbol, in bytes: the subject of a record must stay well below what a NATS server takes.
    pub const SYMBOL_BYTES_MAX: usize = 128;

    /// Reads `venue:SYMBOL`.
    ///
    /// # Errors
    /// Returns an error that says what is wrong with the name and how to write it.
    pub fn parse(name: &str) -> Result<Self, SymbolError> {
        let (venue, symbol) = name.split_once(':').ok_or_else(|| SymbolError::NoVenue(shorten(name)))?;
        if !is_venue(venue) {
            return Err(SymbolError::BadVenue(shorten(name)));
        }
        if symbol.is_empty() || symbol.len() > Self::SYMBOL_BYTES_MAX {
            return Err(SymbolError::BadSymbol(shorten(name)));
        }
        Ok(Self { venue: venue.to_owned(), symbol: symbol.to_owned() })
    }

    /// Returns whether it stands for every symbol of its venue.
    pub fn is_all(&self) -> bool {
        self.symbol == "*"
    }
}

/// Returns whether this can name a venue: 1 to 32 of `a` to `z`, `0` to `9`, `-`, `_`.
pub fn is_venue(venue: &str) -> bool {
    (1..=32).contains(&venue.len())
        && venue.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// Cuts what was typed to a length that an error message can carry.
fn shorten(name: &str) -> String {
    if name.chars().count() <= 160 {
        name.to_owned()
    } else {
        name.chars().take(160).chain(['…']).collect()
    }
}

impl fmt::Display for SymbolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.venue, self.symbol)
    }
}
