//! A gateway's admin listener, as a run asks it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A page that takes longer is not waited for.
const WAIT: Duration = Duration::from_millis(500);
const BYTES_MAX: usize = 4 << 20;
const RETRY: Duration = Duration::from_millis(50);

/// Returns a page with status 200; none where it cannot be had in time.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub(super) async fn page(admin: &str, path: &str) -> Option<String> {
    tokio::time::timeout(WAIT, get(admin, path)).await.ok()?.ok()
}

/// Returns when the gateway is ready and hears the own source.
pub(super) async fn readiness(admin: &str) {
    let live = format!("\"{}\":\"live\"", crate::scenario::VENUE);
    while !page(admin, "/readyz").await.is_some_and(|text| text.replace(' ', "").contains(&live)) {
        tokio::time::sleep(RETRY).await;
    }
}

async fn get(admin: &str, path: &str) -> anyhow::Result<String> {
    let address = admin.trim_start_matches("http://").trim_end_matches('/');
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, address).body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?;
        Ok(String::from_utf8(body.to_bytes().into())?)
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The end of the connection may be seen before the response that it held.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
#[path = "../../tests/units/admin.rs"]
mod tests;
