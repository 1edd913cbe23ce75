//! A session in a closed loop, in virtual time: a sender with symbols, a path, and a reader; the window on or off.
//!
//! The sender does what the engine does: it conflates, writes while the window is open, probes, and sends heartbeats where it has
//! been silent. What counts is what the reader sees: at each moment, how old the newest value of each symbol is that it
//! was shown.

use std::collections::VecDeque;

use super::way::{Dice, Way};
use tickwire_core::engine::{Freshness, Window};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
const PING: usize = 10;
const RECORD: usize = 45;
/// Head of a message and its time.
const OVERHEAD: usize = 14;
const HEARTBEAT: usize = 60;
/// Both kernels hold this much before a write does not go through.
const KERNELS: usize = 4 << 20;
/// The time between two looks at the ages.
const LOOK_NS: u64 = 50 * MS;
/// As `EngineLimits::prompt_after_ns`.
const PROMPT_AFTER_NS: u64 = SECOND;

/// The way in which a reader takes bytes, and its receipts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// So many each time; 0: everything that is there.
    pub(crate) bytes: usize,
    pub(crate) every_ns: u64,
    /// It takes nothing in this time.
    pub(crate) stall: (u64, u64),
    /// It reads at once, and its program takes so many records a second of what was read; 0: all.
    pub(crate) program: u64,
    pub(crate) answers: Answers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    Pongs,
    /// The program names pings, as the SDK does; beside pongs.
    Receipts,
    /// A receipt each second for the newest message; beside pongs.
    OwnTimes,
    Nothing,
}

impl Reader {
    pub(crate) const FAST: Self =
        Self { bytes: 0, every_ns: MS, stall: (0, 0), program: 0, answers: Answers::Pongs };

    pub(crate) fn bursty(bytes: usize, every_ns: u64) -> Self {
        Self { bytes, every_ns, ..Self::FAST }
    }

    pub(crate) fn steady(bytes_per_second: usize) -> Self {
        Self::bursty(bytes_per_second / 1000, MS)
    }
}

/// The data that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) symbols: usize,
    /// The updates of all symbols together.
    pub(crate) updates_per_second: u64,
    /// Every record is sent, in order.
    pub(crate) is_lossless: bool,
}

/// The values that the reader saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Milliseconds, ascending.
    pub(crate) ages: Vec<u64>,
    pub(crate) records: u64,
    pub(crate) symbols: usize,
}

impl Seen {
    pub(crate) fn age(&self, quantile: f64) -> u64 {
        self.ages.get(((self.ages.len() - 1) as f64 * quantile) as usize).copied().unwrap_or(0)
    }
}

enum Piece {
    /// Symbol and event time.
    Record(usize, u64),
    Ping(u64),
    /// The rest of a message; its time.
    Rest(u64),
}

struct Write {
    arrives: u64,
    bytes: usize,
    piece: Piece,
}

pub(crate) struct Run {
    now: u64,
    window: Window,
    is_on: bool,
    is_greeted: bool,
    from: u64,
    way: Way,
    reader: Reader,
    offer: Offer,
    dice: Dice,
    /// The records that wait at the sender: symbols for conflated ones, event times for lossless ones.
    dirty: VecDeque<usize>,
    is_dirty: Vec<bool>,
    newest: Vec<u64>,
    lossless: VecDeque<(usize, u64)>,
    pipe: VecDeque<Write>,
    piped: usize,
    bottleneck_free: u64,
    arrives: u64,
    wrote: u64,
    published: u64,
    /// Answers on their way: when they arrive, the time, and whether it is a receipt.
    receipts: VecDeque<(u64, u64, bool)>,
    receipts_arrive: u64,
    /// Read, and not taken by the program.
    backlog: VecDeque<Piece>,
    program_credit: u64,
    last_message: u64,
    receipt_at: u64,
    shown: Vec<u64>,
    held_since: Option<u64>,
    eased_at: u64,
    seen: Seen,
}

impl Run {
    /// Runs for a time; ages count from `from` on.
    pub(crate) fn of(
        freshness: Freshness,
        way: Way,
        reader: Reader,
        offer: Offer,
        seed: u64,
        (from, until): (u64, u64),
    ) -> Seen {
        let mut run = Self {
            now: 0,
            window: Window::new(freshness, 0),
            is_on: freshness.target_ns > 0,
            is_greeted: false,
            from,
            way,
            reader,
            offer,
            dice: Dice::new(seed),
            dirty: VecDeque::new(),
            is_dirty: vec![false; offer.symbols],
            newest: vec![0; offer.symbols],
            lossless: VecDeque::new(),
            pipe: VecDeque::new(),
            piped: 0,
            bottleneck_free: 0,
            arrives: 0,
            wrote: 0,
            published: 0,
            receipts: VecDeque::new(),
            receipts_arrive: 0,
            backlog: VecDeque::new(),
            program_credit: 0,
            last_message: 0,
            receipt_at: 0,
            shown: vec![0; offer.symbols],
            held_since: None,
            eased_at: 0,
            seen: Seen::default(),
        };
        run.open();
        while run.now < until {
            run.step();
        }
        run.seen.ages.sort_unstable();
        run.seen.symbols = run.shown.iter().filter(|time| **time > 0).count();
        run.seen
    }

    /// Sends the greeting; when the client has it, it subscribes, and gets its grants and the states.
    fn open(&mut self) {
        self.send_control(120);
        self.probe();
    }

    fn step(&mut self) {
        let before = self.now;
        self.now += MS;
        self.publish();
        self.take_receipts();
        if !self.is_greeted && self.last_message > 0 {
            // The grants, and a state for each.
            self.is_greeted = true;
            self.send_control(50 * self.offer.symbols);
            self.probe();
            for symbol in 0..self.offer.symbols {
                self.mark(symbol);
            }
        }
        if self.is_greeted {
            self.fill();
        }
        if self.now / (50 * MS) != before / (50 * MS) {
            self.tick();
        }
        self.read();
        if self.is_greeted && self.now >= self.from && self.now.is_multiple_of(LOOK_NS) {
            self.look();
        }
    }

    fn publish(&mut self) {
        let due = self.now * self.offer.updates_per_second / SECOND;
        while self.published < due {
            let symbol = (self.published % self.offer.symbols as u64) as usize;
            self.published += 1;
            self.newest[symbol] = self.now;
            if self.is_greeted {
                if self.offer.is_lossless {
                    self.lossless.push_back((symbol, self.now));
                } else {
                    self.mark(symbol);
                }
            }
        }
    }

    fn mark(&mut self, symbol: usize) {
        if !self.is_dirty[symbol] {
            self.is_dirty[symbol] = true;
            self.dirty.push_back(symbol);
        }
    }

    fn is_owing(&self) -> bool {
        !self.dirty.is_empty() || !self.lossless.is_empty()
    }

    fn fill(&mut self) {
        while self.window.is_open() && self.is_owing() && self.piped < KERNELS {
            let room = self.window.room().min(self.window.message_bytes());
            let mut bytes = 0;
            while bytes < room {
                let (symbol, time) = if let Some(record) = self.lossless.pop_front() {
                    record
                } else if let Some(symbol) = self.dirty.pop_front() {
                    self.is_dirty[symbol] = false;
                    (symbol, self.newest[symbol])
                } else {
                    break;
                };
                self.put(RECORD, Piece::Record(symbol, time));
                bytes += RECORD;
            }
            let time = self.window.stamp(self.now);
            self.put(OVERHEAD, Piece::Rest(time));
            self.window.on_sent(bytes + OVERHEAD, self.now);
            self.wrote = self.now;
            self.probe();
        }
        self.note_held();
    }

    fn note_held(&mut self) {
        if !self.is_owing() {
            if self.held_since.take().is_some() {
                self.eased_at = self.now;
            }
        } else if !self.window.is_open() || self.piped >= KERNELS {
            self.held_since.get_or_insert(self.now);
        }
    }

    fn probe(&mut self) {
        if self.window.wants_probe(self.now) {
            let name = self.window.probe(PING, self.now);
            self.put(PING, Piece::Ping(name));
        }
    }

    fn send_control(&mut self, bytes: usize) {
        let time = self.window.stamp(self.now);
        self.put(bytes, Piece::Rest(time));
        self.window.on_sent(bytes, self.now);
        self.wrote = self.now;
    }

    fn put(&mut self, bytes: usize, piece: Piece) {
        let mut leaves = self.now;
        if let Some(service) = (bytes as u64 * SECOND).checked_div(self.way.rate) {
            self.bottleneck_free = self.bottleneck_free.max(self.now) + service;
            leaves = self.bottleneck_free;
        }
        let path = self.way.at(self.now).0;
        self.arrives = self.arrives.max(path.arrival(leaves, &mut self.dice));
        self.piped += bytes;
        self.pipe.push_back(Write { arrives: self.arrives, bytes, piece });
    }

    fn tick(&mut self) {
        self.window.tick(self.now);
        self.note_held();
        if self.held_since.is_none() && self.now.saturating_sub(self.eased_at) > PROMPT_AFTER_NS {
            self.window.relax();
        }
        if self.window.wants_kernel_numbers() {
            // Its kernel has what has arrived.
            let under_way = self.pipe.iter().rev().take_while(|write| write.arrives > self.now);
            let bytes = under_way.map(|write| write.bytes).sum();
            self.window.on_unacknowledged(bytes, self.now);
        }
        if self.now.saturating_sub(self.wrote) >= SECOND {
            self.heartbeat();
        }
    }

    fn heartbeat(&mut self) {
        let time = self.window.stamp(self.now);
        self.put(HEARTBEAT, Piece::Rest(time));
        self.window.on_control(HEARTBEAT, self.now);
        self.wrote = self.now;
        self.probe();
    }

    fn answer(&mut self, time: u64, is_receipt: bool) {
        let path = self.way.at(self.now).1;
        self.receipts_arrive = self.receipts_arrive.max(path.arrival(self.now, &mut self.dice));
        self.receipts.push_back((self.receipts_arrive, time, is_receipt));
    }

    fn take_receipts(&mut self) {
        while let Some((_, time, is_receipt)) = self.receipts.pop_front_if(|(at, ..)| *at <= self.now) {
            if is_receipt {
                self.window.on_receipt(time, self.now);
            } else {
                self.window.on_pong(time, self.now);
            }
        }
    }

    fn read(&mut self) {
        let Reader { bytes, every_ns, stall, .. } = self.reader;
        let is_stalled = self.now >= stall.0 && self.now < stall.1;
        if self.now.is_multiple_of(every_ns) && !is_stalled {
            let mut credit = if bytes == 0 { usize::MAX } else { bytes };
            while credit > 0
                && let Some(write) = self.pipe.front_mut().filter(|write| write.arrives <= self.now)
            {
                let taken = credit.min(write.bytes);
                credit -= taken;
                write.bytes -= taken;
                self.piped -= taken;
                if write.bytes > 0 {
                    break;
                }
                if let Some(write) = self.pipe.pop_front() {
                    self.has_read(write.piece);
                }
            }
        }
        self.work();
        if self.reader.answers == Answers::OwnTimes && self.now >= self.receipt_at && self.is_greeted {
            self.receipt_at = self.now + SECOND;
            self.answer(self.last_message, true);
        }
    }

    fn has_read(&mut self, piece: Piece) {
        if let Piece::Ping(name) = piece
            && self.reader.answers != Answers::Nothing
        {
            self.answer(name, false);
        }
        if let Piece::Rest(time) = piece {
            self.last_message = time;
        }
        self.backlog.push_back(piece);
    }

    fn work(&mut self) {
        self.program_credit += self.reader.program;
        while let Some(piece) = self.backlog.front() {
            if self.reader.program > 0 && matches!(piece, Piece::Record(..)) {
                if self.program_credit < 1_000 {
                    return;
                }
                self.program_credit -= 1_000;
            }
            match self.backlog.pop_front() {
                Some(Piece::Record(symbol, time)) => {
                    self.shown[symbol] = self.shown[symbol].max(time);
                    // What a reader that stood still finds is old, with the window off: that is no gain.
                    let Reader { stall, bytes, .. } = self.reader;
                    // A slow one needs as long to read that as it stood still.
                    let catches_up_for = 2 * SECOND + if bytes > 0 { stall.1 - stall.0 } else { 0 };
                    let is_catching_up = self.now >= stall.0 && self.now < stall.1 + catches_up_for;
                    self.seen.records += u64::from(self.now >= self.from && !is_catching_up);
                }
                Some(Piece::Ping(name)) if self.reader.answers == Answers::Receipts => {
                    self.answer(name, true);
                }
                _ => {}
            }
        }
        // A program that had nothing to do has saved no time.
        self.program_credit = self.program_credit.min(1_000);
    }

    fn look(&mut self) {
        self.seen.ages.extend(self.shown.iter().map(|shown| (self.now - shown) / MS));
        assert!(self.is_on || self.window.is_open());
    }
}
