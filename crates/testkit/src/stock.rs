//! A plain WebSocket client: it has the kernel's default buffers, no library of ours but the codec, and a reader of any
//! pace.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tickwire_wire::{Channel, Command, Encoding, LedgerRequest, Subscribe, encode_command};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, MissedTickBehavior};

use crate::account::Account;
use crate::frames::{BINARY, CLOSE, Frames, PING, PONG, masked};

/// The payload of a packet on an Ethernet. Loopback's own packets of 64 KiB are larger than a receive window that was
/// full once; the sender then waits for its persist timer, many seconds after a stall, as on no network.
const PACKET_BYTES: u32 = 1448;

/// The pace of a reader.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// It reads whatever is there, at once.
    Prompt,
    /// It makes one read of at most so many bytes each time.
    Throttled {
        /// The most bytes of one read.
        bytes: usize,
        /// The time from one read to the next, at fixed times; a read that finds nothing waits for the first byte.
        every: Duration,
    },
}

/// A session as any standard WebSocket client would have it: whole messages, pings answered the moment they were read.
#[derive(Debug)]
pub struct StockClient {
    /// The account of what it saw.
    pub seen: Account,
    /// Whether pings are answered; else they are only read.
    pub answers_pings: bool,
    stream: TcpStream,
    frames: Frames,
    buffer: Vec<u8>,
    next_id: u64,
}

impl StockClient {
    /// Opens a session at an IPv4 address with its port, in Protobuf.
    ///
    /// # Errors
    /// Returns an error when there is no connection, or when it is not answered with 101.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub async fn open(address: &str) -> io::Result<Self> {
        let mut stream = connect(address).await?;
        let request = format!(
            "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            Encoding::Proto.subprotocol()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self {
            seen: Account::default(),
            answers_pings: true,
            stream,
            frames: Frames::default(),
            buffer: vec![0; 64 << 10],
            next_id: 1,
        })
    }

    /// Subscribes; the response comes among the data.
    ///
    /// # Errors
    /// Returns an error when the connection broke.
    ///
    /// # Cancel safety
    /// It is not cancel-safe: half a frame may have left.
    pub async fn subscribe(&mut self, channel: Channel, symbols: Vec<String>) -> io::Result<()> {
        let (id, channel) = (self.next_id, channel.name().to_owned());
        self.next_id += 1;
        self.say(&Command::Subscribe(Subscribe { id, channel, symbols, max_rate: 0.0 })).await
    }

    /// Reads once, at most `bytes_max`, and deals with what came. Returns the bytes; 0: the connection is over.
    ///
    /// # Errors
    /// Returns an error when the connection broke.
    ///
    /// # Cancel safety
    /// It is not cancel-safe: half a pong may have left.
    pub async fn read(&mut self, bytes_max: usize) -> io::Result<usize> {
        let room = bytes_max.min(self.buffer.len());
        let count = self.stream.read(&mut self.buffer[..room]).await?;
        self.seen.bytes += count as u64;
        self.frames.push(&self.buffer[..count]);
        while let Some(frame) = self.frames.next() {
            match frame.opcode {
                BINARY => self.seen.message(&frame.payload),
                PING => {
                    self.seen.pings += 1;
                    if self.answers_pings {
                        self.stream.write_all(&masked(PONG, &frame.payload)).await?;
                    }
                }
                CLOSE => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let text = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
                    self.seen.closed = Some((code, text.into_owned()));
                    let _ = self.stream.write_all(&masked(CLOSE, &frame.payload)).await;
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// Reads at a pace until something is so, or the time is over. Returns whether it is so.
    ///
    /// # Errors
    /// Returns an error when the connection broke or ended.
    ///
    /// # Cancel safety
    /// It is not cancel-safe: half a pong may have left.
    pub async fn read_until(
        &mut self,
        pace: Pace,
        time: Duration,
        is_so: impl Fn(&Account) -> bool,
    ) -> io::Result<bool> {
        let end = Instant::now() + time;
        let (bytes_max, every) = match pace {
            Pace::Prompt => (usize::MAX, None),
            Pace::Throttled { bytes, every } => (bytes, Some(every)),
        };
        let mut heartbeat = every.map(|every| {
            let mut heartbeat = tokio::time::interval(every);
            heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
            heartbeat
        });
        while !is_so(&self.seen) {
            if let Some(heartbeat) = &mut heartbeat {
                heartbeat.tick().await;
            }
            // The future that is awaited here may be dropped: only then are bytes taken that nothing can interrupt.
            let readable = tokio::time::timeout_at(end, self.stream.readable()).await;
            if Instant::now() >= end {
                return Ok(false);
            }
            if let Ok(ready) = readable {
                ready?;
                if self.read(bytes_max).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(true)
    }

    /// Reads at a pace for a time.
    ///
    /// # Errors
    /// Returns an error when the connection broke or ended.
    ///
    /// # Cancel safety
    /// It is not cancel-safe: half a pong may have left.
    pub async fn read_for(&mut self, pace: Pace, time: Duration) -> io::Result<()> {
        self.read_until(pace, time, |_| false).await.map(drop)
    }

    /// Asks for the ledger, and reads until it came and was compared. [`Account::violations`] says what is wrong.
    ///
    /// # Errors
    /// Returns an error when the connection broke, or when no ledger came in time.
    ///
    /// # Cancel safety
    /// It is not cancel-safe: half a frame may have left.
    pub async fn ask_ledger(&mut self, pace: Pace, time: Duration) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        self.say(&Command::Ledger(LedgerRequest { id })).await?;
        let came = |seen: &Account| seen.ledger.as_ref().is_some_and(|ledger| ledger.id == id);
        if self.read_until(pace, time, came).await? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    /// Returns how many bytes are there of a frame that has not been read as a whole.
    pub fn partial_bytes(&self) -> usize {
        self.frames.partial_bytes()
    }

    async fn say(&mut self, command: &Command) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_command(Encoding::Proto, command, &mut bytes);
        self.stream.write_all(&masked(BINARY, &bytes)).await
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let address = address.parse().map_err(io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    SockRef::from(&socket).set_tcp_mss(PACKET_BYTES)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
