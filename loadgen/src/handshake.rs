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

/// The request that opens a session. `authorization` is a whole header, or nothing.
pub(crate) fn request(
    host: &str,
    path: &str,
    key: &str,
    encoding: Option<Encoding>,
    authorization: &str,
) -> String {
    let protocol = encoding.map_or_else(String::new, |encoding| {
        format!("Sec-WebSocket-Protocol: {}\r\n", encoding.subprotocol())
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tickwire-loadgen/{}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{protocol}{authorization}\r\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// Where the head of an answer ends.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The bytes are the begin of a TLS record: an alert, or a handshake (RFC 8446, section 5.1).
pub(crate) fn is_tls(answer: &[u8]) -> bool {
    matches!(answer, [0x15 | 0x16, 3, ..])
}

/// Asking once more would come to the same answer.
pub(crate) fn is_refusal(head: &str) -> bool {
    status(head).starts_with('4') && status(head) != "429"
}

fn status(head: &str) -> &str {
    head.split("\r\n").next().unwrap_or_default().split(' ').nth(1).unwrap_or_default()
}

/// # Errors
/// When the answer opens no session as asked; the text is for people.
pub(crate) fn verify(head: &str, body: &str, key: &str, encoding: Option<Encoding>) -> anyhow::Result<()> {
    let status = status(head);
    let said: String = body.trim().chars().take(200).collect();
    match status {
        "101" => {}
        "401" | "403" => bail!(
            "it refuses the handshake with HTTP {status}: {said}; `sessions.token` or `sessions.tokens_file` say who asks"
        ),
        _ if body.to_ascii_lowercase().contains("https") => {
            bail!("it answers with HTTP {status}: {said}; if it speaks TLS, write wss://")
        }
        _ => bail!("it answers with HTTP {status}: {said}"),
    }
    let lines = head.split("\r\n").skip(1);
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
        check("HTTP/1.1 401 Unauthorized\n\n", "who?", Err("HTTP 401: who?; `sessions.token`"));
        check("HTTP/1.1 403 Forbidden\n\n", "", Err("HTTP 403"));
        check("HTTP/1.1 400 Bad Request\n\n", "sent to HTTPS port", Err("write wss://"));
        check("", "", Err("HTTP"));
        let refused =
            ["401", "404", "429", "503"].map(|status| is_refusal(&format!("HTTP/1.1 {status} x\r\n")));
        assert_eq!(refused, [true, true, false, false]);
        assert!(is_tls(&[0x15, 3, 3, 0, 2]) && !is_tls(good.as_bytes()));
        assert_eq!(STANDARD.decode(key(7)).unwrap().len(), 16);
        assert_ne!(key(7), key(8));
    }
}
