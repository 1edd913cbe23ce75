//! Sessions over pipes in memory: the whole of a gateway without a socket between it and its clients.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tickwire_client::{Backoff, BoxTransport, Client};
use tickwire_gateway::GatewayConfig;
use tickwire_net::frame::{self, Close, OpCode, Sender};
use tickwire_net::handshake::{self, Opening};
use tickwire_wire::{Channel, CloseCode, Encoding};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Mutex, mpsc};

use super::rig::{Rig, SYMBOL, Watcher, quote, trade};

/// Ends a test that would wait for ever; nothing is measured by it.
const HANG: Duration = Duration::from_mins(1);
const MASK: [u8; 4] = [7, 1, 9, 3];

#[track_caller]
fn run<F: Future<Output = ()>>(test: F) {
    let test = async { tokio::time::timeout(HANG, test).await.expect("it comes to an end") };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A client that reads and writes byte for byte what the test says, in JSON.
struct Peer {
    pipe: DuplexStream,
    bytes: Vec<u8>,
}

impl Peer {
    async fn open(rig: &Rig, pipe_bytes: usize) -> Self {
        let key = handshake::key(*b"sixteen bytes!!!");
        let protocol = Encoding::Json.subprotocol();
        let opening =
            Opening { host: "pipe", path: "/v1/stream", agent: "test", key: &key, protocol: Some(protocol) };
        loop {
            let pipe = rig.gateway.open_pipe(pipe_bytes).await;
            let mut peer = Self { pipe, bytes: Vec::new() };
            peer.pipe.write_all(opening.write("").as_bytes()).await.unwrap();
            let (response, length) = loop {
                if let Some(read) = handshake::read_response(&peer.bytes).unwrap() {
                    break read;
                }
                assert!(peer.read().await, "ended in its handshake");
            };
            // Not ready before the bus has been heard.
            if response.status() == 503 {
                continue;
            }
            assert_eq!(handshake::check_response(&response, &key, Some(protocol)), Ok(()));
            peer.bytes.drain(..length);
            return peer;
        }
    }

    /// Returns whether anything came.
    async fn read(&mut self) -> bool {
        self.pipe.read_buf(&mut self.bytes).await.unwrap() > 0
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::write_masked(opcode, MASK, payload, &mut bytes);
        self.pipe.write_all(&bytes).await.unwrap();
    }

    /// Returns the next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<(OpCode, Vec<u8>)> {
        loop {
            if let Some(found) = frame::find(&self.bytes, Sender::Server, 1 << 20).unwrap() {
                let payload = self.bytes[found.range()].to_vec();
                self.bytes.drain(..found.end);
                return Some((found.opcode, payload));
            }
            if !self.read().await {
                assert!(self.bytes.is_empty(), "it ended in the middle of a frame");
                return None;
            }
        }
    }

    /// Reads until a record or answer of this type comes; all that came, one a line of JSON.
    async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut came = Vec::new();
        loop {
            let (opcode, payload) = self.frame().await.expect("it goes on");
            match opcode {
                OpCode::Text => {
                    let text = String::from_utf8(payload).unwrap();
                    came.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
                }
                OpCode::Ping => self.send(OpCode::Pong, &payload).await,
                other => panic!("{other:?}"),
            }
            if came.iter().any(&is_it) {
                return came;
            }
        }
    }

    async fn subscribe(&mut self, channel: &str) {
        let command = format!(r#"{{"op":"subscribe","id":1,"channel":"{channel}","symbols":["{SYMBOL}"]}}"#);
        self.send(OpCode::Text, command.as_bytes()).await;
        self.until(|value| value["type"] == "subscribed").await;
    }

    /// Reads to the end of the connection, which must come; the code of the close frame before it.
    async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == OpCode::Close {
                code = Close::read(&payload).code;
            }
        }
        code
    }
}

async fn sessions(rig: &Rig, count: u64) {
    while rig.gateway.sessions() != count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_client_of_the_sdk_has_all_records() {
    run(async {
        let rig = Rig::start(GatewayConfig { shards: 2, ..GatewayConfig::default() }).await;
        let (sender, pipes) = mpsc::channel(1);
        let pipes = Arc::new(Mutex::new(pipes));
        let opening = async { while sender.send(rig.gateway.open_pipe(512).await).await.is_ok() {} };
        let client = Client::builder("ws://pipe")
            .connector(move |_| {
                let pipes = Arc::clone(&pipes);
                async move {
                    let pipe = pipes.lock().await.recv().await.expect("pipes are opened all the time");
                    Ok(Box::new(pipe) as BoxTransport)
                }
            })
            .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(20)))
            .subscribe(Channel::Trade, [SYMBOL]);
        let test = async {
            let mut watcher = Watcher { client: client.start().unwrap(), seen: Vec::new() };
            watcher.until("live", |watcher| watcher.client.is_live(SYMBOL)).await;
            for number in 2..=500 {
                rig.happens(number, trade(number as i64)).await;
            }
            watcher.until("the last trade", |watcher| watcher.sequences().last() == Some(&500)).await;
            let numbers = watcher.sequences();
            assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            assert_eq!(watcher.gaps(), []);
            watcher.client.close().await;
        };
        tokio::select! {
            () = opening => panic!("somebody wants pipes"),
            () = test => {}
        }
        rig.end().await;
    });
}

#[test]
fn bytes_that_come_and_go_one_by_one() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut peer = Peer::open(&rig, 1).await;
        peer.subscribe("quote").await;
        peer.send(OpCode::Ping, b"hello?").await;
        while peer.frame().await.unwrap() != (OpCode::Pong, b"hello?".to_vec()) {}
        rig.happens(7, quote(777)).await;
        peer.until(|value| value["type"] == "quote" && value["bid_price"] == "7.77").await;
        rig.end().await;
    });
}

#[test]
fn a_close_is_echoed_and_ends_the_session() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut peer = Peer::open(&rig, 64 << 10).await;
        peer.subscribe("quote").await;
        sessions(&rig, 1).await;
        peer.send(OpCode::Close, &Close::payload(3001, "enough")).await;
        assert_eq!(peer.close_code().await, Some(3001));
        sessions(&rig, 0).await;
        rig.end().await;
    });
}

#[test]
fn who_does_not_read_finds_the_newest_when_it_does() {
    const QUOTES: u64 = 300;
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut slow = Peer::open(&rig, 400).await;
        slow.subscribe("quote").await;
        let mut prompt = Peer::open(&rig, 64 << 10).await;
        prompt.subscribe("quote").await;
        let is_last = |value: &Value| value["type"] == "quote" && value["bid_price"] == "3.01";
        for price in 2..=QUOTES + 1 {
            rig.happens(price, quote(price as i64)).await;
        }
        let seen = prompt.until(is_last).await;
        assert!(!seen.is_empty());
        // The shard that both are on knows all quotes by now.
        let came = slow.until(is_last).await;
        let quotes: Vec<_> = came
            .iter()
            .filter(|value| value["type"] == "quote")
            .map(|value| value["sequence"].as_u64())
            .collect();
        assert!(quotes.is_sorted() && quotes.len() < QUOTES as usize / 4, "{quotes:?}");
        rig.end().await;
    });
}

#[test]
fn a_pipe_that_is_dropped_and_a_gateway_that_drains() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let dropped = Peer::open(&rig, 1000).await;
        let mut stays = Peer::open(&rig, 1000).await;
        sessions(&rig, 2).await;
        drop(dropped);
        sessions(&rig, 1).await;
        let ((), code) = tokio::join!(rig.end(), stays.close_code());
        assert_eq!(code, Some(CloseCode::Draining.code()));
    });
}

#[test]
fn what_is_no_handshake_is_answered() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut pipe = rig.gateway.open_pipe(100).await;
        pipe.write_all(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut response = String::new();
        pipe.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 404"), "{response}");
        rig.end().await;
    });
}
