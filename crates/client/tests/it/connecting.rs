//! Faults before there is a session: each is said so that the reader knows what to do.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tickwire_client::wire::{Channel, Encoding};
use tickwire_client::{BoxTransport, Builder, Client, ConnectError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, quote};
use crate::transcript::{during, until};

/// Returns what `connect` says to a server that answers with these bytes.
async fn answered(gateway: &mut FakeGateway, builder: Builder, response: &str) -> ConnectError {
    let serve = async {
        let mut pipe = gateway.pipe().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(pipe.read_u8().await.unwrap());
        }
        pipe.write_all(response.as_bytes()).await.unwrap();
        pipe
    };
    let (client, _pipe) = tokio::join!(builder.connect(), serve);
    client.err().expect("that was no gateway")
}

#[track_caller]
fn assert_says(error: &ConnectError, text: &str, may_retry: bool) {
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(error.may_retry(), may_retry, "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_status_than_101_comes_with_its_body() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client();
    let response = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 14\r\n\r\ntoo many here\n";
    let error = answered(&mut gateway, builder, response).await;
    assert_says(&error, "fake:80 answered with HTTP status 503 and not 101: too many here", true);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let builder = gateway.client();
    let error = answered(&mut gateway, builder, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
    assert_says(&error, "HTTP status 404", false);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_window_is_asked_for_in_the_query() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().window(Duration::from_micros(15_001)).heartbeat(Duration::from_secs(10));
    let serve = async {
        let mut pipe = gateway.pipe().await;
        let mut request = String::new();
        while !request.ends_with("\r\n") {
            request.push(char::from(pipe.read_u8().await.unwrap()));
        }
        request
    };
    let (client, request) = tokio::join!(builder.connect(), serve);
    assert_eq!(request, "GET /v1/stream?window_ms=16&heartbeat_ms=10000 HTTP/1.1\r\n");
    assert!(client.is_err(), "nobody answered");
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_granted_can_be_asked() {
    let mut gateway = FakeGateway::new();
    gateway.hello.window_ms = 16;
    let builder = gateway.client();
    let (client, _session) = tokio::join!(builder.connect(), gateway.accept());
    assert_eq!(client.unwrap().hello().map(|hello| hello.window_ms), Some(16));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_did_not_read_the_key_is_no_gateway() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client();
    let response = "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: AAAA\r\nSec-WebSocket-Protocol: tickwire.v1.proto\r\n\r\n";
    let error = answered(&mut gateway, builder, response).await;
    assert_says(&error, "`Sec-WebSocket-Accept` does not prove", true);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_subprotocol_is_named() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().encoding(Encoding::MsgPack);
    let serve = async {
        let mut pipe = gateway.pipe().await;
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            request.push(char::from(pipe.read_u8().await.unwrap()));
        }
        let key = request.lines().find_map(|l| l.strip_prefix("sec-websocket-key: ")).unwrap();
        let accept = accept(key);
        let response = format!(
            "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
        pipe.write_all(response.as_bytes()).await.unwrap();
        pipe
    };
    let (client, _pipe) = tokio::join!(builder.connect(), serve);
    let error = client.err().unwrap();
    assert_says(&error, "was asked for the subprotocol `tickwire.v1.msgpack` and chose `chat`", false);
}

fn accept(key: &str) -> String {
    use base64::Engine;
    use sha1::Digest;
    let hash = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(hash)
}

#[tokio::test(start_paused = true)]
async fn another_version_of_the_protocol_is_named() {
    let mut gateway = FakeGateway::new();
    gateway.hello.protocol_version = 9;
    let (client, _session) = tokio::join!(gateway.client().connect(), gateway.accept());
    assert_says(&client.err().unwrap(), "speaks version 9 of the protocol, this build version 1", false);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_times_out() {
    let mut gateway = FakeGateway::new();
    let start = Instant::now();
    let (client, _pipe) = tokio::join!(gateway.client().connect(), gateway.pipe());
    assert_says(&client.err().unwrap(), "did not complete the handshake within 10 s", true);
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn urls_that_cannot_be_right_are_refused_at_once() {
    for url in ["https://gateway/v1/stream", "http://gateway/", "gateway"] {
        let error = Client::builder(url).start().err().unwrap();
        assert!(!error.may_retry() && error.to_string().contains(url), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_started_client_keeps_trying() {
    let mut gateway = FakeGateway::new();
    let mut client = gateway.client().subscribe(Channel::Quote, [SYMBOL]).start().unwrap();
    let start = Instant::now();
    let script = async {
        for _ in 0..5 {
            drop(gateway.pipe().await);
        }
        let mut session = gateway.accept().await;
        session.grant(1, 0).await;
        session
    };
    let (mut session, lines) = during(&mut client, script).await;
    let failed = lines.iter().filter(|line| line.starts_with("disconnected for now")).count();
    assert_eq!(failed, 5, "{lines:?}");
    assert!(start.elapsed() <= Duration::from_millis(250 * (1 + 2 + 4 + 8 + 16) + 100));
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
}

/// A stream whose other side says no before anything was asked of it.
struct Refusing;

impl AsyncRead for Refusing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("show a certificate")))
    }
}

/// A gateway refuses a client after the client's own handshake is over, with TLS 1.3: the connection may end before it took the request.
#[tokio::test]
async fn the_reason_of_a_connection_that_ended_before_the_request_is_told() {
    let builder = Client::builder("ws://refusing")
        .connector(|_| async { Ok(Box::new(tokio::io::join(Refusing, tokio::io::sink())) as BoxTransport) });
    let error = builder.connect().await.err().unwrap();
    let told = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let told: Vec<_> = told.map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains("show a certificate")), "{told:?}");
}

#[tokio::test]
async fn nothing_listens_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::builder(format!("ws://{address}/v1/stream")).connect().await.err().unwrap();
    assert_says(&error, &format!("nothing listens at {address}: start a gateway"), true);
}

#[tokio::test]
async fn over_tcp_to_the_second_of_two_gateways() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (first, second) = (closed.local_addr().unwrap(), listener.local_addr().unwrap());
    drop(closed);
    let builder = Client::builder(format!("ws://{first}"))
        .url(format!("ws://{second}/v1/stream"))
        .subscribe(Channel::Quote, [SYMBOL]);
    let hello = FakeGateway::new().hello;
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut session = Session::upgrade(stream).await;
        session.send(&[tickwire_client::wire::Message::Hello(hello)]).await;
        session
    };
    let (client, mut session) = tokio::join!(builder.connect(), serve);
    let mut client = client.unwrap();
    session.grant(1, 0).await;
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    let (said, ()) = tokio::join!(
        async {
            loop {
                if let Some(crate::fake_gateway::Said::Close(code)) = session.said().await {
                    session.close(code, "").await;
                    break code;
                }
            }
        },
        client.close()
    );
    assert_eq!(said, 1000);
}
