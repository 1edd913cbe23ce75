//! A session: the handshake, the greeting, and messages with the times at which they came.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use tickwire_client::Target;
use tickwire_net::frame::{self, Close, OpCode, Sender};
use tickwire_net::handshake::{self, Opening, ResponseFault, read_response};
use tickwire_wire::{Batch, Command, Encoding, Message, PROTOCOL_VERSION, encode_command};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::command::DoctorCommand;
use super::report::Report;
use super::way::{PATIENCE, Stream};

/// The encoding of the session. What is checked is the same in all.
const ENCODING: Encoding = Encoding::Proto;
/// The heartbeat that is asked for, which is the shortest that a gateway grants.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(250);
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// As much of a page that is no handshake is read, and shown.
const BODY_BYTES_MAX: usize = 2048;
const BODY_CHARS_MAX: usize = 200;
/// The rest of such a page has this long.
const BODY_WAIT: Duration = Duration::from_millis(300);

/// A message, or the payload of a pong, and when it was read, in nanoseconds since 1970 by this machine's clock.
#[derive(Debug)]
pub(super) enum Heard {
    Messages(Vec<Message>, u64),
    Pong,
    Closed(String),
    Silence,
}

pub(super) struct Conversation {
    stream: Stream,
    bytes: Vec<u8>,
    heard: VecDeque<Heard>,
}

impl Conversation {
    /// Opens a session, up to the gateway's greeting.
    pub(super) async fn open(
        command: &DoctorCommand,
        target: &Target,
        mut stream: Stream,
        report: &mut Report,
    ) -> Option<Self> {
        let rest = shake(command, target, &mut stream, report).await?;
        let mut conversation = Self { stream, bytes: rest, heard: VecDeque::new() };
        conversation.greeting(report).await?;
        Some(conversation)
    }

    async fn greeting(&mut self, report: &mut Report) -> Option<()> {
        match self.hear(Instant::now() + PATIENCE).await {
            Heard::Messages(messages, _) => match messages.into_iter().next() {
                Some(Message::Hello(hello)) if hello.protocol_version == PROTOCOL_VERSION => {
                    let limits = hello.limits.unwrap_or_default();
                    report.fact("server", hello.server.clone());
                    report.fact("session", hello.session.clone());
                    report.fact("heartbeat_ms", hello.heartbeat_ms);
                    report.fact("subscriptions", limits.subscriptions);
                    let said = format!(
                        "{}, session {}; up to {} subscriptions",
                        hello.server, hello.session, limits.subscriptions
                    );
                    report.ok("hello", said);
                    Some(())
                }
                Some(Message::Hello(hello)) => {
                    let theirs = hello.protocol_version;
                    let said = format!(
                        "{} speaks version {theirs} of the protocol, and this program {PROTOCOL_VERSION}",
                        hello.server
                    );
                    report.failure("hello", said, "take a client and a gateway of versions that fit");
                    None
                }
                _ => {
                    report.failure(
                        "hello",
                        "its first message is not the greeting of a gateway",
                        "is it a Tickwire gateway? check the path: /v1/stream",
                    );
                    None
                }
            },
            Heard::Closed(why) => {
                report.failure(
                    "hello",
                    format_args!("the session was ended at once: {why}"),
                    "docs/protocol.md has the table of close codes",
                );
                None
            }
            Heard::Silence | Heard::Pong => {
                let said = format!(
                    "the handshake is done, and the gateway's greeting did not come within {PATIENCE:?}"
                );
                report.failure("hello", said, "something in between holds back what the gateway sends: switch its buffering off (nginx: proxy_buffering off)");
                None
            }
        }
    }

    /// Returns what comes next, or silence when nothing comes until then. Pings are answered.
    pub(super) async fn hear(&mut self, until: Instant) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let mut room = vec![0; 16 << 10];
            match tokio::time::timeout_at(until, self.stream.read(&mut room)).await {
                Err(_) => return Heard::Silence,
                Ok(Err(error)) => return Heard::Closed(format!("the connection broke: {error}")),
                Ok(Ok(0)) => return Heard::Closed("the connection ended without a close frame".to_owned()),
                Ok(Ok(count)) => self.bytes.extend_from_slice(&room[..count]),
            }
            if let Err(why) = self.take_frames(now_ns()).await {
                return Heard::Closed(why);
            }
        }
    }

    async fn take_frames(&mut self, read_at: u64) -> Result<(), String> {
        loop {
            let found = frame::find(&self.bytes, Sender::Server, MESSAGE_BYTES_MAX)
                .map_err(|fault| fault.to_string())?;
            let Some(found) = found else { return Ok(()) };
            let payload = self.bytes[found.range()].to_vec();
            self.bytes.drain(..found.end);
            match found.opcode {
                OpCode::Ping => self.send(OpCode::Pong, &payload).await?,
                OpCode::Pong => self.heard.push_back(Heard::Pong),
                OpCode::Close => {
                    let close = Close::read(&payload);
                    let code = close.code.map_or("no code".to_owned(), |code| format!("code {code}"));
                    return Err(format!("{code} {}", close.text).trim().to_owned());
                }
                _ => {
                    let messages: Result<Vec<_>, _> = Batch::new(ENCODING, &payload).collect();
                    self.heard
                        .push_back(Heard::Messages(messages.map_err(|error| error.to_string())?, read_at));
                }
            }
        }
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::new();
        frame::write_masked(opcode, [0x5a, 0x13, 0x77, 0x0c], payload, &mut bytes);
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| format!("the connection broke: {error}"))
    }

    /// Sends a command.
    pub(super) async fn say(&mut self, command: &Command) -> Result<(), String> {
        let mut bytes = Vec::new();
        encode_command(ENCODING, command, &mut bytes);
        self.send(OpCode::Binary, &bytes).await
    }

    /// Returns the shortest time that a ping takes there and back. What else comes meanwhile is kept.
    pub(super) async fn round_trip(&mut self, times: usize) -> Option<Duration> {
        let (mut shortest, mut kept) = (None, VecDeque::new());
        for _ in 0..times {
            let begun = Instant::now();
            self.send(OpCode::Ping, b"doctor").await.ok()?;
            loop {
                match self.hear(begun + PATIENCE).await {
                    Heard::Pong => break,
                    Heard::Messages(messages, at) => kept.push_back(Heard::Messages(messages, at)),
                    ended => {
                        kept.push_back(ended);
                        self.heard.append(&mut kept);
                        return shortest;
                    }
                }
            }
            let took = begun.elapsed();
            shortest = Some(shortest.map_or(took, |known: Duration| known.min(took)));
        }
        self.heard.append(&mut kept);
        shortest
    }
}

/// Makes the handshake. Returns what came behind it.
async fn shake(
    command: &DoctorCommand,
    target: &Target,
    stream: &mut Stream,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let key = handshake::key(rand_bytes());
    let (address, mark) = (target.address(), if target.path.contains('?') { '&' } else { '?' });
    let path = format!("{}{mark}heartbeat_ms={}", target.path, HEARTBEAT.as_millis());
    let agent = concat!("tickwire-doctor/", env!("CARGO_PKG_VERSION"));
    let protocol = Some(ENCODING.subprotocol());
    let token = match command.token() {
        Ok(token) => token,
        Err(reason) => {
            report.failure("token", reason, "name a file with a token or an API key that this user may read");
            return None;
        }
    };
    let authorization = match &token {
        None => String::new(),
        Some(token) if token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
            format!("Authorization: Bearer {}\r\n", token.expose())
        }
        Some(_) => {
            let said = "the token has characters that no header can have";
            report.failure("token", said, "a token is one line of visible characters");
            return None;
        }
    };
    let request = Opening { host: &address, path: &path, agent, key: &key, protocol }.write(&authorization);
    let mut bytes = Vec::new();
    let response = tokio::time::timeout(PATIENCE, async {
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
        loop {
            if let Some(response) = read_response(&bytes).map_err(|fault| fault.to_string())? {
                return Ok(response);
            }
            if stream.read_buf(&mut bytes).await.map_err(|error| error.to_string())? == 0 {
                return Err("it closed the connection".to_owned());
            }
        }
    });
    let (response, head) = match response.await {
        Ok(Ok(response)) => response,
        Ok(Err(reason)) => {
            let is_sealed = matches!(bytes[..], [0x15 | 0x16, 3, ..]);
            let remedy =
                if is_sealed { "it speaks TLS: write wss://" } else { "is it a gateway that listens there?" };
            report.failure("websocket", format_args!("no response to the handshake: {reason}"), remedy);
            return None;
        }
        Err(_) => {
            report.failure(
                "websocket",
                format_args!("no response to the handshake within {PATIENCE:?}"),
                "a proxy in between may not know where the gateway is",
            );
            return None;
        }
    };
    let mut body = bytes.split_off(head);
    match handshake::check_response(&response, &key, protocol) {
        Ok(()) => {
            report.ok("websocket", format_args!("the handshake is done, {}", ENCODING.subprotocol()));
            Some(body)
        }
        Err(ResponseFault::Status(status)) => {
            let status = status.as_u16();
            read_body(stream, &mut body).await;
            let mut said = String::from_utf8_lossy(&body).trim().to_owned();
            // What answers may be anything, and repeat what it was shown.
            if let Some(token) = &token {
                said = said.replace(token.expose(), "(the token)");
            }
            let said: String = said.chars().take(BODY_CHARS_MAX).collect();
            report.fact("status", status);
            report.failure(
                "websocket",
                format_args!("HTTP {status} instead of 101: {said}"),
                remedy(status, token.is_some()),
            );
            None
        }
        Err(fault) => {
            report.failure(
                "websocket",
                fault,
                "a proxy in between changes the handshake: it has to pass Upgrade and Connection on",
            );
            None
        }
    }
}

/// Reads the rest of a page, as much as comes soon.
async fn read_body(stream: &mut Stream, body: &mut Vec<u8>) {
    let rest = async {
        while body.len() < BODY_BYTES_MAX && stream.read_buf(body).await.is_ok_and(|count| count > 0) {}
    };
    // A connection that stays open says in its headers how long the page is; to wait a little does as well.
    let _ = tokio::time::timeout(BODY_WAIT, rest).await;
}

/// Returns what to do when a handshake is answered with this status.
fn remedy(status: u16, has_token: bool) -> &'static str {
    match status {
        400 => {
            "its text says what is wrong; behind a proxy, check that it passes Upgrade, Connection and Sec-WebSocket-* on"
        }
        401 | 403 if has_token => {
            "the gateway does not take this token: it may have expired, or be for another service; or this origin is not allowed"
        }
        401 | 403 => "the gateway wants to know who asks: --token-file",
        404 => "the path is wrong: /v1/stream; or a proxy sends this path elsewhere",
        200..=399 | 426 => {
            "what answers is no gateway, or a proxy that does not pass Upgrade on (nginx: proxy_http_version 1.1 and both headers)"
        }
        429 => "too many connections from this address: wait, or raise the gateway's limits",
        503 => "the gateway is not ready, full, or going down: see /readyz on its admin address",
        502 | 504 => "a proxy does not reach the gateway behind it",
        _ => "look at the log of what answers",
    }
}

/// Returns 16 bytes that are other ones each time: a key proves that it was read, and is no secret.
fn rand_bytes() -> [u8; 16] {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (RandomState::new().hash_one(1), RandomState::new().hash_one(2));
    (u128::from(a) << 64 | u128::from(b)).to_be_bytes()
}

pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
