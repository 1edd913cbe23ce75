//! Responses to handshakes.

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
