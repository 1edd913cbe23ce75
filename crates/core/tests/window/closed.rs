//! A reader in a closed loop, in virtual time, with a sender that always has something new: how old is each byte that it reads?

use std::collections::VecDeque;

use super::way::Dice;
use tickwire_core::engine::{Freshness, Window};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const PING: usize = 10;
const HEARTBEAT: usize = 43;
const HEARTBEAT_AFTER_NS: u64 = 1_000 * MS;
/// A session that is held back for this long is told so.
const NOTICE_AFTER_NS: u64 = 220 * MS;
/// One step of the loop.
const STEP_NS: u64 = MS / 4;
/// The bytes per second that the sender has.
pub(crate) const OFFERED: usize = 404_000;

pub(crate) fn freshness() -> Freshness {
    Freshness { target_ns: 200 * MS, first_bytes: 2048, max_bytes: 4 << 20, unanswered_ns: 2_000 * MS }
}

/// The way in which a reader takes bytes: so many with each read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) bytes: usize,
    pub(crate) every_ns: u64,
    /// The delay of the path, one way.
    pub(crate) path_ns: u64,
    /// The path is so much longer from the third second on, but for a moment now and then.
    pub(crate) detour_ns: u64,
    /// It reads nothing in this time.
    pub(crate) stall: (u64, u64),
    /// Each of its reads is late by up to this, as a timer is.
    pub(crate) late_ns: u64,
    /// So many reads in a thousand are late by up to so many nanoseconds, because somebody else has the processor. It does
    /// not make up for the reads that it missed.
    pub(crate) busy: (u64, u64),
    /// It pauses now and then until this time; only what is written 21 s later counts, when that is forgotten.
    pub(crate) pauses_to: u64,
    /// It reads the greeting at once, and subscribes: when the grants leave, and their bytes.
    pub(crate) grants: Option<(u64, usize)>,
    /// Only what is written from then on counts.
    pub(crate) counts_from: u64,
    /// The window has this size and keeps it; 0: it is the window under test.
    pub(crate) fixed: usize,
    pub(crate) seed: u64,
}

impl Reader {
    pub(crate) fn steady(bytes_per_second: usize, path_ns: u64) -> Self {
        Self { path_ns, ..Self::bursty(bytes_per_second / 1000, MS) }
    }

    pub(crate) fn bursty(bytes: usize, every_ns: u64) -> Self {
        Self {
            bytes,
            every_ns,
            path_ns: 0,
            detour_ns: 0,
            stall: (0, 0),
            late_ns: 0,
            busy: (0, 0),
            pauses_to: 0,
            grants: None,
            counts_from: 0,
            fixed: 0,
            seed: 1,
        }
    }

    fn freshness(&self) -> Freshness {
        match self.fixed {
            0 => freshness(),
            bytes => Freshness { first_bytes: bytes, max_bytes: bytes, ..freshness() },
        }
    }

    fn is_away(&self, now: u64) -> bool {
        let pauses = now < self.pauses_to && now % (2_000 * MS) < 350 * MS;
        pauses || (now >= self.stall.0 && now < self.stall.1)
    }
}

pub(crate) struct Outcome {
    /// The age of each byte when it was read, ascending, in milliseconds.
    pub(crate) ages: Vec<u64>,
    /// The share of what the reader could have taken.
    pub(crate) used: f64,
    pub(crate) most_in_flight: usize,
    pub(crate) stalled_in_flight: usize,
    pub(crate) was_tight: bool,
}

impl Outcome {
    pub(crate) fn age(&self, quantile: f64) -> u64 {
        self.ages[((self.ages.len() - 1) as f64 * quantile) as usize]
    }
}

/// Bytes on their way.
struct Write {
    arrives: u64,
    written: u64,
    bytes: usize,
    /// The name of the ping that ends it.
    ping: Option<u64>,
}

/// The sender and what is on its way from there.
struct Sender {
    window: Window,
    path_ns: u64,
    pipe: VecDeque<Write>,
    waiting: usize,
    wrote: u64,
}

impl Sender {
    fn put(&mut self, bytes: usize, ping: Option<u64>, now: u64) {
        self.wrote = now;
        self.pipe.push_back(Write { arrives: now + self.path_ns, written: now, bytes, ping });
    }

    /// Sends a ping where the window wants one, and returns its name.
    fn probe(&mut self, now: u64) -> Option<u64> {
        let name = self.window.wants_probe(now).then(|| self.window.probe(PING, now));
        if name.is_some() {
            self.put(PING, name, now);
        }
        name
    }

    fn control(&mut self, bytes: usize, now: u64) -> Option<u64> {
        self.window.on_control(bytes, now);
        self.put(bytes, None, now);
        self.probe(now)
    }

    /// Sends records of 45 bytes as long as the window is open.
    fn fill(&mut self, now: u64) {
        while self.window.is_open() && self.waiting >= 45 {
            let room = self.window.room().min(self.window.message_bytes());
            let bytes = room.min(self.waiting).max(45) / 45 * 45 + 14;
            self.waiting -= bytes.min(self.waiting);
            self.window.on_sent(bytes, now);
            self.put(bytes, None, now);
            self.probe(now);
        }
    }
}

/// Runs for some seconds of its own time, with so many bytes per second at the sender.
pub(crate) fn run(reader: Reader, offered: usize, seconds: u64) -> Outcome {
    let window = Window::new(reader.freshness(), 0);
    let mut sender = Sender { window, path_ns: reader.path_ns, pipe: VecDeque::new(), waiting: 0, wrote: 0 };
    let mut pongs: VecDeque<(u64, u64)> = VecDeque::new();
    let mut dice = Dice::new(reader.seed);
    let (mut could, mut read, mut reads_at) = (0, 0, 0);
    let mut outcome =
        Outcome { ages: Vec::new(), used: 0.0, most_in_flight: 0, stalled_in_flight: 0, was_tight: false };
    let mut now = 0;
    // The greeting and the grants; then what says that data are held back.
    let subscribed = reader.grants.map_or(0, |(at, _)| at);
    let opening = if let Some(grants) = reader.grants {
        [(0, 120), grants, (subscribed + NOTICE_AFTER_NS, 92)]
    } else {
        [(0, 120), (0, 12_000), (u64::MAX, 0)]
    };
    let mut opening = VecDeque::from(opening);
    let forgotten = if reader.pauses_to > 0 { reader.pauses_to + 21_000 * MS } else { subscribed };
    let counts_from = forgotten.max(reader.counts_from);
    while now < seconds * 1000 * MS {
        while let Some((_, bytes)) = opening.pop_front_if(|(at, _)| *at <= now) {
            let name = sender.control(bytes, now);
            if let Some(name) = name.filter(|_| reader.grants.is_some() && now == 0) {
                sender.pipe.clear();
                pongs.push_back((MS, name));
            }
        }
        now += STEP_NS;
        sender.waiting = (sender.waiting + offered / 4000).min(offered.max(90));
        while let Some((_, time)) = pongs.pop_front_if(|(at, _)| *at <= now) {
            sender.window.on_pong(time, now);
        }
        if now > subscribed {
            sender.fill(now);
        }
        if now >= sender.wrote + HEARTBEAT_AFTER_NS {
            sender.control(HEARTBEAT, now);
        }
        sender.window.tick(now);
        let in_flight = sender.window.in_flight();
        outcome.was_tight |= sender.window.is_tight();
        outcome.most_in_flight = outcome.most_in_flight.max(in_flight);
        if reader.is_away(now) {
            outcome.stalled_in_flight = outcome.stalled_in_flight.max(in_flight);
            continue;
        }
        // Each read of a timer has another lateness, in steps of the loop.
        let late_ns = now / reader.every_ns * 7919 % (reader.late_ns * 4 / MS + 1) * STEP_NS;
        let reads = if reader.busy.0 > 0 { now >= reads_at } else { now % reader.every_ns == late_ns };
        if !reads {
            continue;
        }
        let (per_mille, most_ns) = reader.busy;
        let busy_ns = if dice.below(1_000) < per_mille { dice.below(most_ns) } else { 0 };
        reads_at = (now + 1).next_multiple_of(reader.every_ns) + busy_ns;
        let mut credit = reader.bytes;
        could += reader.bytes;
        while credit > 0
            && let Some(write) = sender.pipe.front_mut().filter(|write| write.arrives <= now)
        {
            let taken = credit.min(write.bytes);
            credit -= taken;
            write.bytes -= taken;
            read += taken;
            // The length of the greeting and of the grants is nobody's choice, and they are no data.
            if write.written > counts_from {
                outcome.ages.extend(std::iter::repeat_n((now - write.written) / MS, taken));
            }
            if write.bytes == 0
                && let Some(write) = sender.pipe.pop_front()
                && let Some(name) = write.ping
            {
                let is_detour = now > 3_000 * MS && now % (700 * MS) > 20 * MS;
                let detour_ns = if is_detour { reader.detour_ns } else { 0 };
                pongs.push_back((now + reader.path_ns + detour_ns, name));
            }
        }
    }
    outcome.ages.sort_unstable();
    outcome.used = read as f64 / could as f64;
    outcome
}
