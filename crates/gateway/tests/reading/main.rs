//! The reading of what clients send, byte by byte, over real sockets: how a gateway reads it and when it ends the
//! connection.

mod counts;
mod doors;

use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::{Backplane, MemoryBus};
use tickwire_gateway::{AuthSettings, Gateway, GatewayConfig, NoPages};
use tickwire_wire::CloseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The time after which a test ends that would wait for ever; nothing is measured by it.
const HANG: Duration = Duration::from_secs(30);
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

struct Rig {
    gateway: Gateway,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(GatewayConfig::default()).await
    }

    async fn start_with(config: GatewayConfig) -> Self {
        let free = ([127, 0, 0, 1], 0).into();
        let config = GatewayConfig {
            listen: free,
            admin_listen: free,
            drain_window: Duration::ZERO,
            auth: AuthSettings::anonymous(),
            ..config
        };
        let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
        Self { gateway: Gateway::start(config, bus, Arc::new(NoPages)).await.unwrap() }
    }

    /// Opens a session whose client sends these bytes behind its handshake, in the same write.
    async fn connect(&self, behind: &[u8]) -> Peer {
        let request = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let attempts = async {
            loop {
                let mut stream = TcpStream::connect(self.gateway.listen_address()).await.unwrap();
                stream.set_nodelay(true).unwrap();
                stream.write_all(&[&request[..], behind].concat()).await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                // It is not ready before the bus has been heard.
                if !head.starts_with(b"HTTP/1.1 503") {
                    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
                    return Peer(stream);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(HANG, attempts).await.expect("the gateway does not become ready")
    }
}

struct Peer(TcpStream);

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Returns the next frame: its first byte and its payload; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).await.ok()?;
            let length = match head[1] {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => self.0.read_u64().await.ok()? as usize,
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[0], payload))
        };
        tokio::time::timeout(HANG, reading).await.expect("the gateway says nothing")
    }

    /// Reads until a text message holds all of this.
    async fn told(&mut self, part: &str) -> String {
        loop {
            let (kind, payload) = self.frame().await.unwrap_or_else(|| panic!("ended before `{part}`"));
            let text = String::from_utf8_lossy(&payload);
            if kind == TEXT && text.contains(part) {
                return text.into_owned();
            }
        }
    }

    /// Reads until a frame of this kind.
    async fn next(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (kind, payload) =
                self.frame().await.unwrap_or_else(|| panic!("ended before a frame {wanted:02x}"));
            if kind == wanted {
                return payload;
            }
        }
    }

    /// Reads to the end of the connection, which must come; returns the code of the close frame before it.
    async fn close_code(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((kind, payload)) = self.frame().await {
            if kind == CLOSE {
                code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            }
        }
        code
    }
}

fn masked(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1f, 0x2e, 0x3d, 0x4c];
    let mut bytes = vec![kind];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

fn ledger(id: u64) -> Vec<u8> {
    masked(TEXT, format!(r#"{{"op":"ledger","id":{id}}}"#).as_bytes())
}

#[tokio::test]
async fn frames_cut_at_every_byte() {
    let rig = Rig::start().await;
    let mut peer = rig.connect(b"").await;
    peer.told("hello").await;
    for byte in [ledger(1), ledger(2)].concat() {
        peer.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    peer.told(r#""id":2"#).await;
    for byte in masked(PING, b"payload") {
        peer.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.next(PONG).await, b"payload");
}

#[tokio::test]
async fn many_frames_in_one_write_and_behind_the_handshake() {
    let rig = Rig::start().await;
    let mut peer = rig.connect(&[ledger(1), ledger(2), ledger(3)[..5].to_vec()].concat()).await;
    peer.told(r#""id":2"#).await;
    peer.send(&[ledger(3)[5..].to_vec(), ledger(4)].concat()).await;
    peer.told(r#""id":4"#).await;
}

#[tokio::test]
async fn a_command_as_large_as_one_may_be() {
    let rig = Rig::start().await;
    let max = GatewayConfig::default().limits.engine.command_bytes;
    let mut peer = rig.connect(b"").await;
    let mut command = br#"{"op":"ledger","id":7}"#.to_vec();
    command.resize(max, b' ');
    peer.send(&masked(TEXT, &command)).await;
    peer.told(r#""id":7"#).await;
    command.push(b' ');
    peer.send(&masked(TEXT, &command)).await;
    assert_eq!(peer.close_code().await, Some(CloseCode::TooLarge.code()));
}

#[tokio::test]
async fn a_command_in_fragments_is_joined_and_no_larger_than_another() {
    const FIRST: u8 = 0x01;
    const NEXT: u8 = 0x00;
    const LAST: u8 = 0x80;
    let rig = Rig::start().await;
    let mut peer = rig.connect(b"").await;
    let command = br#"{"op":"ledger","id":8}"#;
    // Libraries that write in pieces do this; a ping may come in between.
    let (head, tail) = command.split_at(5);
    let parts = [masked(FIRST, head), masked(PING, b"?"), masked(NEXT, tail), masked(LAST, b"")];
    peer.send(&parts.concat()).await;
    peer.told(r#""id":8"#).await;
    peer.send(&ledger(9)).await;
    peer.told(r#""id":9"#).await;
    let max = GatewayConfig::default().limits.engine.command_bytes;
    peer.send(&masked(FIRST, &vec![b' '; max])).await;
    peer.send(&masked(LAST, b" ")).await;
    assert_eq!(peer.close_code().await, Some(CloseCode::TooLarge.code()));
}

#[tokio::test]
async fn what_breaks_the_rules_is_told_and_ends_the_connection() {
    let rig = Rig::start().await;
    let protocol = CloseCode::Protocol.code();
    let cases: [(&str, &[u8], u16); 13] = [
        ("not masked", &[0x81, 2, b'{', b'}'], protocol),
        ("reserved bits", &[0xf1, 0x80, 0, 0, 0, 0], protocol),
        ("unknown opcode", &[0x83, 0x80, 0, 0, 0, 0], protocol),
        ("a message within another", &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], protocol),
        ("a fragment of no message", &[0x80, 0x80, 0, 0, 0, 0], protocol),
        ("a long ping", &masked(PING, &[1; 126]), protocol),
        ("a long pong", &masked(PONG, &[1; 126]), protocol),
        ("claims 4 GiB", &[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4], CloseCode::TooLarge.code()),
        ("claims more than there is", &[0x82, 0xff, 0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4], protocol),
        ("a length in more bytes than it needs", &[0x81, 0xfe, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9], protocol),
        ("text that is not UTF-8", &masked(TEXT, b"{\"op\xff"), CloseCode::NotUtf8.code()),
        (
            "text that is not UTF-8, before its end",
            &masked(TEXT, b"\xc0............")[..9],
            CloseCode::NotUtf8.code(),
        ),
        ("text that ends within a character", &masked(TEXT, b"\xc3"), CloseCode::NotUtf8.code()),
    ];
    for (name, bytes, code) in cases {
        let mut peer = rig.connect(b"").await;
        peer.send(bytes).await;
        // These are more than the kernel would throw away in silence: it must not turn the close frame into a reset.
        peer.send(&[0x81; 5000]).await;
        assert_eq!(peer.close_code().await, Some(code), "{name}");
    }
}

#[tokio::test]
async fn commands_before_a_fault_are_answered() {
    let rig = Rig::start().await;
    let mut peer = rig.connect(b"").await;
    peer.send(&[ledger(1), vec![0x09, 0x80]].concat()).await;
    peer.told(r#""id":1"#).await;
    assert_eq!(peer.close_code().await, Some(CloseCode::Protocol.code()));
}

#[tokio::test]
async fn a_close_is_echoed() {
    let rig = Rig::start().await;
    for (payload, echoed) in [
        (&1000_u16.to_be_bytes()[..], 1000),
        (&3001_u16.to_be_bytes(), 3001),
        (b"\x03\xe8because", 1000),
        (b"", 1000),
        // These may stand in no close frame.
        (b"\x03", 1002),
        (&0_u16.to_be_bytes(), 1002),
        (&1005_u16.to_be_bytes(), 1002),
        (&1006_u16.to_be_bytes(), 1002),
        (&2999_u16.to_be_bytes(), 1002),
        (&5000_u16.to_be_bytes(), 1002),
        (b"\x03\xe8\xff", 1007),
    ] {
        let mut peer = rig.connect(b"").await;
        peer.told("hello").await;
        peer.send(&masked(CLOSE, payload)).await;
        // What comes behind a close frame is not read, and does not turn our close frame into a reset.
        peer.send(&masked(PING, b"too late")).await;
        peer.send(&[0xff; 5000]).await;
        assert_eq!(peer.close_code().await, Some(echoed), "{payload:02x?}");
    }
    let ended = async {
        while rig.gateway.sessions() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, ended).await.expect("sessions that ended are counted still");
}

#[tokio::test]
async fn what_was_asked_before_a_close_is_answered() {
    let rig = Rig::start().await;
    let mut peer = rig.connect(b"").await;
    peer.told("hello").await;
    peer.send(&[ledger(1), masked(PING, b"?"), masked(CLOSE, &1000_u16.to_be_bytes())].concat()).await;
    assert_eq!(peer.next(PONG).await, b"?");
    peer.told(r#""id":1"#).await;
    assert_eq!(peer.close_code().await, Some(1000));
}

#[tokio::test]
async fn each_ping_is_answered_in_order() {
    let rig = Rig::start().await;
    let mut peer = rig.connect(b"").await;
    let pings: Vec<_> = (0..10_u8).map(|number| vec![number; usize::from(number) * 13]).collect();
    let all: Vec<_> = pings.iter().map(|payload| masked(PING, payload)).collect();
    // Pongs that nobody asked for mean nothing.
    peer.send(&[masked(PONG, b"by itself"), all.concat()].concat()).await;
    for payload in pings {
        assert_eq!(peer.next(PONG).await, payload);
    }
}

#[tokio::test]
async fn a_message_that_does_not_end_ends_the_session() {
    let config = GatewayConfig { message_timeout: Duration::from_millis(300), ..GatewayConfig::default() };
    let rig = Rig::start_with(config).await;
    let begun = ledger(1);
    let head_only = &begun[..3];
    for part in [&begun[..9], head_only, &masked(0x01, b"{"), &masked(0x01, b""), &masked(0x02, b"x")] {
        let mut peer = rig.connect(part).await;
        assert_eq!(peer.close_code().await, Some(CloseCode::Unfinished.code()), "{part:02x?}");
    }
}

#[tokio::test]
async fn whoever_ends_each_message_may_always_have_begun_another_one() {
    let config = GatewayConfig { message_timeout: Duration::from_secs(2), ..GatewayConfig::default() };
    let rig = Rig::start_with(config).await;
    let begun = ledger(1);
    let mut peer = rig.connect(&begun[..9]).await;
    for _ in 0..11 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        peer.send(&[&begun[9..], &begun[..9]].concat()).await;
        peer.told(r#""id":1"#).await;
    }
}

#[tokio::test]
async fn a_flood_is_refused_and_then_ended() {
    let mut config = GatewayConfig::default();
    config.limits.engine.commands_per_second = 5;
    let rig = Rig::start_with(config).await;
    let mut peer = rig.connect(b"").await;
    peer.send(&ledger(1).repeat(10)).await;
    peer.told("rate_limit").await;
    peer.send(&ledger(2).repeat(150)).await;
    assert_eq!(peer.close_code().await, Some(CloseCode::Flood.code()));
}

#[tokio::test]
async fn a_client_that_vanishes_is_forgotten() {
    let rig = Rig::start().await;
    let whole = rig.connect(b"").await;
    let mut cut = rig.connect(&ledger(1)[..9]).await;
    cut.told("hello").await;
    let all = async {
        while rig.gateway.sessions() != 2 {
            tokio::task::yield_now().await;
        }
        drop((whole, cut));
        while rig.gateway.sessions() != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, all).await.expect("sessions of vanished clients stay");
}
