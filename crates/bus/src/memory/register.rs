//! The register of the bus in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::future::BoxFuture;
use crate::register::{Entry, Register, RegisterError};

#[derive(Default)]
pub(super) struct MemoryRegister(Mutex<(u64, HashMap<String, Entry>)>);

impl Register for MemoryRegister {
    fn read<'r>(&'r self, name: &'r str) -> BoxFuture<'r, Result<Option<Entry>, RegisterError>> {
        let entry = self.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(name).cloned();
        Box::pin(std::future::ready(Ok(entry)))
    }

    fn write<'r>(
        &'r self,
        name: &'r str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'r, Result<Option<u64>, RegisterError>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, entries) = &mut *entries;
        let written = (entries.get(name).map_or(0, |entry| entry.revision) == expected).then(|| {
            *last += 1;
            entries.insert(name.to_owned(), Entry { revision: *last, value });
            *last
        });
        Box::pin(std::future::ready(Ok(written)))
    }
}
