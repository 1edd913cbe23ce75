//! The clients: plain sockets, one thread, every record decoded for its time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tickwire_feed::open_loop::symbol_name;
use tickwire_wire::{Batch, Command, Encoding, Message, Subscribe, encode_command};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Plan;

/// The most handshakes at the same time.
const OPENING_MAX: usize = 64;

const PING: u8 = 0x89;

#[derive(Default)]
struct Seen {
    granted: usize,
    delivered: u64,
    latencies_us: Vec<u32>,
    is_measuring: bool,
}

pub(crate) fn run(plan: &Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, measure(plan));
}

async fn measure(plan: &Plan) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let openings = Arc::new(tokio::sync::Semaphore::new(OPENING_MAX));
    for number in 0..plan.sessions {
        let opening = Arc::clone(&openings).acquire_owned().await.expect("it is never closed");
        tokio::task::spawn_local(session(plan.clone(), number, Rc::clone(&seen), opening));
    }
    while seen.borrow().granted < plan.sessions {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    seen.borrow_mut().is_measuring = true;
    println!("ready");
    tokio::time::sleep(Duration::from_secs_f64(plan.seconds)).await;
    let mut seen = seen.borrow_mut();
    seen.is_measuring = false;
    seen.latencies_us.sort_unstable();
    let at = |share: f64| {
        let place = (seen.latencies_us.len() as f64 * share) as usize;
        f64::from(seen.latencies_us.get(place).copied().unwrap_or(0)) / 1e3
    };
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    println!("{} delivered, p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms", seen.delivered);
}

async fn session(
    plan: Plan,
    number: usize,
    seen: Rc<RefCell<Seen>>,
    opening: tokio::sync::OwnedSemaphorePermit,
) {
    let mut stream = TcpStream::connect(&plan.connect).await.expect("a connection");
    let request = format!(
        "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        Encoding::Proto.subprotocol()
    );
    stream.write_all(request.as_bytes()).await.expect("a handshake");
    let mut bytes = Vec::with_capacity(64 << 10);
    let head = loop {
        stream.read_buf(&mut bytes).await.expect("a response");
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes));
    bytes.drain(..head);
    let first = number * plan.each;
    let symbols = (first..first + plan.each)
        .map(|at| format!("sim:{}", symbol_name((at % plan.symbols) as u32)))
        .collect();
    let subscribe = Subscribe { id: 1, channel: plan.channel.clone(), symbols, max_rate: 0.0 };
    stream.write_all(&masked(&Command::Subscribe(subscribe))).await.expect("a session");
    drop(opening);
    let mut read = Vec::new();
    loop {
        let mut at = 0;
        while let Some((begin, end)) = frame(&bytes[at..]) {
            let payload = &bytes[at + begin..at + end];
            if bytes[at] == PING {
                // The response is a receipt: without it the gateway goes by the kernel's word.
                let pong = [&[0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
                stream.try_write(&pong).expect("room for a pong");
            } else {
                take(payload, &plan, &seen);
            }
            at += end;
        }
        bytes.drain(..at);
        if bytes.is_empty() {
            bytes = Vec::new();
        }
        stream.readable().await.expect("a session");
        read.resize(64 << 10, 0);
        match stream.try_read(&mut read) {
            Ok(0) => panic!("session {number} was ended"),
            Ok(more) => bytes.extend_from_slice(&read[..more]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("session {number}: {error}"),
        }
        if plan.rate <= 0.0 {
            read = Vec::new();
        }
    }
}

fn take(payload: &[u8], plan: &Plan, seen: &RefCell<Seen>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut seen = seen.borrow_mut();
    for message in Batch::new(Encoding::Proto, payload).flatten() {
        match message {
            Message::Subscribed(response) => {
                assert_eq!(response.granted.len(), plan.each, "{:?}", response.refused);
                seen.granted += 1;
            }
            Message::Record(record) if seen.is_measuring => {
                seen.delivered += 1;
                let latency = now.saturating_sub(record.event_time) / 1000;
                seen.latencies_us.push(latency as u32);
            }
            _ => {}
        }
    }
}

/// Returns begin and end of the payload of the first frame, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (length, head) = match bytes.get(1)? {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
        length => (usize::from(*length), 2),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

fn masked(command: &Command) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_command(Encoding::Proto, command, &mut payload);
    let mut bytes = vec![0x82, 0xfe];
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    // A key of zeros leaves the payload as it is.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&payload);
    bytes
}
