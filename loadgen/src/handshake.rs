//! The handshake of a session: what it asks for, and what is said of the answer.

use anyhow::bail;
use hyper::Response;
pub(crate) use tickwire_net::handshake::read_response;
use tickwire_net::handshake::{self, Opening, ResponseFault};
use tickwire_wire::Encoding;

/// The key of a session.
pub(crate) fn key(number: u64) -> String {
    handshake::key((u128::from(number) << 64 | 0x7469_636b_7769_7265).to_be_bytes())
}

/// The request that opens a session. `authorization` is a whole header, or nothing.
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
/// When the answer opens no session as asked; the text is for people.
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
mod tests {
    use super::*;

    /// Key and proof are the example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[track_caller]
    fn check(head: &str, body: &str, expected: Result<(), &str>) {
        let head = head.replace('\n', "\r\n");
        let (response, _) = read_response(head.as_bytes()).unwrap().expect("a whole head");
        let got = verify(&response, body, KEY, Some(Encoding::Proto));
        match (got.map_err(|error| error.to_string()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn answers_are_checked() {
        let good = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\n\
                    sec-websocket-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\
                    Sec-WebSocket-Protocol: tickwire.v1.proto\n\n";
        check(good, "", Ok(()));
        check(&good.replace("s3pP", "s3pX"), "", Err("our key"));
        check(&good.replace("proto\n", "json\n"), "", Err("tickwire.v1.json"));
        check("HTTP/1.1 503 Service Unavailable\n\n", "draining\n", Err("HTTP 503: draining"));
        check("HTTP/1.1 401 Unauthorized\n\n", "who?", Err("HTTP 401: who?; `sessions.token`"));
        check("HTTP/1.1 403 Forbidden\n\n", "", Err("HTTP 403"));
        check("HTTP/1.1 400 Bad Request\n\n", "sent to HTTPS port", Err("write wss://"));
        let refused = [401, 404, 429, 503].map(|status| {
            let mut response = Response::new(());
            *response.status_mut() = status.try_into().unwrap();
            is_refusal(&response)
        });
        assert_eq!(refused, [true, true, false, false]);
        assert!(is_tls(&[0x15, 3, 3, 0, 2]) && !is_tls(good.as_bytes()));
        assert_ne!(key(7), key(8));
    }
}
