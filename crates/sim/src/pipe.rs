//! One connection: a bounded pipe of bytes to the client, with latency, and what the gateway's side holds of it.

use std::collections::VecDeque;

use tickwire_wire::Encoding;

use tickwire_core::engine::SessionKey;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Each side's end, and how it came, are independent of each other.
pub(crate) struct Pipe {
    pub(crate) client: usize,
    pub(crate) gateway: usize,
    pub(crate) shard: usize,
    pub(crate) key: SessionKey,
    pub(crate) encoding: Encoding,
    pub(crate) window_ms: u16,
    /// One way, milliseconds.
    pub(crate) latency: u64,
    /// What both kernels hold together, at most.
    capacity: usize,
    /// Most bytes that one write takes.
    write_max: usize,
    /// With the time at which they can be read.
    bytes: VecDeque<(u64, Vec<u8>)>,
    held: usize,
    /// What the gateway's kernel did not take yet.
    pub(crate) pending: Vec<u8>,
    /// The side is still there.
    pub(crate) gateway_open: bool,
    pub(crate) client_open: bool,
    /// The close frame was handed over.
    pub(crate) is_closing: bool,
    /// The client is gone and the gateway does not know.
    pub(crate) is_cut: bool,
    pub(crate) is_read_scheduled: bool,
    /// What the client sends arrives in order.
    pub(crate) upward_at: u64,
}

/// What a connection is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cable {
    /// The delivery window that the client asks for.
    pub(crate) window_ms: u16,
    pub(crate) latency: u64,
    pub(crate) capacity: usize,
    pub(crate) write_max: usize,
}

impl Pipe {
    pub(crate) fn new(
        client: usize,
        (gateway, shard, key): (usize, usize, SessionKey),
        encoding: Encoding,
        cable: Cable,
    ) -> Self {
        let Cable { window_ms, latency, capacity, write_max } = cable;
        Self {
            client,
            gateway,
            shard,
            key,
            encoding,
            window_ms,
            latency,
            capacity,
            write_max,
            bytes: VecDeque::new(),
            held: 0,
            pending: Vec::new(),
            gateway_open: true,
            client_open: true,
            is_closing: false,
            is_cut: false,
            is_read_scheduled: false,
            upward_at: 0,
        }
    }

    /// The kernel takes what it has room for.
    pub(crate) fn write(&mut self, bytes: &[u8], now: u64) -> usize {
        let taken = bytes.len().min(self.capacity - self.held).min(self.write_max);
        if taken > 0 {
            self.held += taken;
            self.bytes.push_back((now + self.latency, bytes[..taken].to_vec()));
        }
        taken
    }

    /// The kernel takes more of what waits; returns whether it took anything.
    pub(crate) fn write_pending(&mut self, now: u64) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let taken = self.write(&pending, now);
        self.pending = pending[taken..].to_vec();
        taken > 0
    }

    /// The client reads at most so many bytes of what has arrived.
    pub(crate) fn read(&mut self, most: usize, now: u64, into: &mut Vec<u8>) -> usize {
        let mut read = 0;
        while read < most
            && let Some((arrived, bytes)) = self.bytes.front_mut()
            && *arrived <= now
        {
            let count = bytes.len().min(most - read);
            into.extend(bytes.drain(..count));
            read += count;
            if bytes.is_empty() {
                self.bytes.pop_front();
            }
        }
        self.held -= read;
        read
    }

    /// When there is something to read.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.bytes.front().map(|(at, _)| *at)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.held < self.capacity
    }

    /// It holds nobody up by itself.
    pub(crate) fn is_wide(&self) -> bool {
        self.capacity >= 200_000 && self.write_max == usize::MAX
    }

    /// Bytes that were handed over and not read.
    pub(crate) fn in_flight(&self) -> usize {
        self.held + self.pending.len()
    }
}
