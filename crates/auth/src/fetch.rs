//! Keys from a URL (JWKS). The last good set is kept whatever happens, and nobody can make a gateway ask often.
//!
//! A key that comes counts at once. One is gone when two responses in a row lack it, because its sessions end then: of the
//! several servers of a provider one may have the set from before for a while.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tickwire_net::tls::{ClientTls, Settings, Trust};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::jwt::{JWKS_BYTES_MAX, Key, KeyRing, Origin, parse_jwks};
use crate::tokens::Tokens as _;

/// The time for one request, from the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time that a handshake waits for keys that are not known.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least time between two requests that somebody's token asked for.
const APART: Duration = Duration::from_secs(10);
/// The time to the second look at a set that lacks a key.
const SECOND_LOOK: Duration = APART;
/// The wait after the first failure; it doubles up to the interval of refreshing.
const RETRY: Duration = Duration::from_secs(1);
/// The most handshakes that wait for one request.
const WAITING_MAX: usize = 1024;

const SETTINGS: Settings =
    Settings { authorities: "SSL_CERT_FILE", insecure: None, server_name: "gateway.auth.jwks_url" };

/// The reason why a URL cannot be used, or why no keys came from it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UrlFault {
    /// The URL cannot be right.
    #[error("{0}")]
    Url(String),
    /// The server cannot be reached.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The server did not answer as it should.
    #[error("answered {0}")]
    Response(String),
    /// The server took too long.
    #[error("did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
}

/// A URL with keys.
#[derive(Clone, Debug)]
pub struct KeysUrl {
    host: String,
    port: u16,
    path: String,
    tls: Option<ClientTls>,
    shown: String,
}

/// The outcome of a request.
enum Brought {
    /// Nothing changed since the last one.
    Same,
    New {
        body: Bytes,
        tag: Option<HeaderValue>,
    },
}

/// The things that came of the URL.
#[derive(Default)]
struct Known {
    tag: Option<HeaderValue>,
    /// The keys of the last response.
    keys: Vec<Key>,
    /// Keys count that the last response lacked, and the one before had.
    lacks_some: bool,
}

type Waiting = oneshot::Sender<()>;

impl KeysUrl {
    /// Reads a URL: `https://`, or `http://` of this machine.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, UrlFault> {
        let wrong = |why: &str| UrlFault::Url(why.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL, as in https://id.example/jwks.json"))?;
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has credentials in it; keys are public, so none are needed"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("https") => {
                let tls = ClientTls::new(&Trust::default(), &format!("{host}:443"), &SETTINGS);
                (Some(tls.map_err(|error| UrlFault::Url(error.to_string()))?), 443)
            }
            Some("http") if matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1") => (None, 80),
            Some("http") => {
                return Err(wrong(
                    "is http:// of another machine: whoever stands between could put in keys; use https://",
                ));
            }
            _ => return Err(wrong("does not begin with https://")),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(port);
        // The query may hold a secret of the provider's, so it is not shown.
        let shown = url.split_once('?').map_or(url, |(url, _)| url).to_owned();
        Ok(Self { host, port, path, tls, shown })
    }

    /// Keeps the keys of a ring fresh, as a task, until it is dropped: each `interval`, and when a token names a key that is not
    /// known, but then once in ten seconds at most.
    pub fn keep(self, ring: &Arc<KeyRing>, interval: Duration) -> tokio::task::JoinHandle<()> {
        let (ask, asked) = mpsc::channel::<Waiting>(WAITING_MAX);
        ring.set_finder(move || {
            let ask = ask.clone();
            Box::pin(async move {
                let (told, telling) = oneshot::channel();
                // Where too many wait, this one does without.
                if ask.try_send(told).is_ok() {
                    let _ = tokio::time::timeout(PATIENCE, telling).await;
                }
            })
        });
        tokio::spawn(self.run(Arc::clone(ring), interval, asked))
    }

    async fn run(self, ring: Arc<KeyRing>, interval: Duration, mut asked: mpsc::Receiver<Waiting>) {
        let mut known = Known::default();
        let mut wait = RETRY.min(interval);
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            let began = Instant::now();
            let due = match self.fetch(&ring, &mut known).await {
                Ok(()) => {
                    wait = RETRY.min(interval);
                    if known.lacks_some { interval.min(SECOND_LOOK) } else { interval }
                }
                Err(fault) => {
                    tracing::warn!(
                        url = self.shown, %fault, keys = ring.count(), retry_s = wait.as_secs(),
                        "no keys came from the URL; those that are known stay"
                    );
                    let now = wait;
                    wait = (wait * 2).min(interval);
                    now
                }
            };
            waiting.clear();
            let until = Instant::now() + due;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                Some(first) = asked.recv() => {
                    waiting.push(first);
                    // One request serves all who ask for ten seconds.
                    tokio::time::sleep_until((began + APART).min(until)).await;
                }
            }
            while let Ok(another) = asked.try_recv() {
                waiting.push(another);
            }
        }
    }

    async fn fetch(&self, ring: &KeyRing, known: &mut Known) -> Result<(), UrlFault> {
        let brought = tokio::time::timeout(TIMEOUT, self.request(known.tag.as_ref()));
        let keys = match brought.await.map_err(|_| UrlFault::TimedOut)?? {
            Brought::Same => known.keys.clone(),
            Brought::New { body, tag } => {
                let keys = parse_jwks(&body, Origin::Url)
                    .map_err(|why| UrlFault::Response(format!("a text that {why}")))?;
                let names: Vec<_> = keys.iter().map(Key::algorithm).collect();
                tracing::info!(url = self.shown, keys = ?names, "keys came from the URL");
                known.tag = tag;
                keys
            }
        };
        let mut before = std::mem::replace(&mut known.keys, keys);
        before.retain(|key| !known.keys.iter().any(|known| known.is_equal(key)));
        known.lacks_some = !before.is_empty();
        ring.set(&self.shown, [known.keys.clone(), before].concat());
        Ok(())
    }

    async fn request(&self, tag: Option<&HeaderValue>) -> Result<Brought, UrlFault> {
        let unreachable = |error: std::io::Error| UrlFault::Unreachable(error.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        match &self.tls {
            Some(tls) => self.over(tls.connect(stream).await.map_err(unreachable)?, tag).await,
            None => self.over(stream, tag).await,
        }
    }

    async fn over<S>(&self, stream: S, tag: Option<&HeaderValue>) -> Result<Brought, UrlFault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| UrlFault::Unreachable(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let mut request =
            Request::get(&self.path).header(HOST, self.authority()).header(ACCEPT, "application/json");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| UrlFault::Url(error.to_string()))?;
        let brought = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            match response.status() {
                StatusCode::NOT_MODIFIED => return Ok(Brought::Same),
                StatusCode::OK => {}
                other => return Err(UrlFault::Response(format!("with HTTP status {}", other.as_u16()))),
            }
            let tag = response.headers().get(ETAG).cloned();
            let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect().await;
            let too_large = |_| UrlFault::Response(format!("more than {JWKS_BYTES_MAX} bytes, or broke off"));
            Ok(Brought::New { body: body.map_err(too_large)?.to_bytes(), tag })
        }
        .await;
        connection.abort();
        brought
    }

    fn authority(&self) -> String {
        match (self.host.contains(':'), &self.tls, self.port) {
            (false, Some(_), 443) | (false, None, 80) => self.host.clone(),
            (false, ..) => format!("{}:{}", self.host, self.port),
            (true, ..) => format!("[{}]:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        match KeysUrl::parse(url) {
            Ok(url) => assert_eq!(format!("{} {}", url.authority(), url.path), expected),
            Err(fault) => assert!(fault.to_string().contains(expected), "{fault}"),
        }
    }

    #[test]
    fn urls() {
        check("http://127.0.0.1:8080/a?b=c", "127.0.0.1:8080 /a?b=c");
        check("http://[::1]/", "[::1]:80 /");
        check("http://id.example/jwks", "whoever stands between");
        check("https://me:secret@id.example/", "credentials");
        check("ftp://x/", "does not begin with https://");
        check("nothing", "does not begin with https://");
    }
}
