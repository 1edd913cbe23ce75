//! The proof of the books of a source.

use std::fmt;

use tickwire_wire::pb::BookProof;

/// The capability of a source to prove its books, as it declares it. Nothing branches on it; users are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The proof that no change is missing.
    pub proof: Proof,
    /// The moment at which a change is checked.
    pub checked: Checked,
    /// Whether the number of missing events is known.
    pub loss: Loss,
    /// The source of a book's first state.
    pub snapshots: Snapshots,
}

/// The proof that no change of a book is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Each change of a symbol has a sequence number.
    SymbolSequence,
    /// Each message of a connection has a sequence number: one that is missing breaks all books of the connection.
    ConnectionSequence,
    /// Each change names the one before it.
    Chain,
    /// Each change comes with a checksum of the book.
    Checksum,
    /// Nothing does.
    Nothing,
}

/// The moment at which a change of a book is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is checked before it is applied: a wrong book never exists.
    Before,
    /// It is checked after it is applied: a wrong book exists, and is not told.
    After,
    /// It is not checked.
    Never,
}

/// The knowledge of how many events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The number of trades is known, because they are numbered without holes; that of changes of a book is not.
    OfTrades,
    /// The number is not known.
    Unknown,
}

/// The source of a book's first state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// It is the stream itself.
    InBand,
    /// It is a request.
    Rest,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.proof {
            Proof::SymbolSequence => "sequence numbers per symbol",
            Proof::ConnectionSequence => "sequence numbers per connection",
            Proof::Chain => "each change names the one before",
            Proof::Checksum => "a checksum per change",
            Proof::Nothing => return f.write_str("unverifiable"),
        })?;
        f.write_str(match self.checked {
            Checked::Before => ", checked before it is applied",
            Checked::After => ", checked after it is applied",
            Checked::Never => ", not checked",
        })?;
        f.write_str(match self.loss {
            Loss::OfTrades => "; lost trades are counted",
            Loss::Unknown => "; the size of a loss is not known",
        })?;
        f.write_str(match self.snapshots {
            Snapshots::InBand => "; snapshots in the stream",
            Snapshots::Rest => "; snapshots by REST",
        })
    }
}

impl Proof {
    /// Returns the proof as the bus carries it.
    pub(crate) fn code(self) -> BookProof {
        match self {
            Self::SymbolSequence => BookProof::SymbolSequence,
            Self::ConnectionSequence => BookProof::ConnectionSequence,
            Self::Chain => BookProof::Chain,
            Self::Checksum => BookProof::Checksum,
            Self::Nothing => BookProof::Unverifiable,
        }
    }
}
