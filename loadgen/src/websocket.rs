//! The WebSocket of a session: what its handshake asks for, what is said of the response, and frames.

use anyhow::bail;
use hyper::Response;
use tickwire_net::frame;
pub(crate) use tickwire_net::frame::OpCode as Opcode;
pub(crate) use tickwire_net::handshake::read_response;
use tickwire_net::handshake::{self, Opening, ResponseFault};
use tickwire_wire::Encoding;

/// A larger message is not a server's under test: a gateway's largest is a burst of book snapshots.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// All sessions have the same mask, which guards proxies, of which there is none here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends a client's frame.
pub(crate) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    frame::write_masked(opcode, MASK, payload, out);
}

/// Returns the key of a session.
pub(crate) fn key(number: u64) -> String {
    handshake::key((u128::from(number) << 64 | 0x7469_636b_7769_7265).to_be_bytes())
}

/// Writes the request that opens a session. `authorization` is a whole header, or nothing.
pub(crate) fn request(
    host: &str,
    path: &str,
    key: &str,
    encoding: Option<Encoding>,
    authorization: &str,
) -> String {
    let agent = concat!("tickwire-loadgen/", env!("CARGO_PKG_VERSION"));
    let protocol = encoding.map(Encoding::subprotocol);
    Opening { host, path, agent, key, protocol }.write(authorization)
}

/// The bytes are the begin of a TLS record: an alert, or a handshake (RFC 8446, section 5.1).
pub(crate) fn is_tls(answer: &[u8]) -> bool {
    matches!(answer, [0x15 | 0x16, 3, ..])
}

/// Asking once more would come to the same answer.
pub(crate) fn is_refusal(response: &Response<()>) -> bool {
    response.status().is_client_error() && response.status() != 429
}

/// # Errors
/// When the response opens no session as asked; the text is for people.
pub(crate) fn verify(
    response: &Response<()>,
    body: &str,
    key: &str,
    encoding: Option<Encoding>,
) -> anyhow::Result<()> {
    let fault = match handshake::check_response(response, key, encoding.map(Encoding::subprotocol)) {
        Ok(()) => return Ok(()),
        Err(fault) => fault,
    };
    let said: String = body.trim().chars().take(200).collect();
    match (fault, response.status().as_u16()) {
        (ResponseFault::Status(_), status @ (401 | 403)) => bail!(
            "it refuses the handshake with HTTP {status}: {said}; `sessions.token` or `sessions.tokens_file` say who asks"
        ),
        (ResponseFault::Status(_), status) if body.to_ascii_lowercase().contains("https") => {
            bail!("it answers with HTTP {status}: {said}; if it speaks TLS, write wss://")
        }
        (ResponseFault::Status(_), status) => bail!("it answers with HTTP {status}: {said}"),
        (fault, _) => bail!(fault),
    }
}

#[cfg(test)]
#[path = "../tests/units/websocket.rs"]
mod tests;
