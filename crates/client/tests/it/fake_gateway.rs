//! A gateway that says what the test tells it to, over a pipe in memory.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload, WebSocketRead, WebSocketWrite, upgrade};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tickwire_client::wire::{
    Bar, Body, Book, BookProof, Channel, Command, Encoding, Feed, FeedState, Gap, GapCause, Granted,
    Heartbeat, Hello, Level, Limits, Message, PROTOCOL_VERSION, Position, Quote, Record, Refused, Scale,
    Subscribe, Subscribed, Trade, decode_command, encode_message, encode_sent_time,
};
use tickwire_client::{BoxTransport, Builder, Client, Target};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

type Socket = TokioIo<Upgraded>;

/// Bytes that a pipe holds, in each direction.
pub(crate) const PIPE_BYTES: usize = 16 << 10;

/// Takes the connections of one client.
pub(crate) struct FakeGateway {
    pipes: mpsc::Receiver<DuplexStream>,
    sender: mpsc::Sender<DuplexStream>,
    pub(crate) hello: Hello,
}

impl FakeGateway {
    pub(crate) fn new() -> Self {
        let (sender, pipes) = mpsc::channel(16);
        let limits =
            Limits { subscriptions: 1000, command_bytes: 4096, commands_per_second: 0, ..Limits::default() };
        let hello = Hello {
            session: "s1".to_owned(),
            protocol_version: PROTOCOL_VERSION,
            // Silence is for the tests that want it: a paused clock jumps while nobody has anything to do.
            heartbeat_ms: 1_000_000,
            limits: Some(limits),
            ..Hello::default()
        };
        Self { pipes, sender, hello }
    }

    /// Returns settings of a client that connects to this gateway, whatever its URL.
    pub(crate) fn client(&self) -> Builder {
        let sender = self.sender.clone();
        Client::builder("ws://fake").connector(move |_: Target| {
            let sender = sender.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
                sender.send(theirs).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok(Box::new(ours) as BoxTransport)
            }
        })
    }

    /// Returns a started client and its open session.
    pub(crate) async fn session(&mut self, builder: Builder) -> (Client, Session) {
        let (client, session) = tokio::join!(builder.connect(), self.accept());
        (client.expect("the fake gateway takes every client"), session)
    }

    /// Accepts the next connection and sends `Hello`.
    pub(crate) async fn accept(&mut self) -> Session {
        let pipe = self.pipes.recv().await.expect("this gateway holds a sender itself");
        let mut session = Session::upgrade(pipe).await;
        session.send(&[Message::Hello(self.hello.clone())]).await;
        session
    }

    /// Returns the next connection, before anything was said.
    pub(crate) async fn pipe(&mut self) -> DuplexStream {
        self.pipes.recv().await.expect("this gateway holds a sender itself")
    }
}

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Command(Command),
    Pong(Vec<u8>),
    Close(u16),
}

/// One connection, seen from the gateway.
pub(crate) struct Session {
    write: WebSocketWrite<WriteHalf<Socket>>,
    said: mpsc::Receiver<Said>,
    pub(crate) encoding: Encoding,
    /// The header `Authorization` of its handshake, or nothing.
    pub(crate) shown: String,
    /// The path and the query of its handshake.
    pub(crate) path: String,
    /// Nanoseconds; goes on by a second with each message.
    pub(crate) time: u64,
}

impl Session {
    /// Does the WebSocket handshake on any stream.
    pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let (sender, mut upgraded) = mpsc::channel(1);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let asked = request.headers()[SEC_WEBSOCKET_PROTOCOL].clone();
                let encoding = Encoding::from_subprotocol(asked.to_str().unwrap()).unwrap();
                let path = request.uri().to_string();
                let shown = request.headers().get(AUTHORIZATION);
                let shown = shown.map_or("", |shown| shown.to_str().unwrap()).to_owned();
                let (mut response, future): (Response<Empty<Bytes>>, _) =
                    upgrade::upgrade(&mut request).unwrap();
                let chosen = HeaderValue::from_static(encoding.subprotocol());
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
                sender.send((future, encoding, shown, path)).await.unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades(),
        );
        let (future, encoding, shown, path) = upgraded.recv().await.expect("the client asks for an upgrade");
        let mut socket = future.await.unwrap();
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        socket.set_writev(false);
        let (read, write) = socket.split(tokio::io::split);
        let (sender, said) = mpsc::channel(10_000);
        tokio::spawn(read_all(read, encoding, sender));
        Self { write, said, encoding, shown, path, time: 1_000_000_000 }
    }

    /// Sends one WebSocket message with these, and its send time.
    pub(crate) async fn send(&mut self, messages: &[Message]) {
        assert!(self.try_send(messages).await, "the client is gone");
    }

    /// Returns whether the client was there.
    pub(crate) async fn try_send(&mut self, messages: &[Message]) -> bool {
        let mut bytes = Vec::new();
        for message in messages {
            encode_message(self.encoding, message, &scale(), &mut bytes);
        }
        self.time += 1_000_000_000;
        encode_sent_time(self.encoding, self.time, &mut bytes);
        self.frame(if self.encoding.is_text() { OpCode::Text } else { OpCode::Binary }, bytes).await
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) {
        assert!(self.frame(OpCode::Ping, payload.to_vec()).await);
    }

    pub(crate) async fn close(&mut self, code: u16, text: &str) {
        let payload = Frame::close(code, text.as_bytes()).payload.to_vec();
        assert!(self.frame(OpCode::Close, payload).await);
    }

    pub(crate) async fn frame(&mut self, opcode: OpCode, payload: Vec<u8>) -> bool {
        self.fragment(true, opcode, payload).await
    }

    pub(crate) async fn fragment(&mut self, fin: bool, opcode: OpCode, payload: Vec<u8>) -> bool {
        let frame = Frame::new(fin, opcode, None, Payload::Owned(payload));
        self.write.write_frame(frame).await.is_ok() && self.write.flush().await.is_ok()
    }

    /// Returns what the client says next, receipts included.
    pub(crate) async fn said(&mut self) -> Option<Said> {
        self.said.recv().await
    }

    /// Returns what the client says next, or nothing within this time.
    pub(crate) async fn said_within(&mut self, time: Duration) -> Option<Said> {
        tokio::time::timeout(time, self.said.recv()).await.ok().flatten()
    }

    /// Returns the commands, other than receipts, that come within this time.
    pub(crate) async fn commands_within(&mut self, time: Duration) -> Vec<Command> {
        let mut commands = Vec::new();
        let _ = tokio::time::timeout(time, async {
            loop {
                commands.push(self.command().await);
            }
        })
        .await;
        commands
    }

    /// Returns the next command that is no receipt.
    pub(crate) async fn command(&mut self) -> Command {
        loop {
            match self.said().await.expect("the client is gone") {
                Said::Command(Command::Receipt(_)) => {}
                Said::Command(command) => return command,
                other => panic!("{other:?} is no command"),
            }
        }
    }

    pub(crate) async fn subscribe(&mut self) -> Subscribe {
        match self.command().await {
            Command::Subscribe(subscribe) => subscribe,
            other => panic!("{other:?} is no subscribe"),
        }
    }

    /// Takes a subscribe and grants all of it at this position.
    pub(crate) async fn grant(&mut self, epoch: u64, sequence: u64) -> Subscribe {
        let subscribe = self.subscribe().await;
        let granted = subscribe.symbols.iter().map(|symbol| Granted {
            epoch,
            sequence,
            ..granted(Channel::from_name(&subscribe.channel).unwrap(), symbol)
        });
        let response = Subscribed { id: subscribe.id, granted: granted.collect(), refused: Vec::new() };
        self.send(&[Message::Subscribed(response)]).await;
        subscribe
    }
}

async fn read_all(mut read: WebSocketRead<ReadHalf<Socket>>, encoding: Encoding, said: mpsc::Sender<Said>) {
    loop {
        let frame = read.read_frame(&mut |_| std::future::ready(Ok::<(), Infallible>(()))).await;
        let Ok(frame) = frame else { return };
        let what = match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                assert_eq!(frame.opcode == OpCode::Text, encoding.is_text());
                Said::Command(decode_command(encoding, &frame.payload).unwrap())
            }
            OpCode::Pong => Said::Pong(frame.payload.to_vec()),
            OpCode::Close => Said::Close(u16::from_be_bytes([frame.payload[0], frame.payload[1]])),
            other => panic!("{other:?} from a client"),
        };
        if said.send(what).await.is_err() {
            return;
        }
    }
}

/// The only instrument of most tests.
pub(crate) const SYMBOL: &str = "sim:BTC-USD";
pub(crate) const ID: u32 = 7;

pub(crate) fn scale() -> Scale {
    Scale { symbol: SYMBOL.to_owned(), price_decimals: 2, size_decimals: 3 }
}

/// `SYMBOL` has the id [`ID`], other symbols one that is made of their name.
pub(crate) fn granted(channel: Channel, symbol: &str) -> Granted {
    let other = symbol.bytes().fold(100, |id: u32, byte| id.wrapping_mul(31).wrapping_add(u32::from(byte)));
    Granted {
        channel: channel.into(),
        symbol: symbol.to_owned(),
        instrument: if symbol == SYMBOL { ID } else { other },
        price_decimals: 2,
        size_decimals: 3,
        epoch: 1,
        ..Granted::default()
    }
}

pub(crate) fn refused(channel: Channel, symbol: &str, code: &str, may_retry: bool) -> Refused {
    let (symbol, code) = (symbol.to_owned(), code.to_owned());
    Refused { channel: channel.into(), symbol, message: format!("no: {code}"), code, may_retry }
}

fn record(sequence: u64, body: Body) -> Message {
    record_of(ID, sequence, body)
}

pub(crate) fn record_of(instrument: u32, sequence: u64, body: Body) -> Message {
    Message::Record(Record { instrument, sequence, event_time: 5, receive_time: 6, body })
}

pub(crate) fn quote(sequence: u64) -> Message {
    let level = |price| Some(Level { price, size: 1500 });
    let price = sequence as i64 * 100;
    record(sequence, Body::Quote(Quote { bid: level(price), ask: level(price + 1) }))
}

pub(crate) fn trade(sequence: u64) -> Message {
    record(sequence, Body::Trade(Trade { price: 100, size: 2, ..Trade::default() }))
}

pub(crate) fn bar(sequence: u64, correction: bool) -> Message {
    let interval = 60_000_000_000;
    record(sequence, Body::Bar(Bar { interval, correction, closed: correction, ..Bar::default() }))
}

pub(crate) fn gap(channel: Channel, cause: GapCause, first: u64, last: u64, epoch: u64) -> Message {
    let (channel, cause) = (channel.into(), cause.into());
    let gap = Gap { channel, cause, first_sequence: first, last_sequence: last, epoch };
    record(first, Body::Gap(gap))
}

pub(crate) fn book(sequence: u64, snapshot: bool, bids: &[(i64, u64)], checksum: Option<u32>) -> Message {
    let bids = bids.iter().map(|(price, size)| Level { price: *price, size: *size }).collect();
    record(sequence, Body::Book(Book { snapshot, bids, checksum, ..Book::default() }))
}

pub(crate) fn heartbeat(state: FeedState, positions: &[(Channel, u64)]) -> Message {
    let (venue, reason, book_proof) = ("sim".to_owned(), "test".to_owned(), BookProof::Chain.into());
    let feed = Feed { venue, state: state.into(), since: 3, reason, book_proof };
    let position = |(channel, sequence): &(Channel, u64)| Position {
        instrument: ID,
        channel: (*channel).into(),
        epoch: 1,
        sequence: *sequence,
    };
    let positions = positions.iter().map(position).collect();
    Message::Heartbeat(Heartbeat { time: 4, feeds: vec![feed], positions })
}
