//! Why a session did not get something: what the engine decided for it, kept as long as there is room.
//!
//! Two bounded stores, made with the first decision, so a session that takes everything has neither. What concerns the
//! session as a whole is in a ring. What concerns one topic, and repeats with every write of a slow session, is kept as
//! runs: few for each topic, each a range of numbers and of time, and where there are too many, two of the same kind
//! become one. So a request for last hour's price has a response, only less exact than one for the last second's.
//!
//! Nothing is recorded for a record that was superseded before the same write, or held back by the rate that the client
//! asked for: that is what happens to every session, and it would cost every session. The account has their numbers.

use std::collections::{HashMap, VecDeque};

use tickwire_wire::{CloseCode, GapCause};

use super::dialect::Loss;
use super::session::Session;
use super::sub::Sub;
use super::topic::Topic;
use crate::vocabulary::TopicId;

/// Entries of a session's ring.
pub(crate) const RING_MAX: usize = 128;
/// Runs of one topic.
pub(crate) const RUNS_MAX: usize = 6;
/// A decision that repeats itself is counted with its like among so many of the last ones.
const REPEATS_AMONG: usize = 3;
/// How long a run goes on before the next one begins.
const RUN_NS: u64 = 1_000_000_000;

/// What held records back. Several may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held(u8);

impl Held {
    /// The kernel did not take what it was given.
    pub const SOCKET: Self = Self(1);
    /// As much was in flight as the client confirms within its freshness target.
    pub const WINDOW: Self = Self(2);

    /// Whether nothing did.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of its parts.
    pub fn names(self) -> Vec<&'static str> {
        let named = [(Self::SOCKET, "socket_blocked"), (Self::WINDOW, "window_full")];
        named.into_iter().filter(|(part, _)| self.0 & part.0 != 0).map(|(_, name)| name).collect()
    }
}

/// What was decided for a session as a whole, or once for one of its subscriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// The newest only from here on.
    Conflating {
        /// What holds records back.
        because: Held,
    },
    /// Everything again.
    Prompt,
    /// As much was in flight as the window allows.
    WindowFull {
        /// Bytes that were handed over and not confirmed by the client.
        in_flight: u64,
        /// Bytes that the window allowed.
        window: u64,
    },
    /// A receipt or a pong took longer than the freshness target.
    ReceiptLate {
        /// How long it took, in nanoseconds.
        after_ns: u64,
    },
    /// Non-critical lossless records are dropped from here on.
    Shedding {
        /// Bytes that waited or were in flight.
        pressure: u64,
    },
    /// Lossless records are delivered again.
    SheddingEnded,
    /// A subscription goes on where the client left off.
    Resumed {
        /// What the subscription is to.
        topic: TopicId,
        /// The last sequence number that the client had.
        after: u64,
        /// The first sequence number that follows.
        from: u64,
    },
    /// The rate of a subscription was set.
    Rate {
        /// What the subscription is to.
        topic: TopicId,
        /// Updates a second; 0 for no limit.
        max_rate: f64,
    },
    /// The client was told something.
    Notice {
        /// The code of the notice.
        code: &'static str,
    },
    /// The session is being closed.
    Closing {
        /// The reason, as the client is told.
        code: CloseCode,
    },
}

/// What a run of numbers of a topic became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A newer one went out instead, because the session was held back.
    Superseded(Held),
    /// They were announced as lost.
    Gap(GapCause),
    /// Changes of a book: the whole book went out instead, because that was smaller or the log was cut.
    Snapshot(Held),
}

/// Kinds of decisions, for counting; see [`Decisions::counts`].
pub(crate) const KINDS: [&str; 13] = [
    "conflating",
    "prompt",
    "window_full",
    "receipt_late",
    "shedding",
    "shedding_ended",
    "resumed",
    "rate",
    "notice",
    "closing",
    "superseded",
    "gap",
    "snapshot",
];

impl Decision {
    /// Its place in [`KINDS`].
    fn kind(self) -> usize {
        match self {
            Self::Conflating { .. } => 0,
            Self::Prompt => 1,
            Self::WindowFull { .. } => 2,
            Self::ReceiptLate { .. } => 3,
            Self::Shedding { .. } => 4,
            Self::SheddingEnded => 5,
            Self::Resumed { .. } => 6,
            Self::Rate { .. } => 7,
            Self::Notice { .. } => 8,
            Self::Closing { .. } => 9,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        KINDS[self.kind()]
    }

    /// Of which topic, where it is of one.
    pub fn topic(self) -> Option<TopicId> {
        match self {
            Self::Resumed { topic, .. } | Self::Rate { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// Repeats itself with every write of a slow session, so that repetitions are counted and not listed.
    fn repeats(self) -> bool {
        matches!(self, Self::WindowFull { .. } | Self::ReceiptLate { .. })
    }
}

impl Fate {
    fn kind(self) -> usize {
        match self {
            Self::Superseded(_) => 10,
            Self::Gap(_) => 11,
            Self::Snapshot(_) => 12,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        KINDS[self.kind()]
    }

    /// One fate for two runs, where they are of one kind.
    fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Superseded(a), Self::Superseded(b)) => Some(Self::Superseded(a.and(b))),
            (Self::Snapshot(a), Self::Snapshot(b)) => Some(Self::Snapshot(a.and(b))),
            _ if self == other => Some(self),
            _ => None,
        }
    }
}

/// An entry of the ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// When it was decided first, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// When it was decided last, in nanoseconds since the Unix epoch.
    pub until: u64,
    /// How often.
    pub times: u64,
    /// What, the last time.
    pub decision: Decision,
}

/// A range of numbers of one topic that shared a fate, within a range of time. Not every number within has it: `count`
/// of them have, and `delivered` records went out with numbers of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When the run began, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// When it was last added to, in nanoseconds since the Unix epoch.
    pub until: u64,
    /// The first sequence number of the range.
    pub first: u64,
    /// The last one. For superseded ones it is the newest that went out instead; 0 where the end of a gap is not known.
    pub last: u64,
    /// How many sequence numbers share the fate.
    pub count: u64,
    /// How many records went out with sequence numbers of the range.
    pub delivered: u32,
    /// What became of them.
    pub fate: Fate,
}

impl Run {
    fn join(&mut self, next: Self) -> bool {
        let Some(fate) = self.fate.merge(next.fate) else { return false };
        // Numbers of a new epoch may be smaller: such a run has none that is smaller than its first.
        if next.first < self.first || self.last == 0 || next.last == 0 {
            return false;
        }
        *self = Self {
            since: self.since.min(next.since),
            until: self.until.max(next.until),
            first: self.first,
            last: self.last.max(next.last),
            count: self.count + next.count,
            delivered: self.delivered.saturating_add(next.delivered),
            fate,
        };
        true
    }
}

/// What was decided for one session.
#[derive(Debug)]
pub(crate) struct Decisions {
    ring: VecDeque<Decided>,
    runs: HashMap<TopicId, Vec<Run>>,
    counts: [u64; KINDS.len()],
    /// It was noted that receipts come late.
    is_late: bool,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { ring: VecDeque::new(), runs: HashMap::new(), counts: [0; KINDS.len()], is_late: false }
    }
}

impl Decisions {
    fn note(&mut self, now: u64, decision: Decision) {
        self.counts[decision.kind()] += 1;
        let mut recent = self.ring.iter_mut().rev().take(REPEATS_AMONG);
        let is_like = |last: &&mut Decided| decision.repeats() && last.decision.kind() == decision.kind();
        if let Some(last) = recent.find(is_like) {
            (last.until, last.decision) = (now, decision);
            last.times += 1;
            return;
        }
        if self.ring.len() == RING_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(Decided { since: now, until: now, times: 1, decision });
    }

    fn note_run(&mut self, topic: TopicId, run: Run) {
        self.counts[run.fate.kind()] += run.count;
        let runs = self.runs.entry(topic).or_default();
        // A run goes on as long as it is short, is not interrupted by another fate, and stays within one sequence.
        if let Some(last) = runs.last_mut()
            && last.fate == run.fate
            && run.until.saturating_sub(last.since) < RUN_NS
            && last.join(run)
        {
            return;
        }
        if runs.len() == RUNS_MAX {
            make_room(runs);
        }
        runs.push(run);
    }

    /// Oldest first.
    pub(crate) fn ring(&self) -> impl Iterator<Item = &Decided> {
        self.ring.iter()
    }

    /// Of one topic, oldest first.
    pub(crate) fn runs(&self, topic: TopicId) -> impl Iterator<Item = &Run> {
        self.runs.get(&topic).into_iter().flatten()
    }

    /// How many of each of [`KINDS`]: entries of the ring, and numbers of runs.
    pub(crate) fn counts(&self) -> &[u64; KINDS.len()] {
        &self.counts
    }
}

/// Joins the two runs of one kind that lie closest together, the newest excepted; where there are none, the oldest goes.
fn make_room(runs: &mut Vec<Run>) {
    let mut best: Option<(u64, usize, usize)> = None;
    for at in 0..runs.len() - 1 {
        let next = (at + 1..runs.len() - 1).find(|next| {
            let mut joined = runs[at];
            joined.join(runs[*next])
        });
        if let Some(next) = next {
            let span = runs[next].until.saturating_sub(runs[at].since);
            if best.is_none_or(|(least, ..)| span < least) {
                best = Some((span, at, next));
            }
        }
    }
    let Some((_, into, from)) = best else {
        runs.remove(0);
        return;
    };
    let joined = runs.remove(from);
    runs[into].join(joined);
}

impl Session {
    /// Keeps what was decided for it.
    pub(crate) fn decided(&mut self, now: u64, decision: Decision) {
        self.decisions.get_or_insert_default().note(now, decision);
    }

    /// Keeps what holds it back now, and that receipts began to come late.
    pub(crate) fn note_why_held(&mut self, now: u64) {
        if self.blocked_since.is_some() {
            self.held = self.held.and(Held::SOCKET);
        } else if !self.window.is_open() {
            self.held = self.held.and(Held::WINDOW);
        }
        let is_late = self.window.is_tight();
        let is_noted = self.decisions.as_ref().is_some_and(|decisions| decisions.is_late);
        if is_late && !is_noted {
            let after_ns = now.saturating_sub(self.window.progress_at());
            self.decided(now, Decision::ReceiptLate { after_ns });
        }
        if let Some(decisions) = &mut self.decisions {
            decisions.is_late = is_late;
        }
        if is_late && !self.window.is_open() && self.held_since == Some(now) {
            let (in_flight, window) = (self.window.in_flight() as u64, self.window.limit() as u64);
            self.decided(now, Decision::WindowFull { in_flight, window });
        }
    }

    /// Forgets what was decided for a topic that it is not subscribed to any more.
    pub(crate) fn forget_decisions(&mut self, topic: TopicId) {
        if let Some(decisions) = &mut self.decisions {
            decisions.runs.remove(&topic);
            // Its index may come to stand for another instrument.
            decisions.ring.retain(|decided| decided.decision.topic() != Some(topic));
        }
    }
}

/// Where a subscription stood before something was emitted for it.
#[derive(Clone, Copy)]
pub(super) struct Before {
    stamp: u64,
    sent: u64,
    epoch: u64,
    conflated: u64,
    dropped: u64,
}

impl Before {
    pub(super) fn of(sub: &Sub) -> Self {
        let (stamp, sent, epoch, account) = (sub.stamp, sub.sent, sub.epoch, sub.account());
        let (conflated, dropped) = (account.conflated, account.dropped);
        Self { stamp, sent, epoch, conflated, dropped }
    }

    /// Whether what was emitted since is worth an entry.
    pub(super) fn is_notable(&self, held: Held, sub: &Sub) -> bool {
        sub.account().dropped != self.dropped
            || sub.epoch != self.epoch
            || (!held.is_empty() && sub.account().conflated != self.conflated)
    }

    /// What its session lost since.
    pub(super) fn loss(&self, sub: &Sub) -> Option<Loss> {
        let is_restart = sub.epoch != self.epoch;
        let is_loss = is_restart || sub.account().dropped != self.dropped;
        is_loss.then_some(Loss { channel: sub.channel, is_restart })
    }

    /// Numbers that were announced, for one cause, in front of what the log holds.
    pub(super) fn note_missing(self, session: &mut Session, index: u32, cause: GapCause, now: u64) {
        let Some(sub) = session.sub(index) else { return };
        let (id, count) = (sub.topic, sub.account().dropped - self.dropped);
        let (first, last) = (self.sent + 1, sub.sent);
        let run = Run { since: now, until: now, first, last, count, delivered: 0, fate: Fate::Gap(cause) };
        session.decisions.get_or_insert_default().note_run(id, run);
    }

    /// Keeps what became of the numbers that were passed.
    pub(super) fn note(self, session: &mut Session, topic: &Topic, index: u32, is_snapshot: bool, now: u64) {
        let Some(sub) = session.sub(index) else { return };
        let (id, sent) = (sub.topic, sub.sent);
        let (held, is_same) = (session.held, sub.epoch == self.epoch);
        let conflated = sub.account().conflated - self.conflated;
        let dropped = sub.account().dropped - self.dropped;
        let decisions = session.decisions.get_or_insert_default();
        let first = if is_same { self.sent + 1 } else { 1 };
        let run = |fate, first, last, count, delivered| Run {
            since: now,
            until: now,
            first,
            last,
            count,
            delivered,
            fate,
        };
        let entry = topic.log_after(self.stamp).next().filter(|entry| entry.update.is_gap());
        let announced = entry.and_then(|entry| Some((&entry.update, entry.update.gap_cause()?)));
        match announced {
            _ if !is_same => {
                let cause = announced.map_or(GapCause::Ingest, |(_, cause)| cause);
                decisions.note_run(id, run(Fate::Gap(cause), self.sent + 1, 0, dropped.max(1), 0));
            }
            Some((gap, cause)) if dropped > 0 => {
                let of_gap = (gap.last + 1).saturating_sub(gap.first.max(first)).min(dropped);
                if dropped > of_gap {
                    let shed = run(Fate::Gap(GapCause::Shed), first, gap.first - 1, dropped - of_gap, 0);
                    decisions.note_run(id, shed);
                }
                decisions.note_run(id, run(Fate::Gap(cause), gap.first, gap.last, of_gap, 0));
            }
            _ if dropped > 0 => {
                decisions
                    .note_run(id, run(Fate::Gap(GapCause::Shed), first, first + dropped - 1, dropped, 0));
            }
            _ => {}
        }
        if conflated > 0 && !held.is_empty() && dropped == 0 && sent >= first {
            // A book's changes are not lost when they are merged; a snapshot says that they were too many.
            let fate = if is_snapshot { Fate::Snapshot(held) } else { Fate::Superseded(held) };
            decisions.note_run(id, run(fate, first, sent, conflated, 1));
        }
    }
}
