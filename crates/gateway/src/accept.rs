//! The public listener. It speaks HTTP up to the WebSocket handshake; then the bare connection goes to a shard.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tickwire_auth::Denied;
use tickwire_net::handshake::{self, Rule};
use tickwire_wire::Encoding;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};

use crate::admission::Doors;
use crate::asked::{choose, heartbeat_ms, window_ms};
use crate::auth::gate::{Admission, Gate};
use crate::auth::shown::{Shown, refused};
use crate::files::Seldom;
use crate::linger::{Farewell, Lingering};
use crate::lobby::{Guest, Lobby, Over};
use crate::pages::Pages;
use crate::refusal::{Refusal, Refused};
use crate::shard::{Arrival, Order};
use crate::stats::Stats;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::traces::span;
use crate::transport::{Buffers, Carrier};
use tickwire_core::engine::{Dialect, Opening};

/// The path of sessions.
const STREAM: &str = "/v1/stream";
/// The path of the limits in force.
const LIMITS: &str = "/v1/limits";
/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// The wait after the system refused a connection, most likely for want of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Acceptor {
    /// TLS of the network's connections, where they speak it.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) shards: Vec<mpsc::Sender<Order>>,
    pub(crate) sessions: Arc<Semaphore>,
    pub(crate) doors: Doors,
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
                #[cfg(feature = "tls")]
                if let Some(tls) = acceptor.tls.clone() {
                    tls.spawn(acceptor.serve_network(stream, peer, guest));
                    continue;
                }
                tokio::spawn(acceptor.serve_network(stream, peer, guest));
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
    /// Serves a connection of the network, from behind the proxy's header where there has to be one.
    /// Whatever else stands before HTTP, as TLS does, begins behind that header.
    async fn serve_network(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, guest: Guest) {
        let source = tokio::select! {
            source = self.doors.proxies().source(&mut stream, peer) => source,
            why = guest.over() => {
                if why == Over::Late {
                    self.stats.refusals.count(Refusal::Late);
                }
                tracing::debug!(peer = display(peer), ?why, "a connection was ended before its PROXY header");
                return;
            }
        };
        match source {
            Ok(source) => {
                #[cfg(feature = "tls")]
                if let Some(tls) = self.tls.clone() {
                    if let Some(stream) = tls.shake(stream, source, &guest).await {
                        self.serve(stream, Some(source), guest).await;
                    }
                    return;
                }
                self.serve(stream, Some(source), guest).await;
            }
            Err(error) => {
                self.stats.refusals.count(Refusal::Proxy);
                tracing::debug!(peer = display(peer), %error, "a connection is not one of a proxy");
            }
        }
    }

    async fn serve<C: Carrier>(self: Arc<Self>, stream: C, peer: Option<SocketAddr>, guest: Guest) {
        let has_asked = AtomicBool::new(false);
        let farewell = Arc::<Farewell>::default();
        let service = service_fn(|request| {
            guest.asked();
            has_asked.store(true, Ordering::Relaxed);
            let acceptor = Arc::clone(&self);
            async move {
                let response = match acceptor.respond::<C>(request, peer).await {
                    Ok(response) => response,
                    Err(refused) => {
                        acceptor.stats.refusals.count(refused.refusal());
                        refused.response()
                    }
                };
                Ok::<_, Infallible>(response)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(self.doors.head_bytes())
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(Lingering::new(stream, Arc::clone(&farewell))), service)
            .with_upgrades();
        let mut served = std::pin::pin!(served);
        let served = tokio::select! {
            served = &mut served => served,
            why = guest.over() => {
                if !farewell.has_begun() {
                    if why == Over::Late && !has_asked.load(Ordering::Relaxed) {
                        self.stats.refusals.count(Refusal::Late);
                    }
                    tracing::debug!(peer = peer.map(display), ?why, "a connection was ended before its handshake");
                    return;
                }
                // It has its response, and was only given time to read it. How it was served is still to be counted.
                farewell.end();
                served.await
            }
        };
        if let Err(error) = served {
            // The library has answered such a request by itself.
            if error.is_parse_too_large() {
                self.stats.refusals.count(Refusal::HeadTooLarge);
            } else if error.is_parse() {
                self.stats.refusals.count(Refusal::BadHead);
            }
            tracing::debug!(peer = peer.map(display), %error, "a connection ended before its handshake");
        }
    }

    /// # Errors
    /// The reason why the request is refused, and what its client is told.
    async fn respond<C: Carrier>(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let path = request.uri().path();
        let url_bytes = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
        if url_bytes > self.doors.url_bytes() {
            let text = format!("path and query have {url_bytes} bytes; {} may be", self.doors.url_bytes());
            return Err(Refused::new(Refusal::UrlTooLong, text));
        }
        if path == STREAM {
            return self.handshake::<C>(request, peer, None).await;
        }
        if let Some(dialect) = self.pages.dialect(path) {
            return self.handshake::<C>(request, peer, Some(dialect)).await;
        }
        handshake::check_http(&request).map_err(broken)?;
        if path == LIMITS && matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(document(StatusCode::OK, "application/json", self.doors.limits()));
        }
        match self.pages.respond(request.method(), path, request.headers()) {
            Some(page) => Ok(document(page.status, page.content_type, page.body)),
            None => Err(Refused::new(Refusal::NotFound, "nothing here; sessions connect to /v1/stream")),
        }
    }

    /// # Errors
    /// As [`Acceptor::respond`].
    async fn handshake<C: Carrier>(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
        dialect: Option<Box<dyn Dialect>>,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let span =
            span!("handshake", peer = peer.map(display), client = Empty, session = Empty, refusal = Empty);
        let response = self.upgrade::<C>(request, peer, dialect).instrument(span.clone()).await;
        if let Err(refused) = &response {
            span.record("refusal", refused.refusal().name());
        }
        response
    }

    /// # Errors
    /// As [`Acceptor::respond`].
    async fn upgrade<C: Carrier>(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        peer: Option<SocketAddr>,
        dialect: Option<Box<dyn Dialect>>,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let client = self.doors.client(peer, request.headers());
        if let Some(client) = client {
            Span::current().record("client", display(client));
        }
        self.doors.ask(client)?;
        handshake::check_request(&request).map_err(broken)?;
        self.doors.check_origin(request.headers())?;
        let offers_protocols = handshake::offered_protocols(request.headers()).next().is_some();
        let (encoding, is_named) = match choose(&request) {
            Some(chosen) if dialect.is_none() => chosen,
            None if dialect.is_none() => {
                let mut known = "none of the offered subprotocols is known; known:".to_owned();
                for encoding in Encoding::ALL {
                    let _ = write!(known, " {}", encoding.subprotocol());
                }
                return Err(Refused::new(Refusal::Subprotocol, known));
            }
            _ if offers_protocols => {
                return Err(Refused::new(Refusal::Subprotocol, "there are no subprotocols at this path"));
            }
            _ => (Encoding::Json, false),
        };
        let query = request.uri().query().unwrap_or_default();
        let asked = window_ms(query).and_then(|window_ms| Ok((window_ms, heartbeat_ms(query)?)));
        let (window_ms, heartbeat_ms) = asked.map_err(|reason| Refused::new(Refusal::Query, reason))?;
        if !self.stats.is_ready() {
            let text = "not ready: the bus is not connected yet, or the gateway is draining; see /readyz";
            return Err(Refused::new(Refusal::NotReady, text));
        }
        let spoken = dialect.as_ref().map_or(encoding.name(), |dialect| dialect.name());
        let Admission { principal, held } =
            self.admit(request.headers(), query, spoken).await.map_err(|why| {
                self.gate.note(&why, client);
                refused(&why)
            })?;
        let Ok(permit) = Arc::clone(&self.sessions).try_acquire_owned() else {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            let text = "full: this gateway holds all the sessions it may; try later or another one";
            return Err(Refused::new(Refusal::Full, text));
        };
        let seat = self.doors.seat(permit, peer, client)?;
        let upgrade = hyper::upgrade::on(&mut request);
        let id = format!("{:08x}-{}", self.instance as u32, self.next.fetch_add(1, Ordering::Relaxed));
        Span::current().record("session", id.as_str());
        let acceptor = Arc::clone(self);
        tokio::spawn(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => upgraded.downcast::<TokioIo<Lingering<C>>>(),
                Err(error) => {
                    tracing::debug!(peer = peer.map(display), %error, "handshake not completed");
                    return;
                }
            };
            let Ok(parts) = upgraded else {
                tracing::error!(peer = peer.map(display), "the connection is of an unexpected kind");
                return;
            };
            let transport = match parts.io.into_inner().into_inner().into_transport(acceptor.buffers) {
                Ok(transport) => transport,
                Err(error) => {
                    tracing::error!(session = id, %error, "cannot hand over a connection");
                    return;
                }
            };
            let read = parts.read_buf;
            let mut opening = Opening { principal, ..Opening::anonymous(id, encoding) }
                .with_window(window_ms)
                .with_heartbeat(heartbeat_ms);
            if let Some(dialect) = dialect {
                opening.dialect = dialect;
            }
            acceptor.hand_over(Arrival { opening, transport, read, seat, held }).await;
        });
        Ok(handshake::accept(request.headers(), is_named.then(|| encoding.subprotocol())))
    }

    /// Finds out whose session a request begins, which is to be spoken in this dialect.
    async fn admit(
        &self,
        headers: &HeaderMap,
        query: &str,
        dialect: &'static str,
    ) -> Result<Admission, Denied> {
        // Where there are no keys, what a proxy leaves in the headers means nothing.
        let shown = if self.gate.authenticator.takes_keys() {
            Shown::of(headers, query, self.gate.authenticator.settings())?
        } else {
            Shown::default()
        };
        self.gate.admit(&shown, dialect).await
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

pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    document(status, "text/plain; charset=utf-8", Bytes::from(body.into()))
}

fn document(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns the refusal of a request that breaks a rule of the handshake.
fn broken(rule: Rule) -> Refused {
    let text = match rule {
        Rule::Upgrade => {
            "this is a WebSocket endpoint: connect with ws:// and subprotocol tickwire.v1.json".to_owned()
        }
        rule => format!("not a WebSocket handshake: {}", rule.fault()),
    };
    Refused::new(Refusal::Handshake(rule), text)
}
