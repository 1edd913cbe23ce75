//! The freshness window: how many bytes a session may have under way, decided by when the client confirms them.
//!
//! A slow reader's data ages in kernels, where no sender reaches it. What helps is to send no more than the reader takes
//! within the freshness target. A WebSocket ping behind the data is answered only when what came before it was read, so
//! its pong is a receipt with any standard client; programs with an SDK send receipts for what the *program* took.
//!
//! A receipt is late for one of two reasons. A slow reader has a queue before it: with less under way it is shorter, and
//! the rate stays. A path takes its time, however little is sent: with less under way the delay stays, and the rate falls.
//! Nothing but less or more under way tells one from the other, so the window never holds back on a delay alone:
//! - **Open.** The window grows while it is used. A delay changes nothing as long as nothing is held back.
//! - **In doubt**, when the window is full and receipts are late. It is tried which of the two it is (`window/doubt.rs`): with less
//!   where a stretch of data came back longer than it was sent, with more where it did not. Where the delay does not
//!   follow, it is the path's: the session is open again, with at least twice the window. A reader that stood still for
//!   once is not taken for a path (`Course::is_pause`).
//! - **Tight**, when the delay followed. The window is rate × span: the highest rate of the last two seconds, times 0.6 of
//!   the freshness target, or 1.25 of the path's delay where that is longer. It never shrinks to less than half without
//!   another proof that this makes the delay shorter. A quarter more is tried now and then, and again as long as the rate
//!   follows. It opens again when the session was not held back for a while.

mod course;
mod doubt;
mod known;
mod mark;
mod state;
mod work;

use std::sync::Arc;

use doubt::Receipt;
use mark::Mark;
use state::{LEAST, PATH_NS, Trust};
use work::AtWork;

pub use state::{Freshness, Window};

/// Probes of one session that may be unanswered. More would say nothing more.
const MARKS_MAX: usize = 64;
/// A receipt for a ping that is older than this does not count.
const RECEIPT_AGE_MAX_NS: u64 = 60_000_000_000;
/// Probes whose receipts are not charged as commands, at most.
const RECEIPTS_OWED_MAX: u16 = 256;
/// Fewest bytes worth a probe of a session that keeps up.
const PROBE_BYTES: usize = 1024;
/// Less than this between two probes is a light load.
const LIGHT_BYTES: usize = 8 << 10;
/// A window beyond this is confirmed in fewer parts: each is worth its receipt.
const LARGE_BYTES: usize = 8 << 10;
/// Most bytes without a probe.
const PROBE_BYTES_MAX: usize = 64 << 10;
/// Window of a client that does not answer pings: what its kernel has not confirmed.
const KERNEL_BYTES: usize = 64 << 10;
/// A write should carry at least this, where there is room for that.
const STEP_MAX: usize = 1400;
/// Most bytes under way of this and the last stretch of time are what a session needs.
const USE_NS: u64 = 10_000_000_000;
/// Control messages up to this size, sent though the window was full, do not fill it.
const ASIDE_BYTES: usize = 256;
/// First window of a session on a long path, at most.
const FIRST_BYTES_MAX: usize = 64 << 10;

impl Window {
    /// Returns the window of a session that begins now.
    pub fn new(freshness: impl Into<Arc<Freshness>>, now: u64) -> Self {
        let freshness = freshness.into();
        Self {
            sent: 0,
            confirmed: 0,
            limit: freshness.first_bytes.max(LEAST),
            has_target: freshness.target_ns > 0,
            freshness,
            work: AtWork::default(),
            aside: 0,
            unprobed_aside: 0,
            path_ns: 0,
            path_until: 0,
            path_proofs: 0,
            delays: [0; 2],
            used: [0; 2],
            used_at: now,
            is_tight: false,
            delay_ns: u64::MAX,
            trust: Trust::Unknown,
            probed_at: now,
            pongs_owed: 0,
            probed: 0,
            receipts_owed: 0,
            progress_at: now,
        }
    }

    /// Returns the bytes that were handed over and not confirmed.
    pub fn in_flight(&self) -> usize {
        (self.sent - self.confirmed) as usize
    }

    /// Returns the bytes that may be under way.
    pub fn limit(&self) -> usize {
        if self.has_target { self.limit } else { usize::MAX }
    }

    /// Returns the bytes that may be written now. Above 0 one record always goes, whatever its size.
    pub fn room(&self) -> usize {
        let counted = self.in_flight().saturating_sub(self.aside as usize);
        let room = self.limit().saturating_sub(counted);
        if counted == 0 || room >= self.step() { room.max(1) } else { 0 }
    }

    /// Returns whether anything may be written that can wait.
    pub fn is_open(&self) -> bool {
        self.room() > 0
    }

    /// Returns whether receipts came late, so that the bytes in flight are a backlog.
    pub fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// Returns when the client last made progress.
    pub fn progress_at(&self) -> u64 {
        self.progress_at
    }

    /// Returns the bytes of one message, so that a probe behind each confirms the window in parts.
    pub fn message_bytes(&self) -> usize {
        let parts = if self.limit() > LARGE_BYTES { 8 } else { 16 };
        (self.limit() / parts).clamp(256, PROBE_BYTES_MAX)
    }

    fn step(&self) -> usize {
        (self.limit / 8).clamp(1, STEP_MAX)
    }

    /// Notes that bytes were handed over.
    pub fn on_sent(&mut self, bytes: usize, now: u64) {
        if bytes > 0 && (self.in_flight() == 0 || self.work.is_none()) {
            self.work.throughput.begin(self.confirmed, now);
        }
        self.hand_over(bytes, now);
    }

    fn hand_over(&mut self, bytes: usize, now: u64) {
        if self.in_flight() == 0 && bytes > 0 {
            self.progress_at = now;
        }
        self.sent += bytes as u64;
    }

    /// Notes that a message without data was handed over. A short one that could not wait does not count against the window:
    /// where nothing else leaves, heartbeats alone would keep it full.
    pub fn on_control(&mut self, bytes: usize, now: u64) {
        if bytes > 0 && bytes <= ASIDE_BYTES && !self.is_open() {
            self.unprobed_aside = self.unprobed_aside.saturating_add(bytes as u16);
            self.aside += bytes as u32;
        }
        // A heartbeat does not wake a session: how fast its client takes a few bytes says nothing.
        if self.work.is_none() { self.hand_over(bytes, now) } else { self.on_sent(bytes, now) }
    }

    /// Returns whether a ping should follow what was just handed over.
    pub fn wants_probe(&self, now: u64) -> bool {
        if !self.has_target || self.work.marks.len() >= MARKS_MAX || self.trust == Trust::Kernel {
            return false;
        }
        let unprobed = (self.sent - self.work.marks.back().map_or(self.confirmed, |mark| mark.sent)) as usize;
        if unprobed == 0 {
            return false;
        }
        let is_filling = self.in_flight() >= self.limit / 2 || self.trust == Trust::Unknown;
        // The first stands behind the greeting: it measures the path before there is anything to queue on it.
        let is_first = self.trust == Trust::Unknown && self.work.marks.is_empty();
        is_first
            || !self.is_open()
            || ((is_filling || self.is_tight) && unprobed >= self.message_bytes())
            || unprobed >= PROBE_BYTES_MAX
            || ((unprobed >= PROBE_BYTES || self.is_tight)
                && now.saturating_sub(self.probed_at) >= self.probe_every_ns(unprobed))
    }

    /// Returns the time between two probes where little is sent. A receipt costs as much as a write: a session that gets little
    /// and confirmed it at once is probed less often.
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

    /// Returns the time that names the message that is sent now. It is later than that of every probe before, and even; a
    /// probe's is odd. So a receipt that names an odd time comes from a client that has seen the ping.
    pub fn stamp(&self, now: u64) -> u64 {
        now.max(self.probed + 1).next_multiple_of(2)
    }

    /// Notes that a ping of `bytes` goes out behind everything else. Returns the time that names it.
    pub fn probe(&mut self, bytes: usize, now: u64) -> u64 {
        let time = self.stamp(now) + 1;
        self.probed = time;
        self.receipts_owed = (self.receipts_owed + 1).min(RECEIPTS_OWED_MAX);
        self.hand_over(bytes, now);
        if self.work.is_none() {
            self.work.throughput.begin(self.confirmed, now);
        }
        if self.work.marks.len() < MARKS_MAX {
            let (in_flight, is_full) = (self.in_flight() as u32, !self.is_open());
            let is_used = self.in_flight() >= self.limit / 2;
            let aside = std::mem::take(&mut self.unprobed_aside);
            let marks = &mut self.work.marks;
            if marks.len() == marks.capacity() {
                // Most sessions have one at a time, so the room begins with one.
                marks.reserve_exact(marks.len().max(1));
            }
            marks.push_back(Mark { time, sent: self.sent, in_flight, aside, is_full, is_used });
        }
        self.probed_at = now;
        self.pongs_owed = self.pongs_owed.saturating_add(1);
        time
    }

    /// Notes a pong with the time that named its ping. Returns whether the client owed us a pong.
    pub fn on_pong(&mut self, time: u64, now: u64) -> bool {
        let is_owed = self.pongs_owed > 0;
        self.pongs_owed = self.pongs_owed.saturating_sub(1);
        if !self.work.marks.iter().any(|mark| mark.time == time) {
            return is_owed;
        }
        self.work.ponged_to = self.work.ponged_to.max(time);
        if self.trust == Trust::Receipts {
            // These say more.
            if self.work.receiptless_since == 0 {
                self.work.receiptless_since = now;
            }
            return is_owed;
        }
        self.greet(time, now);
        self.trust = Trust::Pongs;
        self.confirm(time, now);
        is_owed
    }

    /// Notes that the client's program took everything that was sent up to a time. Returns whether the client owed us that.
    ///
    /// Only a client that names a ping's time in a receipt is ruled by its receipts from then on: it answers as often as it
    /// is asked. One that sends them at times of its own would hold its window shut in between; its pongs count.
    pub fn on_receipt(&mut self, sent_time: u64, now: u64) -> bool {
        let is_recent = sent_time <= self.probed && now.saturating_sub(sent_time) < RECEIPT_AGE_MAX_NS;
        let names_ping = sent_time % 2 == 1 && is_recent;
        if names_ping {
            self.greet(sent_time, now);
            self.trust = Trust::Receipts;
            if let Some(work) = self.work.made() {
                work.receiptless_since = 0;
            }
        } else if self.trust != Trust::Receipts {
            return false;
        }
        // The probe behind a message is one later than the message.
        self.confirm(sent_time.saturating_add(1), now);
        let is_owed = names_ping && self.receipts_owed > 0;
        self.receipts_owed -= u16::from(is_owed);
        is_owed
    }

    /// Returns whether only the kernel can say what the client took.
    pub fn wants_kernel_numbers(&self) -> bool {
        self.trust == Trust::Kernel && self.in_flight() > 0
    }

    /// Notes the bytes that the client's kernel has not confirmed.
    pub fn on_unacknowledged(&mut self, bytes: usize, now: u64) {
        let confirmed = self.sent.saturating_sub(bytes as u64);
        if self.trust == Trust::Kernel && confirmed > self.confirmed {
            self.confirmed = confirmed;
            self.progress_at = now;
            self.work.throughput.note(confirmed, now);
            // A path of this length is filled; for longer the kernel of a reader that stopped is not filled either.
            let filled = self.work.throughput.rate() * (4 * self.freshness.unanswered_ns) as f64 / 1e9;
            self.limit = (filled as usize).clamp(KERNEL_BYTES, self.freshness.max_bytes.max(KERNEL_BYTES));
        }
    }

    /// Returns whether time alone changes nothing: [`Window::tick`], [`Window::relax`] and the kernel's numbers would do nothing.
    pub fn is_quiet(&self) -> bool {
        let is_used =
            self.work.course.as_ref().is_some_and(|course| course.check.is_some() || course.slow.is_some());
        self.work.marks.is_empty()
            && !self.is_tight
            && !is_used
            && self.work.receiptless_since == 0
            && !self.wants_kernel_numbers()
            && self.is_open()
    }

    /// Gives up, by the clock, waiting for receipts from a client that never sent one.
    pub fn tick(&mut self, now: u64) {
        let waits_ns = self.work.marks.front().map_or(0, |mark| now.saturating_sub(mark.time));
        if self.trust == Trust::Unknown && waits_ns > self.freshness.unanswered_ns {
            self.trust = Trust::Kernel;
            self.is_tight = false;
            self.limit = KERNEL_BYTES;
        } else if self.trust == Trust::Receipts
            && self.work.receiptless_since > 0
            && now.saturating_sub(self.work.receiptless_since) > self.freshness.unanswered_ns
        {
            // It sent a receipt once and sends none any more, or its program stands still: the next receipt tells.
            self.work.receiptless_since = 0;
            self.trust = Trust::Pongs;
            self.confirm(self.work.ponged_to, now);
        } else if matches!(self.trust, Trust::Pongs | Trust::Receipts)
            && waits_ns > self.late_ns().max(self.freshness.target_ns)
            && !self.is_open()
        {
            self.is_tight = true;
        }
    }

    /// Opens the window of a session that was not held back for a while.
    pub fn relax(&mut self) {
        self.is_tight = false;
        if let Some(course) = self.work.made().and_then(|work| work.course.as_mut()) {
            (course.check, course.slow) = (None, None);
        }
    }

    /// Gives back the memory that a session at rest does not need. Where half of the window was used once, or the kernel's numbers
    /// count, it is kept.
    pub fn release(&mut self) {
        if self.is_quiet() && self.work.course.is_none() && self.trust != Trust::Kernel {
            self.work.forget();
        }
    }

    /// Takes the delay of the path from the first receipt: its ping met nothing of ours on its way.
    fn greet(&mut self, time: u64, now: u64) {
        if matches!(self.trust, Trust::Unknown | Trust::Kernel) {
            let delay = now.saturating_sub(time);
            (self.path_ns, self.path_until) = (delay, now + PATH_NS);
            // As many bytes in the same time as on a short path.
            let first = self.freshness.first_bytes.max(LEAST);
            let times = delay as f64 / (self.freshness.target_ns / 2).max(1) as f64;
            self.limit = ((first as f64 * times) as usize).clamp(first, FIRST_BYTES_MAX.max(first));
            self.used[0] = (self.limit / 2) as u32;
        }
    }

    fn confirm(&mut self, time: u64, now: u64) {
        let (mut answered, mut probes) = (None, 0);
        while let Some(mark) = self.work.made().and_then(|w| w.marks.pop_front_if(|mark| mark.time <= time)) {
            probes += 1;
            self.aside = self.aside.saturating_sub(mark.aside.into());
            answered = Some(mark);
        }
        let Some(mark) = answered.filter(|mark| mark.sent > self.confirmed) else { return };
        let bytes = (mark.sent - self.confirmed) as usize;
        let gap = now.saturating_sub(self.progress_at);
        self.confirmed = mark.sent;
        self.progress_at = now;
        self.work.throughput.note(self.confirmed, now);
        let delay = now.saturating_sub(mark.time);
        self.delay_ns = delay;
        self.note_use(&mark, delay, now);
        if mark.is_used && self.work.course.is_none() {
            self.work.course = Some(Box::default());
        }
        // More than the window takes, or one message that is none of its parts. On a long path a round is too dear for that.
        let is_whole = probes == 1 && bytes > 2 * self.message_bytes().max(PROBE_BYTES / 2);
        let is_long = mark.in_flight as usize > self.limit / 4 * 5
            || (is_whole && delay <= 2 * self.freshness.target_ns);
        // Taken out while it is worked on: `Window` has the rest.
        if let Some(mut course) = self.work.course.take() {
            if gap >= self.freshness.target_ns / 32 {
                course.note_interval(gap);
            }
            // Where what came takes most of that time at this rate, it was no pause.
            if gap >= self.freshness.target_ns
                && (bytes as f64) * 2e9 < self.work.throughput.rate() * gap as f64
            {
                course.note_gap(gap);
            }
            if gap >= self.freshness.target_ns {
                course.note_silence(gap, now);
            }
            let receipt = Receipt { delay, is_pause: course.is_pause(mark.time, delay, self.path()) };
            let ended = course.round.note(&mark, self.probed, is_long, now);
            self.confirm_path(&mut course, &mark, delay);
            if let Some(verdict) = course.check.as_mut().and_then(|check| check.note(&mark, receipt)) {
                self.conclude(&mut course, verdict, delay, now);
            } else if course.check.is_none() {
                if course.slow.is_some() {
                    self.follow(&mut course, &mark, delay, now);
                } else {
                    if is_long && delay > self.late_ns() {
                        course.is_wary = true;
                    }
                    if mark.is_used && delay <= self.late_ns() && !course.is_wary {
                        self.grow(course.shape, bytes, delay);
                    }
                    if let Some(round) = ended {
                        self.judge(&mut course, round, mark.in_flight as usize, receipt);
                    }
                }
            }
            self.work.course = Some(course);
        }
        self.limit = self.limit.clamp(LEAST, self.freshness.max_bytes.max(LEAST));
    }

    fn note_use(&mut self, mark: &Mark, delay: u64, now: u64) {
        if now.saturating_sub(self.used_at) > USE_NS.max(2 * self.delays[0]) {
            (self.used, self.delays, self.used_at) = ([0, self.used[0]], [0, self.delays[0]], now);
            if let Some(course) = self.work.made().and_then(|work| work.course.as_mut()) {
                course.gaps = [0, 0, course.gaps[1]];
            }
        }
        self.used[0] = self.used[0].max(mark.in_flight);
        self.delays[0] = self.delays[0].max(delay);
    }
}
