//! The protocol of a venue, without I/O and without a clock: what is sent to it, and what its messages mean.

use std::time::Duration;

pub use tickwire_feed::Supply;
use tickwire_feed::adapter::FeedEvent;
pub use tickwire_feed::binance::Need;
use tickwire_wire::Channel;

use crate::limits::Limits;
pub use tickwire_feed::verification::{Checked, Loss, Proof, Snapshots, Verification};

/// The protocol of one venue. The [`Driver`](crate::Driver) connects, subscribes, asks and waits; a venue says in which
/// words, and turns what comes into events.
pub trait Venue: Send {
    /// Returns what holds for the venue from the start.
    fn terms(&self) -> &Terms;

    /// Returns the request for the list of instruments.
    fn catalogue(&self) -> Call;

    /// Takes the list of instruments: events define what is new and end what is not listed any more. Returns the topics
    /// that are to be subscribed to from now on, and those that are not any more.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the list; then nothing changed.
    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String>;

    /// Returns the command that subscribes to topics of one route; its response carries the id.
    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String;

    /// Returns the command that ends subscriptions.
    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String;

    /// Returns the text that asks the venue whether it is there, where that is no ping of WebSocket.
    fn ping(&self) -> Option<&str> {
        None
    }

    /// Returns after how long the venue wants to hear something again, whatever it says meanwhile.
    fn ping_every(&self) -> Option<Duration> {
        None
    }

    /// Returns what a connection is told first, once it is open; nothing answers it.
    fn greetings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes a message of a connection.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the message, which is passed over.
    fn read(
        &mut self,
        connection: Connection,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, String>;

    /// Takes the instruments, by the index of their events, whose book began to need a snapshot by request. Where
    /// snapshots are in the stream there are none.
    fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        Vec::new()
    }

    /// Returns the request for the snapshot of an instrument's book; none where there is no such request.
    fn snapshot(&self, _index: u32) -> Option<Call> {
        None
    }

    /// Takes the snapshot that was asked for. Returns whether the book has what it needs now.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the snapshot, which is passed over.
    fn take_snapshot(
        &mut self,
        _index: u32,
        _receive_time: u64,
        _body: &str,
        _events: &mut Vec<FeedEvent>,
    ) -> Result<bool, String> {
        Err("snapshots of this venue are in its stream".to_owned())
    }

    /// Takes a change in the supply of a topic: events tell what is not current any more, and a status where nothing else does.
    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>);

    /// Returns what is wrong with a response that is no success, in words of the venue's.
    fn refusal(&self, body: &str) -> String {
        body.chars().take(200).collect()
    }

    /// Returns the header of responses that says how much weight the venue counted in the period that runs.
    fn used_weight_header(&self) -> Option<&'static str> {
        None
    }

    /// Takes the words for the log since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// The terms on which a venue is used: they hold from the start to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The venue's name, as records carry it.
    pub name: &'static str,
    /// The proof of the venue's books.
    pub verification: Verification,
    /// The limits, below those that the venue sets.
    pub limits: Limits,
    /// The roots that connections are made to.
    pub routes: Vec<Route>,
}

/// The number of a connection, which it keeps when it is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub usize);

/// One life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The number of the connection.
    pub link: LinkId,
    /// The number of the attempt; it grows.
    pub attempt: u64,
}

/// A root that connections are made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name, for people.
    pub name: &'static str,
    /// The URL, `ws://` or `wss://`.
    pub url: String,
}

/// The number of a topic: dense, from 0, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// One thing that can be subscribed to: a channel of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The number of the topic.
    pub id: TopicId,
    /// The place of its route in [`Terms::routes`].
    pub route: usize,
    /// The topics of one command have the same number here.
    pub batch: u32,
    /// The name by which the venue knows it.
    pub name: String,
    /// The index of the instrument's events.
    pub index: u32,
    /// The symbol of the instrument.
    pub symbol: String,
    /// The channel that it becomes.
    pub channel: Channel,
    /// The time within which something comes as a rule, once it was granted.
    pub silent_after: Duration,
}

/// The changes that come of a new list of instruments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicChanges {
    /// The topics that are to be subscribed to; those of one instrument stand together.
    pub added: Vec<Topic>,
    /// The topics whose instruments ended.
    pub ended: Vec<TopicId>,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a topic.
    Data(TopicId),
    /// It brought data of some topics.
    Several(Vec<TopicId>),
    /// It brought a book that is wrong, or that cannot be read, for a reason: the topic has to be subscribed to anew. Events told the
    /// gap.
    Broken(TopicId, Option<String>),
    /// It brought a change of a book that is not there, because its snapshot did not come: the topic has to be subscribed to anew.
    NoBook(TopicId),
    /// It granted the command with this id: for one topic, or for all of them.
    Granted(u64, Option<TopicId>),
    /// It names topics that the connection is subscribed to: all of them, or those of the command that is under way, which it answers.
    Subscriptions(Vec<TopicId>),
    /// It refused the command that is under way, for a reason.
    RefusedCommand(String),
    /// It refused the command with this id, for one topic or for all of them, for a reason.
    Refused(u64, Option<TopicId>, String),
    /// It refused the command with this id for the topic of this symbol, for a reason.
    RefusedSymbol(u64, String, String),
    /// The server is going down: the connection is to be made anew.
    GoingDown,
    /// A message of the connection is missing, for this reason: nothing that it brought is proven any more, and it is to be
    /// made anew.
    Incomplete(String),
    /// It says that the venue is there, and nothing else.
    Alive,
    /// It means nothing here.
    Nothing,
}

/// A request to the venue's REST service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The URL, `http://` or `https://`.
    pub url: String,
    /// The weight that the venue counts it with.
    pub weight: u32,
}

/// A venue that is chosen while the program runs. Each call is handed on, those with a usual answer too.
impl<V: Venue + ?Sized> Venue for Box<V> {
    fn terms(&self) -> &Terms {
        (**self).terms()
    }

    fn catalogue(&self) -> Call {
        (**self).catalogue()
    }

    fn take_catalogue(
        &mut self,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<TopicChanges, String> {
        (**self).take_catalogue(receive_time, body, events)
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        (**self).subscribe(id, topics)
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        (**self).unsubscribe(id, topics)
    }

    fn ping(&self) -> Option<&str> {
        (**self).ping()
    }

    fn ping_every(&self) -> Option<Duration> {
        (**self).ping_every()
    }

    fn greetings(&self) -> Vec<String> {
        (**self).greetings()
    }

    fn read(
        &mut self,
        connection: Connection,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, String> {
        (**self).read(connection, receive_time, text, events)
    }

    fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        (**self).take_wanted()
    }

    fn snapshot(&self, index: u32) -> Option<Call> {
        (**self).snapshot(index)
    }

    fn take_snapshot(
        &mut self,
        index: u32,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<bool, String> {
        (**self).take_snapshot(index, receive_time, body, events)
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        (**self).supply(topic, supply, receive_time, events);
    }

    fn refusal(&self, body: &str) -> String {
        (**self).refusal(body)
    }

    fn used_weight_header(&self) -> Option<&'static str> {
        (**self).used_weight_header()
    }

    fn take_notes(&mut self) -> Vec<String> {
        (**self).take_notes()
    }
}
