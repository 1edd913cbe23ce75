//! The admin listener: health, readiness, metrics, and what is decided for each session.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tickwire_auth::Denied;
use tickwire_wire::{CloseCode, FeedState};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::accept::{ACCEPT_PAUSE, text};
use crate::admin_sessions::{Reply, Shards};
use crate::files::{Seldom, Spares};
use crate::hops::Hops;
use crate::lobby::{Guest, Lobby};
use crate::stats::Stats;
use tickwire_core::engine::{Pressure, SessionState, Survey};
use tickwire_core::hub::FeedReport;

/// The time that a connection may stay without a request.
const IDLE: Duration = Duration::from_secs(60);
/// The open files that are held in reserve. Where the process may open no more, each of them gives way to one admin
/// connection, so this many requests can be answered at the same time even then.
const SPARES: usize = 4;

/// Serves until it is told to stop.
pub(crate) async fn run(
    listener: TcpListener,
    stats: Arc<Stats>,
    shards: Shards,
    connections: usize,
    stop: CancellationToken,
) {
    let mut registry = Registry::with_prefix("tickwire");
    registry.register_collector(Box::new(Metrics(Arc::clone(&stats))));
    let asked = Arc::new(Asked { stats, registry, shards });
    let lobby = Lobby::new(connections, IDLE);
    let (mut spares, mut failures) = (Spares::new(SPARES), Seldom::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
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
        if let Some(guest) = guest {
            tokio::spawn(Arc::clone(&asked).serve(stream, guest));
        }
    }
}

/// Everything that the responses are made from.
struct Asked {
    stats: Arc<Stats>,
    registry: Registry,
    shards: Shards,
}

impl Asked {
    async fn serve(self: Arc<Self>, stream: TcpStream, guest: Guest) {
        let service = service_fn(|request: Request<Incoming>| {
            guest.asked();
            let asked = Arc::clone(&self);
            async move {
                let response = respond(&request, &asked.stats, &asked.registry, &asked.shards).await;
                Ok::<_, Infallible>(response)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended");
            },
            why = guest.over() => tracing::debug!(why, "an admin connection was ended"),
        }
    }
}

async fn respond(
    request: &Request<Incoming>,
    stats: &Stats,
    registry: &Registry,
    shards: &Shards,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(stats),
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
        "bus": bus,
        "history": if history.is_empty() { "off" } else { history.as_str() },
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

/// The metrics: all counts are read when they are scraped.
#[derive(Debug)]
struct Metrics(Arc<Stats>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = &self.0;
        let hub = &stats.hub;
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counters = [
            ("bus_messages", "Messages taken from the bus", load(&hub.messages)),
            ("bus_records", "Records taken from the bus", load(&hub.records)),
            ("bus_bytes", "Bytes of records taken from the bus", load(&hub.bytes)),
            ("bus_malformed", "Bus messages that could not be used", load(&hub.malformed)),
            ("bus_foreign", "Messages of ingesters that are not followed", load(&hub.foreign)),
            ("bus_lost_records", "Sequence numbers that were lost on the bus", load(&hub.lost)),
            ("feed_takeovers", "How often another ingester of a venue was followed", load(&hub.takeovers)),
            ("instruments_ended", "Instruments that ended", load(&hub.ended)),
            ("instruments_refused", "Definitions beyond the limit of instruments", load(&hub.over_limit)),
            ("history_records", "Records found in the history of the bus", load(&hub.history_records)),
            ("history_failures", "Requests that the history did not answer", load(&hub.history_failures)),
            ("sessions_accepted", "Sessions that were opened", load(&stats.accepted)),
            ("sessions_refused", "Connections refused because of a limit", load(&stats.refused)),
            ("connections_evicted", "Connections without a session that had to go", stats.evicted()),
            (
                "records_published",
                "Sequence numbers that passed the subscriptions",
                stats.sum(|s| &s.published),
            ),
            ("records_delivered", "Records handed to sockets", stats.sum(|s| &s.delivered)),
            ("records_conflated", "Records superseded by newer ones", stats.sum(|s| &s.conflated)),
            ("records_dropped", "Records announced in gaps", stats.sum(|s| &s.dropped)),
            ("records_filtered", "Records held back by a requested rate", stats.sum(|s| &s.filtered)),
            ("tokens_renewed", "Tokens that sessions handed in and that count", load(&stats.auth.renewed)),
            ("revocations", "Revocations that were taken", load(&stats.auth.revocations)),
            (
                "revocations_malformed",
                "Messages of revocations that could not be read",
                load(&stats.auth.malformed),
            ),
            ("writes", "Calls that handed bytes to a socket", stats.sum(|s| &s.writes)),
            ("written_bytes", "Bytes that sockets took", stats.sum(|s| &s.written_bytes)),
        ];
        for (name, help, value) in counters {
            write(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        let ready = u64::from(stats.is_ready());
        let gauges = [
            ("ready", "1 when sessions are taken", ready),
            ("sessions", "Open sessions", load(&stats.sessions)),
            ("topics", "Instruments' channels followed on the bus", load(&hub.topics)),
            ("instruments", "Instruments known", load(&hub.instruments)),
            ("revocations_kept", "Revocations that are in force", load(&stats.auth.kept)),
            ("log_bytes", "Bytes of recent records kept", stats.sum(|s| &s.log_bytes)),
        ];
        for (name, help, value) in gauges {
            write(&mut encoder, name, help, &ConstGauge::new(value as i64))?;
        }
        let delays = stats.shards.iter().map(|shard| load(&shard.write_delay_us));
        let longest = ConstGauge::new(delays.max().unwrap_or_default() as f64 / 1e6);
        write(
            &mut encoder,
            "write_delay_seconds",
            "Time that what is ready waits to share a write",
            &longest,
        )?;
        let name = "sessions_closed";
        let closed = ConstCounter::new(0_u64);
        let mut family =
            encoder.encode_descriptor(name, "Sessions closed by the gateway", None, closed.metric_type())?;
        for (code, count) in CloseCode::ALL.iter().zip(&stats.closed) {
            ConstCounter::new(load(count)).encode(family.encode_family(&[("code", code.name())])?)?;
        }
        labelled(
            &mut encoder,
            "sessions_by_state",
            "Open sessions by state",
            "state",
            &|value| ConstGauge::new(value as i64),
            SessionState::ALL
                .map(SessionState::name)
                .into_iter()
                .enumerate()
                .map(|(at, name)| (name, stats.sum(|s| &s.states[at]))),
        )?;
        labelled(
            &mut encoder,
            "pressure_bytes",
            "Bytes owed to sessions, by what they are",
            "part",
            &|value| ConstGauge::new(value as i64),
            Pressure::NAMES.into_iter().enumerate().map(|(at, name)| (name, stats.sum(|s| &s.pressure[at]))),
        )?;
        labelled(
            &mut encoder,
            "decisions",
            "Decisions for sessions that were held back, by kind",
            "kind",
            &ConstCounter::new,
            Survey::KINDS.into_iter().enumerate().map(|(at, name)| (name, stats.sum(|s| &s.decisions[at]))),
        )?;
        labelled(
            &mut encoder,
            "auth_refused",
            "Handshakes and tokens that were refused, by reason",
            "reason",
            &ConstCounter::new,
            Denied::REASONS.into_iter().zip(stats.auth.denied.iter().map(load)),
        )?;
        Hops::of(stats).encode(&mut encoder)?;
        let live = ConstGauge::new(0_i64);
        let mut family =
            encoder.encode_descriptor("feed_live", "1 when the feed is live", None, live.metric_type())?;
        let feeds = feeds(stats);
        for feed in &feeds {
            let value = i64::from(feed.state == FeedState::Live);
            ConstGauge::new(value).encode(family.encode_family(&[("venue", feed.venue.as_str())])?)?;
        }
        let help = "Ingesters that claim the venue beside the one that is followed";
        let mut family = encoder.encode_descriptor("feed_rivals", help, None, live.metric_type())?;
        for feed in &feeds {
            let rivals = ConstGauge::new(feed.rivals as i64);
            rivals.encode(family.encode_family(&[("venue", feed.venue.as_str())])?)?;
        }
        Ok(())
    }
}

/// Writes a metric with one label, and a value for each of the label's names.
fn labelled<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    metric: &impl Fn(u64) -> M,
    values: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
    for (of, value) in values {
        metric(value).encode(family.encode_family(&[(label, of)])?)?;
    }
    Ok(())
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
