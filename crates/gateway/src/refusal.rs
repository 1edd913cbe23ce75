//! Everything for which the public listener refuses a request or ends a connection before it is a session: a public table, as that
//! of the close codes is.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use tickwire_net::handshake::Rule;

/// A reason to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are no request of HTTP/1.
    BadHead,
    /// The head of the request is larger than the limit.
    HeadTooLarge,
    /// The path and the query are longer than the limit.
    UrlTooLong,
    /// The request breaks a rule of HTTP or of the WebSocket handshake.
    Handshake(Rule),
    /// No subprotocol that the client offers is known.
    Subprotocol,
    /// A value of the query is none that is taken.
    Query,
    /// The page that asks is of another site, which is not listed.
    Origin,
    /// A token is needed, or the one that was shown does not count.
    Unauthorized,
    /// The token counts, and does not allow this.
    Forbidden,
    /// The user that the token is of has as many sessions as it may.
    UserFull,
    /// There is nothing at this path.
    NotFound,
    /// The client's address asks for sessions too often.
    AddressRate,
    /// The client's address has as many sessions as it may.
    AddressFull,
    /// All clients together ask for sessions too often.
    Rate,
    /// The gateway is not ready, or is draining.
    NotReady,
    /// The gateway has as many sessions as it may.
    Full,
    /// No whole request came in time.
    Late,
    /// The connection does not begin as one of a listed proxy has to.
    Proxy,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::BadHead,
        Self::Handshake(Rule::Http),
        Self::Handshake(Rule::Host),
        Self::Handshake(Rule::Body),
        Self::Handshake(Rule::Key),
        Self::Subprotocol,
        Self::Query,
        Self::Unauthorized,
        Self::Origin,
        Self::Forbidden,
        Self::NotFound,
        Self::Handshake(Rule::Method),
        Self::UrlTooLong,
        Self::Handshake(Rule::Upgrade),
        Self::Handshake(Rule::Version),
        Self::AddressRate,
        Self::AddressFull,
        Self::UserFull,
        Self::Rate,
        Self::HeadTooLarge,
        Self::NotReady,
        Self::Full,
        Self::Late,
        Self::Proxy,
    ];

    /// Returns a word for it, as metrics and logs use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadHead => "bad_head",
            Self::HeadTooLarge => "head_too_large",
            Self::UrlTooLong => "url_too_long",
            Self::Handshake(rule) => rule.name(),
            Self::Subprotocol => "subprotocol",
            Self::Query => "query",
            Self::Origin => "origin",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UserFull => "user_full",
            Self::NotFound => "not_found",
            Self::AddressRate => "address_rate",
            Self::AddressFull => "address_full",
            Self::Rate => "rate",
            Self::NotReady => "not_ready",
            Self::Full => "full",
            Self::Late => "late",
            Self::Proxy => "proxy",
        }
    }

    /// Returns the HTTP status of the response; `None` where the connection ends without one.
    pub fn status(self) -> Option<StatusCode> {
        Some(match self {
            Self::BadHead | Self::Subprotocol | Self::Query => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::Handshake(rule) => rule.status(),
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Origin | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AddressRate | Self::AddressFull | Self::UserFull | Self::Rate => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NotReady | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late | Self::Proxy => return None,
        })
    }

    /// Returns the seconds after which the client may try again, where the response says so; of rates it is the least.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Self::AddressRate | Self::Rate | Self::NotReady => Some(1),
            Self::AddressFull | Self::UserFull | Self::Full => Some(5),
            _ => None,
        }
    }

    /// Returns when it happens, for people.
    pub fn when(self) -> &'static str {
        match self {
            Self::BadHead => "the bytes are no request of HTTP/1",
            Self::HeadTooLarge => {
                "the head is larger than `gateway.limits.head_bytes`, or has more than 64 headers"
            }
            Self::UrlTooLong => "path and query are longer than `gateway.limits.url_bytes`",
            Self::Handshake(rule) => rule.fault(),
            Self::Subprotocol => "none of the offered subprotocols is known",
            Self::Query => {
                "`window_ms` is no number from 0 to 1000, or `heartbeat_ms` none from 250 to 60000"
            }
            Self::Origin => {
                "a browser names another site (`Origin`) than the one that is asked, and `gateway.origins` does not list it"
            }
            Self::Unauthorized => {
                "a token is needed, or the one that was shown does not count; the text says why"
            }
            Self::Forbidden => {
                "the token counts, and does not allow this: it grants nothing, or not this encoding"
            }
            Self::UserFull => {
                "the user has as many sessions as the token, the API key, or `gateway.limits.user_sessions` allows"
            }
            Self::NotFound => "there is nothing at this path",
            Self::AddressRate => {
                "the client's address asks for sessions more often than `gateway.limits.address_handshakes_per_second`"
            }
            Self::AddressFull => "the client's address has `gateway.limits.address_sessions` sessions",
            Self::Rate => {
                "all clients together ask for sessions more often than `gateway.limits.handshakes_per_second`"
            }
            Self::NotReady => "the gateway is not ready, or is draining",
            Self::Full => "the gateway holds all the sessions it may (`gateway.limits.sessions`)",
            Self::Late => "no whole request comes within `gateway.handshake_ms`",
            Self::Proxy => {
                "`gateway.proxy_protocol` is on, and the connection is not of a listed proxy or does not begin with its header"
            }
        }
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).unwrap_or_default()
    }
}

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    refusal: Refusal,
    retry_after: Option<u64>,
    challenge: Option<String>,
    text: String,
}

impl Refused {
    /// `text` says what to do; it is one line.
    pub(crate) fn new(refusal: Refusal, text: impl Into<String>) -> Self {
        Self { refusal, retry_after: refusal.retry_after(), challenge: None, text: text.into() }
    }

    /// Says after how many seconds the client may try again.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Says in the header `WWW-Authenticate` what the client has to show.
    pub(crate) fn challenge(self, challenge: String) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal
    }

    pub(crate) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.text + "\n")));
        *response.status_mut() = self.refusal.status().unwrap_or(StatusCode::BAD_REQUEST);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Refusal::Handshake(rule) = self.refusal {
            for (name, value) in rule.headers() {
                headers.insert(name, HeaderValue::from_static(value));
            }
        } else if !matches!(self.refusal, Refusal::NotFound) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The count of each of them.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, refusal: Refusal) {
        self.0[refusal.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns each with its word.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL
            .iter()
            .zip(&self.0)
            .map(|(refusal, count)| (refusal.name(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const BEGIN: &str = "<!-- refusals: made from Refusal::ALL -->\n";
    const END: &str = "<!-- end of refusals -->\n";

    #[test]
    fn the_public_table_is_not_stale() {
        let mut table = "| HTTP | name | when | `Retry-After` |\n|---|---|---|---|\n".to_owned();
        for refusal in Refusal::ALL {
            let status = refusal
                .status()
                .map_or("none, the connection ends".to_owned(), |status| status.as_u16().to_string());
            let after = refusal.retry_after().map_or("–".to_owned(), |seconds| match refusal {
                Refusal::AddressRate | Refusal::Rate => format!("{seconds} s or more"),
                _ => format!("{seconds} s"),
            });
            writeln!(table, "| {status} | `{}` | {} | {after} |", refusal.name(), refusal.when()).unwrap();
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        let (there, _) = rest.split_once(END).unwrap();
        assert!(there == table, "docs/protocol.md should hold\n{table}");
    }

    #[test]
    fn all_of_them_are_told_apart_and_counted() {
        let refusals = Refusals::default();
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.place(), at);
            refusals.count(refusal);
        }
        let mut names: Vec<_> = refusals.all().collect();
        assert!(names.iter().all(|(_, count)| *count == 1));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert!(Rule::ALL.iter().all(|rule| Refusal::ALL.contains(&Refusal::Handshake(*rule))));
    }

    #[test]
    fn a_client_that_is_told_to_wait_is_told_how_long() {
        for refusal in Refusal::ALL {
            let is_later = refusal.status().is_some_and(|status| matches!(status.as_u16(), 429 | 503));
            assert_eq!(refusal.retry_after().is_some(), is_later, "{refusal:?}");
        }
        let response = Refused::new(Refusal::AddressRate, "slowly").after(7).response();
        assert_eq!(response.headers()["retry-after"], "7");
    }
}
