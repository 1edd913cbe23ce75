//! The words of a simulated venue: what its streams and its REST service say. No I/O and no clock.

use std::collections::{HashMap, HashSet};

use tickwire_wire::{Channel, Instrument, Quote, Trade};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fault::Fault;
use super::symbol::Symbol;

/// A stream: a channel of a symbol, by the index of the symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) channel: Channel,
    pub(super) symbol: usize,
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) stream: Stream,
    /// The subscriptions that it is for: those of this depth, where the venue has several.
    pub(super) depth: u32,
    pub(super) data: String,
}

/// The subscriptions of a connection.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// The path that it was opened at.
    pub(super) path: String,
    /// The streams and the depths that they were asked for with.
    pub(super) streams: HashMap<Stream, u32>,
    /// The messages that were numbered so far, where the venue numbers those of a connection.
    pub(super) numbered: u64,
    /// Whether it asked for signs of life.
    pub(super) hears_heartbeats: bool,
}

/// The response to a command.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) texts: Vec<String>,
    pub(super) subscribed: Vec<(Stream, u32)>,
    pub(super) unsubscribed: Vec<Stream>,
    /// Whether the connection asked for signs of life, where it has to.
    pub(super) hears_heartbeats: bool,
}

/// A page of the REST service.
#[derive(Debug)]
pub(super) enum Page {
    Catalogue(String),
    Snapshot(String),
    Other(String),
    /// There is no such thing; the text says so.
    Wrong(String),
}

/// The sign of life that a venue gives from time to time.
#[derive(Debug)]
pub(super) enum Keepalive {
    /// A ping, which has to be answered.
    Ping(&'static [u8]),
    Text(String),
    Nothing,
}

/// The limits of a venue; none where it states none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SimLimits {
    /// The messages of a connection in a second.
    pub(super) messages: Option<usize>,
    /// The messages of an address in a second.
    pub(super) messages_of_address: Option<usize>,
    /// The commands of a connection in an hour.
    pub(super) commands: Option<u64>,
    /// The weight of requests in a minute.
    pub(super) weight: u32,
    /// Whether a ban is for streams, too.
    pub(super) bans_streams: bool,
}

/// The words of a venue.
pub(super) trait Protocol: Send {
    fn limits(&self) -> SimLimits;

    /// Returns the sign of life that a connection is to have now.
    fn keepalive(&mut self, listener: &Listener, now: u64) -> Keepalive;

    /// Returns whether the venue can have a fault.
    fn has(&self, fault: &Fault) -> bool;

    /// Returns the venue's name of an instrument of the simulated market.
    fn symbol_name(&self, definition: &Instrument) -> String;

    /// Returns the venue's name of a stream; none where it has no such channel.
    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String>;

    /// Returns whether streams are at a path.
    fn is_door(&self, path: &str) -> bool;

    /// Returns whether a connection brings a stream that was granted.
    fn is_served(&self, _listener: &Listener, _stream: Stream) -> bool {
        true
    }

    /// Takes a new connection: what it listens to at once, and what it is told.
    fn opened(&self, query: &str, symbols: &[Symbol]) -> Reply;

    /// Takes a command. Streams that are to be refused stand in `refused`.
    fn command(
        &mut self,
        text: &str,
        listener: &Listener,
        symbols: &[Symbol],
        refused: &HashSet<Stream>,
    ) -> Reply;

    /// Returns whether a subscription to a channel begins with a snapshot in the stream.
    fn begins_with_snapshot(&self, _channel: Channel) -> bool {
        false
    }

    /// Returns that snapshot, which is said at this time. An old one is of the time when the books were frozen.
    fn first(
        &mut self,
        _stream: Stream,
        _depth: u32,
        _symbol: &mut Symbol,
        _is_old: bool,
        _now: u64,
    ) -> Option<String> {
        None
    }

    /// Gives a text for a connection its number, where the venue numbers them.
    fn number(&self, _listener: &mut Listener, text: &str) -> String {
        text.to_owned()
    }

    /// Returns the text that a connection gets for a message of a stream.
    fn frame(&self, listener: &mut Listener, said: &Said, _symbol: &Symbol) -> String {
        self.number(listener, &said.data)
    }

    /// Tells a quote. Times are in milliseconds since the Unix epoch, here and below.
    fn quote(&mut self, symbol: &Symbol, quote: &Quote, now: u64) -> Option<String>;

    /// Tells a trade, which is the symbol's last one.
    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String;

    /// Tells the changes of a book since the last call, one message for each depth.
    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)>;

    /// Tells the mark price, where the venue has one.
    fn mark(&mut self, _symbol: &Symbol, _now: u64) -> Option<String> {
        None
    }

    /// Makes books as they are the ones of old snapshots.
    fn freeze(&mut self, symbols: &mut [Symbol]);

    /// Spoils the checksum of the next change of each book.
    fn spoil(&mut self, _symbols: &[Symbol]) {}

    /// Forgets what was said of numbers that begin anew.
    fn renumbered(&mut self) {}

    /// Returns the words by which the server says that it goes down.
    fn shutdown(&self) -> Option<&'static str> {
        None
    }

    /// Returns the weight of a request; none where there is no such page.
    fn weight(&self, path: &str, query: &str) -> Option<u32>;

    /// Returns a page that has a weight. A snapshot may have to be an old one.
    fn page(&mut self, path: &str, query: &str, symbols: &mut [Symbol], is_old: bool, now: u64) -> Page;

    /// Returns the text of a response to a client that is banned.
    fn banned(&self) -> &'static str;

    /// Returns the header that tells the weight that was used.
    fn weight_header(&self) -> Option<&'static str> {
        None
    }
}

/// Makes a message unreadable: something that is no level stands before the levels of each side.
pub(super) fn unreadable(mut text: String) -> String {
    for name in ["bids", "asks", "updates", "b", "a"] {
        let before = format!(r#""{name}":["#);
        text = text.replace(&format!("{before}]"), &format!("{before}7]"));
        text = text.replace(&before, &format!("{before}7,")).replace("7,7]", "7]");
    }
    text
}

/// Returns the value of a parameter of a query.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Returns the stream of a name, among some channels.
pub(super) fn stream_of(
    protocol: &dyn Protocol,
    channels: &[Channel],
    name: &str,
    symbols: &[Symbol],
) -> Option<Stream> {
    symbols.iter().find_map(|symbol| {
        let is_it = |channel: &&Channel| {
            protocol.stream_name(**channel, &symbol.name).is_some_and(|known| known == name)
        };
        let channel = *channels.iter().find(is_it)?;
        Some(Stream { channel, symbol: symbol.index })
    })
}

/// Writes a time, in milliseconds since the Unix epoch, as RFC 3339 has it.
pub(super) fn rfc3339(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
