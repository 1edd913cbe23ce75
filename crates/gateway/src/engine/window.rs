//! The freshness window: how many bytes a session may have under way, decided by when the client confirms them.
//!
//! A slow reader's data ages in kernels, where no sender reaches it. What helps is to send no more than the reader takes
//! within the freshness target. A WebSocket ping behind the data is answered only when what came before it was read, so
//! its pong is a receipt with any standard client; programs with an SDK send receipts for what the *program* took.
//!
//! Each receipt gives a delay (from the write to the receipt) and a count of bytes. Two modes follow from them:
//! - **Open.** The window grows by what was confirmed while it is used, as TCP's slow start does, and shrinks towards its
//!   first size while it is not: never more than a session has proven to take.
//! - **Tight**, from the first late receipt on. The window is rate × span: the highest rate of the last two seconds,
//!   times 0.6 of the freshness target, or 1.25 of the shortest delay of the path where that is longer. Whether a long
//!   shortest delay is the path or our own queue is found out by draining it every ten seconds. A quarter more is tried
//!   now and then, and again as long as the rate follows. It opens again when the session was not held back
//!   for a while.
//!
//! The scheme is BBR's (rate × round trip, with a drain to measure the latter; Cardwell et al., ACM Queue 14-5, 2016)
//! applied to a reader instead of a link.

use std::collections::VecDeque;

use super::throughput::{RATE_SPAN_NS, Throughput};

/// Probes of one session that may be unanswered. More would say nothing more.
const MARKS_MAX: usize = 64;
/// Who comes to a ping later than this does not answer it any more.
const RECEIPT_AGE_MAX_NS: u64 = 60_000_000_000;
/// Probes whose receipts are not charged as commands, at most.
const RECEIPTS_OWED_MAX: u32 = 256;
/// Smallest window, in bytes: one record always goes.
const LEAST: usize = 64;
/// Fewest bytes worth a probe of a session that keeps up.
const PROBE_BYTES: usize = 1024;
/// Less than this between two probes is a light load.
const LIGHT_BYTES: usize = 8 << 10;
/// A window beyond this is confirmed in fewer parts: each is worth its answer.
const LARGE_BYTES: usize = 8 << 10;
/// Most bytes without a probe.
const PROBE_BYTES_MAX: usize = 64 << 10;
/// Window of a client that does not answer pings: what its kernel has not confirmed.
const KERNEL_BYTES: usize = 64 << 10;
/// What a write should carry at least, where there is room for that.
const STEP_MAX: usize = 1400;
/// How often the shortest delay is measured anew.
const FLOOR_NS: u64 = 10_000_000_000;
/// Legs with the proven window before a larger one is tried.
const TRIAL_EVERY: u8 = 3;
/// Bytes that say something about a rate.
const TRIAL_BYTES: u64 = 4096;

/// What the window is told about freshness. Nanoseconds, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// How old data may be when it is read; 0: no window.
    pub(crate) target_ns: u64,
    pub(crate) first_bytes: usize,
    pub(crate) max_bytes: usize,
    /// A client that answered nothing for so long does not answer pings.
    pub(crate) unanswered_ns: u64,
}

/// A probe that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Mark {
    time: u64,
    /// Bytes sent up to and with it.
    sent: u64,
    /// Under way at that time.
    in_flight: usize,
}

/// Whether a larger window brings more. Legs of so many bytes are measured one after another; most with the window that
/// is proven, some with a larger one.
#[derive(Clone, Copy, Debug, Default)]
struct Trials {
    /// When the leg may begin, and since when it is measured; 0 before.
    begins: u64,
    since: u64,
    /// Confirmed when it began.
    confirmed: u64,
    /// The window that is tried; 0 in a usual leg.
    limit: usize,
    /// Usual legs since the last trial.
    usual: u8,
    /// Bytes per second of the leg before.
    rate: f64,
}

/// By what bytes are confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing came yet.
    Unknown,
    Pongs,
    /// The client says what its program took: pongs say less.
    Receipts,
    /// It answers nothing; its kernel does.
    Kernel,
}

/// See the module. In order of use, as in the session that it is part of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Window {
    sent: u64,
    confirmed: u64,
    limit: usize,
    is_tight: bool,
    trust: Trust,
    freshness: Freshness,
    marks: VecDeque<Mark>,
    probed_at: u64,
    /// Time of the newest probe.
    probed: u64,
    /// Of the last answer.
    delay_ns: u64,
    /// Pings that were not answered, whatever that answer says.
    pongs_owed: u32,
    /// Probes that no receipt answered.
    receipts_owed: u32,
    throughput: Throughput,
    trials: Trials,
    /// Shortest delay of this stretch and the one before, in nanoseconds; when this one began.
    floors: [u64; 2],
    floor_at: u64,
    /// The shortest delay is to be measured anew, whatever the time.
    is_floor_due: bool,
    /// The queue is being drained since then, to measure the path alone.
    drain: Option<u64>,
    /// Newest probe that a pong came for, whatever counts.
    ponged_to: u64,
    /// When the client last confirmed something, or had nothing to confirm.
    progress_at: u64,
}

impl Window {
    pub(crate) fn new(freshness: Freshness, now: u64) -> Self {
        Self {
            freshness,
            sent: 0,
            confirmed: 0,
            limit: freshness.first_bytes.max(LEAST),
            marks: VecDeque::new(),
            throughput: Throughput::new(now),
            trials: Trials::default(),
            floors: [u64::MAX; 2],
            floor_at: now,
            is_floor_due: false,
            drain: None,
            is_tight: false,
            delay_ns: u64::MAX,
            trust: Trust::Unknown,
            probed_at: now,
            pongs_owed: 0,
            probed: 0,
            receipts_owed: 0,
            ponged_to: 0,
            progress_at: now,
        }
    }

    /// Bytes that were handed over and not confirmed.
    pub(crate) fn in_flight(&self) -> usize {
        (self.sent - self.confirmed) as usize
    }

    /// Bytes that may be under way.
    pub(crate) fn limit(&self) -> usize {
        if self.freshness.target_ns == 0 { usize::MAX } else { self.limit }
    }

    /// Bytes that may be written now. Above 0 one record always goes, whatever its size.
    pub(crate) fn room(&self) -> usize {
        let room = self.limit().saturating_sub(self.in_flight());
        if self.in_flight() == 0 || room >= self.step() { room.max(1) } else { 0 }
    }

    /// Whether anything may be written that can wait.
    pub(crate) fn is_open(&self) -> bool {
        self.room() > 0
    }

    /// Receipts came late: bytes in flight are a backlog.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// When the client last made progress.
    pub(crate) fn progress_at(&self) -> u64 {
        self.progress_at
    }

    /// Bytes of one message, so that a probe behind each confirms the window in parts.
    pub(crate) fn message_bytes(&self) -> usize {
        let parts = if self.limit() > LARGE_BYTES { 8 } else { 16 };
        (self.limit() / parts).clamp(256, PROBE_BYTES_MAX)
    }

    fn step(&self) -> usize {
        (self.limit / 8).clamp(1, STEP_MAX)
    }

    /// Bytes were handed over.
    pub(crate) fn on_sent(&mut self, bytes: usize, now: u64) {
        if self.in_flight() == 0 && bytes > 0 {
            self.progress_at = now;
            self.throughput.begin(self.confirmed, now);
        }
        self.sent += bytes as u64;
    }

    /// Whether a ping should follow what was just handed over.
    pub(crate) fn wants_probe(&self, now: u64) -> bool {
        if self.freshness.target_ns == 0 || self.marks.len() >= MARKS_MAX || self.trust == Trust::Kernel {
            return false;
        }
        let unprobed = (self.sent - self.marks.back().map_or(self.confirmed, |mark| mark.sent)) as usize;
        if unprobed == 0 {
            return false;
        }
        let is_filling = self.in_flight() >= self.limit / 2 || self.trust == Trust::Unknown;
        // The first stands behind the greeting: it measures the path before there is anything to queue on it.
        let is_first = self.trust == Trust::Unknown && self.marks.is_empty();
        is_first
            || !self.is_open()
            || ((is_filling || self.is_tight) && unprobed >= self.message_bytes())
            || unprobed >= PROBE_BYTES_MAX
            || ((unprobed >= PROBE_BYTES || self.is_tight)
                && now.saturating_sub(self.probed_at) >= self.probe_every_ns(unprobed))
    }

    /// How often is asked what there is little of. An answer costs as much as a write: who gets little and answered at once is
    /// asked less often.
    fn probe_every_ns(&self, unprobed: usize) -> u64 {
        let target = self.freshness.target_ns;
        let is_light = unprobed < LIGHT_BYTES;
        if self.is_tight {
            target / 16
        } else if is_light && self.delay_ns < target / 8 {
            target * 2
        } else {
            target / 2
        }
    }

    /// A time that names what is sent now: later than that of every probe before, and even.
    pub(crate) fn stamp(&self, now: u64) -> u64 {
        now.max(self.probed + 1).next_multiple_of(2)
    }

    /// A ping is going out behind everything else: `bytes` long, and named by the returned time.
    pub(crate) fn probe(&mut self, bytes: usize, now: u64) -> u64 {
        // Odd, as no message's: who names it has seen the ping.
        let time = self.stamp(now) + 1;
        self.probed = time;
        self.receipts_owed = (self.receipts_owed + 1).min(RECEIPTS_OWED_MAX);
        self.on_sent(bytes, now);
        if self.marks.len() < MARKS_MAX {
            self.marks.push_back(Mark { time, sent: self.sent, in_flight: self.in_flight() });
        }
        self.probed_at = now;
        self.pongs_owed = self.pongs_owed.saturating_add(1);
        time
    }

    /// A pong came with the time that named its ping. Returns whether the
    /// client owed us a pong.
    pub(crate) fn on_pong(&mut self, time: u64, now: u64) -> bool {
        let is_owed = self.pongs_owed > 0;
        self.pongs_owed = self.pongs_owed.saturating_sub(1);
        if !self.marks.iter().any(|mark| mark.time == time) {
            return is_owed;
        }
        self.ponged_to = self.ponged_to.max(time);
        if self.trust == Trust::Receipts {
            // These say more.
            return is_owed;
        }
        if self.trust == Trust::Kernel {
            // What the kernel confirmed was ahead of the client.
            self.limit = self.freshness.first_bytes.max(LEAST);
        }
        self.trust = Trust::Pongs;
        self.confirm(time, now);
        is_owed
    }

    /// The client's program took everything that was sent up to a time. Returns whether
    /// the client owed us that.
    ///
    /// Only a client that names a ping's time in a receipt is ruled by its receipts from then on: it answers as often as it
    /// is asked. One that sends them at times of its own would hold its window shut in between; its pongs count.
    pub(crate) fn on_receipt(&mut self, sent_time: u64, now: u64) -> bool {
        let is_recent = sent_time <= self.probed && now.saturating_sub(sent_time) < RECEIPT_AGE_MAX_NS;
        let names_ping = sent_time % 2 == 1 && is_recent;
        if names_ping {
            self.trust = Trust::Receipts;
        } else if self.trust != Trust::Receipts {
            return false;
        }
        // The probe behind a message is one later than the message.
        self.confirm(sent_time.saturating_add(1), now);
        let is_owed = names_ping && self.receipts_owed > 0;
        self.receipts_owed -= u32::from(is_owed);
        is_owed
    }

    /// Whether only the kernel can say what the client took.
    pub(crate) fn wants_kernel_numbers(&self) -> bool {
        self.trust == Trust::Kernel && self.in_flight() > 0
    }

    /// Bytes that the client's kernel has not confirmed.
    pub(crate) fn on_unacknowledged(&mut self, bytes: usize, now: u64) {
        let confirmed = self.sent.saturating_sub(bytes as u64);
        if self.trust == Trust::Kernel && confirmed > self.confirmed {
            self.confirmed = confirmed;
            self.progress_at = now;
        }
    }

    /// By the clock: gives up waiting for answers from a client that never gave one.
    pub(crate) fn tick(&mut self, now: u64) {
        let waits_ns = self.marks.front().map_or(0, |mark| now.saturating_sub(mark.time));
        if self.trust == Trust::Unknown && waits_ns > self.freshness.unanswered_ns {
            self.trust = Trust::Kernel;
            self.is_tight = false;
            self.limit = KERNEL_BYTES;
        } else if self.trust == Trust::Receipts
            && waits_ns > self.freshness.unanswered_ns
            && self.marks.front().is_some_and(|mark| mark.time <= self.ponged_to)
        {
            // It sent a receipt once and sends none any more, or its program stands still: the next receipt tells.
            self.trust = Trust::Pongs;
            self.confirm(self.ponged_to, now);
        } else if matches!(self.trust, Trust::Pongs | Trust::Receipts)
            && waits_ns > self.late_ns().max(self.freshness.target_ns)
        {
            self.tighten();
        }
    }

    /// The session was not held back for a while.
    pub(crate) fn relax(&mut self) {
        self.is_tight = false;
        (self.drain, self.trials) = (None, Trials::default());
    }

    fn confirm(&mut self, time: u64, now: u64) {
        let mut answered = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.time <= time) {
            answered = Some(mark);
        }
        let Some(mark) = answered.filter(|mark| mark.sent > self.confirmed) else { return };
        let bytes = (mark.sent - self.confirmed) as usize;
        self.confirmed = mark.sent;
        self.progress_at = now;
        self.throughput.note(self.confirmed, now);
        let delay = now.saturating_sub(mark.time);
        self.note_floor(delay, &mark, now);
        self.adjust(delay, bytes, &mark, now);
    }

    fn adjust(&mut self, delay: u64, bytes: usize, mark: &Mark, now: u64) {
        let target = self.freshness.target_ns;
        let is_used = mark.in_flight >= self.limit / 2;
        self.delay_ns = delay;
        if delay > self.late_ns() {
            self.tighten();
        }
        if self.is_tight && delay > target / 4 {
            self.begin_drain_when_due(now);
            let path = self.floor().saturating_mul(5) / 4;
            let usual = target * 6 / 10;
            let span = if self.drain.is_some() { usual } else { usual.max(path) };
            let proven = (self.throughput.rate() * span as f64 / 1e9) as usize;
            self.limit =
                if self.drain.is_some() { proven } else { self.try_more(proven, delay, is_used, now) };
        } else if is_used {
            self.limit += bytes.min(self.limit);
        } else {
            self.limit -= self.limit.saturating_sub(self.freshness.first_bytes) / 16;
        }
        self.limit = self.limit.clamp(LEAST, self.freshness.max_bytes.max(LEAST));
    }

    /// The window that was proven, or a quarter more for a while: a window that is small because the rate was, and a rate
    /// that is small because the window is, look the same until more is tried. It goes on as long as the rate follows.
    fn try_more(&mut self, proven: usize, delay: u64, is_used: bool, now: u64) -> usize {
        let Trials { since, confirmed, .. } = self.trials;
        if since == 0 || now < self.trials.begins {
            if since == 0 && now >= self.trials.begins {
                (self.trials.since, self.trials.confirmed) = (now, self.confirmed);
            }
            return proven.max(self.trials.limit);
        }
        let bytes = self.confirmed - confirmed;
        if now < since + RATE_SPAN_NS || bytes < TRIAL_BYTES.max(self.limit as u64) {
            return proven.max(self.trials.limit);
        }
        let rate = bytes as f64 * 1e9 / (now - since) as f64;
        let before = self.trials.rate;
        let trials = &mut self.trials;
        (trials.since, trials.begins, trials.rate) = (0, now, rate);
        if trials.limit > 0 {
            (trials.limit, trials.usual) =
                if rate > before * 1.12 { (trials.limit / 4 * 5, 0) } else { (0, 0) };
        } else {
            trials.usual += 1;
            if trials.usual >= TRIAL_EVERY && is_used && delay < self.freshness.target_ns {
                trials.limit = proven / 4 * 5;
            }
        }
        if trials.limit > 0 {
            // What is measured begins when what is sent now has come back.
            trials.begins = now + delay;
        }
        proven.max(trials.limit)
    }

    /// A receipt that takes longer is late.
    fn late_ns(&self) -> u64 {
        let path = if self.floor() == u64::MAX { 0 } else { self.floor() / 2 * 3 };
        path.max(self.freshness.target_ns / 2)
    }

    fn tighten(&mut self) {
        if !self.is_tight {
            self.is_tight = true;
            self.is_floor_due = true;
        }
    }

    /// Shortest delay known.
    fn floor(&self) -> u64 {
        self.floors[0].min(self.floors[1])
    }

    fn note_floor(&mut self, delay: u64, mark: &Mark, now: u64) {
        if let Some(since) = self.drain
            && mark.time >= since
            && mark.in_flight <= self.limit
        {
            // This one met no queue of ours.
            self.drain = None;
            self.floors = [delay, u64::MAX];
            self.floor_at = now;
            // What was held back for this measurement is no sign of a slower client.
            self.throughput.hold(now);
        }
        self.floors[0] = self.floors[0].min(delay);
    }

    fn begin_drain_when_due(&mut self, now: u64) {
        let is_due = self.is_floor_due || now.saturating_sub(self.floor_at) >= FLOOR_NS;
        if !is_due || self.drain.is_some() {
            return;
        }
        self.is_floor_due = false;
        self.floor_at = now;
        if self.floor().saturating_mul(5) / 4 > self.freshness.target_ns * 6 / 10 {
            self.drain = Some(now);
        } else {
            self.floors = [u64::MAX, self.floors[0]];
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
