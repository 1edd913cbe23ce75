//! A proxy between sessions and a gateway that breaks promises on purpose.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tickwire_wire::{Batch, Body, Channel, Encoding, Gap, Message, Record, Scale, encode_message};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    None,
    /// One market record of so many, over all sessions, is not passed on.
    Drops {
        one_in: u64,
    },
    /// One of so many changes places with the next one of its instrument.
    Swaps {
        one_in: u64,
    },
    /// Each quote but the first says what the one before it said.
    Stale,
    /// None: behind a ledger its message goes on with the last record before it and a gap.
    GoesOn,
    /// So many bytes are taken each 20 ms and never given back.
    Leaks {
        bytes: usize,
    },
    /// Nothing passes for a while, once, so long after the first record.
    Stalls {
        after: Duration,
        lasting: Duration,
    },
}

/// Runs until the test's process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
}

#[derive(Default)]
struct Shared {
    records: AtomicU64,
    first: OnceLock<Instant>,
    leaked: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    pub(crate) fn start(gateway: SocketAddr, damage: Damage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        if let Damage::Leaks { bytes } = damage {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                loop {
                    stand_still(Duration::from_millis(20));
                    shared.leaked.lock().unwrap_or_else(PoisonError::into_inner).push(vec![1; bytes]);
                }
            });
        }
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(gateway).expect("the gateway listens");
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut &up, &mut &down);
                    let _ = down.shutdown(Shutdown::Write);
                });
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut passing = Passing { damage, shared, before: HashMap::new(), held: None };
                    let _ = passing.run(&mut &server, &mut &client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

struct Passing {
    damage: Damage,
    shared: Arc<Shared>,
    /// Last quote of each instrument, as the gateway sent it.
    before: HashMap<u32, Record>,
    held: Option<Record>,
}

impl Passing {
    fn run(&mut self, from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        to.write_all(&head)?;
        loop {
            let mut start = [0; 2];
            from.read_exact(&mut start)?;
            let length = match start[1] {
                126 => {
                    let mut length = [0; 2];
                    from.read_exact(&mut length)?;
                    usize::from(u16::from_be_bytes(length))
                }
                127 => {
                    let mut length = [0; 8];
                    from.read_exact(&mut length)?;
                    usize::try_from(u64::from_be_bytes(length)).unwrap()
                }
                length => length.into(),
            };
            let mut payload = vec![0; length];
            from.read_exact(&mut payload)?;
            if start[0] & 0x0f == 2 {
                payload = self.message(&payload);
            }
            self.wait();
            let mut frame = vec![start[0]];
            match payload.len() {
                length @ 0..=125 => frame.push(length as u8),
                length @ 126..=0xffff => {
                    frame.push(126);
                    frame.extend_from_slice(&(length as u16).to_be_bytes());
                }
                length => {
                    frame.push(127);
                    frame.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            frame.extend_from_slice(&payload);
            to.write_all(&frame)?;
        }
    }

    /// All connections stand still at the same time.
    fn wait(&self) {
        let Damage::Stalls { after, lasting } = self.damage else { return };
        let Some(first) = self.shared.first.get() else { return };
        let passed = first.elapsed();
        if passed >= after && passed < after + lasting {
            stand_still((after + lasting).saturating_sub(passed));
        }
    }

    fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len());
        for message in Batch::new(Encoding::Proto, payload) {
            match message.expect("the gateway's messages are right") {
                Message::Record(record) if !matches!(record.body, Body::Gap(_)) => {
                    self.record(record, &mut out);
                }
                message => {
                    // What is held back longest waits for the next heartbeat.
                    let is_quiet = matches!(message, Message::Heartbeat(_) | Message::Ledger(_));
                    if let Some(held) = self.held.take_if(|_| is_quiet) {
                        put(&Message::Record(held), &mut out);
                    }
                    put(&message, &mut out);
                    if matches!((&message, self.damage), (Message::Ledger(_), Damage::GoesOn)) {
                        self.go_on(&mut out);
                    }
                }
            }
        }
        out
    }

    fn go_on(&self, out: &mut Vec<u8>) {
        let record = self.before.values().next().expect("a record came").clone();
        let gap =
            Gap { channel: Channel::Quote.into(), first_sequence: record.sequence + 1, ..Gap::default() };
        put(&Message::Record(Record { body: Body::Gap(gap), ..record.clone() }), out);
        put(&Message::Record(record), out);
    }

    fn record(&mut self, mut record: Record, out: &mut Vec<u8>) {
        self.shared.first.get_or_init(Instant::now);
        let number = self.shared.records.fetch_add(1, Ordering::Relaxed) + 1;
        match self.damage {
            Damage::Drops { one_in } if number.is_multiple_of(one_in) => return,
            Damage::Swaps { one_in } => {
                let joins = self.held.as_ref().is_some_and(|held| held.instrument == record.instrument);
                if joins {
                    let held = self.held.take().expect("it is there");
                    put(&Message::Record(record), out);
                    return put(&Message::Record(held), out);
                }
                if self.held.is_none() && number.is_multiple_of(one_in) {
                    self.held = Some(record);
                    return;
                }
            }
            Damage::GoesOn => {
                self.before.insert(record.instrument, record.clone());
            }
            Damage::Stale if record.channel() == Channel::Quote => {
                let newest = record.clone();
                if let Some(before) = self.before.insert(record.instrument, newest) {
                    record = Record { sequence: record.sequence, ..before };
                }
            }
            _ => {}
        }
        put(&Message::Record(record), out);
    }
}

fn put(message: &Message, out: &mut Vec<u8>) {
    encode_message(Encoding::Proto, message, &Scale::default(), out);
}

#[allow(clippy::disallowed_methods, reason = "time that passes is the damage that is done")]
fn stand_still(time: Duration) {
    std::thread::sleep(time);
}
