//! Requests to the admin listener of a gateway, over plain HTTP or TLS.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tickwire_net::tls::ClientTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::trust::{self, TrustFlags};

/// The time that a request has.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a response.
const RESPONSE_BYTES_MAX: usize = 8 << 20;
/// The most characters of a page that is no response of a gateway, as far as it is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The admin listener of a gateway.
pub(crate) struct Admin {
    /// Host and port.
    address: String,
    url: String,
    tls: Option<ClientTls>,
    /// The header that shows the token.
    authorization: Option<HeaderValue>,
}

impl Admin {
    /// # Errors
    /// When the URL is none of an admin listener, or the token or the files of TLS cannot be used.
    pub(crate) fn new(url: &str, token_file: Option<&Path>, trust: &TrustFlags) -> anyhow::Result<Self> {
        if url.contains('@') {
            bail!(
                "the URL has credentials in it: the token of the admin listener goes into a file (--token-file)"
            );
        }
        let parsed: Uri =
            url.parse().with_context(|| format!("`{url}` is no URL; example: http://127.0.0.1:7401"))?;
        let default_port = match parsed.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => bail!("`{url}` begins neither with http:// nor, for gateway.tls.admin, with https://"),
        };
        let host = parsed.host().with_context(|| format!("`{url}` names no host"))?;
        let address = format!("{host}:{}", parsed.port_u16().unwrap_or(default_port));
        let tls = (default_port == 443).then(|| {
            let trust = trust.trust().map_err(anyhow::Error::msg)?;
            ClientTls::new(&trust, &address, &trust::SETTINGS).map_err(anyhow::Error::from)
        });
        let authorization = token_file.map(|path| {
            let token = trust::read_token(path).map_err(anyhow::Error::msg)?;
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.with_context(|| {
                format!("the token in {} has characters that no header can have", path.display())
            })?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        Ok(Self {
            address,
            url: url.trim_end_matches('/').to_owned(),
            tls: tls.transpose()?,
            authorization: authorization.transpose()?,
        })
    }

    /// Returns the status and the body of a page, a JSON document that has one of these statuses.
    ///
    /// # Errors
    /// When the gateway does not answer as an admin listener does.
    ///
    /// # Cancel safety
    /// Dropping it drops the request.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        good: &[StatusCode],
    ) -> anyhow::Result<T> {
        let body = self.page(path, good).await?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{}{path} answers with something else than a gateway would", self.url))
    }

    /// Returns the body of a page that has one of these statuses.
    ///
    /// # Errors
    /// As [`Admin::json`].
    ///
    /// # Cancel safety
    /// As there.
    pub(crate) async fn page(&self, path: &str, good: &[StatusCode]) -> anyhow::Result<Bytes> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(path)).await;
        let of = || format!("{}{path}", self.url);
        let (status, body) =
            asked.with_context(|| format!("{} does not answer within {} s", of(), PATIENCE.as_secs()))??;
        if status == StatusCode::UNAUTHORIZED {
            match self.authorization {
                None => bail!("{} asks for a token: give the file that has it with --token-file", of()),
                Some(_) => bail!(
                    "{} does not take the token of --token-file: is it that of gateway.admin_token_file there?",
                    of()
                ),
            }
        }
        if !good.contains(&status) {
            let said: String = String::from_utf8_lossy(&body).trim().chars().take(SHOWN_CHARS_MAX).collect();
            let said = crate::printing::printable(&said);
            bail!(
                "{} answers with HTTP {status} ({said}); is that the admin listener (gateway.admin_listen)?",
                of()
            );
        }
        Ok(body)
    }

    async fn ask(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.address).await.with_context(|| {
            format!(
                "cannot reach {}; is that the admin listener of a gateway (gateway.admin_listen)?",
                self.url
            )
        })?;
        let Some(tls) = &self.tls else { return self.ask_over(stream, path).await };
        match tls.connect(stream).await {
            Ok(stream) => self.ask_over(stream, path).await,
            Err(error) => bail!("{}", trust::explain(&error, &self.address)),
        }
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let broke = |error: hyper::Error| match trust::cause(&error) {
            Some(_) => anyhow::anyhow!("{}", trust::explain(&error, &self.address)),
            None => anyhow::anyhow!("{}{path}: {error}", self.url),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, &self.address);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await.map_err(broke)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| anyhow::anyhow!("{}{path}: {error}", self.url))?;
        Ok((status, body.to_bytes()))
    }
}
