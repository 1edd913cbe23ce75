//! The interface of each venue: messages go in, statements come out.

use crate::source::{Entry, Symbol};

/// The messages of a venue.
pub(super) trait Messages: Send {
    /// Takes one message, received at a time in nanoseconds.
    ///
    /// # Errors
    /// Returns what is wrong with it, in words.
    fn take(&mut self, time: u64, json: &str, entries: &mut Vec<Entry>) -> Result<(), String>;

    /// Takes in that a line was lost.
    fn lose(&mut self, entries: &mut Vec<Entry>);

    fn symbols(&self) -> &[Symbol];
}
