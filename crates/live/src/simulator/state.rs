//! The state of a simulated venue: its exchange, who listens, and what is to go wrong.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tickwire_feed::binance::Market;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::exchange::{Exchange, Source};
use super::fault::Fault;
use super::symbol::{Said, Symbol};

/// The messages that wait for a client that does not read; one that lets more wait is cut off.
const WAITING_MAX: usize = 4_096;
/// The most messages of a client in a second, at spot and at the futures.
const MESSAGES_MAX: (usize, usize) = (5, 10);
/// The weight of requests in a minute, at spot and at the futures.
const WEIGHT_MAX: (u32, u32) = (6_000, 2_400);
/// The window in which messages are counted: a second, less what messages may come nearer together than they were sent.
const SECOND: Duration = Duration::from_millis(900);
const MINUTE: Duration = Duration::from_secs(60);
const SHUTDOWN_AFTER: Duration = Duration::from_secs(5);

/// The counts of what clients did, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimReport {
    /// Connections to streams that were opened.
    pub connections: u64,
    /// Commands.
    pub commands: u64,
    /// Pongs.
    pub pongs: u64,
    /// Requests for the list of instruments.
    pub catalogues: u64,
    /// Requests for snapshots.
    pub snapshots: u64,
    /// Requests that came during a ban.
    pub requests_while_banned: u64,
    /// Times that a limit of the venue was exceeded.
    pub violations: u64,
}

pub(super) struct State {
    market: Market,
    pub(super) exchange: Exchange,
    pub(super) report: SimReport,
    is_paused: bool,
    sessions: HashMap<u64, Session>,
    next_session: u64,
    said: Vec<Said>,
    /// The streams of which the next message is lost, comes twice, or comes behind the one after it.
    lost: HashSet<String>,
    doubled: HashSet<String>,
    reordered: HashMap<String, Option<String>>,
    mute: HashSet<String>,
    refused: HashSet<String>,
    silent_until: Option<Instant>,
    pub(super) slow_snapshots: Duration,
    stale_snapshots: u32,
    ban: Option<(u16, Instant)>,
    weight: VecDeque<(Instant, u32)>,
}

/// A connection to a stream.
struct Session {
    root: String,
    /// Whether messages name their stream.
    is_combined: bool,
    streams: HashSet<String>,
    sender: mpsc::Sender<Order>,
    messages: VecDeque<Instant>,
}

/// An order to the task of a connection.
#[derive(Debug)]
pub(super) enum Order {
    Send(Arc<str>),
    /// Nothing is read or written any more, and the connection stays open.
    Freeze,
    Cut,
    /// The server goes down: this is said, and the connection is cut off later.
    Shutdown(Arc<str>, Duration),
}

impl State {
    pub(super) fn new(market: Market, source: Source, symbols: Vec<Symbol>) -> Self {
        Self {
            market,
            exchange: Exchange::new(market, source, symbols),
            report: SimReport::default(),
            is_paused: false,
            sessions: HashMap::new(),
            next_session: 0,
            said: Vec::new(),
            lost: HashSet::new(),
            doubled: HashSet::new(),
            reordered: HashMap::new(),
            mute: HashSet::new(),
            refused: HashSet::new(),
            silent_until: None,
            slow_snapshots: Duration::ZERO,
            stale_snapshots: 0,
            ban: None,
            weight: VecDeque::new(),
        }
    }

    /// Opens the market of all symbols.
    pub(super) fn open(&mut self, instruments: usize, unlisted: &[String], now: u64) {
        self.exchange.step(instruments, now, &mut self.said);
        for name in unlisted {
            if let Some(symbol) = self.exchange.symbol_mut(name) {
                symbol.is_listed = false;
            }
        }
        self.exchange.flush(now, &mut self.said);
        self.said.clear();
    }

    /// Lets so many things happen, and says what is to be said.
    pub(super) fn tick(&mut self, count: usize, is_flush: bool, now: u64) {
        if self.is_paused {
            return;
        }
        self.exchange.step(count, now, &mut self.said);
        if is_flush {
            self.exchange.flush(now, &mut self.said);
        }
        self.publish();
    }

    pub(super) fn pause(&mut self, now: u64) {
        self.tick(0, true, now);
        self.is_paused = true;
        // The message that was to come behind the next one has none before it any more.
        let kept: Vec<Said> =
            self.reordered.drain().filter_map(|(stream, text)| Some((stream, text?))).collect();
        self.said.extend(kept);
        self.publish();
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    pub(super) fn inject(&mut self, fault: &Fault) {
        let names: Vec<_> = self.exchange.symbols.iter().map(|symbol| symbol.name.to_lowercase()).collect();
        let streams = |kinds: &[&str]| -> Vec<String> {
            names.iter().flat_map(|name| kinds.iter().map(move |kind| format!("{name}@{kind}"))).collect()
        };
        let trades = if self.market == Market::Spot { "trade" } else { "aggTrade" };
        let order = |sessions: &HashMap<u64, Session>, order: fn() -> Order| {
            for session in sessions.values() {
                let _ = session.sender.try_send(order());
            }
        };
        match fault {
            Fault::Gap => self.lost.extend(streams(&["depth@100ms", trades])),
            Fault::Duplicate => self.doubled.extend(streams(&["depth@100ms", trades, "bookTicker"])),
            Fault::Reorder => {
                self.reordered.extend(streams(&["depth@100ms"]).into_iter().map(|stream| (stream, None)));
            }
            Fault::Silence(time) => self.silent_until = Some(Instant::now() + *time),
            Fault::HalfOpen => {
                order(&self.sessions, || Order::Freeze);
                self.sessions.clear();
            }
            Fault::Disconnect => {
                order(&self.sessions, || Order::Cut);
                self.sessions.clear();
            }
            Fault::Shutdown => {
                order(&self.sessions, || {
                    let text = r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#;
                    Order::Shutdown(text.into(), SHUTDOWN_AFTER)
                });
            }
            Fault::SlowSnapshots(time) => self.slow_snapshots = *time,
            Fault::StaleSnapshots(count) => {
                self.stale_snapshots = *count;
                for symbol in &mut self.exchange.symbols {
                    symbol.freeze(self.market);
                }
            }
            Fault::Ban(status, time) => self.ban = Some((*status, Instant::now() + *time)),
            Fault::Refuse(stream) => drop(self.refused.insert(stream.clone())),
            Fault::Mute(stream) => drop(self.mute.insert(stream.clone())),
            Fault::Unmute => self.mute.clear(),
            Fault::Renumber => self.exchange.renumber(),
            Fault::List(name) | Fault::Delist(name) => {
                if let Some(symbol) = self.exchange.symbol_mut(name) {
                    symbol.is_listed = matches!(fault, Fault::List(_));
                }
            }
        }
    }

    /// Sends what was said to those who listen.
    fn publish(&mut self) {
        let is_silent = self.silent_until.is_some_and(|until| Instant::now() < until);
        for (stream, data) in std::mem::take(&mut self.said) {
            if is_silent || self.mute.contains(&stream) || self.lost.remove(&stream) {
                continue;
            }
            let times = if self.doubled.remove(&stream) { 2 } else { 1 };
            let mut texts = vec![data; times];
            match self.reordered.remove(&stream) {
                Some(None) => {
                    self.reordered.insert(stream, texts.pop());
                    continue;
                }
                Some(Some(before)) => texts.push(before),
                None => {}
            }
            for data in texts {
                self.send(&stream, &data);
            }
        }
    }

    fn send(&mut self, stream: &str, data: &str) {
        let market = self.market;
        let combined: Arc<str> = format!(r#"{{"stream":"{stream}","data":{data}}}"#).into();
        let plain: Arc<str> = data.into();
        self.sessions.retain(|_, session| {
            if !session.streams.contains(stream) || !is_served(market, &session.root, stream) {
                return true;
            }
            let text = Arc::clone(if session.is_combined { &combined } else { &plain });
            // One that does not read is cut off.
            session.sender.try_send(Order::Send(text)).is_ok()
        });
    }

    /// Takes a new connection.
    pub(super) fn connected(&mut self, path: &str, streams: HashSet<String>) -> (u64, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING_MAX);
        let id = self.next_session;
        self.next_session += 1;
        self.report.connections += 1;
        let root = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        let is_combined = path.ends_with("/stream");
        let messages = VecDeque::new();
        self.sessions.insert(id, Session { root: root.to_owned(), is_combined, streams, sender, messages });
        (id, orders)
    }

    pub(super) fn disconnected(&mut self, id: u64) {
        self.sessions.remove(&id);
    }

    /// Takes in that a client sent something; returns whether it may.
    pub(super) fn is_within_rate(&mut self, id: u64, now: Instant) -> bool {
        let most = if self.market == Market::Spot { MESSAGES_MAX.0 } else { MESSAGES_MAX.1 };
        let Some(session) = self.sessions.get_mut(&id) else { return true };
        session.messages.push_back(now);
        while session.messages.pop_front_if(|at| *at + SECOND <= now).is_some() {}
        let is_within = session.messages.len() <= most;
        self.report.violations += u64::from(!is_within);
        is_within
    }

    /// Takes a command, and returns the response.
    pub(super) fn command(&mut self, id: u64, text: &str) -> String {
        self.report.commands += 1;
        let Ok(command) = serde_json::from_str::<serde_json::Value>(text) else {
            return r#"{"error":{"code":3,"msg":"Invalid JSON"}}"#.to_owned();
        };
        let number = &command["id"];
        let refuse =
            |msg: &str| serde_json::json!({ "error": { "code": 2, "msg": msg }, "id": number }).to_string();
        let Some(params) = command["params"].as_array() else {
            return refuse("Invalid request: params is no list");
        };
        let streams: Vec<_> = params.iter().filter_map(|stream| stream.as_str()).map(str::to_owned).collect();
        if let Some(stream) = streams.iter().find(|stream| self.refused.contains(*stream)) {
            return refuse(&format!("Invalid request: {stream} is refused"));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            match command["method"].as_str() {
                // Names that are none are granted, too.
                Some("SUBSCRIBE") => session.streams.extend(streams),
                Some("UNSUBSCRIBE") => session.streams.retain(|stream| !streams.contains(stream)),
                _ => return refuse("Invalid request: unknown method"),
            }
        }
        serde_json::json!({ "result": null, "id": number }).to_string()
    }

    /// Takes a request of a weight; returns the status and the seconds to wait where it is refused, else the weight that
    /// was used.
    pub(super) fn request(&mut self, weight: u32) -> Result<u32, (u16, u64)> {
        let now = Instant::now();
        if let Some((status, until)) = self.ban.filter(|(_, until)| now < *until) {
            self.report.requests_while_banned += 1;
            // Seconds are whole: one more is not too early.
            return Err((status, (until - now).as_secs() + 1));
        }
        while self.weight.pop_front_if(|(at, _)| *at + MINUTE <= now).is_some() {}
        self.weight.push_back((now, weight));
        let used = self.weight.iter().map(|(_, weight)| weight).sum();
        let most = if self.market == Market::Spot { WEIGHT_MAX.0 } else { WEIGHT_MAX.1 };
        if used > most {
            self.report.violations += 1;
            return Err((429, 60));
        }
        Ok(used)
    }

    /// Returns a snapshot.
    pub(super) fn snapshot(&mut self, symbol: &str, levels: usize) -> Option<String> {
        self.report.snapshots += 1;
        let is_stale = self.stale_snapshots > 0;
        self.stale_snapshots = self.stale_snapshots.saturating_sub(1);
        let market = self.market;
        let symbol = self.exchange.symbol_mut(symbol).filter(|symbol| symbol.is_listed)?;
        Some(symbol.snapshot(market, levels, is_stale))
    }
}

/// Returns whether a root brings a stream: the futures have two, and the old one brings what the public one does.
fn is_served(market: Market, root: &str, stream: &str) -> bool {
    let is_of_market = stream.contains("@aggTrade") || stream.contains("@markPrice");
    market == Market::Spot || is_of_market == (root == "market")
}
