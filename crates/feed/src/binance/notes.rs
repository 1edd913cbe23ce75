//! The notes of a normalizer besides events: they are counted always and put into words seldom.

/// The counts since a normalizer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The sequences of the venue that began anew, each told as a gap.
    pub new_sequences: u64,
    /// The snapshots that helped no book, because they were too old for it.
    pub unused_snapshots: u64,
    /// The times of the venue that were none; the receive time stands for them.
    pub odd_event_times: u64,
    /// The number of times that a status said that a book waits for a snapshot.
    pub waiting_books: u64,
}

/// The counts, and words for those who read a log.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) counts: Counts,
    words: Vec<String>,
}

impl Notes {
    /// Counts one; the first, second, fourth and so on is put into words.
    pub(crate) fn add(&mut self, count: fn(&mut Counts) -> &mut u64, words: impl FnOnce() -> String) {
        let count = count(&mut self.counts);
        *count += 1;
        if count.is_power_of_two() {
            let count = *count;
            self.words.push(if count > 1 {
                format!("{} ({count} of these so far)", words())
            } else {
                words()
            });
        }
    }

    pub(crate) fn take_words(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }
}
