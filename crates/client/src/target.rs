//! The address of a gateway: `ws://host:port/v1/stream`, or `wss://` with TLS.

use std::fmt;

use hyper::Uri;

use crate::error::ConnectError;

/// Taken where the URL names none.
const PATH: &str = "/v1/stream";
/// Ports of `ws` and `wss` (RFC 6455, section 3).
const PORT: u16 = 80;
const TLS_PORT: u16 = 443;

/// One gateway's address, parsed from its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Whether the connection is made with TLS (`wss://`).
    pub is_tls: bool,
    /// Name or IP address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads `ws://host[:port][/path]`, or the same with `wss://`; without a path it is `/v1/stream`.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`] says what is wrong; [`ConnectError::NoTls`] for `wss` in a build without TLS.
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        // A password that somebody put into the URL must not end up in a log.
        let shown = if url.contains('@') { "(a URL with credentials)" } else { url };
        let bad = |reason: &str| ConnectError::BadUrl { url: shown.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|e: hyper::http::uri::InvalidUri| bad(&e.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") if cfg!(feature = "tls") => true,
            Some("wss") => return Err(ConnectError::NoTls { url: shown.to_owned() }),
            Some(other) => return Err(bad(&format!("the scheme is `{other}`, not `ws` or `wss`"))),
            None => return Err(bad("the scheme `ws://` or `wss://` is missing")),
        };
        let authority = uri.authority().ok_or_else(|| bad("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(bad("credentials do not belong in the URL"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let port_text = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match port_text.strip_prefix(':') {
            None if is_tls => TLS_PORT,
            None => PORT,
            Some(text) => text.parse().map_err(|_| bad("the port is no number from 0 to 65535"))?,
        };
        let path = match uri.path_and_query().map(hyper::http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => PATH,
            Some(path) => path,
        };
        Ok(Self { is_tls, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// With one more parameter of the query; in place of the same one, where the URL has it.
    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let is_other =
            |pair: &&str| !pair.is_empty() && pair.split_once('=').map_or(*pair, |(known, _)| known) != name;
        let mut query: Vec<_> = query.split('&').filter(is_other).map(str::to_owned).collect();
        query.push(format!("{name}={value}"));
        self.path = format!("{path}?{}", query.join("&"));
        self
    }

    /// Returns `host:port`, as the `Host` header and error messages have it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.address(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        match Target::parse(url) {
            Ok(target) => assert_eq!(target.to_string(), expected),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn urls() {
        check("ws://127.0.0.1:7400/v1/stream", "ws://127.0.0.1:7400/v1/stream");
        check("ws://localhost:7400", "ws://localhost:7400/v1/stream");
        check("ws://gateway/", "ws://gateway:80/v1/stream");
        check("ws://[::1]:7400/x?y=1", "ws://[::1]:7400/x?y=1");
        let sealed = if cfg!(feature = "tls") { "wss://gateway:443/v1/stream" } else { "without TLS" };
        check("wss://gateway/v1/stream", sealed);
        check("http://gateway/", "the scheme is `http`");
        check("gateway:7400", "not a gateway's URL");
        check("localhost", "the scheme `ws://` or `wss://` is missing");
        check("ws://gateway:99999/", "the port is no number");
        check("ws://", "not a gateway's URL");
    }

    #[test]
    fn parameters() {
        let path = |url: &str| Target::parse(url).unwrap().with("window_ms", 16).path;
        assert_eq!(path("ws://gateway"), "/v1/stream?window_ms=16");
        assert_eq!(path("ws://gateway/x?y=1"), "/x?y=1&window_ms=16");
        assert_eq!(path("ws://gateway/x?window_ms=5&y"), "/x?y&window_ms=16");
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        let error = Target::parse("ws://me:secret@gateway/").unwrap_err().to_string();
        assert!(error.contains("credentials do not belong"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
