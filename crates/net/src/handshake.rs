//! The WebSocket handshake (RFC 6455, section 4), from both sides: what is sent, and what is checked of what the other side
//! sent.
//!
//! Heads are those of the `http` crate. Whoever speaks HTTP by hyper has them; for ten thousand connections that should not
//! each keep a library's buffers, [`Opening::write`] writes the request and [`read_response`] reads the response.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use sha1::{Digest as _, Sha1};

/// The only version of WebSocket (section 4.1).
const VERSION: &str = "13";
/// A response's head that is longer is not read on.
const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

/// Returns the key of a handshake (section 4.1).
pub fn key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Returns what proves that a server read the key (section 4.2.2, step 5.4).
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// A client's request.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'o> {
    /// Host and port, as in the URL.
    pub host: &'o str,
    /// Path and query.
    pub path: &'o str,
    /// Name and version of the program.
    pub agent: &'o str,
    /// See [`key`].
    pub key: &'o str,
    /// The subprotocol that is asked for.
    pub protocol: Option<&'o str>,
}

impl<'o> Opening<'o> {
    /// Returns names and values of all headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'o str)> {
        let headers = [
            ("Host", self.host),
            ("User-Agent", self.agent),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", VERSION),
            ("Sec-WebSocket-Key", self.key),
        ];
        headers.into_iter().chain(self.protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol)))
    }

    /// Returns the bytes of the request. `more` is whole lines of headers, or nothing.
    pub fn write(&self, more: &str) -> String {
        let mut text = format!("GET {} HTTP/1.1\r\n", self.path);
        for (name, value) in self.headers() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text + more + "\r\n"
    }
}

/// The reason why a server's response opens no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// It has another status than 101.
    #[error("it answers with HTTP {0}")]
    Status(StatusCode),
    /// It does not say that it speaks WebSocket from now on.
    #[error("it switched to something else than WebSocket")]
    NotWebSocket,
    /// It has not seen the key of this request.
    #[error("`Sec-WebSocket-Accept` does not prove that it read our key; a cache in between?")]
    WrongAccept,
    /// It chose another subprotocol than the one that was asked for, or none.
    #[error("it speaks {0:?}, which was not asked for")]
    Protocol(Option<String>),
}

/// Checks the response to a request with this key. Where no subprotocol was asked for, any is taken.
///
/// # Errors
/// When it opens no connection as asked.
pub fn check_response<B>(
    response: &Response<B>,
    key: &str,
    protocol: Option<&str>,
) -> Result<(), ResponseFault> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ResponseFault::Status(response.status()));
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(ResponseFault::NotWebSocket);
    }
    if text(headers, &SEC_WEBSOCKET_ACCEPT) != Some(accept_key(key).as_str()) {
        return Err(ResponseFault::WrongAccept);
    }
    let chosen = text(headers, &SEC_WEBSOCKET_PROTOCOL);
    if protocol.is_some() && chosen != protocol {
        return Err(ResponseFault::Protocol(chosen.map(str::to_owned)));
    }
    Ok(())
}

/// The reason why bytes are no head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// They are no HTTP.
    #[error("it answers with something that is no HTTP: {0}")]
    NotHttp(httparse::Error),
    /// The head does not end.
    #[error("it answers with too long a head")]
    TooLong,
}

/// Reads the head of a response, and returns it with its length in bytes; `None` while it is not complete.
///
/// # Errors
/// When the bytes are no HTTP, or the head has no end within 8 KiB.
pub fn read_response(bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, HeadFault> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(bytes).map_err(HeadFault::NotHttp)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        httparse::Status::Partial => return Err(HeadFault::TooLong),
    };
    let mut response = Response::builder().status(head.code.unwrap_or_default());
    for field in head.headers {
        response = response.header(field.name, field.value);
    }
    let response = response.body(()).map_err(|_| HeadFault::NotHttp(httparse::Error::Status))?;
    Ok(Some((response, length)))
}

/// The part of a request's head that a server looks at.
#[derive(Clone, Copy, Debug)]
struct Head<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
}

/// A rule of the handshake that a request has to keep.
#[derive(Debug)]
pub struct Rule {
    holds: fn(Head<'_>) -> bool,
    /// The status of the response to a request that breaks the rule.
    pub status: StatusCode,
    /// The fault of such a request, for people.
    pub fault: &'static str,
}

/// The rules that a server checks (section 4.2.1), in this order: the first one that is broken is told.
static RULES: [Rule; 4] = [
    Rule {
        holds: |head| *head.method == Method::GET,
        status: StatusCode::UPGRADE_REQUIRED,
        fault: "the method is not GET",
    },
    Rule {
        holds: |head| {
            has_token(head.headers, &UPGRADE, "websocket") && has_token(head.headers, &CONNECTION, "upgrade")
        },
        status: StatusCode::UPGRADE_REQUIRED,
        fault: "the request does not ask for WebSocket",
    },
    Rule {
        holds: |head| head.headers.contains_key(SEC_WEBSOCKET_KEY),
        status: StatusCode::BAD_REQUEST,
        fault: "the header Sec-WebSocket-Key is missing",
    },
    Rule {
        holds: |head| text(head.headers, &SEC_WEBSOCKET_VERSION) == Some(VERSION),
        status: StatusCode::BAD_REQUEST,
        fault: "the header Sec-WebSocket-Version is not 13",
    },
];

/// Checks the head of a request.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_request<B>(request: &Request<B>) -> Result<(), &'static Rule> {
    let head = Head { method: request.method(), headers: request.headers() };
    RULES.iter().find(|rule| !(rule.holds)(head)).map_or(Ok(()), Err)
}

/// Returns the subprotocols that a client offers, in its order of preference.
pub fn offered_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Returns the response that accepts a request which [`check_request`] let through. `protocol` is the one that was chosen of
/// those that the client offers.
pub fn accept<B: Default>(headers: &HeaderMap, protocol: Option<&'static str>) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let key = headers.get(SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    let out = response.headers_mut();
    out.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept_key(key)) {
        out.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        out.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// One of the comma-separated words of a header is this one, in whatever case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
