//! One client connection as the engine sees it: its subscriptions, its outbox and its account of every number.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use smallvec::SmallVec;

use tickwire_wire::{Channel, CloseCode};

use super::account::Account;
use super::decisions::{BlockedBy, Decision};
use super::delivery::DeliveryWindow;
use super::dirty::Dirty;
use super::entry::Stamp;
use super::index::Seen;
use super::seldom::AtNeed;
use super::sub::Sub;
use crate::engine::dialect::Dialect;
use crate::engine::opening::Opening;
use crate::engine::policy::limits::EngineLimits;
use crate::engine::policy::pace::Pace;
use crate::engine::principal::Principal;
use crate::engine::window::{Freshness, Window};
use crate::vocabulary::{Form, TopicId};

/// The progress of the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    No,
    /// The close frame is to be written.
    Asked(CloseCode),
    /// The close frame was handed over: nothing comes after it.
    Told(CloseCode),
}

/// So many subscriptions, at most, are scanned for the one to a topic.
const SCANNED_MAX: usize = 16;

/// The venues whose counts a session has in itself; most see one.
const VENUES_NEAR: usize = 2;

/// The beginning of something that has gone on since, where it does.
pub(crate) type Since = Option<NonZeroU64>;

/// Returns a time in nanoseconds as the beginning of something.
pub(crate) fn at(now: u64) -> NonZeroU64 {
    NonZeroU64::new(now).unwrap_or(NonZeroU64::MIN)
}

/// One session. The fields are in order of use: marking a session for an update and writing to it should meet few
/// cache lines. What a session at rest does not need stands elsewhere, and [`Session::release`] gives it back.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session {
    pub(crate) dirty: Dirty,
    /// Whether it waits in the list of sessions that have something to send.
    pub(crate) queued: bool,
    /// Whether the clock looks at it only when it is due: see [`Looks`](super::looks::Looks).
    pub(crate) is_quiet: bool,
    pub(crate) ending: Ending,
    pub(crate) pace: Pace,
    pub(crate) shedding: bool,
    pub(crate) ping_due: bool,
    /// The things that blocked it since it last got everything.
    pub(crate) blocked_by: BlockedBy,
    pub(crate) delivery: DeliveryWindow,
    pub(crate) subs: Vec<Option<Sub>>,
    /// The time since which its socket is blocked: there is something that the kernel has not taken. In nanoseconds.
    pub(crate) socket_blocked_since: Since,
    /// Bytes of lossless records that wait.
    pub(crate) lossless_bytes: usize,
    /// Bytes handed over that the kernel has not taken yet.
    pub(crate) unsent_bytes: usize,
    /// The form of its records.
    pub(crate) form: Form,
    /// The bytes that wait for it alone, as the budget of all sessions knows them.
    pub(crate) private: usize,
    /// The time since which it is behind: something has waited all the time, for the window or for the kernel.
    pub(crate) behind_since: Since,
    pub(crate) wrote: u64,
    /// Encoded control messages, sent before anything else.
    pub(crate) control: Vec<u8>,
    /// Bytes under way, and how many there may be.
    pub(crate) window: Window,
    /// The dialect that it is spoken with.
    pub(crate) dialect: Box<dyn Dialect>,
    /// The principal that it belongs to.
    pub(crate) principal: Arc<Principal>,
    /// Its name in responses and logs.
    pub(crate) id: Box<str>,
    /// When it was opened.
    pub(crate) opened: u64,
    /// The parts that it seldom has.
    pub(crate) seldom: AtNeed,
    /// Places of its subscriptions by live topic, where it has had more than [`SCANNED_MAX`].
    #[expect(clippy::box_collection, reason = "a map is six words, and most sessions have none")]
    by_topic: Option<Box<HashMap<TopicId, u32>>>,
    /// When the kernel last took something, while the socket is blocked.
    pub(crate) progress_at: u64,
    /// When it last caught up: nothing waited any more, after something had.
    pub(crate) caught_up_at: u64,
    /// The time by which the client's program lags behind what it was sent, as it says, in nanoseconds.
    pub(crate) reader_lag_ns: u64,
    pub(crate) heard: u64,
    pub(crate) pinged: u64,
    /// The stamp up to which heartbeats, or the first grants, told the positions of its topics.
    pub(crate) told: Stamp,
    /// The longest silence that it was promised, in milliseconds.
    pub(crate) heartbeat_ms: u32,
    /// The usual time from one write to the next, in nanoseconds; 0 before the first.
    cycle_ns: u32,
    /// Venues of its subscriptions as they are seen, with how many.
    pub(crate) venues: SmallVec<[(Seen, u32); VENUES_NEAR]>,
}

// A gateway has ten thousands of them, most of them idle.
const _: () = assert!(size_of::<Session>() <= 472);

impl Session {
    pub(crate) fn new(
        opening: Opening,
        limits: &EngineLimits,
        freshness: &Arc<Freshness>,
        told: Stamp,
        now: u64,
    ) -> Self {
        let Opening { id, dialect, principal, window_ms, heartbeat_ms } = opening;
        Self {
            // It is copied, because it comes from another thread, whose memory would stay in pieces.
            id: id.as_str().into(),
            opened: now,
            form: dialect.form(),
            dialect,
            principal,
            delivery: DeliveryWindow::new(window_ms),
            control: Vec::new(),
            ping_due: false,
            subs: Vec::new(),
            seldom: AtNeed::default(),
            by_topic: None,
            dirty: Dirty::default(),
            lossless_bytes: 0,
            unsent_bytes: 0,
            socket_blocked_since: None,
            progress_at: 0,
            window: Window::new(Arc::clone(freshness), now),
            behind_since: None,
            caught_up_at: 0,
            reader_lag_ns: 0,
            shedding: false,
            pace: Pace::default(),
            queued: false,
            is_quiet: false,
            heard: now,
            pinged: now,
            told,
            wrote: now,
            cycle_ns: 0,
            heartbeat_ms: match heartbeat_ms {
                0 => (limits.heartbeat_ns / 1_000_000) as u32,
                asked => {
                    asked.clamp(limits.heartbeat_ms_min, limits.heartbeat_ms_max.max(limits.heartbeat_ms_min))
                }
            },
            ending: Ending::No,
            venues: SmallVec::new(),
            blocked_by: BlockedBy::default(),
            private: 0,
        }
    }

    /// Returns how many bytes are owed to the client and not with it: the pressure ladder looks at these. Bytes in
    /// flight count from the moment that receipts are late: before, they are a path and not a backlog.
    pub(crate) fn pressure(&self) -> usize {
        let late = if self.window.is_tight() { self.window.in_flight() } else { 0 };
        self.lossless_bytes + self.control.len() + self.unsent_bytes.max(late)
    }

    /// Returns whether it can be given what may wait: neither its socket nor its window is full.
    pub(crate) fn is_open(&self) -> bool {
        self.socket_blocked_since.is_none() && self.window.is_open()
    }

    /// Returns the time since which the client has taken nothing though something waits, and at the earliest the time
    /// at which that is late by `after_ns`.
    pub(crate) fn stuck_since(&self, after_ns: u64) -> Option<u64> {
        let taken = if self.socket_blocked_since.is_some() { self.progress_at } else { 0 };
        Some(taken.max(self.window.progress_at()).max(self.behind_since?.get() + after_ns))
    }

    /// Notes whether it is behind, and what blocks it: something may have begun, or ceased, to wait.
    pub(crate) fn note_blocked(&mut self, now: u64) {
        if self.dirty.is_empty() && self.socket_blocked_since.is_none() {
            if self.behind_since.take().is_some() {
                self.caught_up_at = now;
            }
        } else if !self.is_open() {
            self.behind_since.get_or_insert(at(now));
        }
        self.note_blocked_by(now);
    }

    /// Takes the time since the last write into account, because it is written to now. Returns the usual time from one write to
    /// the next, in nanoseconds.
    pub(crate) fn note_cycle(&mut self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.wrote).min(u64::from(u32::MAX));
        let usual = if self.cycle_ns == 0 { passed } else { (u64::from(self.cycle_ns) * 7 + passed) / 8 };
        self.cycle_ns = usual as u32;
        usual
    }

    /// Stops shedding below a pressure.
    pub(crate) fn end_shedding(&mut self, below: usize, now: u64) {
        if self.shedding && self.pressure() < below {
            self.shedding = false;
            self.decided(now, Decision::SheddingEnded);
        }
    }

    /// Returns whether it joins the ready list when it gets something to send.
    #[inline]
    pub(crate) fn may_be_queued(&self) -> bool {
        !self.queued && !self.delivery.is_shut() && self.is_open()
    }

    #[inline]
    pub(crate) fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.ending, Ending::Told(_))
    }

    /// Returns whether its socket takes nothing, and what it is owed can wait.
    pub(crate) fn is_blocked(&self) -> bool {
        self.socket_blocked_since.is_some() && !matches!(self.ending, Ending::Asked(_))
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.is_over()
            && (!self.control.is_empty()
                || (!self.dirty.is_empty() && self.window.is_open() && !self.delivery.is_shut())
                || !self.seldom.pongs.is_empty()
                || self.ping_due
                || self.is_ending())
    }

    /// Returns whether it is owed more than data: a response, or an end.
    pub(crate) fn owes_response(&self) -> bool {
        !self.control.is_empty() || !self.seldom.pongs.is_empty() || self.is_ending()
    }

    pub(crate) fn sub(&self, index: u32) -> Option<&Sub> {
        self.subs.get(index as usize).and_then(Option::as_ref)
    }

    pub(crate) fn sub_mut(&mut self, index: u32) -> Option<&mut Sub> {
        self.subs.get_mut(index as usize).and_then(Option::as_mut)
    }

    /// Returns the longest silence that it was promised, in nanoseconds.
    pub(crate) fn heartbeat_ns(&self) -> u64 {
        u64::from(self.heartbeat_ms) * 1_000_000
    }

    /// Returns when the clock has to look at it next, where it waits for nothing else; `None` where something else may change
    /// with the time.
    pub(crate) fn quiet_until(&self, limits: &EngineLimits) -> Option<u64> {
        let is_quiet = self.pace == Pace::Prompt
            && self.behind_since.is_none()
            && self.socket_blocked_since.is_none()
            && self.window.is_quiet()
            && self.seldom.close_at.is_none()
            && !self.has_work();
        let ping_after = limits.ping_after_ns;
        let ping = self.heard.max(self.pinged).saturating_add(ping_after);
        let silent = self.heard.saturating_add(3 * ping_after);
        let pending = self.seldom.pending.values().map(|pending| pending.deadline).min();
        let heartbeat = self.wrote.saturating_add(self.heartbeat_ns());
        let of_token = self.principal.credential.next(self.seldom.was_warned);
        is_quiet.then(|| heartbeat.min(ping).min(silent).min(of_token).min(pending.unwrap_or(u64::MAX)))
    }

    /// Gives back the memory that it does not need now: what it needs at rest is all that a gateway has for most of its sessions.
    pub(crate) fn release(&mut self) {
        self.seldom.release();
        if self.is_quiet {
            self.dirty.release();
            self.window.release();
        }
    }

    /// Adds a subscription and ties it to those of the same instrument.
    pub(crate) fn add(&mut self, sub: Sub) -> u32 {
        let topic = sub.topic;
        let index = if let Some(index) = self.seldom.made().and_then(|seldom| seldom.free.pop()) {
            self.subs[index as usize] = Some(sub);
            index
        } else {
            self.make_room(1);
            self.subs.push(Some(sub));
            self.subs.len() as u32 - 1
        };
        let sibling = self.sibling(topic, index);
        let next = match sibling.and_then(|sibling| self.sub_mut(sibling)) {
            Some(sibling) => std::mem::replace(&mut sibling.sibling, index),
            None => index,
        };
        if let Some(sub) = self.sub_mut(index) {
            sub.sibling = next;
        }
        if let Some(by_topic) = &mut self.by_topic {
            by_topic.insert(topic.live(), index);
        } else if self.subs.len() > SCANNED_MAX {
            let places = self.subs.iter().enumerate();
            let held = places.filter_map(|(index, sub)| Some((sub.as_ref()?.topic.live(), index as u32)));
            self.by_topic = Some(Box::new(held.collect()));
        }
        index
    }

    /// Makes room for more subscriptions: exactly as much where they are few, because most sessions have a few, and places
    /// that are not used count, too.
    pub(crate) fn make_room(&mut self, more: usize) {
        if self.subs.capacity() - self.subs.len() < more {
            self.subs.reserve_exact((self.subs.len() / 4).max(more));
        }
    }

    /// Returns the place of the subscription to a topic, whichever view of it that is: there is one at a time.
    pub(crate) fn place_of(&self, topic: TopicId) -> Option<u32> {
        match &self.by_topic {
            Some(by_topic) => by_topic.get(&topic.live()).copied(),
            None => self.find(|sub| sub.topic.live() == topic.live()),
        }
    }

    /// Returns the view of a topic that it is subscribed to.
    pub(crate) fn held(&self, topic: TopicId) -> Option<TopicId> {
        Some(self.sub(self.place_of(topic)?)?.topic)
    }

    /// Returns the place of another subscription to the same instrument.
    fn sibling(&self, topic: TopicId, index: u32) -> Option<u32> {
        let instrument = topic.instrument_index();
        match &self.by_topic {
            Some(by_topic) => Channel::ALL
                .into_iter()
                .find_map(|channel| by_topic.get(&TopicId::new(instrument, channel)).copied()),
            None => {
                let places = self.subs.iter().enumerate();
                let others = places.filter(|(at, _)| *at != index as usize);
                others
                    .filter_map(|(at, sub)| Some((at as u32, sub.as_ref()?)))
                    .find(|(_, sub)| sub.topic.instrument_index() == instrument)
                    .map(|(at, _)| at)
            }
        }
    }

    fn find(&self, is_it: impl Fn(&Sub) -> bool) -> Option<u32> {
        self.subs.iter().position(|sub| sub.as_ref().is_some_and(&is_it)).map(|at| at as u32)
    }

    /// Returns how many subscriptions it has.
    pub(crate) fn count(&self) -> usize {
        self.subs.len() - self.seldom.free.len()
    }

    /// Ends subscriptions and frees their places. Lists are scanned once for all of them.
    pub(crate) fn remove(&mut self, indexes: &[u32]) -> Vec<Sub> {
        let removed: Vec<_> = indexes.iter().filter_map(|index| self.take_out(*index)).collect();
        self.dirty.remove(indexes);
        let subs = &self.subs;
        if let Some(seldom) = self.seldom.made() {
            seldom.leaving.retain(|index| subs.get(*index as usize).is_some_and(Option::is_some));
            let mut may_be_queued = false;
            for sub in &removed {
                may_be_queued |= seldom.turns.forget(sub.backfill());
            }
            if may_be_queued {
                seldom.turns.sweep(|index| subs.get(index as usize).is_some_and(Option::is_some));
            }
        }
        removed
    }

    /// Takes a subscription out of the ring of its instrument.
    fn take_out(&mut self, index: u32) -> Option<Sub> {
        let removed = self.subs.get_mut(index as usize)?.take()?;
        let mut before = removed.sibling;
        while before != index {
            match self.sub_mut(before) {
                Some(sub) if sub.sibling == index => {
                    sub.sibling = removed.sibling;
                    break;
                }
                Some(sub) => before = sub.sibling,
                None => break,
            }
        }
        if let Some(by_topic) = &mut self.by_topic {
            by_topic.remove(&removed.topic.live());
        }
        let seldom = &mut *self.seldom;
        if let Some(decisions) = &mut seldom.decisions {
            decisions.forget(removed.topic);
        }
        seldom.free.push(index);
        seldom.ended = seldom.ended + removed.account();
        Some(removed)
    }

    /// Notes that it has one subscription less of a venue as it is seen. Returns whether that was its last one.
    pub(crate) fn leave_venue(&mut self, seen: Seen) -> bool {
        let Some(at) = self.venues.iter().position(|(known, _)| *known == seen) else { return false };
        self.venues[at].1 -= 1;
        let was_last = self.venues[at].1 == 0;
        if was_last {
            self.venues.swap_remove(at);
        }
        was_last
    }

    pub(crate) fn totals(&self) -> Account {
        self.subs.iter().flatten().fold(self.seldom.ended, |total, sub| total + sub.account())
    }
    /// Keeps what was decided for it.
    pub(crate) fn decided(&mut self, now: u64, decision: Decision) {
        self.seldom.decisions.get_or_insert_default().note(now, decision);
    }

    /// Keeps what blocks it now, and that receipts began to come late.
    fn note_blocked_by(&mut self, now: u64) {
        if self.socket_blocked_since.is_some() {
            self.blocked_by = self.blocked_by.and(BlockedBy::SOCKET);
        } else if !self.window.is_open() {
            self.blocked_by = self.blocked_by.and(BlockedBy::WINDOW);
        }
        let is_late = self.window.is_tight();
        let decisions = self.seldom.made().and_then(|seldom| seldom.decisions.as_mut());
        let was_late = decisions.is_some_and(|known| std::mem::replace(&mut known.is_late, is_late));
        if !is_late {
            return;
        }
        if !was_late {
            let after_ns = now.saturating_sub(self.window.progress_at());
            self.decided(now, Decision::ReceiptLate { after_ns });
        }
        if let Some(decisions) = self.seldom.made().and_then(|seldom| seldom.decisions.as_mut()) {
            decisions.is_late = true;
        }
        if !self.window.is_open() && self.behind_since == Some(at(now)) {
            let (in_flight, window) = (self.window.in_flight() as u64, self.window.limit() as u64);
            self.decided(now, Decision::WindowFull { in_flight, window });
        }
    }
}
