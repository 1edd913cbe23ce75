//! WebSocket frames of a server (RFC 6455), as the engine fills them.

use tickwire_core::engine::Framing;
use tickwire_net::frame::{self, Close, HEAD_BYTES_MAX, OpCode};

/// The room that is left free for the head of a frame: most heads have this size. A shorter or longer one moves the payload.
const HEAD_BYTES: usize = 4;

/// The size of a ping that carries a time.
const PROBE_BYTES: usize = 2 + size_of::<u64>();

/// The framing of a WebSocket server; see the module.
#[derive(Clone, Copy, Debug)]
pub struct WebSocket;

impl Framing for WebSocket {
    #[inline]
    fn begin(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + HEAD_BYTES, 0);
    }

    fn end(&self, head: usize, start: usize, is_text: bool, out: &mut Vec<u8>) {
        let opcode = if is_text { OpCode::Text } else { OpCode::Binary };
        let mut bytes = [0; HEAD_BYTES_MAX];
        let length = frame::write_head(opcode, &out[start..], &mut bytes);
        if length <= HEAD_BYTES {
            out[head..head + length].copy_from_slice(&bytes[..length]);
            if length < HEAD_BYTES {
                out.copy_within(start.., head + length);
                out.truncate(out.len() - (HEAD_BYTES - length));
            }
        } else {
            out.splice(head..start, bytes[..length].iter().copied());
        }
    }

    fn probe_bytes(&self) -> usize {
        PROBE_BYTES
    }

    fn probe(&self, time: u64, out: &mut Vec<u8>) {
        frame::write(OpCode::Ping, &time.to_le_bytes(), out);
    }

    fn pong(&self, payload: &[u8], out: &mut Vec<u8>) {
        frame::write(OpCode::Pong, payload, out);
    }

    fn close(&self, code: u16, text: &str, out: &mut Vec<u8>) {
        frame::write(OpCode::Close, &Close::payload(code, text), out);
    }
}
