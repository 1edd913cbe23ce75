//! The protocol of a venue, without I/O and without a clock: what is sent to it, and what its messages mean.

use std::fmt;
use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_wire::Channel;

use crate::limits::Limits;

/// The protocol of one venue. The [`Driver`](crate::Driver) connects, subscribes, asks and waits; a venue says in which
/// words, and turns what comes into events.
pub trait Venue: Send {
    /// Returns the venue's name, as records carry it.
    fn name(&self) -> &'static str;

    /// Returns what proves the venue's books.
    fn verification(&self) -> Verification;

    /// Returns the limits that the venue sets.
    fn limits(&self) -> &Limits;

    /// Returns the roots that connections are made to. A topic names its route by the place in this list.
    fn routes(&self) -> &[Route];

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

    /// Takes a message of a connection.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the message, which is passed over.
    fn read(&mut self, receive_time: u64, text: &str, events: &mut Vec<FeedEvent>) -> Result<Said, String>;

    /// Appends the instruments, by the index of their events, whose book began to wait for a snapshot by request.
    fn take_wanted(&mut self, wanted: &mut Vec<u32>);

    /// Returns the request for the snapshot of an instrument's book; none where there is no such request.
    fn snapshot(&self, index: u32) -> Option<Call>;

    /// Takes the snapshot that was asked for. Returns whether the book is whole now.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the snapshot, which is passed over.
    fn take_snapshot(
        &mut self,
        index: u32,
        receive_time: u64,
        body: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<bool, String>;

    /// Takes in that the connection which brought a topic was lost: events tell what is not current any more.
    fn lost(&mut self, topic: &Topic, receive_time: u64, events: &mut Vec<FeedEvent>);

    /// Takes whether a topic that was granted brought nothing within its time; events tell it.
    fn is_silent(&mut self, topic: &Topic, is_silent: bool, receive_time: u64, events: &mut Vec<FeedEvent>);

    /// Returns what is wrong with a response that is no success, in words of the venue's.
    fn refusal(&self, body: &str) -> String;

    /// Returns the header of responses that says how much weight the venue counted in the period that runs.
    fn used_weight_header(&self) -> Option<&'static str> {
        None
    }

    /// Takes the words for the log since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
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
    /// The place of its route in [`Venue::routes`].
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
    /// It brought a book that contradicts its checksum: the topic has to be subscribed to anew. Events told the gap.
    Broken(TopicId),
    /// It granted the command with this id: for one topic, or for all of them.
    Granted(u64, Option<TopicId>),
    /// It refused the command with this id, for one topic or for all of them, for a reason.
    Refused(u64, Option<TopicId>, String),
    /// It refused the command with this id for the topic of this symbol, for a reason.
    RefusedSymbol(u64, String, String),
    /// The server is going down: the connection is to be made anew.
    GoingDown,
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

/// The capability of a venue to prove its books. The driver does not branch on it; users are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The proof that no change is missing.
    pub proof: Proof,
    /// The moment at which a change is checked.
    pub checked: Checked,
    /// Whether the number of missing events is known.
    pub loss: Loss,
    /// The source of a book's first state.
    pub snapshots: Snapshots,
}

/// The proof that no change of a book is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Each change of a symbol has a sequence number.
    SymbolSequence,
    /// Each message of a connection has a sequence number: one that is missing breaks all books of the connection.
    ConnectionSequence,
    /// Each change names the one before it.
    Chain,
    /// Each change comes with a checksum of the book.
    Checksum,
    /// Nothing does.
    Nothing,
}

/// The moment at which a change of a book is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is checked before it is applied: a wrong book never exists.
    Before,
    /// It is checked after it is applied: a wrong book exists, and is not told.
    After,
    /// It is not checked.
    Never,
}

/// The knowledge of how many events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The number of trades is known, because they are numbered without holes; that of changes of a book is not.
    OfTrades,
    /// The number is not known.
    Unknown,
}

/// The source of a book's first state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// It is the stream itself.
    InBand,
    /// It is a request.
    Rest,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.proof {
            Proof::SymbolSequence => "sequence numbers per symbol",
            Proof::ConnectionSequence => "sequence numbers per connection",
            Proof::Chain => "each change names the one before",
            Proof::Checksum => "a checksum per change",
            Proof::Nothing => return f.write_str("unverifiable"),
        })?;
        f.write_str(match self.checked {
            Checked::Before => ", checked before it is applied",
            Checked::After => ", checked after it is applied",
            Checked::Never => ", not checked",
        })?;
        f.write_str(match self.loss {
            Loss::OfTrades => "; lost trades are counted",
            Loss::Unknown => "; the size of a loss is not known",
        })?;
        f.write_str(match self.snapshots {
            Snapshots::InBand => "; snapshots in the stream",
            Snapshots::Rest => "; snapshots by REST",
        })
    }
}
