//! What a command costs, in names: one for each symbol or position that it names, for each symbol that `venue:*` stands for,
//! and so on. The shard that owns the session charges it: see `shard/command_rate.rs`, and `docs/protocol.md` for clients.

use super::Engine;

/// So many bytes are read for the price of one name, however few names are in them.
const BYTES_PER_NAME: usize = 32;
/// So many entries of a ledger are written for the price of one name.
const ENTRIES_PER_NAME: usize = 2;

/// Of the command at hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Price {
    bytes: usize,
    names: usize,
}

impl Price {
    pub(super) fn of_bytes(bytes: usize) -> Self {
        Self { bytes, names: 0 }
    }

    pub(super) fn add_names(&mut self, names: usize) {
        self.names += names;
    }

    pub(super) fn add_entries(&mut self, entries: usize) {
        self.names += entries.div_ceil(ENTRIES_PER_NAME);
    }
}

impl Engine {
    /// What the last message of a client cost, in names.
    pub fn price(&self) -> u32 {
        let Price { bytes, names } = self.price;
        u32::try_from(names.max(bytes / BYTES_PER_NAME)).unwrap_or(u32::MAX)
    }
}
