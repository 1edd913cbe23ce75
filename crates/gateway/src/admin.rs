//! The admin listener: health, readiness, metrics, and what is decided for each session.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tickwire_wire::FeedState;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::accept::{ACCEPT_PAUSE, text};
use crate::admin_sessions::{Reply, Shards};
use crate::admin_token::AdminToken;
use crate::files::{Seldom, Spares};
use crate::hops::Hops;
use crate::lobby::{Guest, Lobby};
use crate::stats::Stats;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use tickwire_core::hub::FeedReport;

/// The time that a connection may stay without a request.
const IDLE: Duration = Duration::from_secs(60);
/// The open files that are held in reserve. Where the process may open no more, each of them gives way to one admin
/// connection, so this many requests can be answered at the same time even then.
const SPARES: usize = 4;

/// The admin listener and what it was told about its connections.
pub(crate) struct AdminListener {
    pub(crate) listener: TcpListener,
    /// The most connections at the same time.
    pub(crate) connections: usize,
    /// The token that requests have to show, but for `/healthz` and `/readyz`.
    pub(crate) token: Option<AdminToken>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Serves until it is told to stop.
pub(crate) async fn run(admin: AdminListener, stats: Arc<Stats>, shards: Shards, stop: CancellationToken) {
    let AdminListener { listener, connections, token, .. } = &admin;
    let registry = crate::metrics::registry(Arc::clone(&stats));
    let asked = Arc::new(Asked { stats, registry, shards, token: token.clone() });
    let lobby = Lobby::new(*connections, IDLE);
    let (mut spares, mut failures) = (Spares::new(SPARES), Seldom::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS logs it"))]
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) if spares.give() => continue,
            Err(error) => {
                if let Some(times) = failures.now() {
                    tracing::warn!(%error, times, "cannot accept admin connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                spares.take_back();
                continue;
            }
        };
        let guest = tokio::select! {
            () = stop.cancelled() => return,
            guest = lobby.admit() => guest,
        };
        spares.take_back();
        let Some(guest) = guest else { continue };
        let asked = Arc::clone(&asked);
        #[cfg(feature = "tls")]
        if let Some(tls) = admin.tls.clone() {
            tokio::spawn(async move {
                if let Some(stream) = tls.shake(stream, peer, &guest).await {
                    asked.serve(stream, guest).await;
                }
            });
            continue;
        }
        tokio::spawn(asked.serve(stream, guest));
    }
}

/// Everything that the responses are made from.
struct Asked {
    stats: Arc<Stats>,
    registry: Registry,
    shards: Shards,
    token: Option<AdminToken>,
}

impl Asked {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin, guest: Guest) {
        let service = service_fn(|request: Request<Incoming>| {
            guest.asked();
            let asked = Arc::clone(&self);
            async move { Ok::<_, Infallible>(asked.respond(&request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended");
            },
            why = guest.over() => tracing::debug!(?why, "an admin connection was ended"),
        }
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let Self { stats, registry, shards, token } = self;
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        // Those who start and stop gateways ask for these two, and cannot always show a token.
        match request.uri().path() {
            "/healthz" => return text(StatusCode::OK, "ok\n"),
            "/readyz" => return readiness(stats),
            _ => {}
        }
        if token.as_ref().is_some_and(|token| !token.admits(request.headers())) {
            let words = "this needs the token of gateway.admin_token_file: Authorization: Bearer TOKEN\n";
            let mut response = text(StatusCode::UNAUTHORIZED, words);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => metrics(registry),
            "/v1/hops" => json((200, Hops::of(stats).to_json())),
            "/v1/sessions" => json(shards.list(request.uri().query()).await),
            path => match path.strip_prefix("/v1/sessions/") {
                Some(id) => json(shards.one(id, request.uri().query()).await),
                None => text(
                    StatusCode::NOT_FOUND,
                    "here are /healthz, /readyz, /metrics, /v1/hops and /v1/sessions[/ID]\n",
                ),
            },
        }
    }
}

fn json((status, body): Reply) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(status, format!("{body}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Says whether the gateway takes sessions, with the state of the bus, of its history and of each feed.
fn readiness(stats: &Stats) -> Response<Full<Bytes>> {
    let reports = feeds(stats);
    let state_of = |feed: &FeedReport| (feed.venue.clone(), state_name(feed.state).into());
    let feeds: serde_json::Map<_, _> = reports.iter().map(state_of).collect();
    let reason_of = |feed: &FeedReport| (feed.venue.clone(), feed.reason.as_str().into());
    let reasons: serde_json::Map<_, _> =
        reports.iter().filter(|feed| !feed.reason.is_empty()).map(reason_of).collect();
    // Several ingesters of one venue: all is well as long as one of them is followed, but somebody should know.
    let contest = |feed: &FeedReport| {
        let told = serde_json::json!({ "followed_epoch": feed.epoch.to_string(), "others": feed.rivals });
        (feed.venue.clone(), told)
    };
    let contested: serde_json::Map<_, _> =
        reports.iter().filter(|feed| feed.rivals > 0).map(contest).collect();
    let bus = stats.hub.bus.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let history = stats.hub.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_ready = stats.is_ready() && bus == "up";
    let body = serde_json::json!({
        "ready": is_ready,
        "tls": tls(stats),
        "bus": bus,
        "history": if history.is_empty() { "off" } else { history.as_str() },
        "revocations": if stats.auth.awaits_revocations.load(Ordering::Relaxed) { "waiting" } else { "known" },
        "draining": stats.draining.load(Ordering::Relaxed),
        "feeds": feeds,
        "reasons": reasons,
        "contested": contested,
    });
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = text(status, format!("{body}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the state of the certificate in use, or `off`.
#[cfg(feature = "tls")]
fn tls(stats: &Stats) -> serde_json::Value {
    stats.tls.get().map_or_else(|| "off".into(), |tls| tls.to_json())
}

#[cfg(not(feature = "tls"))]
fn tls(_: &Stats) -> serde_json::Value {
    "off".into()
}

fn feeds(stats: &Stats) -> Vec<FeedReport> {
    stats.hub.feeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn state_name(state: FeedState) -> String {
    state.as_str_name().trim_start_matches("FEED_STATE_").to_ascii_lowercase()
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    if prometheus_client::encoding::text::encode(&mut body, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n");
    }
    let mut response = text(StatusCode::OK, body);
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
