//! Sessions at a real gateway: rudeness, draining, what the admin side tells.

use tickwire_client::wire::{Channel, CloseCode, Encoding};
use tickwire_client::{Client, Disconnect, Event, State};
use tickwire_testkit::Program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::watcher::watch;
use crate::world::{Gateway, TICKWIRE, nats, until};

pub(crate) async fn fed(nats: &tickwire_testkit::NatsServer, gateway: &Gateway) -> Program {
    let ingester = Program::start(
        TICKWIRE,
        &["ingest", "sim", "--instruments", "5", "--rate", "500", "--bus", &nats.url()],
    );
    let live = until(|| async {
        gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
    });
    assert!(live.await, "the feed is not live:\n{}", ingester.output());
    ingester
}

/// Shakes hands by hand and returns the socket.
async fn upgrade(address: &str, subprotocol: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

/// Reads until the connection ends; everything that came.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(std::time::Duration::from_secs(30), reading).await;
    assert!(read.is_ok(), "the gateway does not end the connection");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rude_clients_harm_themselves_only() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let _ingester = fed(&nats, &gateway).await;
    let url = gateway.url();
    let good = tokio::spawn(async move {
        watch(&url, Encoding::Proto, "sim:BTC-USD", |seen| seen.trades.len() > 100).await
    });

    // Not masked, though every frame of a client must be.
    let (mut stream, head) = upgrade(&gateway.listen, "").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(&[0x81, 2, b'{', b'}']).await.unwrap();
    let told = rest(stream).await;
    let text = CloseCode::Protocol.text().as_bytes();
    assert!(told.windows(text.len()).any(|window| window == text), "no close frame with its text");

    // Garbage in place of frames; a frame larger than any command; a fragment of no message.
    for bytes in [
        &[0xff; 64][..],
        &[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4][..],
        &[0x80, 0x80, 1, 2, 3, 4][..],
    ] {
        let (mut stream, _) = upgrade(&gateway.listen, "").await;
        stream.write_all(bytes).await.unwrap();
        let told = rest(stream).await;
        assert!(
            told.windows(2).any(|window| window == CloseCode::Protocol.code().to_be_bytes()
                || window == CloseCode::TooLarge.code().to_be_bytes()),
            "no close code: {told:?}"
        );
    }

    // A command that is none is answered, and the session goes on.
    let (mut stream, _) = upgrade(&gateway.listen, "").await;
    let mut frame = vec![0x81, 0x80 | 7, 0, 0, 0, 0];
    frame.extend_from_slice(b"garbage");
    stream.write_all(&frame).await.unwrap();
    let mut told = String::new();
    while !told.contains("bad_command") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed without a word: {told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(told.contains("\\\"op\\\":\\\"subscribe\\\""), "the remedy is missing: {told}");

    // Unknown subprotocols only; no WebSocket at all; a wrong path.
    let (_, head) = upgrade(&gateway.listen, "Sec-WebSocket-Protocol: mqtt\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert_eq!(crate::world::get(&gateway.listen, "/v1/stream").await.unwrap().0, 426);
    assert_eq!(crate::world::get(&gateway.listen, "/elsewhere").await.unwrap().0, 404);

    let seen = good.await.unwrap();
    seen.assert_contiguous();
    assert_eq!((seen.connections, seen.books_broken), (1, 0), "others felt it");
    let metrics = gateway.get("/metrics").await.unwrap().1;
    assert!(metrics.contains("tickwire_sessions_closed_total{code=\"protocol\"} "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_explained_and_the_rest_granted() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let _ingester = fed(&nats, &gateway).await;
    let mut client = Client::builder(gateway.url()).connect().await.unwrap();
    let handle = client.handle();
    let reading = tokio::spawn(async move { while client.next().await.is_some() {} });
    let symbols = ["sim:BTC-USD", "sim:btc-usd", "sim:NOPE", "elsewhere:X", "nameless"];
    let outcome =
        handle.subscribe(Channel::Quote, symbols, tickwire_client::Options::default()).await.unwrap();
    let granted: Vec<_> = outcome.granted.iter().map(|granted| granted.symbol.as_str()).collect();
    assert_eq!(granted, ["sim:BTC-USD"]);
    let mut refused: Vec<_> =
        outcome.refused.iter().map(|r| (r.symbol.as_str(), r.code.as_str(), r.message.as_str())).collect();
    refused.sort_unstable();
    let codes: Vec<_> = refused.iter().map(|(symbol, code, _)| (*symbol, *code)).collect();
    let expected = [
        ("elsewhere:X", "unknown_venue"),
        ("nameless", "bad_symbol"),
        ("sim:NOPE", "unknown_symbol"),
        ("sim:btc-usd", "unknown_symbol"),
    ];
    assert_eq!(codes, expected);
    assert!(refused[3].2.contains("did you mean `sim:BTC-USD`"), "{refused:?}");
    let ledger = handle.ledger().await.unwrap();
    for entry in &ledger.entries {
        assert_eq!(entry.published, entry.delivered + entry.conflated + entry.dropped + entry.filtered);
    }
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_spreads_the_closes_and_says_when_to_come_back() {
    let nats = nats();
    let mut gateway = Gateway::start_with(&nats.url(), &["--set", "gateway.drain_ms=2000"]).await;
    let _ingester = fed(&nats, &gateway).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let builder = Client::builder(gateway.url()).subscribe(Channel::Quote, ["sim:*"]);
        sessions.push(builder.connect().await.unwrap());
    }
    let watchers: Vec<_> = sessions.into_iter().map(|client| tokio::spawn(farewell(client))).collect();
    let all_there = until(|| async {
        gateway.get("/metrics").await.is_some_and(|(_, m)| m.contains("tickwire_sessions 4"))
    });
    assert!(all_there.await);
    gateway.program.terminate();
    let mut waits = Vec::new();
    for watcher in watchers {
        let (wait, reason) = watcher.await.unwrap();
        assert!(matches!(&reason, Disconnect::Closed { code: Some(1001), .. }), "{reason:?}");
        waits.push(wait);
    }
    waits.sort_unstable();
    assert_eq!(waits, [0, 500, 1000, 1500], "told when to come back, spread over the window");
    assert!(gateway.program.ended().success(), "{}", gateway.program.output());
}

/// Returns what a session is told at its end: the notice's wait, and why it was closed.
async fn farewell(mut client: Client) -> (u32, Disconnect) {
    let mut wait = None;
    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                Event::Notice(notice) if notice.code == "draining" => wait = Some(notice.retry_after_ms),
                Event::State(State::Disconnected { reason, .. }) => {
                    return (wait.expect("a notice came first"), reason);
                }
                _ => {}
            }
        }
    }
    panic!("the stream ended without a reason")
}
