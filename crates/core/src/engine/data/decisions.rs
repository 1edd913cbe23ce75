//! The reasons why a session did not get something: what the engine decided for it is kept as long as there is room.
//!
//! There are two bounded stores, made with the first decision, so a session that takes everything has neither. What
//! concerns the session as a whole is in a ring. What concerns one topic, and repeats with every write of a slow
//! session, is kept as runs. Each topic has a few; each is a range of sequence numbers and of time; where there are
//! too many, two of the same kind become one. So a request about last hour's price has a response, only less exact
//! than one about the last second's.
//!
//! Nothing is kept of a record that was superseded before the same write, or while the rate that the client asked for
//! throttled the subscription: that happens to every session, and it would cost every session. The account counts
//! those.

use std::collections::{HashMap, VecDeque};

use tickwire_wire::{CloseCode, GapCause};

use crate::vocabulary::TopicId;

/// Most entries of a session's ring.
pub(crate) const RING_MAX: usize = 128;

/// Most runs of one topic.
pub(crate) const RUNS_MAX: usize = 6;

/// A decision that repeats itself is counted with its like among so many of the last ones.
const REPEATS_AMONG: usize = 3;

/// The longest time that a run goes on before the next one begins.
const RUN_NS: u64 = 1_000_000_000;

/// The things that blocked a session, so that records waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockedBy(u8);

impl BlockedBy {
    /// The kernel did not take what it was given.
    pub const SOCKET: Self = Self(1);
    /// As much was in flight as the client confirms within its freshness target.
    pub const WINDOW: Self = Self(2);

    /// Returns whether nothing did.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns what blocked it in either case.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the names of its parts.
    pub fn names(self) -> Vec<&'static str> {
        let named = [(Self::SOCKET, "socket_blocked"), (Self::WINDOW, "window_full")];
        named.into_iter().filter(|(part, _)| self.0 & part.0 != 0).map(|(_, name)| name).collect()
    }
}

/// A decision for a session as a whole, or once for one of its subscriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// The session gets the newest only from here on.
    Conflating {
        /// The things that block the session.
        because: BlockedBy,
    },
    /// The session gets everything again.
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
        /// The time that it took, in nanoseconds.
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
        /// The topic of the subscription.
        topic: TopicId,
        /// The last sequence number that the client had.
        after: u64,
        /// The first sequence number that follows.
        from: u64,
    },
    /// The rate of a subscription was set.
    Rate {
        /// The topic of the subscription.
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

/// The fate of a run of sequence numbers of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A newer one went out instead, because the session was blocked.
    Superseded(BlockedBy),
    /// They were announced as lost.
    Gap(GapCause),
    /// Changes of a book: the whole book went out instead, because that was smaller or the log was cut.
    Snapshot(BlockedBy),
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
    /// Returns its place in [`KINDS`].
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

    /// Returns its name.
    pub fn name(self) -> &'static str {
        KINDS[self.kind()]
    }

    /// Returns the topic that it is about, where it is about one.
    pub fn topic(self) -> Option<TopicId> {
        match self {
            Self::Resumed { topic, .. } | Self::Rate { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// Returns whether it repeats itself with every write of a slow session: repetitions are counted and not listed.
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

    /// Returns its name.
    pub fn name(self) -> &'static str {
        KINDS[self.kind()]
    }

    /// Returns one fate for two runs, where they are of one kind.
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
    /// The count of times that it was decided.
    pub times: u64,
    /// The decision, as it was the last time.
    pub decision: Decision,
}

/// A range of sequence numbers of one topic that shared a fate, within a range of time. Not all of the range shared
/// it: `count` did, and `delivered` records went out with sequence numbers of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When the run began, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// When it was last added to, in nanoseconds since the Unix epoch.
    pub until: u64,
    /// The first sequence number of the range.
    pub first: u64,
    /// The last sequence number of the range. For superseded ones it is the newest that went out instead; 0 where the
    /// end of a gap is not known.
    pub last: u64,
    /// The count of sequence numbers that share the fate.
    pub count: u64,
    /// The count of records that went out with sequence numbers of the range.
    pub delivered: u32,
    /// The fate that they share.
    pub fate: Fate,
}

impl Run {
    fn join(&mut self, next: Self) -> bool {
        let Some(fate) = self.fate.merge(next.fate) else { return false };
        // Sequence numbers of a new epoch may be smaller: a run has none that is smaller than its first.
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

/// The decisions for one session.
#[derive(Debug)]
pub(crate) struct Decisions {
    ring: VecDeque<Decided>,
    runs: HashMap<TopicId, Vec<Run>>,
    counts: [u64; KINDS.len()],
    /// Whether it was noted that receipts come late.
    pub(crate) is_late: bool,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { ring: VecDeque::new(), runs: HashMap::new(), counts: [0; KINDS.len()], is_late: false }
    }
}

impl Decisions {
    pub(crate) fn note(&mut self, now: u64, decision: Decision) {
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

    pub(crate) fn note_run(&mut self, topic: TopicId, run: Run) {
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

    /// Returns what concerns the session as a whole, the oldest first.
    pub(crate) fn ring(&self) -> impl Iterator<Item = &Decided> {
        self.ring.iter()
    }

    /// Returns the runs of one topic, the oldest first.
    pub(crate) fn runs(&self, topic: TopicId) -> impl Iterator<Item = &Run> {
        self.runs.get(&topic).into_iter().flatten()
    }

    /// Returns how often each of [`KINDS`] was decided: entries of the ring, and sequence numbers of runs.
    pub(crate) fn counts(&self) -> &[u64; KINDS.len()] {
        &self.counts
    }
    /// Forgets what was decided for a topic.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.runs.remove(&topic);
        // Its index may come to stand for another instrument.
        self.ring.retain(|decided| decided.decision.topic() != Some(topic));
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
