//! Names of sessions and of their subscriptions, by which everything else refers to them.

slotmap::new_key_type! {
    /// A session of a shard. A key that outlived its session resolves to nothing.
    pub struct SessionKey;
}

/// The place of a subscription: its session, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubRef {
    pub(crate) session: SessionKey,
    pub(crate) sub: u32,
}

/// A subscription as its topic sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    pub(crate) at: SubRef,
    /// Whether it may be throttled. That is kept here, because an update for one that has no rate need not touch it.
    pub(crate) has_rate: bool,
}
