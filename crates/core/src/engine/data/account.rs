//! The account of a subscription: what became of the sequence numbers that passed it.

/// The account of the sequence numbers that passed a subscription: the first count is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sequence numbers that passed since the subscription began.
    pub published: u64,
    /// Records that were handed over.
    pub delivered: u64,
    /// Sequence numbers that a newer record superseded before they could be sent.
    pub conflated: u64,
    /// Sequence numbers that were announced in gaps.
    pub dropped: u64,
    /// Sequence numbers that were superseded while the subscription was throttled by its rate.
    pub filtered: u64,
}

impl Account {
    /// The account of nothing.
    pub(crate) const NONE: Self = Self { published: 0, delivered: 0, conflated: 0, dropped: 0, filtered: 0 };
}

impl std::ops::Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            delivered: self.delivered + other.delivered,
            conflated: self.conflated + other.conflated,
            dropped: self.dropped + other.dropped,
            filtered: self.filtered + other.filtered,
        }
    }
}
