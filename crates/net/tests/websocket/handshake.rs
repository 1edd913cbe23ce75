use http::{HeaderMap, Method, Request, Response, Version};
use proptest::prelude::*;
use tickwire_net::handshake::{
    HeadFault, Opening, ResponseFault, Rule, accept, accept_key, check_http, check_request, check_response,
    key, offered_protocols, read_response,
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
fn refused(change: impl FnOnce(&mut Request<()>), status: u16, rule: Rule) {
    let mut request = request();
    change(&mut request);
    assert_eq!(check_request(&request), Err(rule));
    assert_eq!(rule.status().as_u16(), status);
}

fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut Request<()>) {
    move |request| drop(request.headers_mut().insert(name, value.parse().unwrap()))
}

fn add(name: &'static str, value: &'static str) -> impl FnOnce(&mut Request<()>) {
    move |request| assert!(request.headers_mut().append(name, value.parse().unwrap()) || name != "host")
}

fn remove(name: &'static str) -> impl FnOnce(&mut Request<()>) {
    move |request| drop(request.headers_mut().remove(name))
}

#[test]
fn requests_that_break_a_rule() {
    refused(|request| *request.version_mut() = Version::HTTP_10, 400, Rule::Http);
    refused(|request| *request.method_mut() = Method::POST, 405, Rule::Method);
    refused(|request| *request.method_mut() = Method::HEAD, 405, Rule::Method);
    for host in ["", "a b", "a,b", "a@b", "a:b", "a:", "a:99999", "a/b"] {
        refused(set("host", host), 400, Rule::Host);
    }
    refused(remove("host"), 400, Rule::Host);
    refused(add("host", "feed.example:443"), 400, Rule::Host);
    refused(set("content-length", "1"), 400, Rule::Body);
    refused(set("content-length", "-0"), 400, Rule::Body);
    refused(set("transfer-encoding", "chunked"), 400, Rule::Body);
    refused(remove("upgrade"), 426, Rule::Upgrade);
    refused(remove("connection"), 426, Rule::Upgrade);
    refused(set("upgrade", "h2c"), 426, Rule::Upgrade);
    refused(set("connection", "keep-alive"), 426, Rule::Upgrade);
    refused(set("upgrade", "websockets"), 426, Rule::Upgrade);
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZWVl",
        "dGhlIHNhbXBsZSBub25jZ!==",
    ] {
        refused(set("sec-websocket-key", key), 400, Rule::Key);
    }
    refused(remove("sec-websocket-key"), 400, Rule::Key);
    refused(add("sec-websocket-key", KEY), 400, Rule::Key);
    for version in ["8", "013", "13, 8", ""] {
        refused(set("sec-websocket-version", version), 426, Rule::Version);
    }
    refused(remove("sec-websocket-version"), 426, Rule::Version);
    refused(add("sec-websocket-version", "13"), 426, Rule::Version);
}

#[test]
fn requests_that_break_none() {
    let good = |change: &dyn Fn(&mut Request<()>)| {
        let mut request = request();
        change(&mut request);
        assert_eq!(check_request(&request), Ok(()), "{request:?}");
    };
    good(&|request| set("content-length", "0")(request));
    for host in ["127.0.0.1", "[::1]:7400", "localhost:7400", "feed.example"] {
        good(&|request| drop(request.headers_mut().insert("host", host.parse().unwrap())));
    }
    // The last two bits of a key's last letter mean nothing.
    good(&|request| set("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==")(request));
    let page = Request::get("/").version(Version::HTTP_10).body(()).unwrap();
    assert_eq!(check_http(&page), Ok(()));
    let page = Request::get("/").body(()).unwrap();
    assert_eq!(check_http(&page), Err(Rule::Host));
}

#[test]
fn refusals_say_what_would_do() {
    for rule in Rule::ALL {
        let named = |name: &str| rule.headers().iter().any(|(known, _)| known == name);
        let status = rule.status().as_u16();
        assert_eq!(named("upgrade"), status == 426, "{rule:?}");
        assert_eq!(named("allow"), status == 405, "{rule:?}");
        assert_eq!(named("sec-websocket-version"), rule == Rule::Version);
        assert!(named("connection"), "what was not understood ends the connection");
    }
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
