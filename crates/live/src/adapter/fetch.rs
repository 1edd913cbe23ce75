//! One request to a venue's REST service.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use tickwire_net::http::Get;

use super::endpoint::{Endpoint, Security};
use super::handover::{Handover, What};
use crate::driver::{LinkId, RequestId, Response};

/// The longest body that is read: a list of all instruments is a few MiB.
const BODY_BYTES_MAX: usize = 64 << 20;
/// The time after which a request is given up for good. The driver has given it up before.
const WITHIN: Duration = Duration::from_secs(60);
/// The longest wait that a venue may demand: what is longer is an error, and would stop the ingester for good.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
const AGENT: &str = concat!("tickwire/", env!("CARGO_PKG_VERSION"));

/// Sends a request, and hands the response over.
pub(super) async fn run(
    url: String,
    security: Arc<Security>,
    handover: Handover,
    request: RequestId,
    used_weight: Option<&'static str>,
) {
    let outcome = match tokio::time::timeout(WITHIN, fetch(&url, &security, used_weight)).await {
        Ok(outcome) => outcome,
        Err(_) => Err("the response did not end".to_owned()),
    };
    let bytes = outcome.as_ref().map_or(0, |response| response.body.len());
    handover.give((LinkId(0), 0), What::Response { request, outcome }, bytes).await;
}

async fn fetch(url: &str, security: &Security, used_weight: Option<&str>) -> Result<Response, String> {
    let endpoint = Endpoint::parse(url)?;
    let stream = endpoint.connect(security).await?;
    let get = Get {
        host: &endpoint.authority,
        path: &endpoint.path,
        headers: &[("User-Agent", AGENT), ("Accept", "application/json")],
        body_bytes_max: BODY_BYTES_MAX,
    };
    let response = get.over(stream).await.map_err(|error| error.to_string())?;
    Ok(Response {
        status: response.status.as_u16(),
        retry_after: retry_after(&response.headers),
        used_weight: used_weight
            .and_then(|name| response.headers.get(name)?.to_str().ok()?.trim().parse().ok()),
        body: String::from_utf8(response.body.into()).map_err(|_| "the response is not UTF-8".to_owned())?,
    })
}

/// Returns the wait that a venue demands, in seconds as all of them write it, and a day at most.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
