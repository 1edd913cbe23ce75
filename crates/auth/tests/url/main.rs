//! Keys from a URL: what is kept, and how often it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tickwire_auth::jwt::{KeyRing, Minter, Trusted};
use tickwire_auth::{Denied, KeysUrl, Tokens as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

const PRIVATE: &str = include_str!("../jwt/keys/ed.pem");
const PUBLIC: &str = include_str!("../jwt/keys/ed.x.txt");
const REFRESH: Duration = Duration::from_mins(5);

/// The responses of the provider.
#[derive(Clone)]
enum Reply {
    Keys(&'static [&'static str]),
    Status(u16),
    Text(String),
}

/// An identity provider.
struct Provider {
    url: String,
    reply: watch::Sender<Reply>,
    asked: Arc<AtomicUsize>,
    unchanged: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (sender, replies) = watch::channel(reply);
        let (asked, unchanged) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&asked), Arc::clone(&unchanged));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counts.0.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let (status, body) = match replies.borrow().clone() {
                    Reply::Keys(ids) => (200, set(ids)),
                    Reply::Status(status) => (status, String::new()),
                    Reply::Text(text) => (200, text),
                };
                let tag = format!("\"{}\"", body.bytes().map(u32::from).sum::<u32>());
                let is_known = String::from_utf8_lossy(&head).contains(&format!("if-none-match: {tag}"));
                let (status, body) =
                    if status == 200 && is_known { (304, String::new()) } else { (status, body) };
                counts.1.fetch_add(usize::from(status == 304), Ordering::SeqCst);
                let response = format!(
                    "HTTP/1.1 {status} x\r\netag: {tag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                // A client that has read enough may be gone.
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        Self { url, reply: sender, asked, unchanged }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn set(ids: &[&str]) -> String {
    let x = PUBLIC.trim();
    let key = |id: &&str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}"}}"#);
    format!(r#"{{"keys":[{}]}}"#, ids.iter().map(key).collect::<Vec<_>>().join(","))
}

fn token(id: &str) -> String {
    let minter = Minter::parse(Some(id), PRIVATE.as_bytes()).unwrap();
    minter.sign(&serde_json::json!({"sub": "desk", "exp": 9e9})).unwrap().expose().to_owned()
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn keys_come_and_an_unknown_one_is_looked_for() {
    let provider = Provider::start(Reply::Keys(&["k1"])).await;
    let ring = Arc::new(KeyRing::new(Trusted::default()));
    let kept = KeysUrl::parse(&provider.url).unwrap().keep(&ring, REFRESH);
    until(|| ring.count() == 1).await;
    assert!(ring.verify(&token("k1")).is_ok());
    assert_eq!(ring.verify(&token("k2")), Err(Denied::UnknownKey));
    provider.reply.send(Reply::Keys(&["k1", "k2"])).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    ring.look_again().await;
    assert!(ring.verify(&token("k2")).is_ok(), "it was looked for");
    assert_eq!(provider.asked(), 2);
    // However many tokens of keys that do not exist come, the provider is not asked again for ten seconds.
    let looking: Vec<_> = (0..50)
        .map(|_| {
            let ring = Arc::clone(&ring);
            tokio::spawn(async move { ring.look_again().await })
        })
        .collect();
    for one in looking {
        one.await.unwrap();
    }
    assert_eq!(provider.asked(), 2);
    kept.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn the_last_good_set_stays() {
    let provider = Provider::start(Reply::Keys(&["k1"])).await;
    let ring = Arc::new(KeyRing::new(Trusted::default()));
    let kept = KeysUrl::parse(&provider.url).unwrap().keep(&ring, Duration::from_millis(30));
    until(|| provider.unchanged.load(Ordering::SeqCst) >= 2).await;
    for bad in [
        Reply::Status(500),
        Reply::Status(404),
        Reply::Text("<html>".to_owned()),
        Reply::Text(r#"{"keys":[]}"#.to_owned()),
        Reply::Text(" ".repeat(100_000)),
    ] {
        provider.reply.send(bad).unwrap();
        let before = provider.asked();
        until(|| provider.asked() >= before + 2).await;
        assert!(ring.verify(&token("k1")).is_ok());
    }
    provider.reply.send(Reply::Keys(&["k2"])).unwrap();
    until(|| ring.verify(&token("k2")).is_ok()).await;
    until(|| ring.verify(&token("k1")) == Err(Denied::UnknownKey)).await;
    kept.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_is_gone_when_two_responses_in_a_row_lack_it() {
    let provider = Provider::start(Reply::Keys(&["k1", "k2"])).await;
    let ring = Arc::new(KeyRing::new(Trusted::default()));
    let kept = KeysUrl::parse(&provider.url).unwrap().keep(&ring, REFRESH);
    until(|| ring.count() == 2).await;
    let count = || ["k1", "k2", "k3"].map(|id| ring.verify(&token(id)).is_ok());
    let look = async |reply: Reply| {
        provider.reply.send(reply).unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        ring.look_again().await;
    };
    // One server of the provider does not know the second key yet, and another one does.
    look(Reply::Keys(&["k1", "k3"])).await;
    assert_eq!(count(), [true, true, true], "what comes counts at once");
    look(Reply::Keys(&["k1", "k2", "k3"])).await;
    assert_eq!(count(), [true, true, true]);
    look(Reply::Keys(&["k1", "k3"])).await;
    // No response says nothing.
    look(Reply::Status(500)).await;
    assert_eq!(count(), [true, true, true]);
    // It is looked at again soon, whether a token asks for that or not, and the tag says that it is still so.
    let unchanged = provider.unchanged.load(Ordering::SeqCst);
    provider.reply.send(Reply::Keys(&["k1", "k3"])).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    until(|| count() == [true, false, true]).await;
    assert!(provider.unchanged.load(Ordering::SeqCst) > unchanged);
    kept.abort();
}
