//! The positions at which a client left off on lossless channels, as it says before it subscribes.

use std::collections::HashMap;

use tickwire_wire::{Channel, ResumePosition};

/// The bytes that a position counts for beside its name.
const POSITION_BYTES: usize = 128;

/// Positions that no subscription has taken yet. Those of other channels mean nothing and are not kept.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Epoch and sequence number, by channel and symbol.
    by_name: HashMap<(Channel, String), (u64, u64)>,
    bytes: usize,
}

impl Positions {
    /// Takes positions beside those that are there, or instead of those of the same name.
    ///
    /// # Errors
    /// Where that would be more than `limit`, it says how many that would be, and takes none.
    pub(crate) fn merge(&mut self, positions: Vec<ResumePosition>, limit: usize) -> Result<(), usize> {
        let known = positions.into_iter().filter_map(|position| {
            let channel = Channel::from_name(&position.channel).filter(|channel| channel.is_lossless())?;
            Some(((channel, position.symbol), (position.epoch, position.sequence)))
        });
        let told: HashMap<_, _> = known.collect();
        let new = told.keys().filter(|name| !self.by_name.contains_key(name));
        let (count, bytes) = new.fold((0, 0), |(count, bytes), name| (count + 1, bytes + cost(name)));
        if self.by_name.len() + count > limit {
            return Err(self.by_name.len() + count);
        }
        self.bytes += bytes;
        self.by_name.extend(told);
        Ok(())
    }

    /// Takes out the epoch and the sequence number of a subscription that begins.
    pub(crate) fn take(&mut self, channel: Channel, symbol: &str) -> Option<(u64, u64)> {
        let name = (channel, symbol.to_owned());
        let taken = self.by_name.remove(&name)?;
        self.bytes -= cost(&name);
        Some(taken)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns what they count for, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost((_, symbol): &(Channel, String)) -> usize {
    POSITION_BYTES + symbol.len()
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
