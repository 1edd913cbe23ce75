//! The fan-out engine of one shard: a state machine without socket, clock or task.
//!
//! Events from the bus side, commands from clients and the time go in; bytes for sockets and interests for topics come
//! out. It owns its sessions and topics outright, so there is no lock and no atomic per update.
//!
//! It is made of three folders, each of which knows only those before it: `policy` has rules about numbers, `data` has what
//! is held, `ops` has what is done with it, a file for each thing that happens. Before them stand the edge of a session
//! (`framing`, `dialect` with `own`, `principal` with `credential`, `opening`, `watcher`) and the freshness window (`window`, `throughput`). [`Engine`]
//! itself is the door: each of its methods calls an operation or reads a count. `scripts/circles.py` keeps the files free of circles.
//!
//! Invariants:
//! - Conflatable data is never queued. A subscription that is behind has a mark in its session's dirty queue; what is
//!   newest is read when the session is written to.
//! - Every sequence number of a topic that passes a subscription is delivered, conflated, dropped or filtered:
//!   exactly once.
//! - Records of one instrument leave in the order of their arrival, whatever their channel.
//! - Control messages, pongs and close frames leave first and always fit.

mod credential;
mod data;
mod dialect;
mod framing;
mod opening;
mod ops;
mod own;
mod policy;
mod principal;
mod throughput;
mod watcher;
mod window;

use std::sync::Arc;

use tickwire_wire::{CloseCode, Encoding};

pub use credential::{Credential, TokenRefused};
pub use data::account::Account;
pub use data::backfill::{BackfillLimits, PARTS_MAX as BACKFILL_PARTS_MAX};
pub use data::decisions::{BlockedBy, Decided, Decision, Fate, Run};
pub use data::delivery::WINDOW_MS_MAX;
pub use data::handed_in::HandedIn;
pub use data::holders::Holders;
pub use data::key::SessionKey;
pub use data::latency_samples::{LATENCY_SAMPLE_ONE_IN, LatencySample};
pub use dialect::{Dialect, Loss, Request};
pub use framing::Framing;
pub use opening::Opening;
pub use ops::fill::Filled;
pub use ops::insight::{
    Delayed, DetailQuery, Pressure, SessionDetail, SessionPage, SessionQuery, SessionRow, SessionState,
    SubscriptionRow, Survey,
};
pub use own::own_dialect;
pub use policy::limits::EngineLimits;
pub use policy::pace::{HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, Pace};
pub use policy::rate::RATE_MIN;
pub use principal::{Entitlement, Pattern, Permit, Principal, Sight};
pub use watcher::CommandWatcher;
pub use window::{Freshness, Window};

use crate::vocabulary::{Event, Form, TopicInterest};
use data::fanout::Fanout;
use data::session::Session;

/// The fan-out engine of one shard; see the module.
#[derive(Debug)]
pub struct Engine {
    fanout: Fanout,
}

impl Engine {
    /// Makes an engine without sessions and topics. `server` is name and version for the hello.
    pub fn new(limits: EngineLimits, server: impl Into<String>) -> Self {
        Self { fanout: Fanout::new(limits, server.into()) }
    }

    /// Has somebody told of every command. Before that nobody is.
    pub fn watch_commands(&mut self, watcher: Box<dyn CommandWatcher>) {
        self.fanout.watcher = Some(watcher);
    }

    /// Opens a session, greets it, and takes what it asked for before its first message.
    pub fn open(&mut self, opening: Opening, now: u64) -> SessionKey {
        let key = ops::session::open(&mut self.fanout, opening, now);
        ops::command::begin(&mut self.fanout, key, now);
        key
    }

    /// Forgets a session whose connection ended, and returns what became of its records.
    pub fn ended(&mut self, key: SessionKey, now: u64) -> Option<Account> {
        ops::session::ended(&mut self.fanout, key, now)
    }

    /// Ends a session: it gets its ledger and a close frame as soon as its socket takes them.
    pub fn close(&mut self, key: SessionKey, code: CloseCode) {
        ops::close::close(&mut self.fanout, key, code);
    }

    /// Returns why a session is being closed, if it is.
    pub fn closing(&self, key: SessionKey) -> Option<CloseCode> {
        ops::close::closing(&self.fanout, key)
    }

    /// Takes what the bus side has to say.
    pub fn on_event(&mut self, event: &Event, now: u64) {
        ops::event::on_event(&mut self.fanout, event, now);
    }

    /// Takes one message from a client. What cannot be read is answered with an error; the session goes on. Returns
    /// whether it answers one of our probes: these are not counted against the client.
    pub fn on_message(&mut self, key: SessionKey, bytes: &[u8], now: u64) -> bool {
        self.on_framed(key, bytes, false, now)
    }

    /// Takes a message as [`Engine::on_message`] does, where it is known whether it came as text.
    pub fn on_framed(&mut self, key: SessionKey, bytes: &[u8], is_text: bool, now: u64) -> bool {
        ops::command::on_message(&mut self.fanout, key, (bytes, is_text), now)
    }

    /// Takes the tokens that clients handed in. Whoever takes them finds out whom they belong to, and tells it by
    /// [`Engine::identify`].
    pub fn take_tokens(&mut self) -> std::vec::Drain<'_, HandedIn> {
        self.fanout.tokens.drain(..)
    }

    /// Takes the verdict about a token that was handed in with the command `id`: the session belongs to the principal from now
    /// on, and what that one may not see ends; or the client is told why the token does not count.
    pub fn identify(
        &mut self,
        key: SessionKey,
        id: u64,
        verdict: Result<Arc<Principal>, TokenRefused>,
        now: u64,
    ) {
        ops::identity::identify(&mut self.fanout, key, id, verdict, now);
    }

    /// Takes other rights of the credential that a session is known by, which stays: what an API key grants has changed. A session
    /// that cannot go on with them, because of its name or its encoding, is closed and may come back.
    pub fn regrant(&mut self, key: SessionKey, principal: Arc<Principal>, now: u64) {
        ops::identity::regrant(&mut self.fanout, key, principal, now);
    }

    /// Closes the sessions of principals that were revoked. Returns how many.
    pub fn revoke(&mut self, is_revoked: &dyn Fn(&Principal) -> bool, now: u64) -> usize {
        ops::identity::revoke(&mut self.fanout, is_revoked, now)
    }

    /// Returns the name of a session in responses and logs.
    pub fn id(&self, key: SessionKey) -> Option<&str> {
        Some(&self.fanout.sessions.get(key)?.id)
    }

    /// Returns the principal that a session belongs to.
    pub fn principal(&self, key: SessionKey) -> Option<&Arc<Principal>> {
        Some(&self.fanout.sessions.get(key)?.principal)
    }

    /// Notes that something was heard, and owes the response to a ping, behind those that are owed already.
    pub fn on_ping(&mut self, key: SessionKey, payload: &[u8], now: u64) {
        ops::command::on_ping(&mut self.fanout, key, payload, now);
    }

    /// Takes the response to a ping: everything sent before that ping was read. Returns whether
    /// one was owed; one that names none of ours only shows that the client is there.
    pub fn on_pong(&mut self, key: SessionKey, payload: &[u8], now: u64) -> bool {
        ops::command::on_pong(&mut self.fanout, key, payload, now)
    }

    /// Returns whether a session waits to be written to.
    pub fn is_ready(&self, key: SessionKey) -> bool {
        self.fanout.sessions.get(key).is_some_and(|session| session.queued)
    }

    /// Returns whether a session is owed more than data: a response, or an end.
    pub fn owes_response(&self, key: SessionKey) -> bool {
        self.fanout.sessions.get(key).is_some_and(Session::owes_response)
    }

    /// Tells a client that it sends commands too fast, or too much in them: this one was not read.
    pub fn on_flood(&mut self, key: SessionKey, bytes: &[u8]) {
        ops::command::on_flood(&mut self.fanout, key, bytes);
    }

    /// Returns what the last message of a client cost, in names.
    pub fn price(&self) -> u32 {
        self.fanout.price.names()
    }

    /// Appends to `out` what a session is to be sent now, as whole frames. A blocked session gets nothing, except the last
    /// bytes of one that is being closed.
    pub fn fill(&mut self, key: SessionKey, now: u64, framing: &dyn Framing, out: &mut Vec<u8>) -> Filled {
        ops::fill::fill(&mut self.fanout, key, now, framing, out)
    }

    /// Tells what the kernel has not taken of what was filled. Above 0 the session is blocked: it is not ready again
    /// before 0 was told.
    pub fn unsent(&mut self, key: SessionKey, bytes: usize, now: u64) {
        ops::session::unsent(&mut self.fanout, key, bytes, now);
    }

    /// Takes the sessions that have something to send and a socket that takes it.
    pub fn take_ready(&mut self, into: &mut Vec<SessionKey>) {
        self.fanout.ready.take(u64::MAX, usize::MAX, into);
    }

    /// Takes at most `max` of them, which are ready since `since` at the latest: those first that are ready for the longest
    /// time.
    pub fn take_due(&mut self, since: u64, max: usize, into: &mut Vec<SessionKey>) {
        self.fanout.ready.take(since, max, into);
    }

    /// Returns whether any session has something to send.
    pub fn has_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    /// Returns the time since which a session has something to send; the earliest of them, where there are several.
    pub fn ready_since(&self) -> Option<u64> {
        self.fanout.ready.since()
    }

    /// Takes what the engine wants from the bus side since it was last asked.
    pub fn take_interests(&mut self) -> std::vec::Drain<'_, TopicInterest> {
        self.fanout.interests.drain(..)
    }

    /// Returns whether there are latency samples to be taken.
    pub fn has_latency_samples(&self) -> bool {
        !self.fanout.noted.latency_samples.is_empty()
    }

    /// Takes the times of about one record in [`LATENCY_SAMPLE_ONE_IN`] that was handed over since they were last
    /// taken.
    pub fn take_latency_samples(&mut self) -> std::vec::Drain<'_, LatencySample> {
        self.fanout.noted.latency_samples.take()
    }

    /// Returns when [`Engine::on_timer`] has something to do, in nanoseconds since the Unix epoch.
    pub fn next_due(&self) -> Option<u64> {
        ops::throttle::next_due(&self.fanout)
    }

    /// Returns the same, later by less than these grains in nanoseconds: for throttled subscriptions, and for sessions with
    /// a delivery window; for delayed views later by less than ten of the latter. Those that are due within one grain then go on together.
    pub fn next_due_within(&self, rate_grain: u64, window_grain: u64) -> Option<u64> {
        ops::throttle::next_due_within(&self.fanout, rate_grain, window_grain)
    }

    /// Lets those go on that waited until now: throttled subscriptions, sessions with a delivery window, and delayed views.
    pub fn on_timer(&mut self, now: u64) {
        ops::throttle::on_timer(&mut self.fanout, now);
        ops::pass_on::pass_on(&mut self.fanout, now);
    }

    /// Does what is due. Call it every 50 ms or so; `now` is nanoseconds since the Unix epoch and never goes back.
    pub fn tick(&mut self, now: u64) {
        ops::tick::tick(&mut self.fanout, now);
    }

    /// Tells every session when to come back and closes them one after another over the window.
    pub fn drain(&mut self, window_ns: u64, now: u64) {
        ops::tick::drain(&mut self.fanout, window_ns, now);
    }

    /// Finds the sessions whose clients do not answer pings: for these the driver tells what the kernel has not
    /// confirmed.
    pub fn wants_kernel_numbers(&self, into: &mut Vec<SessionKey>) {
        ops::session::wants_kernel_numbers(&self.fanout, into);
    }

    /// Tells how many bytes the client's kernel has not confirmed, what this process still holds included.
    pub fn kernel_unacknowledged(&mut self, key: SessionKey, bytes: usize, now: u64) {
        ops::session::kernel_unacknowledged(&mut self.fanout, key, bytes, now);
    }

    /// Lets sessions go back further than the logs reach. Without it, what is not in a log is announced as a gap.
    pub fn set_backfill(&mut self, limits: BackfillLimits) {
        self.fanout.desk.limits = Some(limits);
    }

    /// Returns how many parts of history are asked for and not there yet.
    pub fn backfills(&self) -> usize {
        self.fanout.desk.open.len()
    }

    /// Returns the number of sessions.
    pub fn sessions(&self) -> usize {
        self.fanout.sessions.len()
    }

    /// Returns how many sessions are looked at at each tick; the others wait for the clock alone, and are looked at when
    /// something is due.
    pub fn watched(&self) -> usize {
        self.fanout.looks.not_quiet().count()
    }

    /// Returns whether every session has a delivery window.
    pub fn has_windows_only(&self) -> bool {
        self.fanout.windowed == self.fanout.sessions.len()
    }

    /// Returns the number of topics that it holds, those of delayed views included.
    pub fn topics(&self) -> usize {
        self.fanout.topics.iter().count()
    }

    /// Returns how many topics have an encoded log in this encoding. It looks at every topic.
    pub fn encoded_logs(&self, encoding: Encoding) -> usize {
        self.fanout.topics.iter().filter(|topic| topic.has_encoded_log(&Form::own(encoding))).count()
    }

    /// Returns how many bytes the recent records of all topics take.
    pub fn log_bytes(&self) -> usize {
        self.fanout.logs.total()
    }

    /// Returns the bytes of all logs, counted anew, and those of them that stay whatever the budget. It looks at
    /// every topic.
    pub fn count_log_bytes(&self) -> (usize, usize) {
        ops::budget::count_log_bytes(&self.fanout)
    }

    /// Returns what its delayed views hold.
    pub fn delayed(&self) -> Delayed {
        ops::insight::delayed(&self.fanout)
    }

    /// Returns how many hold each delay and each depth, and the same counted anew: subscriptions, those that wait, and `venue:*`. It
    /// looks at every subscription.
    pub fn count_holders(&self) -> (Holders, Holders) {
        ops::insight::count_holders(&self.fanout)
    }

    /// Returns the number of price levels of all books.
    pub fn book_levels(&self) -> usize {
        self.fanout.logs.levels()
    }

    /// Returns how many bytes wait for single sessions, those that are being closed excepted.
    pub fn private_bytes(&self) -> usize {
        self.fanout.private_bytes
    }

    /// Returns the number of subscriptions, those that are not granted yet included.
    pub fn subscriptions(&self) -> usize {
        self.fanout.subscribed + self.fanout.asked
    }

    /// Returns what became of all records of all subscriptions, ended ones included.
    pub fn totals(&self) -> Account {
        self.fanout.sessions.values().fold(self.fanout.ended, |total, session| total + session.totals())
    }

    /// Returns how many bytes of all sessions were handed over and not confirmed.
    pub fn in_flight(&self) -> usize {
        self.fanout.sessions.values().map(|session| session.window.in_flight()).sum()
    }

    /// Returns the sum of the pressure of all sessions, in bytes, and how many are conflating.
    pub fn pressure(&self) -> (usize, usize) {
        let conflating =
            self.fanout.sessions.values().filter(|session| session.pace == Pace::Conflating).count();
        (self.fanout.sessions.values().map(Session::pressure).sum(), conflating)
    }

    /// Returns a page of sessions. It may be shorter than asked for although there are more, which it says: the work
    /// for one page is bounded.
    pub fn session_page(&self, query: &SessionQuery) -> SessionPage {
        ops::insight::session_page(&self.fanout, query)
    }

    /// Returns one session, by its handle, as a page has it. It adds up the session's subscriptions.
    pub fn session(&self, key: SessionKey) -> Option<SessionRow> {
        ops::insight::session(&self.fanout, key)
    }

    /// Returns one session, by its id, with a page of its subscriptions.
    pub fn session_detail(&self, id: &str, query: DetailQuery) -> Option<SessionDetail> {
        ops::insight::session_detail(&self.fanout, id, query)
    }

    /// Looks at every session once.
    pub fn survey(&self) -> Survey {
        ops::insight::survey(&self.fanout)
    }
}
