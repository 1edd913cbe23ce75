//! The WebSocket handshake (RFC 6455, section 4), as text: ten thousand sessions should not each keep an HTTP library's
//! buffers.

use anyhow::{bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tickwire_wire::Encoding;

/// An answer longer than this is not a server's under test.
pub(crate) const HEAD_BYTES_MAX: usize = 8192;

/// The key of a session (section 4.1: 16 bytes in Base64).
pub(crate) fn key(number: u64) -> String {
    STANDARD.encode([number.to_le_bytes(), 0x7469_636b_7769_7265_u64.to_be_bytes()].concat())
}

/// The request that opens a session.
pub(crate) fn request(host: &str, path: &str, key: &str, encoding: Option<Encoding>) -> String {
    let protocol = encoding.map_or_else(String::new, |encoding| {
        format!("Sec-WebSocket-Protocol: {}\r\n", encoding.subprotocol())
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tickwire-loadgen/{}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{protocol}\r\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// Where the head of an answer ends.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// # Errors
/// When the answer opens no session as asked; the text is for people.
pub(crate) fn verify(head: &str, body: &str, key: &str, encoding: Option<Encoding>) -> anyhow::Result<()> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
    if status != "101" {
        let said: String = body.trim().chars().take(200).collect();
        bail!("it answers with HTTP {status}: {said}");
    }
    let header = |name: &str| {
        let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let accepted = header("sec-websocket-accept");
    ensure!(accepted == Some(&accept_key(key)), "it does not prove that it read our key");
    let protocol = header("sec-websocket-protocol");
    let asked = encoding.map(Encoding::subprotocol);
    ensure!(
        protocol == asked || asked.is_none(),
        "it speaks {protocol:?}, not {}",
        asked.unwrap_or_default()
    );
    Ok(())
}

/// Section 4.2.2, step 5.4.
fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and proof are the example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[track_caller]
    fn check(head: &str, body: &str, expected: Result<(), &str>) {
        let got = verify(&head.replace('\n', "\r\n"), body, KEY, Some(Encoding::Proto));
        match (got.map_err(|error| error.to_string()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn answers_are_checked() {
        let good = "HTTP/1.1 101 Switching Protocols\nsec-websocket-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\
                    Sec-WebSocket-Protocol: tickwire.v1.proto\n\n";
        check(good, "", Ok(()));
        check(&good.replace("s3pP", "s3pX"), "", Err("our key"));
        check(&good.replace("proto\n", "json\n"), "", Err("tickwire.v1.proto"));
        check("HTTP/1.1 503 Service Unavailable\n\n", "draining\n", Err("HTTP 503: draining"));
        check("", "", Err("HTTP"));
        assert_eq!(STANDARD.decode(key(7)).unwrap().len(), 16);
        assert_ne!(key(7), key(8));
    }
}
