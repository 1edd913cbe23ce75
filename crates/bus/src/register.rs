//! A register of small values: the part of a bus that leases need.

use bytes::Bytes;
use thiserror::Error;

use crate::future::BoxFuture;

/// Small values under names, each of which changes only for a writer that knows its last revision.
pub trait Register: Send + Sync {
    /// Returns an entry; `None` where there never was one.
    ///
    /// # Errors
    /// The register is not there.
    ///
    /// # Cancel safety
    /// It is safe, because it changes nothing.
    fn read<'r>(&'r self, name: &'r str) -> BoxFuture<'r, Result<Option<Entry>, RegisterError>>;

    /// Writes an entry whose last revision is `expected`, 0 for one that is not there, and returns the new revision; `None`
    /// where its revision is another one. Revisions only grow.
    ///
    /// # Errors
    /// The register is not there, or does not say whether it wrote.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was written.
    fn write<'r>(
        &'r self,
        name: &'r str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'r, Result<Option<u64>, RegisterError>>;
}

/// An entry of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision of its last change.
    pub revision: u64,
    /// The value.
    pub value: Bytes,
}

/// The reason why a register cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("leases cannot be kept: {0}")]
pub struct RegisterError(pub String);
