//! A thousand slow readers beside a hundred fast ones, on one core and in virtual time. `tests/sockets/crowd.rs` shows the same on real
//! sockets, where the times are those of the machine.

use std::collections::{HashMap, VecDeque};

use tickwire_core::engine::{EngineLimits, SessionKey};
use tickwire_wire::{Channel, Encoding, Message};

use super::one_core::{Core, Outside};
use super::rig::{Client, PING, Rig, SECOND, limits, parse_frames, quote, records};

const MS: u64 = 1_000_000;
const INSTRUMENTS: u64 = 100;
/// The quotes of all instruments together.
const PER_SECOND: u64 = 2_000;
const SLOW_SESSIONS: usize = 1_000;
const FAST_SESSIONS: usize = 100;
/// The number of instruments of a fast session; the slow ones have all.
const FAST_INSTRUMENTS: u64 = 10;
/// The bytes that a slow one reads each time, and the time between two reads.
const SLOW_BYTES: usize = 1 << 10;
const SLOW_EVERY: u64 = 100 * MS;

/// A client, and what was written to it that it has not read.
struct Reader {
    client: Client,
    /// When a slow one reads next.
    reads_at: Option<u64>,
    /// The bytes that it may read of the first frame already.
    credit: usize,
    unread: VecDeque<super::rig::WsFrame>,
}

#[derive(Default)]
struct Quotes {
    began: u64,
    published: u64,
    readers: HashMap<SessionKey, Reader>,
    /// When each slow one reads, the next first.
    turns: VecDeque<(u64, SessionKey)>,
    measures: bool,
    /// The ages of what was read, in nanoseconds.
    slow: Vec<u64>,
    fast: Vec<u64>,
}

impl Quotes {
    /// Reads a frame: answers it, and notes the ages of its records.
    fn read(&mut self, rig: &mut Rig, key: SessionKey, frame: &super::rig::WsFrame) {
        let reader = &self.readers[&key];
        if frame.opcode == PING {
            rig.engine.on_pong(key, &frame.payload, rig.now);
            return;
        }
        let ages = if reader.reads_at.is_some() { &mut self.slow } else { &mut self.fast };
        if !self.measures {
            return;
        }
        let messages: Vec<Message> = frame.messages(reader.client.encoding);
        for record in records(messages) {
            // Quotes come at even times, one instrument after the other.
            let number = (record.sequence - 1) * INSTRUMENTS + u64::from(record.instrument - rig.infos[3].id);
            ages.push(rig.now - (self.began + (number + 1) * SECOND / PER_SECOND));
        }
    }
}

impl Outside for Quotes {
    fn publish(&mut self, rig: &mut Rig) -> usize {
        let (sequence, instrument) = (self.published / INSTRUMENTS + 1, self.published % INSTRUMENTS);
        self.published += 1;
        rig.publish(3 + instrument as u32, sequence, quote(sequence as i64));
        let slow = self.turns.len();
        if instrument < FAST_INSTRUMENTS { slow + FAST_SESSIONS } else { slow }
    }

    fn written(&mut self, rig: &mut Rig, key: SessionKey, bytes: &[u8]) {
        let frames = parse_frames(bytes);
        let reader = self.readers.get_mut(&key).unwrap();
        if reader.reads_at.is_some() {
            reader.unread.extend(frames);
        } else {
            for frame in frames {
                self.read(rig, key, &frame);
            }
        }
    }

    fn passes(&mut self, rig: &mut Rig) {
        while let Some((_, key)) = self.turns.pop_front_if(|(at, _)| *at <= rig.now) {
            let reader = self.readers.get_mut(&key).unwrap();
            reader.credit += SLOW_BYTES;
            let mut frames = Vec::new();
            while let Some(frame) = reader.unread.pop_front_if(|frame| frame.payload.len() <= reader.credit) {
                reader.credit -= frame.payload.len();
                frames.push(frame);
            }
            if reader.unread.is_empty() {
                reader.credit = 0;
            }
            self.turns.push_back((rig.now + SLOW_EVERY, key));
            for frame in frames {
                self.read(rig, key, &frame);
            }
        }
    }
}

/// Runs fast sessions beside so many slow ones for some virtual seconds.
fn run(slow_sessions: usize) -> Quotes {
    let mut rig = Rig::new(EngineLimits { freshness_ns: 200 * MS, sessions_expected: 1_100, ..limits() });
    let names: Vec<_> = (0..INSTRUMENTS).map(|index| format!("S{index}")).collect();
    for name in &names {
        rig.instrument(name);
    }
    let symbols: Vec<_> = names.iter().map(|name| format!("sim:{name}")).collect();
    let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
    let mut quotes = Quotes { began: rig.now, ..Quotes::default() };
    for at in 0..slow_sessions + FAST_SESSIONS {
        let client = rig.open(Encoding::Proto);
        let is_slow = at < slow_sessions;
        let count = if is_slow { INSTRUMENTS } else { FAST_INSTRUMENTS } as usize;
        rig.subscribe(client, Channel::Quote, &symbols[..count]);
        let reads_at = is_slow.then(|| rig.now + at as u64 % 100 * MS);
        quotes.turns.extend(reads_at.map(|reads_at| (reads_at, client.key)));
        quotes.readers.insert(client.key, Reader { client, reads_at, credit: 0, unread: VecDeque::new() });
    }
    quotes.turns.make_contiguous().sort_unstable_by_key(|(at, _)| *at);
    let mut core = Core::new(rig, quotes, PER_SECOND);
    core.run(3 * SECOND);
    core.outside.measures = true;
    core.run(3 * SECOND);
    core.outside
}

/// Returns the age at the median, at p99 and of the oldest, in milliseconds.
fn ages(mut all: Vec<u64>) -> [f64; 3] {
    all.sort_unstable();
    [all.len() / 2, all.len() * 99 / 100, all.len() - 1].map(|at| all[at] as f64 / 1e6)
}

#[test]
fn costs_the_fast_ones_next_to_nothing_and_reads_what_is_new() {
    let alone = run(0);
    let beside = run(SLOW_SESSIONS);
    let (alone, fast, slow) = (ages(alone.fast), ages(beside.fast), ages(beside.slow));
    assert!(fast[0] < 1.3 * alone[0] && fast[1] < 1.3 * alone[1], "{fast:?} beside, {alone:?} alone");
    // A slow one reads each 100 ms, and what it reads was written a window before.
    assert!(slow[0] < 150.0 && slow[1] < 300.0 && slow[2] < 1_000.0, "{slow:?}");
}
