//! One connection to a stream of a simulated venue.

use std::io;

use bytes::{Buf as _, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tickwire_net::frame::{self, Close, Found, OpCode, Sender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::client::Order;
use super::shared::{Shared, now};

const READ_BYTES: usize = 16 << 10;
const COMMAND_BYTES_MAX: usize = 1 << 20;
/// A connection that answers no ping for so many of them is cut off.
const PINGS_UNANSWERED_MAX: u32 = 3;

type Stream = TokioIo<Upgraded>;

/// Serves a connection to its end.
pub(super) async fn hold(upgraded: Upgraded, shared: &Shared, path: &str, query: &str) {
    let (read, write) = tokio::io::split(TokioIo::new(upgraded));
    let (id, orders) = shared.state().connected(path, query, now());
    let mut session = Session { id, shared, read, write, buffer: BytesMut::new(), unanswered: 0 };
    if let Err(error) = session.run(orders).await {
        tracing::debug!(%error, "a stream ended");
    }
    shared.state().disconnected(id);
}

struct Session<'s> {
    id: u64,
    shared: &'s Shared,
    read: ReadHalf<Stream>,
    write: WriteHalf<Stream>,
    buffer: BytesMut,
    unanswered: u32,
}

impl Session<'_> {
    async fn run(&mut self, mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
        let every = self.shared.ping_every;
        let mut pings = interval_at(Instant::now() + every, every);
        // A machine that stood still sends one ping, and no client is cut off before it can answer.
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ends_at: Option<Instant> = None;
        loop {
            self.buffer.reserve(READ_BYTES);
            let end = ends_at;
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Send(text)) => self.send(OpCode::Text, text.as_bytes()).await?,
                    Some(Order::Freeze) => std::future::pending().await,
                    Some(Order::Cut) | None => return Ok(()),
                    Some(Order::Shutdown(text, after)) => {
                        self.send(OpCode::Text, text.as_bytes()).await?;
                        ends_at = Some(Instant::now() + after);
                    }
                },
                count = self.read.read_buf(&mut self.buffer) => {
                    if count? == 0 || !self.take().await? {
                        return Ok(());
                    }
                }
                _ = pings.tick() => {
                    if !self.keep_alive().await? {
                        return Ok(());
                    }
                }
                () = async { tokio::time::sleep_until(end.unwrap_or_else(Instant::now)).await }, if end.is_some() => {
                    return Ok(());
                }
            }
        }
    }

    /// Gives a sign of life; returns whether the connection goes on.
    async fn keep_alive(&mut self) -> io::Result<bool> {
        let ping = self.shared.state().keep_alive(self.id, now());
        if let Some(payload) = ping {
            if self.unanswered == PINGS_UNANSWERED_MAX {
                return Ok(false);
            }
            self.unanswered += 1;
            self.send(OpCode::Ping, payload).await?;
        }
        Ok(true)
    }

    /// Takes what was read; returns whether the connection goes on.
    async fn take(&mut self) -> io::Result<bool> {
        while let Some(found) =
            frame::find(&self.buffer, Sender::Client, COMMAND_BYTES_MAX).map_err(io::Error::other)?
        {
            let Found { opcode, end, .. } = found;
            let payload = found.payload(&mut self.buffer).to_vec();
            self.buffer.advance(end);
            if opcode == OpCode::Close {
                self.send(OpCode::Close, &payload).await?;
                return Ok(false);
            }
            if !self.shared.state().is_within_rate(self.id, Instant::now()) {
                self.send(OpCode::Close, &Close::payload(1008, "Too many requests")).await?;
                return Ok(false);
            }
            match opcode {
                OpCode::Ping => self.send(OpCode::Pong, &payload).await?,
                OpCode::Pong => {
                    self.unanswered = 0;
                    self.shared.state().report.pongs += 1;
                }
                _ => self.shared.state().command(self.id, &String::from_utf8_lossy(&payload), now()),
            }
        }
        Ok(true)
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + frame::HEAD_BYTES_MAX);
        frame::write(opcode, payload, &mut bytes);
        self.write.write_all(&bytes).await?;
        self.write.flush().await
    }
}
