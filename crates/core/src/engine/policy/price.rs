//! The price of a command, in names: it costs one for each symbol or position that it names, for each symbol that
//! `venue:*` stands for, and so on. The shard that owns the session charges it: see the gateway's
//! `shard/command_rate.rs`, and `docs/protocol.md` for clients.

/// So many bytes are read for the price of one name, however few names are in them.
const BYTES_PER_NAME: usize = 32;

/// So many entries of a ledger are written for the price of one name.
const ENTRIES_PER_NAME: usize = 2;

/// The price of the command that is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Price {
    bytes: usize,
    names: usize,
}

impl Price {
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self { bytes, names: 0 }
    }

    pub(crate) fn add_names(&mut self, names: usize) {
        self.names += names;
    }

    pub(crate) fn add_entries(&mut self, entries: usize) {
        self.names += entries.div_ceil(ENTRIES_PER_NAME);
    }
    /// Returns the price, in names.
    pub(crate) fn names(self) -> u32 {
        u32::try_from(self.names.max(self.bytes / BYTES_PER_NAME)).unwrap_or(u32::MAX)
    }
}
