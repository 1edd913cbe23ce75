//! The doors before a session: limits by address, proxies, origins, and rules of the handshake, over real sockets.

use tickwire_gateway::{Admission, GatewayConfig, Proxies};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{HANG, Peer, Rig};

/// Returns the head of a handshake, with more lines.
fn handshake(more: &str) -> String {
    format!(
        "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

impl Rig {
    async fn with_admission(admission: Admission) -> Self {
        let rig = Self::start_with(GatewayConfig { admission, ..GatewayConfig::default() }).await;
        let ready = async {
            while !rig.admin("/metrics").await.contains("\ntickwire_ready 1") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, ready).await.expect("the gateway does not become ready");
        rig
    }

    /// Sends bytes on a connection of their own. Returns it with the head of the response, which is empty where none came.
    pub(crate) async fn send(&self, bytes: &[u8]) -> (Peer, String) {
        let mut stream = TcpStream::connect(self.gateway.listen_address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return head.clear() };
                head.push(byte);
            }
        };
        tokio::time::timeout(HANG, reading).await.expect("the gateway says nothing");
        (Peer(stream), String::from_utf8(head).unwrap().to_ascii_lowercase())
    }

    async fn ask(&self, more: &str) -> (Peer, String) {
        self.send(handshake(more).as_bytes()).await
    }

    pub(crate) async fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.gateway.admin_address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }
}

/// The rig's clients come from this machine, so they tell their addresses as a proxy does.
fn behind_proxies(with_header: bool) -> Proxies {
    Proxies { networks: vec!["127.0.0.0/8".parse().unwrap()], with_header }
}

fn from(address: &str) -> String {
    format!("X-Forwarded-For: {address}\r\n")
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let admission = Admission {
        proxies: behind_proxies(false),
        address_handshakes_per_second: 1,
        handshakes_per_second: 0,
        ..Admission::default()
    };
    let rig = Rig::with_admission(admission).await;
    let greedy = from("198.51.100.1");
    let mut refused = String::new();
    for _ in 0..100 {
        let (_, head) = rig.ask(&greedy).await;
        if head.starts_with("http/1.1 429") {
            refused = head;
            break;
        }
    }
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    let (_, head) = rig.ask(&from("198.51.100.2")).await;
    assert!(head.starts_with("http/1.1 101"), "another address pays for it: {head}");
    // What stands before the address that the proxy adds is the client's own invention.
    let (_, head) = rig.ask(&from("203.0.113.7, 198.51.100.1")).await;
    assert!(head.starts_with("http/1.1 429"), "{head}");
    // This machine itself is not limited.
    for _ in 0..20 {
        assert!(rig.ask("").await.1.starts_with("http/1.1 101"));
    }
    let metrics = rig.admin("/metrics").await;
    assert!(metrics.contains("tickwire_handshakes_refused_total{reason=\"address_rate\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn sessions_of_an_address_are_given_back() {
    let admission = Admission { proxies: behind_proxies(false), address_sessions: 2, ..Admission::default() };
    let rig = Rig::with_admission(admission).await;
    let network = |host: u8| from(&format!("2001:db8::{host:x}"));
    let (first, _) = rig.ask(&network(1)).await;
    let (_second, head) = rig.ask(&network(2)).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    let (_, head) = rig.ask(&network(3)).await;
    assert!(head.starts_with("http/1.1 429") && head.contains("\r\nretry-after: 5\r\n"), "{head}");
    assert!(
        rig.admin("/v1/sessions").await.contains("\"peer\":\"[2001:db8::1]:0\""),
        "the proxy's address is shown"
    );
    drop(first);
    let again = async {
        while !rig.ask(&network(4)).await.1.starts_with("http/1.1 101") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, again).await.expect("what ended counts still");
}

#[tokio::test]
async fn connections_of_proxies_begin_with_their_header() {
    let admission = Admission { proxies: behind_proxies(true), address_sessions: 1, ..Admission::default() };
    let rig = Rig::with_admission(admission).await;
    let header = |last: u8| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        bytes.extend([203, 0, 113, last, 127, 0, 0, 1, 0x12, 0x67, 0, 80]);
        bytes
    };
    let behind = |header: &[u8]| [header, handshake("").as_bytes()].concat();
    let (_peer, head) = rig.send(&behind(&header(5))).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(rig.admin("/v1/sessions").await.contains("\"peer\":\"203.0.113.5:4711\""));
    let (_, head) = rig.send(&behind(&header(5))).await;
    assert!(head.starts_with("http/1.1 429"), "{head}");
    let (_, head) = rig.send(&behind(&header(6))).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for bytes in [behind(b""), behind(b"PROXY TCP4 203.0.113.5 127.0.0.1 4711 80\r\n")] {
        assert_eq!(rig.send(&bytes).await.1, "", "no header is taken for no proxy");
    }
    let metrics = rig.admin("/metrics").await;
    assert!(metrics.contains("tickwire_handshakes_refused_total{reason=\"proxy\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_unless_they_are_listed() {
    let admission = Admission { origins: vec!["https://app.example".to_owned()], ..Admission::default() };
    let rig = Rig::with_admission(admission).await;
    for (origin, status) in [
        ("http://x", "101"),
        ("https://app.example", "101"),
        ("https://evil.example", "403"),
        ("null", "403"),
    ] {
        let (_, head) = rig.ask(&format!("Origin: {origin}\r\n")).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn limits_in_force_are_public() {
    let admission = Admission { url_bytes: 300, address_sessions: 7, ..Admission::default() };
    let rig = Rig::with_admission(admission).await;
    let (mut peer, head) = rig.send(b"GET /v1/limits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("application/json"), "{head}");
    let mut body = String::new();
    peer.0.read_to_string(&mut body).await.unwrap();
    let limits: serde_json::Value = serde_json::from_str(&body).unwrap();
    let limits = limits["limits"].as_object().unwrap();
    assert_eq!(limits.len(), tickwire_gateway::LIMITS.len());
    assert_eq!(limits["address_sessions"]["value"], 7);
    assert_eq!(limits["url_bytes"]["value"], 300);
    assert_eq!(limits["command_bytes"]["at"], "close code 1009 (`too_large`)");
    let long = handshake("").replace("/v1/stream", &format!("/v1/stream?{}", "x".repeat(300)));
    assert!(rig.send(long.as_bytes()).await.1.starts_with("http/1.1 414"));
}
