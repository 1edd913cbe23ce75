//! The words that all kinds of transport have in common.

/// The bytes that kernels may hold of one session; see [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    /// The size of the send buffer; 0 leaves it to the kernel.
    pub(crate) send_bytes: usize,
    /// The most bytes that the kernel holds unsent.
    pub(crate) unsent_bytes: usize,
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing is there now.
    Nothing,
    /// `count` bytes were read. With TLS there may be none, because not all that comes is for the session. `is_all` says that
    /// nothing more was there, unless the readiness list told of the end of the stream too.
    Bytes { count: usize, is_all: bool },
    /// The peer sends no more.
    End,
}
