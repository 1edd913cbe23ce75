use http::{HeaderMap, Method, Request, Response};
use proptest::prelude::*;
use tickwire_net::handshake::{
    HeadFault, Opening, ResponseFault, accept, accept_key, check_request, check_response, key,
    offered_protocols, read_response,
};

/// Key and proof are the example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const OPENING: Opening<'_> = Opening {
    host: "feed.example:443",
    path: "/v1/stream?window_ms=16",
    agent: "test/1",
    key: KEY,
    protocol: Some("tickwire.v1.proto"),
};

fn request() -> Request<()> {
    let mut request = Request::get(OPENING.path);
    for (name, value) in OPENING.headers() {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

#[test]
fn the_example_of_the_standard() {
    assert_eq!(accept_key(KEY), PROOF);
    assert_eq!(key(*b"the sample nonce"), KEY);
}

#[test]
fn what_a_client_sends_is_what_a_server_accepts() {
    let request = request();
    assert!(check_request(&request).is_ok());
    let offered: Vec<_> = offered_protocols(request.headers()).collect();
    assert_eq!(offered, ["tickwire.v1.proto"]);
    let response: Response<()> = accept(request.headers(), Some("tickwire.v1.proto"));
    assert_eq!(check_response(&response, KEY, Some("tickwire.v1.proto")), Ok(()));
    assert_eq!(
        OPENING.write("Authorization: Bearer x\r\n"),
        "GET /v1/stream?window_ms=16 HTTP/1.1\r\nHost: feed.example:443\r\nUser-Agent: test/1\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tickwire.v1.proto\r\n\
         Authorization: Bearer x\r\n\r\n"
    );
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Request<()>), status: u16, fault: &str) {
    let mut request = request();
    change(&mut request);
    let rule = check_request(&request).expect_err(fault);
    assert_eq!((rule.status.as_u16(), rule.fault), (status, fault));
}

fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut Request<()>) {
    move |request| drop(request.headers_mut().insert(name, value.parse().unwrap()))
}

#[test]
fn requests_that_break_a_rule() {
    let remove =
        |name: &'static str| move |request: &mut Request<()>| drop(request.headers_mut().remove(name));
    refused(|request| *request.method_mut() = Method::POST, 426, "the method is not GET");
    let other = "the request does not ask for WebSocket";
    refused(remove("upgrade"), 426, other);
    refused(remove("connection"), 426, other);
    refused(set("upgrade", "h2c"), 426, other);
    refused(set("connection", "keep-alive"), 426, other);
    refused(set("upgrade", "websockets"), 426, other);
    refused(remove("sec-websocket-key"), 400, "the header Sec-WebSocket-Key is missing");
    refused(set("sec-websocket-version", "8"), 400, "the header Sec-WebSocket-Version is not 13");
    refused(remove("sec-websocket-version"), 400, "the header Sec-WebSocket-Version is not 13");
}

#[test]
fn words_of_headers_in_lists_and_in_any_case() {
    let mut request = request();
    set("connection", "keep-alive,  UPGRADE ")(&mut request);
    set("upgrade", "h2c")(&mut request);
    request.headers_mut().append("upgrade", "WebSocket".parse().unwrap());
    assert!(check_request(&request).is_ok());
    let mut headers = HeaderMap::new();
    headers.append("sec-websocket-protocol", "a, b".parse().unwrap());
    headers.append("sec-websocket-protocol", "c".parse().unwrap());
    assert_eq!(offered_protocols(&headers).collect::<Vec<_>>(), ["a", "b", "c"]);
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: keep-alive, upgrade\n\
                    sec-websocket-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\nSec-WebSocket-Protocol: tickwire.v1.proto\n\n";

#[track_caller]
fn answered(head: &str, expected: &Result<(), ResponseFault>) {
    let head = head.replace('\n', "\r\n");
    let (response, length) = read_response(head.as_bytes()).unwrap().unwrap();
    assert_eq!(length, head.len());
    assert_eq!(&check_response(&response, KEY, Some("tickwire.v1.proto")), expected);
}

#[test]
fn responses_are_checked() {
    answered(GOOD, &Ok(()));
    answered(&GOOD.replace("s3pP", "s3pX"), &Err(ResponseFault::WrongAccept));
    answered(&GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), &Err(ResponseFault::NotWebSocket));
    answered(&GOOD.replace(", upgrade", ""), &Err(ResponseFault::NotWebSocket));
    answered(
        &GOOD.replace("101 Switching", "200 Switching"),
        &Err(ResponseFault::Status(http::StatusCode::OK)),
    );
    let json = Some("tickwire.v1.json".to_owned());
    answered(&GOOD.replace("proto\n", "json\n"), &Err(ResponseFault::Protocol(json)));
    let none = GOOD.replace("Sec-WebSocket-Protocol: tickwire.v1.proto\n", "");
    answered(&none, &Err(ResponseFault::Protocol(None)));
    // Whoever asks for none takes any.
    let head = none.replace('\n', "\r\n");
    let (response, _) = read_response(head.as_bytes()).unwrap().unwrap();
    assert_eq!(check_response(&response, KEY, None), Ok(()));
}

#[test]
fn heads_that_do_not_end_and_bytes_that_are_no_http() {
    let endless = format!("HTTP/1.1 101 x\r\nx: {}", "y".repeat(8192));
    assert!(matches!(read_response(&endless.as_bytes()[..8191]), Ok(None)));
    assert!(matches!(read_response(endless.as_bytes()), Err(HeadFault::TooLong)));
    assert!(matches!(read_response(&[0x15, 3, 3, 0, 2]), Err(HeadFault::NotHttp(_))));
    let with_body = "HTTP/1.1 503 Busy\r\nretry-after: 5\r\n\r\nfull\n";
    let (response, length) = read_response(with_body.as_bytes()).unwrap().unwrap();
    assert_eq!((response.status().as_u16(), &with_body[length..]), (503, "full\n"));
    assert_eq!(response.headers()["retry-after"], "5");
}

proptest! {
    /// A head that was read stays the same when more comes, and nothing is read past it.
    #[test]
    fn heads_are_read_alike_wherever_they_are_cut(cut in 0_usize..300, behind in proptest::collection::vec(any::<u8>(), 0..9)) {
        let head = GOOD.replace('\n', "\r\n").into_bytes();
        let cut = cut.min(head.len() - 1);
        prop_assert_eq!(read_response(&head[..cut]).unwrap().map(|(_, length)| length), None);
        let all = [&head[..], &behind].concat();
        prop_assert_eq!(read_response(&all).unwrap().map(|(_, length)| length), Some(head.len()));
    }
}
