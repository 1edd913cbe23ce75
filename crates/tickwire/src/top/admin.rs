//! Requests to the admin listener of a gateway.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::model::{Look, Session};

/// The time that a request has.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a response.
const RESPONSE_BYTES_MAX: usize = 8 << 20;
/// The sessions that one request asks for; more are not given at once.
const PAGE: usize = 1_000;
/// The most pages of one look. A gateway with more sessions is looked at in the order in which they came.
const PAGES_MAX: usize = 20;

/// The admin listener of a gateway.
pub(super) struct Admin {
    /// Host and port.
    address: String,
    url: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    sessions: Vec<Session>,
    next: Option<String>,
}

impl Admin {
    /// # Errors
    /// When the URL is none of an admin listener, or the token cannot be read.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let parsed: Uri =
            url.parse().with_context(|| format!("`{url}` is no URL; example: http://127.0.0.1:7401"))?;
        if parsed.scheme_str() != Some("http") {
            bail!("`{url}` does not begin with http://; the admin listener speaks plain HTTP");
        }
        let host = parsed.host().with_context(|| format!("`{url}` names no host"))?;
        let token = token_file.map(|path| {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("cannot read the token in {}", path.display()))
        });
        Ok(Self {
            address: format!("{host}:{}", parsed.port_u16().unwrap_or(80)),
            url: url.trim_end_matches('/').to_owned(),
            token: token.transpose()?.map(|text| text.trim().to_owned()),
        })
    }

    /// Asks for everything that is shown.
    ///
    /// # Errors
    /// When the gateway does not answer as an admin listener does.
    ///
    /// # Cancel safety
    /// Dropping it drops the requests.
    pub(super) async fn look(&self) -> anyhow::Result<Look> {
        let readiness = self.get("/readyz", &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]).await?;
        let (mut sessions, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let after = next.map(|next: String| format!("&after={next}")).unwrap_or_default();
            let page: Page =
                self.get(&format!("/v1/sessions?limit={PAGE}{after}"), &[StatusCode::OK]).await?;
            sessions.extend(page.sessions);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(Look { readiness, sessions, has_more: next.is_some() })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str, good: &[StatusCode]) -> anyhow::Result<T> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(path)).await;
        let of = || format!("{}{path}", self.url);
        let (status, body) =
            asked.with_context(|| format!("{} does not answer within {} s", of(), PATIENCE.as_secs()))??;
        if status == StatusCode::UNAUTHORIZED {
            bail!("{} asks for a token: give the file that has it with --token-file", of());
        }
        if !good.contains(&status) {
            bail!("{} answers with HTTP {status}; is that the admin listener (gateway.admin_listen)?", of());
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("{} answers with something else than a gateway would", of()))
    }

    async fn ask(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.address).await.with_context(|| {
            format!(
                "cannot reach {}; is that the admin listener of a gateway (gateway.admin_listen)?",
                self.url
            )
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| anyhow::anyhow!("{}{path}: {error}", self.url))?;
        Ok((status, body.to_bytes()))
    }
}
