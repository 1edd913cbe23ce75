//! One client connection as the engine sees it: its subscriptions, its outbox and its account of every number.

use std::collections::{HashMap, VecDeque};

use tickwire_wire::{CloseCode, Encoding, LedgerEntry, ResumePosition};

use super::backfill::{Backfill, Turns};
use super::decision::{Decision, Decisions, Held};
use super::rate::{DeliveryWindow, Rate};
use super::topic::{Stamp, Topic};
use super::update::{TopicId, VenueIndex};
use super::window::{Freshness, Window};

slotmap::new_key_type! {
    /// A session of a shard. A key that outlived its session resolves to nothing.
    pub struct SessionKey;
}

/// A subscription as its topic sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubRef {
    pub(crate) session: SessionKey,
    pub(crate) sub: u32,
}

/// What became of the numbers that passed a subscription: the first is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Account {
    pub published: u64,
    pub delivered: u64,
    pub conflated: u64,
    pub dropped: u64,
    pub filtered: u64,
}

/// In order of use: each delivery to thousands of these is a cache miss or two, so what it reads is in the first line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sub {
    /// Everything that arrived up to here was sent or accounted for.
    pub(crate) stamp: Stamp,
    /// Last number that was sent or accounted for, in the numbering of `epoch`.
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// Gaps that arrived up to here were before its time.
    pub(crate) since: Stamp,
    /// `None` where every update is wanted.
    pub(crate) rate: Option<Box<Rate>>,
    /// What it needs from history before its log; the log waits.
    pub(crate) backfill: Option<Box<Backfill>>,
    pub(crate) topic: TopicId,
    /// Next subscription of the session to the same instrument: a ring.
    pub(crate) sibling: u32,
    /// Its place among the topic's subscribers.
    pub(crate) place: u32,
    /// In the session's dirty ring.
    pub(crate) dirty: bool,
    pub(crate) account: Account,
    /// Bytes of lossless records that wait.
    pub(crate) waiting_bytes: usize,
    /// Lossless records that arrived up to here will not be sent but announced as shed.
    pub(crate) shed_to: Stamp,
    /// When what a heartbeat told of it had changed last.
    pub(crate) told: Stamp,
}

// Two cache lines, the place for a subscription that ended included.
const _: () = assert!(size_of::<Option<Sub>>() == 128);

impl Sub {
    /// Numbers up to `to` are settled by one delivered record.
    pub(crate) fn deliver(&mut self, to: u64) {
        if to > self.sent {
            if to > self.sent + 1 {
                self.superseded(to - 1);
            }
            self.account.published += 1;
            self.account.delivered += 1;
            self.sent = to;
        }
    }

    /// Numbers `first` to `last` are settled by announcing them; what lies before was superseded.
    pub(crate) fn announce(&mut self, first: u64, last: u64) {
        self.superseded(first.saturating_sub(1).min(last));
        let dropped = last.saturating_sub(self.sent);
        self.account.published += dropped;
        self.account.dropped += dropped;
        self.sent += dropped;
    }
}

/// Where a session stands on the pressure ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It takes everything.
    #[default]
    Prompt,
    /// It gets the newest only, and was told so.
    Conflating,
}

/// How far the end of a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    No,
    /// The close frame is to be written.
    Asked(CloseCode),
    /// It was handed over: nothing comes after it.
    Told(CloseCode),
}

/// A `subscribe` whose topics are not all known yet.
#[derive(Debug)]
pub(crate) struct PendingSubscribe {
    /// With the id of the command, and what was refused at once.
    pub(crate) answer: tickwire_wire::Subscribed,
    pub(crate) waiting: Vec<TopicId>,
    /// Updates per second of each, as granted.
    pub(crate) rate: f64,
    /// Those of them that are neither live nor given up.
    pub(crate) unknown: Vec<TopicId>,
    pub(crate) deadline: u64,
}

/// A subscription to all of a venue.
#[derive(Debug)]
pub(crate) struct Wildcard {
    pub(crate) venue: String,
    pub(crate) channel: tickwire_wire::Channel,
    /// Updates per second of each subscription, as granted.
    pub(crate) rate: f64,
}

impl Wildcard {
    pub(crate) fn is_of(&self, venue: &str, channel: tickwire_wire::Channel) -> bool {
        self.venue == venue && self.channel == channel
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    /// Names it in answers and logs.
    pub(crate) id: Box<str>,
    /// When it was opened.
    pub(crate) opened: u64,
    pub(crate) encoding: Encoding,
    /// Encoded control messages, sent before anything else.
    pub(crate) control: Vec<u8>,
    /// A pong that is owed: its payload.
    pub(crate) pong: Option<Vec<u8>>,
    pub(crate) ping_due: bool,
    pub(crate) subs: Vec<Option<Sub>>,
    pub(crate) free: Vec<u32>,
    pub(crate) by_topic: HashMap<TopicId, u32>,
    pub(crate) dirty: VecDeque<u32>,
    pub(crate) delivery: DeliveryWindow,
    /// Bytes of lossless records that wait.
    pub(crate) lossless_bytes: usize,
    /// Bytes handed over that the kernel has not taken yet.
    pub(crate) unsent_bytes: usize,
    /// Since when there is something that the kernel has not taken, in nanoseconds.
    pub(crate) blocked_since: Option<u64>,
    /// While it is blocked: when the kernel last took something.
    pub(crate) progress_at: u64,
    /// Bytes under way, and how many there may be.
    pub(crate) window: Window,
    /// Since when something has waited all the time, for the window or for the kernel.
    pub(crate) held_since: Option<u64>,
    /// When nothing waited last, after something had.
    pub(crate) eased_at: u64,
    /// How far the client's program lags behind what it was sent, as it says, in nanoseconds.
    pub(crate) reader_lag_ns: u64,
    pub(crate) shedding: bool,
    pub(crate) pace: Pace,
    /// Waits in the list of sessions that have something to send.
    pub(crate) queued: bool,
    pub(crate) heard: u64,
    pub(crate) pinged: u64,
    pub(crate) wrote: u64,
    pub(crate) ending: Ending,
    pub(crate) close_at: Option<u64>,
    pub(crate) pending: Vec<PendingSubscribe>,
    pub(crate) resume: Vec<ResumePosition>,
    /// Venues of its subscriptions, with how many.
    pub(crate) venues: Vec<(VenueIndex, u32)>,
    /// What appears later is subscribed too.
    pub(crate) wildcards: Vec<Wildcard>,
    /// Of subscriptions that ended.
    pub(crate) ended: Account,
    /// Its subscriptions that go back further than their logs.
    pub(crate) turns: Turns,
    /// What held it back since it last got everything.
    pub(crate) held: Held,
    /// What waits for it alone, as the budget of all sessions knows it.
    pub(crate) private: usize,
    /// Made with the first decision.
    pub(crate) decisions: Option<Box<Decisions>>,
}

impl Session {
    pub(crate) fn new(
        id: Box<str>,
        encoding: Encoding,
        window_ms: u16,
        freshness: Freshness,
        now: u64,
    ) -> Self {
        Self {
            id,
            opened: now,
            encoding,
            delivery: DeliveryWindow::new(window_ms),
            control: Vec::new(),
            pong: None,
            ping_due: false,
            subs: Vec::new(),
            free: Vec::new(),
            by_topic: HashMap::new(),
            dirty: VecDeque::new(),
            lossless_bytes: 0,
            unsent_bytes: 0,
            blocked_since: None,
            progress_at: 0,
            window: Window::new(freshness, now),
            held_since: None,
            eased_at: 0,
            reader_lag_ns: 0,
            shedding: false,
            pace: Pace::default(),
            queued: false,
            heard: now,
            pinged: now,
            wrote: now,
            ending: Ending::No,
            close_at: None,
            pending: Vec::new(),
            resume: Vec::new(),
            venues: Vec::new(),
            wildcards: Vec::new(),
            ended: Account::default(),
            turns: Turns::default(),
            held: Held::default(),
            private: 0,
            decisions: None,
        }
    }

    /// Bytes that are owed to the client and not with it: what the ladder looks at. Bytes in flight count from the
    /// moment that receipts are late: before, they are a path and not a backlog.
    pub(crate) fn pressure(&self) -> usize {
        let late = if self.window.is_tight() { self.window.in_flight() } else { 0 };
        self.lossless_bytes + self.control.len() + self.unsent_bytes.max(late)
    }

    /// Whether it can be given what may wait: neither its socket nor its window is full.
    pub(crate) fn is_open(&self) -> bool {
        self.blocked_since.is_none() && self.window.is_open()
    }

    /// Since when the client has taken nothing though something waits: not before it is late by `after_ns`.
    pub(crate) fn stuck_since(&self, after_ns: u64) -> Option<u64> {
        let taken = if self.blocked_since.is_some() { self.progress_at } else { 0 };
        Some(taken.max(self.window.progress_at()).max(self.held_since? + after_ns))
    }

    /// Something may have begun, or ceased, to wait.
    pub(crate) fn note_held(&mut self, now: u64) {
        if self.dirty.is_empty() && self.blocked_since.is_none() {
            if self.held_since.take().is_some() {
                self.eased_at = now;
            }
        } else if !self.is_open() {
            self.held_since.get_or_insert(now);
        }
        self.note_why_held(now);
    }

    /// Stops shedding below a pressure.
    pub(crate) fn ease(&mut self, low: usize, now: u64) {
        if self.shedding && self.pressure() < low {
            self.shedding = false;
            self.decided(now, Decision::SheddingEnded);
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.ending, Ending::Told(_))
    }

    /// Its socket takes nothing, and what it is owed can wait.
    pub(crate) fn is_held(&self) -> bool {
        self.blocked_since.is_some() && !matches!(self.ending, Ending::Asked(_))
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.is_over()
            && (!self.control.is_empty()
                || (!self.dirty.is_empty() && self.window.is_open() && !self.delivery.is_shut())
                || self.pong.is_some()
                || self.ping_due
                || self.is_ending())
    }

    pub(crate) fn sub(&self, index: u32) -> Option<&Sub> {
        self.subs.get(index as usize).and_then(Option::as_ref)
    }

    pub(crate) fn sub_mut(&mut self, index: u32) -> Option<&mut Sub> {
        self.subs.get_mut(index as usize).and_then(Option::as_mut)
    }

    /// Adds a subscription and ties it to those of the same instrument.
    pub(crate) fn add(&mut self, sub: Sub) -> u32 {
        let topic = sub.topic;
        let index = if let Some(index) = self.free.pop() {
            self.subs[index as usize] = Some(sub);
            index
        } else {
            if self.subs.len() == self.subs.capacity() {
                // Not twice as many: most sessions have a few, and what is not used counts too.
                self.subs.reserve_exact((self.subs.len() / 4).max(1));
            }
            self.subs.push(Some(sub));
            self.subs.len() as u32 - 1
        };
        let sibling = tickwire_wire::Channel::ALL
            .into_iter()
            .find_map(|channel| self.by_topic.get(&TopicId::new(topic.instrument_index(), channel)).copied());
        let next = match sibling.and_then(|sibling| self.sub_mut(sibling)) {
            Some(sibling) => std::mem::replace(&mut sibling.sibling, index),
            None => index,
        };
        if let Some(sub) = self.sub_mut(index) {
            sub.sibling = next;
        }
        self.by_topic.insert(topic, index);
        index
    }

    /// Takes a subscription out of the ring of its instrument and frees its place.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Sub> {
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
        self.by_topic.remove(&removed.topic);
        self.forget_decisions(removed.topic);
        if removed.dirty {
            self.dirty.retain(|dirty| *dirty != index);
        }
        self.turns.forget(index, &removed);
        self.free.push(index);
        let a = removed.account;
        self.ended.published += a.published;
        self.ended.delivered += a.delivered;
        self.ended.conflated += a.conflated;
        self.ended.dropped += a.dropped;
        self.ended.filtered += a.filtered;
        Some(removed)
    }

    pub(crate) fn totals(&self) -> Account {
        self.subs.iter().flatten().fold(self.ended, |t, sub| Account {
            published: t.published + sub.account.published,
            delivered: t.delivered + sub.account.delivered,
            conflated: t.conflated + sub.account.conflated,
            dropped: t.dropped + sub.account.dropped,
            filtered: t.filtered + sub.account.filtered,
        })
    }
}

/// What became of one subscription's numbers, for the client. What still waits is not part of any of them.
pub(crate) fn ledger_entry(sub: &Sub, topic: &Topic) -> LedgerEntry {
    LedgerEntry {
        instrument: topic.info.id,
        channel: topic.channel as i32,
        symbol: topic.info.scale.symbol.clone(),
        published: sub.account.published,
        delivered: sub.account.delivered,
        conflated: sub.account.conflated,
        dropped: sub.account.dropped,
        filtered: sub.account.filtered,
    }
}
