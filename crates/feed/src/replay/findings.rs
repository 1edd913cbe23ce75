//! The findings of a replay besides records: they serve its summary, and the exit status of who runs it.

use std::fmt::Write as _;

use crate::binance::Counts;

/// The number of symbols that are told by name.
const NAMES_MAX: usize = 16;

/// The findings of a replay besides records, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The counts of the venue's messages.
    pub counts: Counts,
    /// The changes of depth that came to no book.
    pub unused_changes: u64,
    /// The symbols whose book waits for a snapshot, as of the last turn.
    pub waiting_books: Vec<String>,
    /// The symbols of which there was no trade, quote or book; known at the end of a pass.
    pub silent: Vec<String>,
    /// The symbols whose changes of depth came to no book at all; known at the end of a pass.
    pub bookless: Vec<String>,
    /// The receive times that were of one line alone: the time before stands for each.
    pub replaced_times: u64,
    /// The places from which on receive times are earlier.
    pub steps_back: u64,
    /// The silences that were passed over because they are too long.
    pub silences: u64,
    /// The places where something of a file could not be read.
    pub damaged_parts: u64,
    /// The kinds of messages in the recordings that nobody here has a use for, with how many there are.
    pub unused_kinds: Vec<(String, u64)>,
    /// The messages of `aggTrade` that repeat the trades.
    pub doubled_aggregates: u64,
    /// The symbols whose trades are those of `aggTrade`.
    pub aggregated: Vec<String>,
}

impl Findings {
    /// Returns why a replay that ended did not give all that is in its recordings; empty where it did. Single lines
    /// that could not be used are no such reason: they are counted as faults.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        if self.damaged_parts > 0 {
            losses.push(format!("{} damaged parts of the recordings could not be read", self.damaged_parts));
        }
        if !self.silent.is_empty() {
            losses.push(format!("nothing of {} could be used", names(&self.silent)));
        }
        if !self.bookless.is_empty() {
            let names = names(&self.bookless);
            losses.push(format!(
                "no depth of {names} could be used: no snapshot comes that its changes continue"
            ));
        }
        losses
    }
}

/// Puts some names into words, and how many more there are.
pub(crate) fn names<T: AsRef<str>>(names: &[T]) -> String {
    let mut text = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX {
        let _ = write!(text, " and {} more", names.len() - NAMES_MAX);
    }
    text
}
