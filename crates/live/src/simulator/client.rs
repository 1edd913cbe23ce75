//! A client of a simulated venue, as the venue knows it: what it listens to, and what is to go wrong with that.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::protocol::{Listener, Protocol, Said, Stream};
use super::symbol::Symbol;

/// The messages that wait for a client that does not read; one that lets more wait is cut off.
const WAITING_MAX: usize = 4_096;
/// The window in which messages are counted: a second, less what messages may come nearer together than they were sent.
const SECOND: Duration = Duration::from_millis(900);

/// An order to the task of a connection.
#[derive(Debug)]
pub(super) enum Order {
    Send(Arc<str>),
    /// Nothing is read or written any more, and the connection stays open.
    Freeze,
    Cut,
    /// The server goes down: this is said, and the connection is cut off later.
    Shutdown(&'static str, Duration),
}

/// One connection to the streams.
pub(super) struct Client {
    pub(super) listener: Listener,
    sender: mpsc::Sender<Order>,
    messages: Rhythm,
    /// The commands so far. No test lasts for an hour.
    pub(super) commands: u64,
    /// The subscriptions whose first message comes at a time, and nothing before it.
    pub(super) awaiting: HashMap<Stream, Instant>,
    /// The streams of which the next message is lost, comes twice, or comes behind the one after it.
    pub(super) lost: HashSet<Stream>,
    pub(super) doubled: HashSet<Stream>,
    reordered: HashMap<Stream, Option<String>>,
}

impl Client {
    pub(super) fn new(path: &str) -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING_MAX);
        let client = Self {
            listener: Listener { path: path.to_owned(), ..Listener::default() },
            sender,
            messages: Rhythm::default(),
            commands: 0,
            awaiting: HashMap::new(),
            lost: HashSet::new(),
            doubled: HashSet::new(),
            reordered: HashMap::new(),
        };
        (client, orders)
    }

    /// Returns whether an order was taken; a client that lets too many wait takes none.
    pub(super) fn order(&self, order: Order) -> bool {
        self.sender.try_send(order).is_ok()
    }

    pub(super) fn send(&self, text: String) -> bool {
        self.order(Order::Send(text.into()))
    }

    /// Lets the next two messages of each of these streams come in the wrong order.
    pub(super) fn reorder(&mut self, streams: &[Stream]) {
        self.reordered.extend(streams.iter().map(|stream| (*stream, None)));
    }

    /// Takes a message of a stream, which it may not listen to. Returns whether the connection goes on.
    pub(super) fn say(
        &mut self,
        protocol: &dyn Protocol,
        said: &Said,
        symbol: &Symbol,
        is_silent: bool,
    ) -> bool {
        let stream = said.stream;
        let is_meant = self.listener.streams.get(&stream).is_some_and(|depth| *depth == said.depth);
        if !is_meant || self.awaiting.contains_key(&stream) || !protocol.is_served(&self.listener, stream) {
            return true;
        }
        // What is lost is numbered all the same, so that it is missed.
        let text = protocol.frame(&mut self.listener, said, symbol);
        if is_silent || self.lost.remove(&stream) {
            return true;
        }
        let mut texts = vec![text];
        if self.doubled.remove(&stream) {
            texts.push(texts[0].clone());
        }
        match self.reordered.remove(&stream) {
            Some(None) => {
                self.reordered.insert(stream, texts.pop());
            }
            Some(Some(before)) => texts.push(before),
            None => {}
        }
        texts.into_iter().all(|text| self.send(text))
    }

    /// Sends the messages that were to come behind the next one, which does not come.
    pub(super) fn send_kept(&mut self) -> bool {
        let kept: Vec<_> = self.reordered.drain().filter_map(|(_, text)| text).collect();
        kept.into_iter().all(|text| self.send(text))
    }

    /// Takes in that the client sent something; returns whether it may.
    pub(super) fn is_within_rate(&mut self, most: Option<usize>, now: Instant) -> bool {
        self.messages.is_within(most, now)
    }
}

/// The messages of the last second.
#[derive(Debug, Default)]
pub(super) struct Rhythm(VecDeque<Instant>);

impl Rhythm {
    /// Counts one; returns whether it is one of the most that there may be.
    pub(super) fn is_within(&mut self, most: Option<usize>, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.pop_front_if(|at| *at + SECOND <= now).is_some() {}
        most.is_none_or(|most| self.0.len() <= most)
    }
}
