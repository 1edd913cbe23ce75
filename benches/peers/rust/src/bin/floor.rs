//! The kernel's limit: every so many microseconds one write for each client that has something, of bytes that were
//! ready when the update came in. No WebSocket library is on the way of an update; its frame head is two constant bytes.
//!
//! One thread, no readiness system: a turn reads what the publisher sent, appends it to the buffers of its subscribers,
//! writes the buffers, and waits for the next tick. A client that takes nothing misses what does not fit in 1 MiB.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::Parser;
use tickwire_bench_peers::{UPDATE_BYTES, listen};
use tokio_tungstenite::tungstenite::{Message, accept};

const WAITING_MAX: usize = 1 << 20;

#[derive(Parser)]
struct Options {
    /// The address for subscribers, by WebSocket.
    #[arg(long)]
    listen: SocketAddr,
    /// The address for the publisher, by plain TCP.
    #[arg(long)]
    publish: SocketAddr,
    /// The microseconds from one round of writes to the next.
    #[arg(long, default_value_t = 1_000)]
    tick_us: u64,
    /// A client that was sent nothing for so many milliseconds is sent an empty message; 0: never.
    #[arg(long, default_value_t = 0)]
    heartbeat_ms: u64,
}

/// An empty binary message.
const HEARTBEAT: [u8; 2] = [0x82, 0];

struct Client {
    socket: TcpStream,
    waiting: Vec<u8>,
    /// When it was last written to.
    wrote: Instant,
}

impl Client {
    /// Writes what waits. Returns false when the client is gone.
    fn write(&mut self, now: Instant) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        self.wrote = now;
        match self.socket.write(&self.waiting) {
            Ok(written) if written == self.waiting.len() => self.waiting.clear(),
            Ok(written) => drop(self.waiting.drain(..written)),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        true
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let publishers = TcpListener::bind(options.publish)?;
    publishers.set_nonblocking(true)?;
    let listener = listen(options.listen)?;
    let (sender, new_clients) = sync_channel(1024);
    std::thread::spawn(move || greet(&listener, &sender));
    println!("ready");
    let (tick, heartbeat) = (options.tick_us, options.heartbeat_ms);
    serve(&publishers, &new_clients, Duration::from_micros(tick), Duration::from_millis(heartbeat))
}

/// Shakes hands with clients, one after another, and passes them on with their symbols.
fn greet(listener: &TcpListener, sender: &SyncSender<(TcpStream, Vec<u8>)>) {
    for socket in listener.incoming().flatten() {
        let greeted = (|| -> anyhow::Result<_> {
            socket.set_nodelay(true)?;
            let raw = socket.try_clone()?;
            let mut session = accept(socket)?;
            let Message::Binary(symbols) = session.read()? else { anyhow::bail!("no symbols") };
            session.send("ok".into())?;
            raw.set_nonblocking(true)?;
            Ok((raw, symbols.to_vec()))
        })();
        if let Ok(client) = greeted
            && sender.send(client).is_err()
        {
            return;
        }
    }
}

fn serve(
    publishers: &TcpListener,
    new_clients: &Receiver<(TcpStream, Vec<u8>)>,
    tick: Duration,
    heartbeat: Duration,
) -> anyhow::Result<()> {
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut topics: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut bytes = vec![0; 1 << 20];
    let mut kept = 0;
    let mut publisher: Option<TcpStream> = None;
    let mut next_tick = Instant::now();
    loop {
        while let Ok((socket, symbols)) = new_clients.try_recv() {
            for symbol in symbols.chunks_exact(4) {
                let symbol = u64::from(u32::from_le_bytes(symbol.try_into()?));
                topics.entry(symbol).or_default().push(clients.len());
            }
            clients.push(Some(Client { socket, waiting: Vec::new(), wrote: Instant::now() }));
        }
        if publisher.is_none()
            && let Ok((socket, _)) = publishers.accept()
        {
            socket.set_nonblocking(true)?;
            publisher = Some(socket);
            kept = 0;
        }
        while let Some(socket) = &mut publisher {
            match socket.read(&mut bytes[kept..]) {
                Ok(0) => publisher = None,
                Ok(taken) => {
                    let end = kept + taken;
                    let whole = end - end % UPDATE_BYTES;
                    for update in bytes[..whole].chunks_exact(UPDATE_BYTES) {
                        let symbol = u64::from_le_bytes(update[..8].try_into()?);
                        for &at in topics.get(&symbol).into_iter().flatten() {
                            if let Some(client) = &mut clients[at]
                                && client.waiting.len() < WAITING_MAX
                            {
                                // This is the head of a final binary frame of 40 bytes, not masked.
                                client.waiting.extend_from_slice(&[0x82, UPDATE_BYTES as u8]);
                                client.waiting.extend_from_slice(update);
                            }
                        }
                    }
                    bytes.copy_within(whole..end, 0);
                    kept = end - whole;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let now = Instant::now();
        for client in &mut clients {
            if let Some(client) = client
                && !heartbeat.is_zero()
                && client.waiting.is_empty()
                && now.duration_since(client.wrote) >= heartbeat
            {
                client.waiting.extend_from_slice(&HEARTBEAT);
            }
            if client.as_mut().is_some_and(|client| !client.write(now)) {
                *client = None;
            }
        }
        next_tick += tick;
        let now = Instant::now();
        match next_tick.checked_duration_since(now) {
            Some(rest) => std::thread::sleep(rest),
            None => next_tick = now,
        }
    }
}
