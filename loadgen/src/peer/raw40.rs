//! The plainest peer: ids in, updates out.

use super::{Progress, Update};
use crate::ws::{self, Opcode};

#[derive(Debug)]
pub(crate) struct Raw40;

#[allow(clippy::unused_self, reason = "peers look alike; others have something to remember")]
impl Raw40 {
    pub(crate) fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        let ids: Vec<u8> = symbols.iter().flat_map(|symbol| symbol.to_le_bytes()).collect();
        ws::put(out, Opcode::Binary, &ids);
    }

    pub(crate) fn message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        _out: &mut Vec<u8>,
        found: &mut impl FnMut(Update),
    ) -> Result<Progress, String> {
        match (opcode, payload) {
            (Opcode::Text, b"ok") => Ok(Progress::Ready),
            (Opcode::Text, said) => Err(format!("it says: {}", String::from_utf8_lossy(said))),
            (_, updates) => Update::read_all(updates, found).map(|()| Progress::More),
        }
    }
}
