//! The supply of a channel: whether its connection and its subscription bring data.

/// A change in the supply of a channel of a symbol, as the connections know it. What is shown of the channel follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply<'s> {
    /// The connection was lost: a book is broken until a snapshot, a quote is not current until the next one, and of trades a
    /// status says it at once, while the ids of the next ones tell how many were missed.
    Lost,
    /// The subscription is in force, perhaps again.
    Back,
    /// The subscription was granted, and brought nothing within its time.
    Silent,
    /// It brought something after it was silent.
    Speaking,
    /// The venue refused the subscription, for this reason.
    Refused(&'s str),
}
