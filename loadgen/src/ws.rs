//! Frames of sessions: all have the same mask, which guards proxies, of which there is none here.

use tickwire_net::frame;
pub(crate) use tickwire_net::frame::OpCode as Opcode;

/// A larger message is not a server's under test: a gateway's largest is a burst of book snapshots.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends a client's frame.
pub(crate) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    frame::write_masked(opcode, MASK, payload, out);
}
