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
    /// The time of one way, in milliseconds.
    pub(crate) latency: u64,
    /// The most bytes that both kernels hold together.
    capacity: usize,
    /// The most bytes that one write takes.
    write_max: usize,
    /// The bytes under way, each part with the time at which it can be read.
    bytes: VecDeque<(u64, Vec<u8>)>,
    unread: usize,
    /// The bytes that the gateway's kernel did not take yet.
    pub(crate) pending: Vec<u8>,
    /// Whether the gateway's side is still there.
    pub(crate) gateway_open: bool,
    pub(crate) client_open: bool,
    /// Whether the close frame was handed over.
    pub(crate) is_closing: bool,
    /// Whether the client is gone and the gateway does not know.
    pub(crate) is_cut: bool,
    pub(crate) is_read_scheduled: bool,
    /// The time of the last arrival at the gateway: what the client sends arrives in order.
    pub(crate) upward_at: u64,
}

/// The properties of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// The delivery window that the client asks for.
    pub(crate) window_ms: u16,
    /// The heartbeat interval that it asks for; 0: the gateway's own.
    pub(crate) heartbeat_ms: u32,
    pub(crate) latency: u64,
    pub(crate) capacity: usize,
    pub(crate) write_max: usize,
}

impl Pipe {
    pub(crate) fn new(
        client: usize,
        (gateway, shard, key): (usize, usize, SessionKey),
        encoding: Encoding,
        connection: Connection,
    ) -> Self {
        let Connection { window_ms, latency, capacity, write_max, .. } = connection;
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
            unread: 0,
            pending: Vec::new(),
            gateway_open: true,
            client_open: true,
            is_closing: false,
            is_cut: false,
            is_read_scheduled: false,
            upward_at: 0,
        }
    }

    /// Writes bytes; the kernel takes what it has room for, and the count of it is returned.
    pub(crate) fn write(&mut self, bytes: &[u8], now: u64) -> usize {
        let taken = bytes.len().min(self.capacity - self.unread).min(self.write_max);
        if taken > 0 {
            self.unread += taken;
            self.bytes.push_back((now + self.latency, bytes[..taken].to_vec()));
        }
        taken
    }

    /// Writes what is pending, as far as the kernel takes it; returns whether it took anything.
    pub(crate) fn write_pending(&mut self, now: u64) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let taken = self.write(&pending, now);
        self.pending = pending[taken..].to_vec();
        taken > 0
    }

    /// Reads, for the client, at most so many bytes of what has arrived.
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
        self.unread -= read;
        read
    }

    /// Returns when there is something to read.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.bytes.front().map(|(at, _)| *at)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.unread < self.capacity
    }

    /// Returns whether it holds nobody up by itself.
    pub(crate) fn is_wide(&self) -> bool {
        self.capacity >= 200_000 && self.write_max == usize::MAX
    }

    /// Returns how many bytes were handed over and not read.
    pub(crate) fn in_flight(&self) -> usize {
        self.unread + self.pending.len()
    }
}
