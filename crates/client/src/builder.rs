//! The settings that a client has before it starts.

use std::future::Future;
use std::io;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tickwire_net::Backoff;
use tickwire_wire::{Channel, Encoding, Secret};

use crate::client::Client;
use crate::error::ConnectError;
use crate::handle::Options;
use crate::handshake::{BoxTransport, Connector, Opener};
use crate::session::SessionSettings;
use crate::target::Target;
#[cfg(feature = "tls")]
use crate::tls::Pem;
use crate::tls::{Tls, Trust};
use crate::tokens::{Provider, TokenError, Tokens};

/// Settings of a [`Client`], with its named maxima. Made by [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    urls: Vec<String>,
    connector: Connector,
    trust: Trust,
    pub(crate) encoding: Encoding,
    pub(crate) subscriptions: Vec<(Channel, Vec<String>, Options)>,
    pub(crate) backoff: Backoff,
    pub(crate) stable_after: Duration,
    connect_timeout: Duration,
    command_timeout: Duration,
    pub(crate) receipt_interval: Option<Duration>,
    window: Duration,
    heartbeat: Duration,
    pub(crate) buffer_bytes: usize,
    message_bytes_max: usize,
    pub(crate) batch_events_max: usize,
    subscriptions_max: usize,
    token: Option<Secret>,
    provider: Option<Provider>,
    signs_in_by_message: bool,
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            urls: vec![url],
            connector: Opener::tcp(),
            trust: Trust::default(),
            encoding: Encoding::Proto,
            subscriptions: Vec::new(),
            backoff: Backoff::default(),
            stable_after: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(30),
            receipt_interval: Some(Duration::from_millis(250)),
            window: Duration::ZERO,
            heartbeat: Duration::ZERO,
            buffer_bytes: 16 << 10,
            message_bytes_max: 8 << 20,
            batch_events_max: 1024,
            subscriptions_max: 100_000,
            token: None,
            provider: None,
            signs_in_by_message: false,
        }
    }

    /// Adds one more gateway. Gateways are tried in turn.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Sets the encoding in which records travel. Default: Protobuf.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Subscribes on every connection, from the first on. Symbols are `venue:SYMBOL`, or `venue:*` for all of a venue.
    pub fn subscribe<S: Into<String>>(self, channel: Channel, symbols: impl IntoIterator<Item = S>) -> Self {
        self.subscribe_with(channel, symbols, Options::default())
    }

    /// Subscribes as [`Builder::subscribe`] does, with options.
    pub fn subscribe_with<S: Into<String>>(
        mut self,
        channel: Channel,
        symbols: impl IntoIterator<Item = S>,
        options: Options,
    ) -> Self {
        self.subscriptions.push((channel, symbols.into_iter().map(Into::into).collect(), options));
        self
    }

    /// Waits between attempts to connect. Default: up to 250 ms, doubling up to 30 s, with full jitter.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// A connection that lasted so long resets the back-off. Default: 10 s.
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.stable_after = duration;
        self
    }

    /// Sets the time from the first packet to the gateway's `Hello`. Default: 10 s.
    pub fn connect_timeout(mut self, duration: Duration) -> Self {
        self.connect_timeout = duration;
        self
    }

    /// Sets how long a command may go without a response. Default: 30 s.
    pub fn command_timeout(mut self, duration: Duration) -> Self {
        self.command_timeout = duration;
        self
    }

    /// While data flows, the gateway is told this often what the program took, and how far behind it is; where the
    /// gateway asks by a ping, it is told at once, up to 100 times a second. Default: 250 ms; None: never, and pings are
    /// answered only when the program took what came before them.
    pub fn receipt_interval(mut self, interval: Option<Duration>) -> Self {
        self.receipt_interval = interval;
        self
    }

    /// Asks for data at most once in this time: 16 ms for a screen. Rounded up to milliseconds; a gateway refuses more than
    /// a second. [`Client::hello`] says what it granted. Default: zero, the gateway's own cadence.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Asks for a heartbeat after this much silence: the longer, the less a quiet session costs, and the later a dead connection
    /// is noticed, which is after twice that time. Rounded up to milliseconds; a gateway refuses less than 250 ms and more than a
    /// minute. [`Client::hello`] says what is in force. Default: zero, the gateway's own.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets how many bytes are read ahead of the program; beyond them the socket is left alone. Default: 16 KiB, or one
    /// message where that is larger; at least 1 KiB. What was read ahead ages while the program is busy, and cannot be
    /// replaced by anything newer.
    ///
    /// Memory for data on its way is at most this, two messages, and what the present message decodes to.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.clamp(1 << 10, 1 << 30);
        self
    }

    /// Sets up to how many bytes a WebSocket message is accepted. Default: 8 MiB.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// Sets how many messages one batch is made of, at most. Default: 1024.
    pub fn batch_events_max(mut self, events: usize) -> Self {
        self.batch_events_max = events.max(1);
        self
    }

    /// Sets how many subscriptions there may be at once, those that were refused for now included. Default: 100,000.
    pub fn subscriptions_max(mut self, subscriptions: usize) -> Self {
        self.subscriptions_max = subscriptions;
        self
    }

    /// Trusts the authorities of this file (PEM), beside the system's, to vouch for gateways at `wss://`. It is read when the
    /// client starts.
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts these authorities (PEM), beside the system's, to vouch for gateways at `wss://`.
    #[cfg(feature = "tls")]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust.authorities.push(Pem::Text(pem.into()));
        self
    }

    /// Shows this certificate, with its chain, to gateways that ask for one. Both files are PEM, and are read when the client
    /// starts.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        self.trust.identity = Some((cert_file.into(), key_file.into()));
        self
    }

    /// Sets the names by which errors of TLS call the settings of [`Builder::ca_file`] and [`Builder::server_name`]: those of the
    /// program's own options.
    #[cfg(feature = "tls")]
    pub fn tls_names(mut self, ca_file: &'static str, server_name: &'static str) -> Self {
        self.trust.names = Some((ca_file, server_name));
        self
    }

    /// Sets the name that a gateway's certificate has to be for. Default: the host of its URL.
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.trust.server_name = Some(name.into());
        self
    }

    /// Shows this token, or API key, to gateways. Where it ends or is refused, and there is no provider, the client ends.
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Asks the program for tokens: before the first connection, unless [`Builder::token`] gave one; before one ends, which is then
    /// replaced without reconnecting; and after a gateway refused one. There is one call at a time.
    ///
    /// ```no_run
    /// # use tickwire_client::{Client, wire::Secret};
    /// # async fn fetch() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let builder = Client::builder("ws://127.0.0.1:7400")
    ///     .token_provider(|| async { Ok(Secret::new(fetch().await?)) });
    /// ```
    pub fn token_provider<F, O>(mut self, provide: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = Result<Secret, TokenError>> + Send + 'static,
    {
        self.provider = Some(Provider::new(provide));
        self
    }

    /// Shows tokens in the first message of a session (`?auth=message`), and not in the header `Authorization`: for ways to the gateway
    /// that lose such headers, or write them down. [`Builder::connect`] returns, and subscriptions go out, when the gateway has said
    /// whom the session belongs to.
    pub fn token_by_message(mut self) -> Self {
        self.signs_in_by_message = true;
        self
    }

    /// Opens streams in another way than by TCP: a proxy, a pipe in a test. With `wss://`, TLS goes over them.
    pub fn connector<F, O>(mut self, open: F) -> Self
    where
        F: Fn(Target) -> O + Send + Sync + 'static,
        O: Future<Output = io::Result<BoxTransport>> + Send + 'static,
    {
        self.connector = Arc::new(move |target| Box::pin(open(target)));
        self
    }

    /// Tries each gateway once and returns with an open session, or says why there is none. Later losses of the
    /// connection are repaired by the client itself.
    ///
    /// # Errors
    /// Of the gateway that was tried last.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        Client::connect(&self).await
    }

    /// Returns at once; [`Client::next`] connects, and keeps trying. The first events say how it went.
    ///
    /// # Errors
    /// Only for URLs that cannot be right.
    pub fn start(self) -> Result<Client, ConnectError> {
        Client::start(&self)
    }

    pub(crate) fn targets(&self) -> Result<Vec<Target>, ConnectError> {
        let ms = |duration: Duration| duration.as_nanos().div_ceil(1_000_000);
        let asked = [("window_ms", ms(self.window)), ("heartbeat_ms", ms(self.heartbeat))];
        let target = |url: &String| {
            let named = asked.into_iter().filter(|(_, ms)| *ms > 0);
            Ok(named.fold(Target::parse(url)?, |target, (name, ms)| target.with(name, ms)))
        };
        self.urls.iter().map(target).collect()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::new(self.token.clone(), self.provider.clone())
    }

    pub(crate) fn opener(&self, targets: &[Target]) -> Result<Opener, ConnectError> {
        Ok(Opener {
            connector: Arc::clone(&self.connector),
            tls: Tls::new(&self.trust, targets)?,
            encoding: self.encoding,
            timeout: self.connect_timeout,
            message_bytes_max: self.message_bytes_max,
            signs_in_by_message: self.signs_in_by_message,
        })
    }

    pub(crate) fn session_settings(&self) -> SessionSettings {
        SessionSettings {
            encoding: self.encoding,
            subscriptions_max: self.subscriptions_max,
            command_timeout: self.command_timeout,
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.command_timeout
    }
}
