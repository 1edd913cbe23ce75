//! The way from a URL to a stream: TCP, and TLS where the URL says so.

use std::io;
use std::sync::OnceLock;

use http::Uri;
use tickwire_net::tls::rustls::Error as TlsError;
use tickwire_net::tls::{ClientTls, Settings, Trust, explain};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const SETTINGS: Settings =
    Settings { authorities: "SSL_CERT_FILE", insecure: None, server_name: "the URL of the venue" };

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Whom connections trust: the system's authorities, which are read once.
#[derive(Debug, Default)]
pub(super) struct Security(OnceLock<Result<ClientTls, String>>);

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) is_tls: bool,
    /// Host and port, as they stand in the `Host` header.
    pub(super) authority: String,
    host: String,
    port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Endpoint {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
        let (is_tls, usual) = match uri.scheme_str() {
            Some("ws" | "http") => (false, 80),
            Some("wss" | "https") => (true, 443),
            _ => return Err(format!("`{url}` begins with none of ws://, wss://, http://, https://")),
        };
        let authority = uri.authority().ok_or_else(|| format!("`{url}` has no host"))?;
        if authority.as_str().contains('@') {
            return Err("a URL of a venue has credentials in it, which have no use here".to_owned());
        }
        Ok(Self {
            is_tls,
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(usual),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// Opens a stream.
    pub(super) async fn connect(&self, security: &Security) -> Result<Box<dyn Stream>, String> {
        let address = format!("{}:{}", self.host, self.port);
        let unreachable = |error: io::Error| {
            format!("{address} cannot be reached ({error}); is there a way to the internet?")
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !self.is_tls {
            return Ok(Box::new(stream));
        }
        let shared = security.0.get_or_init(|| {
            ClientTls::new(&Trust::default(), &address, &SETTINGS).map_err(|error| error.to_string())
        });
        let tls = shared.as_ref().map_err(Clone::clone)?;
        let tls = tls.towards(&address, &SETTINGS).map_err(|error| error.to_string())?;
        let secured = tls.connect(stream).await.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
            inner.map_or_else(|| error.to_string(), |inner| explain(inner, &address, true, &SETTINGS))
        })?;
        Ok(Box::new(secured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        #[track_caller]
        fn check(url: &str, expected: Result<(bool, &str, &str, u16, &str), &str>) {
            match (Endpoint::parse(url), expected) {
                (Ok(found), Ok(expected)) => {
                    let Endpoint { is_tls, authority, host, port, path } = &found;
                    assert_eq!((*is_tls, authority.as_str(), host.as_str(), *port, path.as_str()), expected);
                }
                (found, Err(part)) => assert!(found.clone().is_err_and(|it| it.contains(part)), "{found:?}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
        let spot = "stream.binance.com:9443";
        check(
            "wss://stream.binance.com:9443/stream",
            Ok((true, spot, "stream.binance.com", 9443, "/stream")),
        );
        check("https://h/a?b=c", Ok((true, "h", "h", 443, "/a?b=c")));
        check("http://[::1]:80", Ok((false, "[::1]:80", "::1", 80, "/")));
        check("ftp://h/", Err("begins with none of"));
        check("wss://me:secret@h/", Err("credentials"));
        check("", Err("is no URL"));
    }
}
