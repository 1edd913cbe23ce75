//! The interface of every format: bytes of one file go in, statements come out.

use std::fmt;

use crate::said::{Fixed, Said};

/// A reading of one recording, from its beginning to its end.
///
/// A source reads and says; it knows no time, no pace and no scale. Whoever plays or inspects a recording makes a new
/// source for each reading.
pub trait Source: Send {
    /// Appends what the next stretch of the file says: some hundred entries at most beyond what one record of the
    /// file makes. Returns whether there is more; after `false` it says nothing.
    ///
    /// Damage is an entry, and what came before it was said. A source goes on behind damage where the format lets it
    /// find the next record.
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool;

    /// Returns the number of the file's own records, messages or rows that were read so far, whatever they are of.
    fn records(&self) -> u64;

    /// Returns the instruments that were found so far, by the numbers in what was said.
    fn symbols(&self) -> &[Symbol];
}

/// An entry of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A statement about an instrument.
    Said(Said),
    /// A record that is known and has no use here, by its kind.
    Unused(&'static str),
    /// A place that cannot be read, or contradicts what is known.
    Fault(Place, String),
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(u64),
    /// An offset in bytes, from 0; in a compressed file it counts what was packed.
    Byte(u64),
    /// A packet of a capture, from 1.
    Packet(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
            Self::Packet(packet) => write!(f, "packet {packet}"),
        }
    }
}

/// An instrument of a recording. What the file does not say is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The name.
    pub name: String,
    /// The smallest price step.
    pub tick: Option<Fixed>,
    /// The smallest size step.
    pub lot: Option<Fixed>,
    /// The asset that is bought.
    pub base: String,
    /// The asset that it is paid in.
    pub quote: String,
}

/// The instruments of a source, by a key of the format.
#[derive(Debug)]
pub(crate) struct Symbols<K> {
    by_key: rustc_hash::FxHashMap<K, u32>,
    by_name: rustc_hash::FxHashMap<String, u32>,
    list: Vec<Symbol>,
}

impl<K> Default for Symbols<K> {
    fn default() -> Self {
        let (by_key, by_name) = (rustc_hash::FxHashMap::default(), rustc_hash::FxHashMap::default());
        Self { by_key, by_name, list: Vec::new() }
    }
}

impl<K: std::hash::Hash + Eq> Symbols<K> {
    pub(crate) fn find(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Gives a key the instrument of a name, which may be known by another key.
    pub(crate) fn name(&mut self, key: K, name: &str) -> u32 {
        let index = self.of_name(name);
        self.by_key.insert(key, index);
        index
    }

    /// Returns the instrument of a name, where there is one.
    pub(crate) fn find_name(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Returns the instrument of a name; a new name is a new one.
    pub(crate) fn of_name(&mut self, name: &str) -> u32 {
        if let Some(index) = self.find_name(name) {
            return index;
        }
        let index = self.list.len() as u32;
        self.list.push(Symbol { name: name.to_owned(), ..Symbol::default() });
        self.by_name.insert(name.to_owned(), index);
        index
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Symbol {
        &mut self.list[index as usize]
    }

    pub(crate) fn list(&self) -> &[Symbol] {
        &self.list
    }
}
