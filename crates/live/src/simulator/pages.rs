//! The REST service of a simulated venue, and the doors to its streams.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tickwire_net::handshake;

use super::protocol::Page;
use super::session;
use super::shared::{Shared, now};

type HttpPage = Response<Full<Bytes>>;

/// Answers a request.
pub(super) async fn respond(request: Request<Incoming>, shared: Arc<Shared>) -> Result<HttpPage, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (weight, is_door) = {
        let state = shared.state();
        let protocol = &state.exchange.protocol;
        (protocol.weight(&path, &query), protocol.is_door(&path))
    };
    if let Some(weight) = weight {
        return Ok(rest_page(&path, &query, weight, &shared).await);
    }
    if !is_door {
        return Ok(page(StatusCode::NOT_FOUND, r#"{"code":-1000,"msg":"there is no such page"}"#.to_owned()));
    }
    let banned = shared.state().banned_streams();
    if let Some(refused) = banned {
        return Ok(refusal(refused, &shared));
    }
    if let Err(rule) = handshake::check_request(&request) {
        return Ok(page(StatusCode::BAD_REQUEST, rule.fault().to_owned()));
    }
    let accepted = handshake::accept(request.headers(), None);
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        let held = async {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => session::hold(upgraded, &shared, &path, &query).await,
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        };
        stop.run_until_cancelled(held).await;
    });
    Ok(accepted)
}

async fn rest_page(path: &str, query: &str, weight: u32, shared: &Shared) -> HttpPage {
    // The lock is not held while anything is waited for.
    let admitted = shared.state().request(weight);
    let used = match admitted {
        Ok(used) => used,
        Err(refused) => return refusal(refused, shared),
    };
    let (body, wait) = shared.state().page(path, query, now());
    tokio::time::sleep(wait).await;
    let mut page = match body {
        Page::Catalogue(body) | Page::Snapshot(body) | Page::Other(body) => page(StatusCode::OK, body),
        Page::Wrong(body) => page(StatusCode::BAD_REQUEST, body),
    };
    if let Some(header) = shared.state().exchange.protocol.weight_header() {
        page.headers_mut().insert(header, used.into());
    }
    page
}

/// Makes the response to a client that has to wait for so many seconds.
fn refusal((status, wait): (u16, u64), shared: &Shared) -> HttpPage {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut page = page(status, shared.state().exchange.protocol.banned().to_owned());
    page.headers_mut().insert(RETRY_AFTER, wait.into());
    page
}

fn page(status: StatusCode, body: String) -> HttpPage {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
