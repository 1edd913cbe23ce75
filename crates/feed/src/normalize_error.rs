//! The faults of messages that are normalized.

use tickwire_wire::decimal::DecimalError;

/// The fault of a message.
#[derive(Debug, thiserror::Error)]
pub enum NormalizeError {
    /// The bytes are no JSON, or not of the shape that the message should have.
    #[error("this is not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
    /// A price or a size cannot be read, or does not fit the scale of the instrument.
    #[error("{field}: {source}")]
    Decimal {
        /// The member of the message.
        field: &'static str,
        /// The fault of its value.
        source: DecimalError,
    },
    /// An id or a time is not a whole number.
    #[error("{field}: `{text}` is not a whole number")]
    Whole {
        /// The member of the message.
        field: &'static str,
        /// The text that stands there.
        text: String,
    },
    /// A member that should be text is something else.
    #[error("{0} is no text")]
    NoText(&'static str),
    /// The message is of a symbol that was not defined.
    #[error("symbol `{0}` is not among the instruments")]
    UnknownSymbol(String),
    /// A depth snapshot does not name its symbol, and there are several.
    #[error(
        "a depth snapshot does not say of which symbol it is, and the recording has several; keep the snapshots of each \
         symbol in a file with its stream"
    )]
    WhoseSnapshot,
    /// A change of depth covers no update ids.
    #[error("update ids {first} to {last} are no range")]
    Range {
        /// The first update id.
        first: u64,
        /// The last update id.
        last: u64,
    },
    /// A member that is needed is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The change of depth is of another market: spot and futures number them differently.
    #[error(
        "this is a change of depth of {found}, and the recording is taken as one of {market}; see --venue"
    )]
    OtherMarket {
        /// The market that the message is of.
        found: &'static str,
        /// The market that the recording is taken for.
        market: &'static str,
    },
    /// The recording holds an error message of the venue.
    #[error("the venue answered with an error: {0}")]
    Venue(String),
    /// One element of an array of messages cannot be used.
    #[error("element {at} of the array: {source}")]
    Element {
        /// The place of the element, from 0.
        at: usize,
        /// The fault of the element.
        source: Box<NormalizeError>,
    },
    /// The JSON is of no kind that is known here.
    #[error("this is neither a stream message nor a depth snapshot nor exchangeInfo")]
    Foreign,
}
