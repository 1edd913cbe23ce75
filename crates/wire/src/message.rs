//! The messages from one side to the other: everything that a session can carry.

use serde::{Deserialize, Serialize};

use crate::pb::{
    Error, Heartbeat, Hello, Identity, Ledger, LedgerRequest, Notice, Receipt, Resume, SetRate, Subscribe,
    Subscribed, Token, Unsubscribe,
};
use crate::record::Record;

/// A message from a gateway to a client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// Market data, or a gap.
    Record(Record),
    /// The first message of a session: its id, its limits, the version.
    Hello(Hello),
    /// The symbols that were granted and those that were refused.
    Subscribed(Subscribed),
    /// A notice about the session as a whole.
    Notice(Notice),
    /// The gateway is there; it may tell states of feeds and positions of lossless channels.
    Heartbeat(Heartbeat),
    /// A statement of what became of the records of subscriptions.
    Ledger(Ledger),
    /// A command that was not taken.
    Error(Error),
    /// The one that the session belongs to from now on: the response to a token.
    Identity(Identity),
    /// The time at which the gateway handed the message to its socket, in nanoseconds since the Unix epoch; once per
    /// WebSocket message, after its records.
    Sent(u64),
}

/// A command from a client to a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// Asks for symbols of a channel.
    Subscribe(Subscribe),
    /// Ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// Changes the rate of subscriptions.
    SetRate(SetRate),
    /// Says what the client has of channels that it is about to subscribe to again.
    Resume(Resume),
    /// Says what the program took.
    Receipt(Receipt),
    /// Asks what became of the records of every subscription.
    Ledger(LedgerRequest),
    /// Hands in a token.
    Token(Token),
}
