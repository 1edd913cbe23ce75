//! The public listener. It speaks HTTP up to the WebSocket handshake; then the bare connection goes to a shard.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tickwire_auth::Denied;
use tickwire_net::handshake;
use tickwire_wire::Encoding;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::auth::gate::{Admission, Gate};
use crate::auth::shown::{Shown, challenge};
use crate::files::Seldom;
use crate::lobby::{Guest, Lobby};
use crate::shard::{Arrival, Order};
use crate::stats::Stats;
use crate::transport::{Buffers, Carrier};
use tickwire_core::engine::{HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, Opening, WINDOW_MS_MAX};

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// The wait after the system refused a connection, most likely for want of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The documents that the public listener serves beside `/v1/stream`, such as the demo's page.
pub trait Pages: Send + Sync + 'static {
    /// Returns the response to a request, or `None` where there is no such document.
    fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Page>;
}

/// A small document.
#[derive(Clone, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The value of the header `content-type`.
    pub content_type: &'static str,
    /// The bytes that follow the headers.
    pub body: Bytes,
}

/// Pages that have no document at all.
#[derive(Debug)]
pub struct NoPages;

impl Pages for NoPages {
    fn respond(&self, _: &Method, _: &str, _: &HeaderMap) -> Option<Page> {
        None
    }
}

pub(crate) struct Acceptor {
    pub(crate) shards: Vec<mpsc::Sender<Order>>,
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) pages: Arc<dyn Pages>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) buffers: Buffers,
    /// A number that distinguishes the sessions of this process from those of others and of earlier runs.
    pub(crate) instance: u64,
    pub(crate) next: AtomicU64,
}

/// Accepts connections of the network, and pipes of this process, until it is told to stop. An error on one connection, or of
/// the system, never ends it.
pub(crate) async fn run(
    listener: TcpListener,
    mut pipes: mpsc::Receiver<DuplexStream>,
    acceptor: Arc<Acceptor>,
    lobby: Arc<Lobby>,
    stop: CancellationToken,
) {
    let mut failures = Seldom::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.map(Visitor::Network),
            Some(pipe) = pipes.recv() => Ok(Visitor::Pipe(pipe)),
        };
        let visitor = match accepted {
            Ok(visitor) => visitor,
            Err(error) => {
                if let Some(times) = failures.now() {
                    tracing::warn!(
                        %error, times,
                        "cannot accept connections; raise the limit of open files if this goes on"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let guest = tokio::select! {
            () = stop.cancelled() => return,
            guest = lobby.admit() => guest,
        };
        let Some(guest) = guest else { continue };
        let acceptor = Arc::clone(&acceptor);
        match visitor {
            Visitor::Network((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(acceptor.serve(stream, Some(peer), guest));
            }
            Visitor::Pipe(pipe) => {
                tokio::spawn(acceptor.serve(pipe, None, guest));
            }
        }
    }
}

/// A connection that came to the listener.
enum Visitor {
    Network((TcpStream, SocketAddr)),
    Pipe(DuplexStream),
}

impl Acceptor {
    async fn serve<C: Carrier>(self: Arc<Self>, stream: C, peer: Option<SocketAddr>, guest: Guest) {
        let service = service_fn(|request| {
            guest.asked();
            let acceptor = Arc::clone(&self);
            async move { Ok::<_, Infallible>(acceptor.respond::<C>(request, peer).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(peer = peer.map(display), %error, "a connection ended before its handshake");
            },
            why = guest.over() => {
                tracing::debug!(peer = peer.map(display), why, "a connection was ended before its handshake");
            }
        }
    }

    async fn respond<C: Carrier>(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == "/v1/stream" {
            return self.upgrade::<C>(request, peer).await;
        }
        match self.pages.respond(request.method(), path, request.headers()) {
            Some(page) => {
                let mut response = Response::new(Full::new(page.body));
                *response.status_mut() = page.status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
                response
            }
            None => text(StatusCode::NOT_FOUND, "nothing here; sessions connect to /v1/stream\n"),
        }
    }

    async fn upgrade<C: Carrier>(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<Full<Bytes>> {
        if let Err(broken) = handshake::check_request(&request) {
            return text(
                broken.status,
                match broken.status {
                    StatusCode::UPGRADE_REQUIRED => {
                        "this is a WebSocket endpoint: connect with ws:// and subprotocol tickwire.v1.json\n"
                            .to_owned()
                    }
                    _ => format!("not a WebSocket handshake: {}\n", broken.fault),
                },
            );
        }
        let Some((encoding, is_named)) = choose(&request) else {
            let mut known = "none of the offered subprotocols is known; known:".to_owned();
            for encoding in Encoding::ALL {
                let _ = write!(known, " {}", encoding.subprotocol());
            }
            return text(StatusCode::BAD_REQUEST, known + "\n");
        };
        let query = request.uri().query().unwrap_or_default();
        let asked = window_ms(query).and_then(|window_ms| Ok((window_ms, heartbeat_ms(query)?)));
        let (window_ms, heartbeat_ms) = match asked {
            Ok(asked) => asked,
            Err(reason) => return text(StatusCode::BAD_REQUEST, reason + "\n"),
        };
        if !self.stats.is_ready() {
            return later(
                1,
                "not ready: the bus is not connected yet, or the gateway is draining; see /readyz\n",
            );
        }
        let Admission { principal, seat } = match self.admit(request.headers(), query, encoding).await {
            Ok(admitted) => admitted,
            Err(why) => {
                self.gate.note(&why, peer);
                let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::UNAUTHORIZED);
                let mut response = text(status, why.message() + "\n");
                challenge(&mut response, &why);
                return response;
            }
        };
        let Ok(permit) = Arc::clone(&self.sessions).try_acquire_owned() else {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            return later(5, "full: this gateway holds all the sessions it may; try later or another one\n");
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let id = format!("{:08x}-{}", self.instance as u32, self.next.fetch_add(1, Ordering::Relaxed));
        let acceptor = Arc::clone(self);
        tokio::spawn(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => upgraded.downcast::<TokioIo<C>>(),
                Err(error) => {
                    tracing::debug!(peer = peer.map(display), %error, "handshake not completed");
                    return;
                }
            };
            let Ok(parts) = upgraded else {
                tracing::error!(peer = peer.map(display), "the connection is of an unexpected kind");
                return;
            };
            let transport = match parts.io.into_inner().into_transport(acceptor.buffers) {
                Ok(transport) => transport,
                Err(error) => {
                    tracing::error!(session = id, %error, "cannot hand over a connection");
                    return;
                }
            };
            let read = parts.read_buf;
            let opening = Opening { principal, ..Opening::anonymous(id, encoding) };
            let opening = opening.with_window(window_ms).with_heartbeat(heartbeat_ms);
            acceptor.hand_over(Arrival { opening, transport, read, permit, seat }).await;
        });
        handshake::accept(request.headers(), is_named.then(|| encoding.subprotocol()))
    }

    /// Finds out whose session a request begins.
    async fn admit(&self, headers: &HeaderMap, query: &str, encoding: Encoding) -> Result<Admission, Denied> {
        // Where there are no keys, what a proxy leaves in the headers means nothing.
        let shown = if self.gate.authenticator.takes_keys() {
            Shown::of(headers, query, self.gate.authenticator.settings())?
        } else {
            Shown::default()
        };
        self.gate.admit(&shown, encoding).await
    }

    async fn hand_over(&self, arrival: Arrival) {
        // It goes to the emptiest shard: sessions are long-lived, so nothing balances them later.
        let count = |at: usize| self.stats.shards[at].sessions.load(Ordering::Relaxed);
        let at = (0..self.shards.len()).min_by_key(|at| count(*at)).unwrap_or(0);
        self.stats.accepted.fetch_add(1, Ordering::Relaxed);
        self.stats.sessions.fetch_add(1, Ordering::Relaxed);
        self.stats.shards[at].sessions.fetch_add(1, Ordering::Relaxed);
        if self.shards[at].send(Order::Arrive(arrival)).await.is_err() {
            self.stats.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Returns the encoding of the first known subprotocol in the client's list, and whether there was a list. Without a list
/// the encoding is JSON; `None`: none of the list is known.
fn choose<B>(request: &Request<B>) -> Option<(Encoding, bool)> {
    let mut names = handshake::offered_protocols(request.headers()).peekable();
    if names.peek().is_none() {
        return Some((Encoding::Json, false));
    }
    names.find_map(Encoding::from_subprotocol).map(|encoding| (encoding, true))
}

/// Returns the delivery window that a query asks for, in milliseconds; 0 where it asks for none.
fn window_ms(query: &str) -> Result<u16, String> {
    let Some(asked) = asked(query, "window_ms") else { return Ok(0) };
    asked.parse().ok().filter(|ms| *ms <= WINDOW_MS_MAX).ok_or_else(|| {
        format!(
            "window_ms is `{}`; it is milliseconds from 0 to {WINDOW_MS_MAX}: /v1/stream?window_ms=16",
            shown(asked)
        )
    })
}

/// Returns the longest silence that a query asks for, in milliseconds; 0 where it asks for none.
fn heartbeat_ms(query: &str) -> Result<u32, String> {
    let Some(asked) = asked(query, "heartbeat_ms") else { return Ok(0) };
    let range = HEARTBEAT_MS_MIN..=HEARTBEAT_MS_MAX;
    asked.parse().ok().filter(|ms| range.contains(ms)).ok_or_else(|| {
        format!(
            "heartbeat_ms is `{}`; it is milliseconds from {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}: \
             /v1/stream?heartbeat_ms=10000",
            shown(asked)
        )
    })
}

/// Returns the value of a name in a query.
fn asked<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Returns as much of a wrong value as is repeated in a message.
fn shown(value: &str) -> String {
    value.chars().take(32).collect()
}

pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn later(seconds: u64, body: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<u16, &str>) {
        agree(query, window_ms(query).map(u32::from), expected.map(u32::from));
    }

    #[track_caller]
    fn agree(query: &str, got: Result<u32, String>, expected: Result<u32, &str>) {
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{query}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn heartbeats() {
        let check = |query, expected| agree(query, heartbeat_ms(query), expected);
        check("", Ok(0));
        check("window_ms=16&heartbeat_ms=250", Ok(250));
        check("heartbeat_ms=60000", Ok(60_000));
        check("heartbeat_ms=60001", Err("from 250 to 60000"));
        check("heartbeat_ms=249", Err("`249`"));
        check("heartbeat_ms=0", Err("`0`"));
        check("heartbeat_ms=1s", Err("`1s`"));
        check("heartbeat_msx=1", Ok(0));
    }

    #[test]
    fn delivery_windows() {
        check("", Ok(0));
        check("other=1", Ok(0));
        check("window_ms=16", Ok(16));
        check("a=b&window_ms=0&c", Ok(0));
        check("window_ms=1000", Ok(1000));
        check("window_ms=1001", Err("from 0 to 1000"));
        check("window_ms=70000", Err("`70000`"));
        check("window_ms=-1", Err("`-1`"));
        check("window_ms=", Err("``"));
        check("window_ms=16ms", Err("`16ms`"));
        check("xwindow_ms=5", Ok(0));
    }
}
