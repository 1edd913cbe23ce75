//! Requests of those who operate a gateway about its sessions. The work for each is bounded, because a shard does
//! nothing else meanwhile.

use std::net::SocketAddr;

use tickwire_wire::CloseCode;

use crate::engine::data::account::Account;
use crate::engine::data::decisions::{Decided, KINDS, Run};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::holders::Holders;
use crate::engine::data::key::SessionKey;
use crate::engine::data::rate::Rate;
use crate::engine::data::session::{Ending, Session};
use crate::engine::policy::pace::Pace;
use crate::vocabulary::TopicId;

/// About how many subscriptions one page of sessions looks at: these are some milliseconds of a shard's time.
const SUBSCRIPTIONS_PER_PAGE: usize = 50_000;

/// Most sessions that one page looks at, where few of them are in the state that is asked for.
const SESSIONS_PER_PAGE: usize = 4_096;

/// The place of a session on the pressure ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// It gets every update as it comes.
    Prompt,
    /// It gets the newest of each conflated topic when it can take something.
    Conflating,
    /// Non-critical lossless records are dropped for it, and announced.
    Shedding,
    /// It is being closed.
    Closing,
}

impl SessionState {
    /// All states, from the best to the worst.
    pub const ALL: [Self; 4] = [Self::Prompt, Self::Conflating, Self::Shedding, Self::Closing];

    /// Returns its name in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Conflating => "conflating",
            Self::Shedding => "shedding",
            Self::Closing => "closing",
        }
    }

    /// Returns the state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    fn of(session: &Session) -> Self {
        if session.ending != Ending::No {
            Self::Closing
        } else if session.shedding {
            Self::Shedding
        } else if session.pace == Pace::Conflating {
            Self::Conflating
        } else {
            Self::Prompt
        }
    }
}

/// The parts of a session's pressure, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Responses, notices, heartbeats that wait.
    pub control: usize,
    /// Lossless records that wait.
    pub lossless: usize,
    /// Bytes that were handed over and not taken by the kernel.
    pub unsent: usize,
    /// Bytes that the kernel took and the client has not confirmed.
    pub in_flight: usize,
}

impl Pressure {
    /// The names of its parts, in order.
    pub const NAMES: [&'static str; 4] = ["control", "lossless", "unsent", "in_flight"];

    /// Returns the sum of the parts.
    pub fn total(&self) -> usize {
        self.control + self.lossless + self.unsent + self.in_flight
    }

    fn of(session: &Session) -> Self {
        Self {
            control: session.control.len(),
            lossless: session.lossless_bytes,
            unsent: session.unsent_bytes,
            in_flight: session.window.in_flight().saturating_sub(session.unsent_bytes),
        }
    }

    fn add(&mut self, other: Self) {
        self.control += other.control;
        self.lossless += other.lossless;
        self.unsent += other.unsent;
        self.in_flight += other.in_flight;
    }
}

/// A request for sessions: those behind `after`, in the order in which they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Id of a session; `None` begins with the oldest.
    pub after: Option<String>,
    /// The most that are returned; 0 counts as 1.
    pub limit: usize,
    /// The state of those that are wanted; `None` for all.
    pub state: Option<SessionState>,
}

/// One session. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The engine's own handle.
    pub key: SessionKey,
    /// The name that its `Hello` stated.
    pub id: String,
    /// The engine does not know it: who asks fills it in.
    pub peer: Option<SocketAddr>,
    /// The name of its dialect: of ours, the encoding.
    pub dialect: &'static str,
    /// The name of the principal that it belongs to.
    pub principal: String,
    /// Its place on the pressure ladder.
    pub state: SessionState,
    /// The reason for which it is being closed.
    pub closing: Option<CloseCode>,
    /// When it was opened.
    pub opened: u64,
    /// When the client was heard last.
    pub heard: u64,
    /// Bytes that wait or are in flight.
    pub pressure: Pressure,
    /// The time by which its program is behind, as the client says, in nanoseconds; `None` while it says nothing.
    pub client_lag_ns: Option<u64>,
    /// The count of its subscriptions.
    pub subscriptions: usize,
    /// The account of all of them together.
    pub account: Account,
}

/// Sessions in the order in which they were opened.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// The sessions that were asked for, as far as they fitted.
    pub rows: Vec<SessionRow>,
    /// The id of the last session that was looked at, where there are more. It need not be among `rows`.
    pub upto: Option<String>,
}

/// A request for a part of a session's subscriptions: those behind a place, in the order of their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetailQuery {
    /// A place, as [`SessionDetail::next`] says it; `None` begins with the first.
    pub after: Option<u32>,
    /// The most subscriptions that are returned.
    pub limit: usize,
}

impl Default for DetailQuery {
    /// Asks for the first hundred.
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// One subscription of a session.
#[derive(Clone, Debug)]
pub struct SubscriptionRow {
    /// Its topic.
    pub topic: TopicId,
    /// `venue:SYMBOL`.
    pub symbol: String,
    /// Updates a second that were granted; 0 for no limit.
    pub max_rate: f64,
    /// The delay of its records, in nanoseconds; 0 for a live one.
    pub delay_ns: u64,
    /// The levels on each side of a book that is seen to a depth; 0 for all.
    pub depth: u32,
    /// The sequence that `sequence` and `newest` belong to.
    pub epoch: u64,
    /// Last sequence number that was sent or accounted for.
    pub sequence: u64,
    /// Last sequence number of the topic.
    pub newest: u64,
    /// Bytes of lossless records that wait.
    pub waiting_bytes: usize,
    /// The account of its sequence numbers.
    pub account: Account,
}

/// Everything about one session.
#[derive(Clone, Debug)]
pub struct SessionDetail {
    /// The session's entry in the list of sessions.
    pub row: SessionRow,
    /// One page of its subscriptions.
    pub subscriptions: Vec<SubscriptionRow>,
    /// The place behind which the next page begins, where there are more.
    pub next: Option<u32>,
    /// The decisions for it as a whole, the oldest first.
    pub decisions: Vec<Decided>,
    /// The runs of the subscriptions on this page, each with its topic and symbol, in order of time.
    pub runs: Vec<(TopicId, String, Run)>,
    /// Names of the topics in `decisions`.
    pub names: Vec<(TopicId, String)>,
}

/// The counts of what the delayed views of an engine hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delayed {
    /// Different delays.
    pub delays: usize,
    /// Different depths of books, each counted with each delay that it is used with.
    pub depths: usize,
    /// Topics of their views.
    pub topics: usize,
    /// Bytes of what waits for being old enough.
    pub bytes: usize,
    /// Records for which there was no room: they were announced as shed.
    pub dropped: u64,
}

pub(crate) fn delayed(fanout: &Fanout) -> Delayed {
    let delays = &fanout.delays;
    Delayed {
        delays: delays.iter().count(),
        depths: fanout.depths.iter().count(),
        topics: delays.iter().map(|delay| delay.topics).sum(),
        bytes: delays.bytes(),
        dropped: delays.dropped,
    }
}

/// Returns how many hold each view, as it is counted all the time, and counted anew. It looks at every subscription.
pub(crate) fn count_holders(fanout: &Fanout) -> (Holders, Holders) {
    let mut anew = Holders::default();
    for session in fanout.sessions.values() {
        let waiting = session.seldom.pending.values().flat_map(|pending| &pending.waiting);
        let topics = session.subs.iter().flatten().map(|sub| sub.topic).chain(waiting.copied());
        let wildcards = session.seldom.wildcards.iter().flat_map(|all| &all.shown).map(|(_, view)| *view);
        topics.map(TopicId::view).chain(wildcards).for_each(|view| anew.take(view));
    }
    (fanout.index.holders.clone(), anew)
}

/// Sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Sessions in each state, by place in [`SessionState::ALL`].
    pub states: [usize; 4],
    /// Bytes that wait or are in flight.
    pub pressure: Pressure,
    /// Decisions of each kind, by place in `Survey::KINDS`.
    pub decisions: [u64; KINDS.len()],
    /// The account of all sequence numbers.
    pub totals: Account,
}

impl Survey {
    /// Names of the kinds of decisions.
    pub const KINDS: [&'static str; KINDS.len()] = KINDS;
}

/// Returns a page of sessions. It may be shorter than asked for although there are more, which it says: the work for
/// one page is bounded.
pub(crate) fn session_page(fanout: &Fanout, query: &SessionQuery) -> SessionPage {
    let id_of = |key| Some(&*fanout.sessions.get(key)?.id);
    let (mut rows, mut subscriptions, mut upto) = (Vec::new(), 0, None);
    for (at, key) in fanout.index.by_id.after(query.after.as_deref(), id_of).enumerate() {
        let Some(session) = fanout.sessions.get(key) else { continue };
        let is_wanted = query.state.is_none_or(|state| SessionState::of(session) == state);
        let is_much = is_wanted && subscriptions + session.subs.len() > SUBSCRIPTIONS_PER_PAGE;
        let is_full = rows.len() == query.limit.max(1) || (is_much && !rows.is_empty());
        if at == SESSIONS_PER_PAGE || is_full {
            return SessionPage { rows, upto };
        }
        if is_wanted {
            subscriptions += session.subs.len();
            rows.push(row(key, session));
        }
        upto = Some(session.id.to_string());
    }
    SessionPage { rows, upto: None }
}

/// Returns one session, by its id, with a page of its subscriptions.
pub(crate) fn session_detail(fanout: &Fanout, id: &str, query: DetailQuery) -> Option<SessionDetail> {
    let key = fanout.index.by_id.get(id, |key| Some(&*fanout.sessions.get(key)?.id))?;
    let session = fanout.sessions.get(key)?;
    let symbol = |topic: TopicId| {
        let info = fanout.instruments.get(topic.instrument_index() as usize).and_then(Option::as_ref);
        info.map(|info| info.scale.symbol.clone()).unwrap_or_default()
    };
    let begin = query.after.map_or(0, |after| after as usize + 1);
    let places = session.subs.iter().enumerate().skip(begin);
    let mut held = places.filter_map(|(place, sub)| Some((place as u32, sub.as_ref()?)));
    let page: Vec<_> = held.by_ref().take(query.limit.max(1)).collect();
    let next = held.next().and_then(|_| page.last()).map(|(place, _)| *place);
    let subscriptions = page.iter().map(|(_, sub)| {
        let topic = fanout.topics.get(sub.topic);
        SubscriptionRow {
            topic: sub.topic,
            symbol: symbol(sub.topic),
            max_rate: sub.rate().map_or(0.0, Rate::per_second),
            delay_ns: fanout.delay_ns(sub.topic.view()),
            depth: fanout.depths.levels(sub.topic.view()).unwrap_or_default(),
            epoch: sub.epoch,
            sequence: sub.sent,
            newest: topic.map_or(0, |topic| topic.sequence),
            waiting_bytes: sub.waiting_bytes(),
            account: sub.account(),
        }
    });
    let subscriptions: Vec<_> = subscriptions.collect();
    let decisions: Vec<_> = session.seldom.decisions.iter().flat_map(|d| d.ring().copied()).collect();
    let named = decisions.iter().filter_map(|decided| decided.decision.topic());
    let mut names: Vec<_> = named.map(|topic| (topic, symbol(topic))).collect();
    names.sort_unstable();
    names.dedup();
    let kept = session.seldom.decisions.as_deref();
    let runs = page.iter().flat_map(|(_, sub)| {
        let runs = kept.into_iter().flat_map(|decisions| decisions.runs(sub.topic));
        runs.map(|run| (sub.topic, symbol(sub.topic), *run))
    });
    let mut runs: Vec<_> = runs.collect();
    runs.sort_unstable_by_key(|(topic, _, run)| (run.since, *topic, run.first));
    Some(SessionDetail { row: row(key, session), subscriptions, next, decisions, runs, names })
}

/// Returns one session, by its handle.
pub(crate) fn session(fanout: &Fanout, key: SessionKey) -> Option<SessionRow> {
    Some(row(key, fanout.sessions.get(key)?))
}

/// Looks at every session once.
pub(crate) fn survey(fanout: &Fanout) -> Survey {
    let mut survey = Survey { decisions: fanout.decided, totals: fanout.ended, ..Survey::default() };
    for session in fanout.sessions.values() {
        survey.states[SessionState::of(session) as usize] += 1;
        survey.pressure.add(Pressure::of(session));
        survey.totals = survey.totals + session.totals();
        for (all, count) in
            survey.decisions.iter_mut().zip(session.seldom.decisions.iter().flat_map(|d| d.counts()))
        {
            *all += count;
        }
    }
    survey
}

fn row(key: SessionKey, session: &Session) -> SessionRow {
    SessionRow {
        key,
        id: session.id.to_string(),
        peer: None,
        dialect: session.dialect.name(),
        principal: session.principal.name.clone(),
        state: SessionState::of(session),
        closing: match session.ending {
            Ending::No => None,
            Ending::Asked(code) | Ending::Told(code) => Some(code),
        },
        opened: session.opened,
        heard: session.heard,
        pressure: Pressure::of(session),
        client_lag_ns: (session.reader_lag_ns > 0).then_some(session.reader_lag_ns),
        subscriptions: session.count(),
        account: session.totals(),
    }
}
