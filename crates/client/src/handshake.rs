//! The way from a URL to an open session: TCP, the WebSocket handshake (RFC 6455, section 4), and the gateway's `Hello`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tickwire_net::beside;
use tickwire_net::handshake::{self, Opening, ResponseFault};
use tickwire_wire::{Batch, Encoding, Hello, Message, PROTOCOL_VERSION, Secret};
use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::net::TcpStream;

use crate::error::ConnectError;
use crate::login::sign_in;
use crate::reading::{Incoming as Read, Reading};
use crate::target::Target;
use crate::tls::Tls;

/// A carrier of a session: TCP, TLS over it, a pipe in tests.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A stream of any kind.
pub type BoxTransport = Box<dyn Transport>;

type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxTransport>> + Send>>;

/// Opens the stream to a target: the place for proxies and tests. TLS goes over it.
pub(crate) type Connector = Arc<dyn Fn(Target) -> Connecting + Send + Sync>;

/// Most of an error page that is read and shown.
const ERROR_BODY_BYTES_MAX: usize = 2048;

/// An open session, with nothing but `Hello` looked at.
pub(crate) struct Established {
    pub(crate) address: String,
    pub(crate) hello: Hello,
    /// The whole first message, `Hello` included: more may follow in it. Behind it those that came while the client signed in.
    pub(crate) first: Vec<Bytes>,
    pub(crate) reading: Reading,
    pub(crate) write: WriteHalf<BoxTransport>,
}

/// The way to open a session.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) connector: Connector,
    pub(crate) tls: Tls,
    pub(crate) encoding: Encoding,
    pub(crate) timeout: Duration,
    pub(crate) message_bytes_max: usize,
    /// Tokens are shown in the first message, and not in a header.
    pub(crate) signs_in_by_message: bool,
}

impl Opener {
    /// Makes a connector that opens TCP connections without delay of small writes.
    pub(crate) fn tcp() -> Connector {
        Arc::new(|target: Target| {
            Box::pin(async move {
                let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as BoxTransport)
            })
        })
    }

    /// Opens a session, `Hello` included.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub(crate) async fn open(
        &self,
        target: &Target,
        token: Option<&Secret>,
    ) -> Result<Established, ConnectError> {
        let address = target.address();
        tokio::time::timeout(self.timeout, self.open_untimed(target, token))
            .await
            .map_err(|_| ConnectError::TimedOut { address, waited: self.timeout })?
    }

    async fn open_untimed(
        &self,
        target: &Target,
        token: Option<&Secret>,
    ) -> Result<Established, ConnectError> {
        let address = target.address();
        let unreachable = |source: io::Error| match source.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused { address: address.clone() },
            _ => ConnectError::Unreachable { address: address.clone(), source: Arc::new(source) },
        };
        let broken = |error: hyper::Error| match self.tls.failure(&address, &error) {
            Some(of_tls) => of_tls,
            None => unreachable(io::Error::other(error)),
        };
        let stream = (self.connector)(target.clone()).await.map_err(unreachable)?;
        let stream = if target.is_tls { self.tls.secure(stream, target).await? } else { stream };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection = Some(connection.with_upgrades());
        let key = handshake::key(rand::random());
        let signs_in = token.filter(|_| self.signs_in_by_message);
        let request = match signs_in {
            Some(_) => self.request(&target.clone().with("auth", "message"), &key, None)?,
            None => self.request(target, &key, token)?,
        };
        let response = beside(&mut connection, sender.send_request(request)).await.map_err(broken)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(beside(&mut connection, refusal(address, response)).await);
        }
        self.verify(&address, &response, &key)?;
        let upgraded = beside(&mut connection, hyper::upgrade::on(response)).await.map_err(broken)?;
        drop(connection);
        let parts = upgraded
            .downcast::<TokioIo<BoxTransport>>()
            .map_err(|_| unreachable(io::Error::other("hyper handed back another stream")))?;
        let (read, mut write) = tokio::io::split(parts.io.into_inner());
        let mut reading = Reading::new(&parts.read_buf, read, self.message_bytes_max);
        let (first, hello) = self.hello(&address, &mut reading).await?;
        reading.expect_within(heartbeat(&hello) * 2);
        let mut first = vec![first];
        // A gateway that takes whoever comes waits for no token.
        if let Some(token) = signs_in.filter(|_| hello.token_within_ms > 0) {
            first.extend(sign_in(&address, token, self.encoding, &mut reading, &mut write).await?);
        }
        Ok(Established { address, hello, first, reading, write })
    }

    fn request(
        &self,
        target: &Target,
        key: &str,
        token: Option<&Secret>,
    ) -> Result<Request<Empty<Bytes>>, ConnectError> {
        let opening = Opening {
            host: &target.address(),
            path: &target.path,
            agent: concat!("tickwire-client/", env!("CARGO_PKG_VERSION")),
            key,
            protocol: Some(self.encoding.subprotocol()),
        };
        let mut request = Request::get(opening.path);
        for (name, value) in opening.headers() {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| ConnectError::Token {
                reason: "it has characters that no header can have".into(),
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request.body(Empty::new()).expect("a parsed target makes a valid request"))
    }

    fn verify(&self, address: &str, response: &Response<Incoming>, key: &str) -> Result<(), ConnectError> {
        let asked = self.encoding;
        handshake::check_response(response, key, Some(asked.subprotocol())).map_err(|fault| {
            let address = address.to_owned();
            match fault {
                ResponseFault::Protocol(got) => ConnectError::Subprotocol { address, asked, got },
                fault => ConnectError::NotAGateway { address, reason: fault.to_string() },
            }
        })
    }

    async fn hello(&self, address: &str, reading: &mut Reading) -> Result<(Bytes, Hello), ConnectError> {
        let not = |reason: String| ConnectError::NotAGateway { address: address.to_owned(), reason };
        let first = loop {
            match reading.next().await {
                Ok(Read::Message(bytes)) => break bytes,
                Ok(Read::Ping(_)) => {}
                Ok(Read::Closed { code, text }) => {
                    return Err(ConnectError::Closed { address: address.to_owned(), code, text });
                }
                Err(reason) => return Err(not(format!("instead of `hello`: {reason}"))),
            }
        };
        match Batch::new(self.encoding, &first).next() {
            Some(Ok(Message::Hello(hello))) if hello.protocol_version != PROTOCOL_VERSION => {
                Err(ConnectError::Version {
                    address: address.to_owned(),
                    ours: PROTOCOL_VERSION,
                    theirs: hello.protocol_version,
                })
            }
            Some(Ok(Message::Hello(hello))) => Ok((first, hello)),
            Some(Err(error)) => Err(not(error.to_string())),
            _ => Err(not("its first record is not `hello`".to_owned())),
        }
    }
}

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the longest silence that a living gateway keeps; a second where it did not say.
fn heartbeat(hello: &Hello) -> Duration {
    Duration::from_millis(if hello.heartbeat_ms == 0 { 1000 } else { u64::from(hello.heartbeat_ms) })
}

async fn refusal(address: String, response: Response<Incoming>) -> ConnectError {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok());
    let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    let body = match Limited::new(response.into_body(), ERROR_BODY_BYTES_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(_) => "(with a page that is too long to show)".to_owned(),
    };
    ConnectError::Status { address, status, body, retry_after }
}
