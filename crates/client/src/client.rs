//! The loop that a program reads: connects, decodes, and lets the session say what it means.

use std::time::Duration;

use bytes::Bytes;
use tickwire_wire::{Encoding, Hello, Identity};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch_decoder::BatchDecoder;
use crate::builder::Builder;
use crate::error::{ConnectError, Disconnect};
use crate::event::{Batch, Event, State};
use crate::handle::{Ask, Handle, Request};
use crate::handshake::{AbortOnDrop, Established, Opener};
use crate::link::{Item, Link};
use crate::reconnect::Reconnect;
use crate::session::{Counters, Instrument, Session};
use crate::tokens::{Came, Tokens};
use crate::view::{BookView, QuoteView};

/// Requests that wait for the loop; further ones wait in their handles.
const REQUESTS_MAX: usize = 64;

type Opened = Result<Box<Established>, ConnectError>;

enum Phase {
    Waiting {
        until: Instant,
    },
    /// The provider is asked for a token first.
    Asking,
    Opening(AbortOnDrop<Opened>),
    Connected {
        link: Link,
        since: Instant,
    },
    Ended,
}

enum Woken {
    Opened(Opened),
    Item(Option<Item>),
    Request(Option<Request>),
    Token(Came),
    Time,
}

/// A subscriber: one connection at a time, reconnected as long as that makes sense. See the [crate] for an example.
pub struct Client {
    phase: Phase,
    session: Session,
    reconnect: Reconnect,
    opener: Opener,
    tokens: Tokens,
    /// The count of connections so far.
    connection: u64,
    decoder: BatchDecoder,
    requests: mpsc::Receiver<Request>,
    handle: Handle,
    encoding: Encoding,
    buffer_bytes: usize,
    /// The gateway learns from receipts what the program took, and from pongs only that somebody is there.
    sends_receipts: bool,
    end: Option<Disconnect>,
}

impl Client {
    /// Returns settings for a client of the gateway at this URL, as in `ws://127.0.0.1:7400/v1/stream`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    pub(crate) fn start(builder: &Builder) -> Result<Self, ConnectError> {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let targets = builder.targets()?;
        let opener = builder.opener(&targets)?;
        let reconnect = Reconnect::new(targets, builder.backoff, builder.stable_after);
        let mut session = Session::new(builder.session_settings());
        for (channel, symbols, options) in &builder.subscriptions {
            session.want(*channel, symbols, *options);
        }
        Ok(Self {
            phase: Phase::Waiting { until: Instant::now() },
            session,
            reconnect,
            opener,
            tokens: builder.tokens(),
            connection: 0,
            decoder: BatchDecoder::new(builder.encoding, builder.batch_events_max, builder.receipt_interval),
            requests,
            handle: Handle::new(sender, builder.request_timeout()),
            encoding: builder.encoding,
            buffer_bytes: builder.buffer_bytes,
            sends_receipts: builder.receipt_interval.is_some(),
            end: None,
        })
    }

    pub(crate) async fn connect(builder: &Builder) -> Result<Self, ConnectError> {
        let mut client = Self::start(builder)?;
        let mut attempts = client.reconnect.targets();
        if client.tokens.wants_one_first()
            && let Came::Failed(reason) = client.tokens.came().await
        {
            return Err(ConnectError::Token { reason });
        }
        loop {
            match client.opener.open(client.reconnect.target(), client.tokens.current()).await {
                Ok(established) => {
                    client.opened(established);
                    client.confirm();
                    return Ok(client);
                }
                Err(error) => {
                    attempts -= 1;
                    if attempts == 0 {
                        return Err(error);
                    }
                    client.reconnect.skip();
                }
            }
        }
    }

    /// Returns a handle for commands from elsewhere while this client is being read.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the next events; `None` when no further attempt to connect makes sense, and [`Client::end`] says why.
    ///
    /// Calling it again says that the batch before was dealt with: only then does the gateway get its receipt, which is
    /// how it knows how fast this program is. A program that does not call it for longer than the gateway's time-out
    /// (30 s by default) looks stuck to the gateway and is disconnected; it is also not reconnected before it calls
    /// again.
    ///
    /// # Cancel safety
    /// Cancel safe: in a `select!`, or under a time-out, nothing is lost.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.decoder.batch(&mut self.session) {
                return Some(batch);
            }
            if let Some(reason) = self.session.take_fault().or_else(|| self.decoder.failure()) {
                self.ended(reason);
                continue;
            }
            if self.session.take_expiring() {
                self.tokens.refresh(self.connection);
            }
            self.confirm();
            if matches!(self.phase, Phase::Ended) {
                return None;
            }
            match self.wait().await {
                Woken::Opened(Ok(established)) => self.opened(*established),
                Woken::Opened(Err(error)) => self.ended(Disconnect::Connect(error)),
                Woken::Item(Some(Item::Message { bytes, read_at, room })) => {
                    self.decoder.decode(&bytes, read_at, room);
                }
                Woken::Item(Some(Item::Ping { payload, .. })) => self.pinged(payload),
                Woken::Item(Some(Item::Ended(reason))) => self.ended(reason),
                Woken::Item(None) => {
                    self.ended(Disconnect::Closed { code: None, text: String::new() });
                }
                Woken::Request(Some(request)) => self.request(request),
                Woken::Token(came) => self.token(came),
                Woken::Request(None) => unreachable!("the client holds a handle itself"),
                Woken::Time => self.time(),
            }
        }
    }

    /// Returns the reason why there is nothing more to come.
    pub fn end(&self) -> Option<&Disconnect> {
        self.end.as_ref()
    }

    /// A session is open.
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// Returns what the gateway said of the session that is open: limits in force, delivery window, version.
    pub fn hello(&self) -> Option<&Hello> {
        self.session.hello()
    }

    /// Returns what the gateway said last of whom the session that is open belongs to: nothing, where its token came with the handshake
    /// and no other one was handed in.
    pub fn identity(&self) -> Option<&Identity> {
        self.session.identity()
    }

    /// Returns whether what is known of this symbol is what the gateway knows, and nothing of it is delayed: see
    /// [`Client::is_current`].
    pub fn is_live(&self, symbol: &str) -> bool {
        self.is_current(symbol) && self.delay(symbol).is_zero()
    }

    /// Returns the longest delay with which channels of this symbol are granted: what comes of them is that old at least.
    pub fn delay(&self, symbol: &str) -> Duration {
        Duration::from_millis(self.session.instrument(symbol).map_or(0, Instrument::delay_ms))
    }

    /// Returns whether what is known of this symbol is what the gateway has for this session, delayed or not: there is a
    /// connection, the venue's feed is live, at least one channel is granted, and neither its quote nor its book is older than the
    /// connection or broken.
    pub fn is_current(&self, symbol: &str) -> bool {
        self.session.instrument(symbol).is_some_and(|instrument| {
            instrument.is_current() && self.session.is_venue_live(&instrument.venue)
        })
    }

    /// Returns the order book after the last batch, if the symbol's `book` is subscribed.
    pub fn book(&self, symbol: &str) -> Option<BookView<'_>> {
        BookView::of(&self.session, symbol)
    }

    /// Returns the quote after the last batch, if one came.
    pub fn quote(&self, symbol: &str) -> Option<QuoteView<'_>> {
        QuoteView::of(&self.session, symbol)
    }

    /// Returns all symbols of which something was granted, in no order.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.session.symbols()
    }

    /// Counts what went wrong so far, and what was thrown away.
    pub fn counters(&self) -> Counters {
        self.session.counters()
    }

    /// Says goodbye to the gateway. Dropping the client does without.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub async fn close(self) {
        if let Phase::Connected { link, .. } = self.phase {
            link.close().await;
        }
    }

    async fn wait(&mut self) -> Woken {
        let has_room = self.session.has_room_for_requests();
        let tick = self.session.next_tick();
        let timer = async {
            match tick {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let phase = async {
            match &mut self.phase {
                Phase::Waiting { until } => {
                    tokio::time::sleep_until(*until).await;
                    Woken::Time
                }
                Phase::Opening(task) => match (&mut task.0).await {
                    Ok(opened) => Woken::Opened(opened),
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime shuts down, and this future with it.
                        Err(_) => std::future::pending().await,
                    },
                },
                Phase::Connected { link, .. } => Woken::Item(link.items.recv().await),
                Phase::Asking | Phase::Ended => std::future::pending().await,
            }
        };
        tokio::select! {
            woken = phase => woken,
            request = self.requests.recv(), if has_room => Woken::Request(request),
            came = self.tokens.came() => Woken::Token(came),
            () = timer => Woken::Time,
        }
    }

    fn time(&mut self) {
        let now = Instant::now();
        if self.session.next_tick().is_some_and(|at| at <= now) {
            self.session.tick(now);
        }
        if matches!(self.phase, Phase::Waiting { until } if until <= now) {
            if self.tokens.wants_one_first() {
                self.phase = Phase::Asking;
            } else {
                self.open();
            }
        }
    }

    fn open(&mut self) {
        let (opener, target) = (self.opener.clone(), self.reconnect.target().clone());
        let token = self.tokens.current().cloned();
        let task = tokio::spawn(async move { opener.open(&target, token.as_ref()).await.map(Box::new) });
        self.phase = Phase::Opening(AbortOnDrop(task));
    }

    fn request(&mut self, request: Request) {
        if let Ask::Token { token } = &request.ask {
            self.tokens.set(token.clone());
            if matches!(self.phase, Phase::Asking) {
                self.open();
            }
        }
        self.session.request(request, Instant::now());
    }

    /// The provider brought a token, or none.
    fn token(&mut self, came: Came) {
        match (came, &self.phase) {
            (Came::New { .. }, Phase::Asking) => self.open(),
            (Came::New { connection }, Phase::Connected { .. }) if connection == Some(self.connection) => {
                if let Some(token) = self.tokens.current() {
                    self.session.hand_in(token, None, Instant::now());
                }
            }
            (Came::Failed(reason), Phase::Asking) => {
                self.ended(Disconnect::Connect(ConnectError::Token { reason }));
            }
            // A refresh that failed is tried again; until the token ends, the session goes on.
            _ => {}
        }
    }

    fn opened(&mut self, established: Established) {
        let now = Instant::now();
        self.connection += 1;
        self.tokens.accepted();
        self.session.connected(established.address.clone(), established.hello.clone(), now);
        let link = Link::start(established, self.encoding, self.buffer_bytes, self.sends_receipts);
        self.phase = Phase::Connected { link, since: now };
    }

    fn ended(&mut self, reason: Disconnect) {
        let up_for = match &self.phase {
            Phase::Connected { since, .. } => Some(since.elapsed()),
            _ => None,
        };
        if matches!(reason, Disconnect::Closed { code: Some(_), .. }) {
            self.session.closed();
        }
        let asked = self.session.disconnected();
        self.tokens.disconnected();
        let retry_in = if reason.is_token_refused() && self.tokens.refused() {
            Some(self.reconnect.again(up_for))
        } else {
            self.reconnect.after(&reason, up_for, asked)
        };
        if let Disconnect::Mute { silence } = reason {
            self.session.event(Event::State(State::Mute { silence }));
        }
        self.session.event(Event::State(State::Disconnected { reason: reason.clone(), retry_in }));
        if let Some(wait) = retry_in {
            self.phase = Phase::Waiting { until: Instant::now() + wait };
        } else {
            (self.phase, self.end) = (Phase::Ended, Some(reason));
            // Handles learn that no response will come.
            self.requests.close();
            while self.requests.try_recv().is_ok() {}
            self.session.end();
        }
        self.decoder.disconnected();
    }

    /// The program took what it was given: the gateway may know, and hears what is asked of it.
    fn confirm(&mut self) {
        let (receipt, commands) = (self.decoder.taken(), self.session.take_commands());
        if let Phase::Connected { link, .. } = &self.phase {
            if let Some(receipt) = receipt {
                link.outgoing.receipt(receipt, false);
            }
            if !commands.is_empty() {
                link.outgoing.commands(commands);
            }
        }
    }

    /// Notes that the program took everything that came before a ping.
    fn pinged(&mut self, payload: Bytes) {
        let receipt = self.decoder.passed(&payload);
        let Phase::Connected { link, .. } = &self.phase else { return };
        if let Some(receipt) = receipt {
            link.outgoing.receipt(receipt, true);
        } else if !self.sends_receipts {
            link.outgoing.pong(payload);
        }
    }
}
