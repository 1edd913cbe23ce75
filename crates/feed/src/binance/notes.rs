//! What a normalizer had to say besides events: counted always, put into words seldom.

/// Counts since a normalizer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences of the venue that began anew, each told as a gap.
    pub new_sequences: u64,
    /// Snapshots that helped no book: too old for it.
    pub unused_snapshots: u64,
    /// Times of the venue that were none; the receive time stands for them.
    pub odd_event_times: u64,
    /// Times that a status said that a book waits for a snapshot.
    pub waiting_books: u64,
}

/// Counts, and words for those who read a log.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) counts: Counts,
    words: Vec<String>,
}

impl Notes {
    /// Counts; the first, second, fourth and so on is put into words.
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
