//! What one side says to the other: everything that a session can carry.

use serde::{Deserialize, Serialize};

use crate::pb::{
    Error, Heartbeat, Hello, Ledger, LedgerRequest, Notice, Receipt, Resume, SetRate, Subscribe, Subscribed,
    Unsubscribe,
};
use crate::record::Record;

/// From a gateway to a client.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Message {
    Record(Record),
    Hello(Hello),
    Subscribed(Subscribed),
    Notice(Notice),
    Heartbeat(Heartbeat),
    Ledger(Ledger),
    Error(Error),
    /// Nanoseconds since the Unix epoch at which the gateway handed the message to its socket; once per WebSocket
    /// message, after its records.
    Sent(u64),
}

/// From a client to a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Command {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    SetRate(SetRate),
    Resume(Resume),
    Receipt(Receipt),
    Ledger(LedgerRequest),
}
