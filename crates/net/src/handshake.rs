//! The WebSocket handshake (RFC 6455, section 4), from both sides: what is sent, and what is checked of what the other side
//! sent.
//!
//! Heads are those of the `http` crate. Whoever speaks HTTP by hyper has them; for ten thousand connections that should not
//! each keep a library's buffers, [`Opening::write`] writes the request and [`read_response`] reads the response.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
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

/// A rule that a request has to keep, in the order in which they are checked: the first one that is broken is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// HTTP/1.1 is spoken (RFC 6455, section 4.2.1).
    Http,
    /// There is one host, and it can be one (RFC 9112, section 3.2).
    Host,
    /// There is no body, nor a word of how long it would be.
    Body,
    /// The method is GET.
    Method,
    /// The request asks for WebSocket.
    Upgrade,
    /// There is one key, and it is 16 bytes in Base64.
    Key,
    /// There is one version, and it is the one that is known.
    Version,
}

impl Rule {
    /// All rules, in their order.
    pub const ALL: [Self; 7] =
        [Self::Http, Self::Host, Self::Body, Self::Method, Self::Upgrade, Self::Key, Self::Version];
    /// The rules of HTTP, which hold for requests that do not ask for WebSocket too.
    pub const OF_HTTP: [Self; 2] = [Self::Host, Self::Body];

    /// Returns a word for it, as metrics and logs use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http_version",
            Self::Host => "host",
            Self::Body => "body",
            Self::Method => "method",
            Self::Upgrade => "no_websocket",
            Self::Key => "key",
            Self::Version => "version",
        }
    }

    /// Returns the fault of a request that breaks it, for people.
    pub fn fault(self) -> &'static str {
        match self {
            Self::Http => "a WebSocket handshake is HTTP/1.1",
            Self::Host => "there has to be one Host header with a host, and a port where it has one",
            Self::Body => {
                "there must be no body here: neither Transfer-Encoding nor a Content-Length above 0"
            }
            Self::Method => "a WebSocket handshake is a GET",
            Self::Upgrade => {
                "the request does not ask for WebSocket (Connection: Upgrade, Upgrade: websocket)"
            }
            Self::Key => "there has to be one Sec-WebSocket-Key of 16 bytes in Base64",
            Self::Version => "there has to be one Sec-WebSocket-Version, and it has to be 13",
        }
    }

    /// Returns the status of the response to a request that breaks it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Http | Self::Host | Self::Body | Self::Key => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// Returns the headers that such a response has to have (RFC 9110, sections 15.5.6 and 15.5.22; RFC 6455, section 4.4).
    pub fn headers(self) -> &'static [(HeaderName, &'static str)] {
        const UPGRADES: [(HeaderName, &str); 2] = [(UPGRADE, "websocket"), (CONNECTION, "upgrade, close")];
        match self {
            Self::Method => &[(ALLOW, "GET"), (CONNECTION, "close")],
            Self::Upgrade => &UPGRADES,
            Self::Version => {
                &[(SEC_WEBSOCKET_VERSION, VERSION), (UPGRADE, "websocket"), (CONNECTION, "upgrade, close")]
            }
            Self::Http | Self::Host | Self::Body | Self::Key => &[(CONNECTION, "close")],
        }
    }

    fn holds<B>(self, request: &Request<B>) -> bool {
        let headers = request.headers();
        match self {
            Self::Http => request.version() == Version::HTTP_11,
            Self::Host => has_host(request),
            Self::Body => {
                !headers.contains_key(TRANSFER_ENCODING) && only(headers, &CONTENT_LENGTH).is_none_or(is_zero)
            }
            Self::Method => *request.method() == Method::GET,
            Self::Upgrade => {
                has_token(headers, &UPGRADE, "websocket") && has_token(headers, &CONNECTION, "upgrade")
            }
            Self::Key => matches!(only(headers, &SEC_WEBSOCKET_KEY), Some(Only::One(key)) if is_key(key)),
            Self::Version => {
                matches!(only(headers, &SEC_WEBSOCKET_VERSION), Some(Only::One(version)) if version == VERSION)
            }
        }
    }
}

/// The lines of a header that may stand once.
#[derive(Clone, Copy)]
enum Only<'h> {
    One(&'h HeaderValue),
    Several,
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Only<'h>> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next()?;
    Some(if lines.next().is_some() { Only::Several } else { Only::One(first) })
}

fn is_zero(length: Only<'_>) -> bool {
    matches!(length, Only::One(length) if length == "0")
}

/// Returns whether a key is 16 bytes, be it encoded with bits set that mean nothing.
fn is_key(key: &HeaderValue) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD_ALPHABET,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut nonce = [0; 18];
    LENIENT.decode_slice(key.as_bytes(), &mut nonce).is_ok_and(|count| count == 16)
}

/// A request of HTTP/1.0 needs no host.
fn has_host<B>(request: &Request<B>) -> bool {
    match only(request.headers(), &HOST) {
        Some(Only::One(host)) => is_host(host),
        Some(Only::Several) => false,
        None => request.version() < Version::HTTP_11,
    }
}

/// A name with a comma may be two headers that a proxy has joined, and one with `@` means another host.
fn is_host(host: &HeaderValue) -> bool {
    let authority = Authority::try_from(host.as_bytes()).ok();
    authority
        .is_some_and(|host| !host.host().is_empty() && !host.as_str().contains([',', '@']) && has_port(&host))
}

/// Returns whether there is no port, or one that can be.
fn has_port(host: &Authority) -> bool {
    let behind = &host.as_str()[host.host().len()..];
    behind.is_empty() || host.port_u16().is_some()
}

/// Checks the head of a request for a WebSocket.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_request<B>(request: &Request<B>) -> Result<(), Rule> {
    check(request, &Rule::ALL)
}

/// Checks the head of any request by the rules of HTTP alone: a request that breaks one is read differently by different
/// servers.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_http<B>(request: &Request<B>) -> Result<(), Rule> {
    check(request, &Rule::OF_HTTP)
}

fn check<B>(request: &Request<B>, rules: &[Rule]) -> Result<(), Rule> {
    rules.iter().find(|rule| !rule.holds(request)).map_or(Ok(()), |rule| Err(*rule))
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
