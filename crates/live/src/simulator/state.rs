//! The state of a simulated venue: its exchange, who listens, and what is to go wrong.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tickwire_wire::Channel;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::{Client, Order, Rhythm};
use super::exchange::Exchange;
use super::fault::{Fault, FaultError};
use super::protocol::{Keepalive, Page, Reply, Said, Stream, unreadable};

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
    /// Snapshots that were given out, on request or in streams.
    pub snapshots: u64,
    /// Requests and connections that came during a ban.
    pub requests_while_banned: u64,
    /// Times that a limit of the venue was exceeded.
    pub violations: u64,
}

pub(super) struct State {
    pub(super) exchange: Exchange,
    pub(super) report: SimReport,
    is_paused: bool,
    clients: HashMap<u64, Client>,
    next_client: u64,
    said: Vec<Said>,
    mute: HashSet<Stream>,
    refused: HashSet<Stream>,
    silent_until: Option<Instant>,
    slow_snapshots: Duration,
    stale_snapshots: u32,
    unreadable_snapshots: u32,
    of_address: Rhythm,
    ban: Option<(u16, Instant)>,
    weight: VecDeque<(Instant, u32)>,
}

impl State {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            report: SimReport::default(),
            is_paused: false,
            clients: HashMap::new(),
            next_client: 0,
            said: Vec::new(),
            mute: HashSet::new(),
            refused: HashSet::new(),
            silent_until: None,
            slow_snapshots: Duration::ZERO,
            stale_snapshots: 0,
            unreadable_snapshots: 0,
            of_address: Rhythm::default(),
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
            // Who subscribes meanwhile gets the book as it is.
            return self.send_first(now);
        }
        self.exchange.step(count, now, &mut self.said);
        if is_flush {
            self.exchange.flush(now, &mut self.said);
        }
        self.publish(now);
    }

    pub(super) fn pause(&mut self, now: u64) {
        self.tick(0, true, now);
        self.is_paused = true;
        self.clients.retain(|_, client| client.send_kept());
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Checks that the venue can have a fault, and that what it names is there.
    pub(super) fn check(&self, fault: &Fault) -> Result<(), FaultError> {
        let wrong = |reason: String| Err(FaultError { text: fault.to_string(), reason });
        if !self.exchange.protocol.has(fault) {
            return wrong("this venue cannot have it".to_owned());
        }
        match fault {
            Fault::Refuse(name) | Fault::Mute(name) if self.exchange.stream(name).is_none() => {
                wrong(format!("there is no stream `{name}`"))
            }
            Fault::List(name) | Fault::Delist(name) | Fault::Rescale(name)
                if self.exchange.symbol(name).is_none() =>
            {
                wrong(format!("there is no symbol `{name}`"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn inject(&mut self, fault: &Fault) -> Result<(), FaultError> {
        self.check(fault)?;
        let books = self.exchange.streams(&[Channel::Book]);
        match fault {
            Fault::Gap => {
                let streams = self.exchange.streams(&[Channel::Book, Channel::Trade]);
                self.clients.values_mut().for_each(|client| client.lost.extend(&streams));
            }
            Fault::Duplicate => {
                let streams = self.exchange.streams(&[Channel::Book, Channel::Trade, Channel::Quote]);
                self.clients.values_mut().for_each(|client| client.doubled.extend(&streams));
            }
            Fault::Reorder => self.clients.values_mut().for_each(|client| client.reorder(&books)),
            Fault::Checksum => self.exchange.protocol.spoil(&self.exchange.symbols),
            Fault::Silence(time) => self.silent_until = Some(Instant::now() + *time),
            Fault::HalfOpen => self.drop_all(|| Order::Freeze),
            Fault::Disconnect => self.drop_all(|| Order::Cut),
            Fault::Shutdown => {
                if let Some(text) = self.exchange.protocol.shutdown() {
                    let tell = |client: &Client| client.order(Order::Shutdown(text, SHUTDOWN_AFTER));
                    self.clients.retain(|_, client| tell(client));
                }
            }
            Fault::SlowSnapshots(time) => self.slow_snapshots = *time,
            Fault::StaleSnapshots(count) => {
                self.stale_snapshots = *count;
                self.exchange.protocol.freeze(&mut self.exchange.symbols);
            }
            Fault::Ban(status, time) => self.ban = Some((*status, Instant::now() + *time)),
            Fault::Refuse(name) => self.refused.extend(self.exchange.stream(name)),
            Fault::Mute(name) => self.mute.extend(self.exchange.stream(name)),
            Fault::Unmute => {
                self.mute.clear();
                self.refused.clear();
            }
            Fault::UnreadableSnapshots(count) => self.unreadable_snapshots = *count,
            Fault::Rescale(name) => {
                if let Some(symbol) = self.exchange.symbol_mut(name) {
                    symbol.finer += 1;
                }
            }
            Fault::Renumber => {
                self.exchange.renumber();
                self.clients.values_mut().for_each(|client| client.listener.numbered = 0);
            }
            Fault::List(name) | Fault::Delist(name) => {
                if let Some(symbol) = self.exchange.symbol_mut(name) {
                    symbol.is_listed = matches!(fault, Fault::List(_));
                }
            }
        }
        Ok(())
    }

    /// Gives all connections an order, and forgets them.
    fn drop_all(&mut self, order: fn() -> Order) {
        for (_, client) in self.clients.drain() {
            client.order(order());
        }
    }

    /// Sends what was said to those who listen.
    fn publish(&mut self, now: u64) {
        self.send_first(now);
        let is_silent = self.is_silent();
        let Exchange { protocol, symbols, .. } = &self.exchange;
        for said in std::mem::take(&mut self.said) {
            if !self.mute.contains(&said.stream) {
                let symbol = &symbols[said.stream.symbol];
                // One that does not read is cut off.
                self.clients.retain(|_, client| client.say(&**protocol, &said, symbol, is_silent));
            }
        }
    }

    /// Sends the snapshots in the stream that are due. They come before what happens next, so each book continues.
    fn send_first(&mut self, time: u64) {
        if self.is_silent() {
            return;
        }
        let now = Instant::now();
        let Exchange { protocol, symbols, .. } = &mut self.exchange;
        for client in self.clients.values_mut() {
            let is_due = |stream: &Stream, at: &Instant| *at <= now && !self.mute.contains(stream);
            let due = client.awaiting.extract_if(|stream, at| is_due(stream, at)).map(|(stream, _)| stream);
            for stream in due.collect::<Vec<_>>() {
                let Some(depth) = client.listener.streams.get(&stream).copied() else { continue };
                let symbol = &mut symbols[stream.symbol];
                let Some(data) = protocol.first(stream, depth, symbol, self.stale_snapshots > 0, time) else {
                    continue;
                };
                self.stale_snapshots = self.stale_snapshots.saturating_sub(1);
                self.report.snapshots += 1;
                let is_odd = take_one(&mut self.unreadable_snapshots);
                let data = if is_odd { unreadable(data) } else { data };
                let text = protocol.frame(&mut client.listener, &Said { stream, depth, data }, symbol);
                client.send(text);
            }
        }
    }

    /// Returns whether nothing is sent now.
    fn is_silent(&self) -> bool {
        self.silent_until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes a new connection.
    pub(super) fn connected(&mut self, path: &str, query: &str, now: u64) -> (u64, mpsc::Receiver<Order>) {
        let (client, orders) = Client::new(path);
        let id = self.next_client;
        self.next_client += 1;
        self.report.connections += 1;
        self.clients.insert(id, client);
        let reply = self.exchange.protocol.opened(query, &self.exchange.symbols);
        self.reply(id, reply, now);
        (id, orders)
    }

    pub(super) fn disconnected(&mut self, id: u64) {
        self.clients.remove(&id);
    }

    /// Takes in that a client sent something; returns whether it may.
    pub(super) fn is_within_rate(&mut self, id: u64, now: Instant) -> bool {
        let limits = self.exchange.protocol.limits();
        let Some(client) = self.clients.get_mut(&id) else { return true };
        let is_within = client.is_within_rate(limits.messages, now)
            & self.of_address.is_within(limits.messages_of_address, now);
        self.report.violations += u64::from(!is_within);
        is_within
    }

    /// Takes a command.
    pub(super) fn command(&mut self, id: u64, text: &str, now: u64) {
        self.report.commands += 1;
        let most = self.exchange.protocol.limits().commands;
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.commands += 1;
        self.report.violations += u64::from(most.is_some_and(|most| client.commands > most));
        let Exchange { protocol, symbols, .. } = &mut self.exchange;
        let reply = protocol.command(text, &client.listener, symbols, &self.refused);
        self.reply(id, reply, now);
    }

    /// Sends the response to a command, and the first messages of what it subscribes to.
    fn reply(&mut self, id: u64, reply: Reply, now: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.listener.hears_heartbeats = reply.hears_heartbeats;
        for text in reply.texts {
            let text = self.exchange.protocol.number(&mut client.listener, &text);
            client.send(text);
        }
        let at = Instant::now() + self.slow_snapshots;
        for (stream, depth) in reply.subscribed {
            client.listener.streams.insert(stream, depth);
            if self.exchange.protocol.begins_with_snapshot(stream.channel) {
                client.awaiting.insert(stream, at);
            }
        }
        for stream in reply.unsubscribed {
            client.listener.streams.remove(&stream);
            client.awaiting.remove(&stream);
        }
        self.send_first(now);
    }

    /// Gives a connection a sign of life; returns the ping that it is, where it is one.
    pub(super) fn keep_alive(&mut self, id: u64, now: u64) -> Option<&'static [u8]> {
        let client = self.clients.get_mut(&id)?;
        let protocol = &mut self.exchange.protocol;
        match protocol.keepalive(&client.listener, now) {
            Keepalive::Ping(payload) => return Some(payload),
            Keepalive::Text(text) => {
                let text = protocol.number(&mut client.listener, &text);
                client.send(text);
            }
            Keepalive::Nothing => {}
        }
        None
    }

    /// Returns whether connections to streams are refused now; with the status, and the seconds to wait.
    pub(super) fn banned_streams(&mut self) -> Option<(u16, u64)> {
        if self.exchange.protocol.limits().bans_streams { self.banned() } else { None }
    }

    fn banned(&mut self) -> Option<(u16, u64)> {
        let now = Instant::now();
        let (status, until) = self.ban.filter(|(_, until)| now < *until)?;
        self.report.requests_while_banned += 1;
        // Seconds are whole: one more is not too early.
        Some((status, (until - now).as_secs() + 1))
    }

    /// Takes a request of a weight; returns the status and the seconds to wait where it is refused, else the weight that
    /// was used.
    pub(super) fn request(&mut self, weight: u32) -> Result<u32, (u16, u64)> {
        if let Some(refused) = self.banned() {
            return Err(refused);
        }
        let now = Instant::now();
        while self.weight.pop_front_if(|(at, _)| *at + MINUTE <= now).is_some() {}
        self.weight.push_back((now, weight));
        let used = self.weight.iter().map(|(_, weight)| weight).sum();
        if used > self.exchange.protocol.limits().weight {
            self.report.violations += 1;
            return Err((429, 60));
        }
        Ok(used)
    }

    /// Returns a page, and how long it takes.
    pub(super) fn page(&mut self, path: &str, query: &str, now: u64) -> (Page, Duration) {
        let Exchange { protocol, symbols, .. } = &mut self.exchange;
        let page = protocol.page(path, query, symbols, self.stale_snapshots > 0, now);
        let mut wait = Duration::ZERO;
        match &page {
            Page::Catalogue(_) => self.report.catalogues += 1,
            Page::Snapshot(_) => {
                self.report.snapshots += 1;
                self.stale_snapshots = self.stale_snapshots.saturating_sub(1);
                wait = self.slow_snapshots;
            }
            Page::Other(_) | Page::Wrong(_) => {}
        }
        let page = match page {
            Page::Snapshot(text) if take_one(&mut self.unreadable_snapshots) => {
                Page::Snapshot(unreadable(text))
            }
            page => page,
        };
        (page, wait)
    }
}

/// Takes one of so many; returns whether there was one.
fn take_one(count: &mut u32) -> bool {
    let is_there = *count > 0;
    *count = count.saturating_sub(1);
    is_there
}
