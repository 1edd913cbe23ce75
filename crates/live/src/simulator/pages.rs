//! The REST service of a simulated venue, and the doors to its streams.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tickwire_feed::binance::Market;
use tickwire_net::handshake;

use super::session;
use super::shared::{Shared, now};

/// The levels of a snapshot where a request does not say how many.
const LEVELS: usize = 500;

type Page = Response<Full<Bytes>>;

/// Answers a request.
pub(super) async fn respond(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Page, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let rest = if shared.market == Market::Spot { "/api/v3/" } else { "/fapi/v1/" };
    if let Some(name) = path.strip_prefix(rest) {
        return Ok(rest_page(name, &query, &shared).await);
    }
    if !is_stream(shared.market, &path) {
        return Ok(page(StatusCode::NOT_FOUND, r#"{"code":-1000,"msg":"there is no such page"}"#.to_owned()));
    }
    if let Err(rule) = handshake::check_request(&request) {
        return Ok(page(StatusCode::BAD_REQUEST, rule.fault().to_owned()));
    }
    let accepted = handshake::accept(request.headers(), None);
    let streams: HashSet<_> = value(&query, "streams")
        .map(|streams| streams.split('/').map(str::to_owned).collect())
        .unwrap_or_default();
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        let held = async {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => session::hold(upgraded, &shared, &path, streams).await,
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        };
        stop.run_until_cancelled(held).await;
    });
    Ok(accepted)
}

fn is_stream(market: Market, path: &str) -> bool {
    let roots: &[&str] = if market == Market::Spot { &[""] } else { &["", "/public", "/market"] };
    let behind = |root: &&str| path.strip_prefix(*root).is_some_and(|end| matches!(end, "/stream" | "/ws"));
    roots.iter().any(behind)
}

async fn rest_page(name: &str, query: &str, shared: &Shared) -> Page {
    let levels = value(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(LEVELS);
    let weight = match (name, shared.market) {
        ("depth", Market::Spot) if levels > 1_000 => 250,
        ("depth", Market::Spot) if levels > 500 => 50,
        ("depth", Market::Spot) => 25,
        ("exchangeInfo", Market::Spot) | ("depth", _) => 20,
        _ => 1,
    };
    // The lock is not held while anything is waited for.
    let admitted = shared.state().request(weight);
    let used = match admitted {
        Ok(used) => used,
        Err((status, wait)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
            let words = r#"{"code":-1003,"msg":"Way too much request weight used; IP banned."}"#;
            let mut page = page(status, words.to_owned());
            page.headers_mut().insert(RETRY_AFTER, wait.into());
            return page;
        }
    };
    let body = match name {
        "ping" => Some("{}".to_owned()),
        "time" => Some(format!(r#"{{"serverTime":{}}}"#, now())),
        "exchangeInfo" => {
            let mut state = shared.state();
            state.report.catalogues += 1;
            Some(state.exchange.info(now()))
        }
        "depth" => {
            let (body, wait) = {
                let mut state = shared.state();
                (state.snapshot(value(query, "symbol").unwrap_or_default(), levels), state.slow_snapshots)
            };
            tokio::time::sleep(wait).await;
            body
        }
        _ => None,
    };
    let mut page = match body {
        Some(body) => page(StatusCode::OK, body),
        None => page(StatusCode::BAD_REQUEST, r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned()),
    };
    page.headers_mut().insert("x-mbx-used-weight-1m", used.into());
    page
}

fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn page(status: StatusCode, body: String) -> Page {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
