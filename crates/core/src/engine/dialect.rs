//! Dialects: the words in which a client asks for something and is told something.

use std::fmt;

use tickwire_wire::{Channel, CloseCode, Command, Error, Message};

use super::framing::Framing;
use crate::vocabulary::Form;

/// A request of a client, as the dialect understood it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The engine carries it out, and answers with messages that the dialect puts into words.
    Command(Command),
    /// The message is not a command; the client is told so.
    Wrong(Error),
    /// The dialect has the response itself, as to a ping of its protocol. These bytes leave after what was said before and before
    /// what is said next.
    Reply(Vec<u8>),
    /// The client may not stay.
    Close(CloseCode),
}

/// Sequence numbers of a subscription that its session will not get, and that no newer record replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The channel of the records.
    pub channel: Channel,
    /// The topic is in another sequence from here on: it counts from 1 again.
    pub is_restart: bool,
}

/// A protocol between messages: ours in one of its three encodings ([`own_dialect`](super::own_dialect)), or a foreign one, whose clients
/// know nothing of Tickwire. There is one for each session, so it may remember what was said in it.
///
/// The engine decides what a session gets and when; a dialect decides in which words. It knows neither sockets nor frames:
/// these are the [`Framing`]'s. Records are not said through it but written by its [`Form`], because all sessions share their
/// bytes.
pub trait Dialect: fmt::Debug + Send {
    /// Returns the name of the dialect, for operators.
    fn name(&self) -> &'static str;

    /// Returns the form in which records are written for this session, as long as it lives.
    fn form(&self) -> Form;

    /// Reads the requests that stand before the first message, as in the path of the HTTP request. The session was greeted before.
    fn begin(&mut self, requests: &mut Vec<Request>) {
        let _ = requests;
    }

    /// Reads one message of the client. It may hold several requests, or none.
    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>);

    /// Reads one message as [`Dialect::read`] does, where it is known whether it came as text. Most protocols do not care.
    fn read_framed(&mut self, bytes: &[u8], is_text: bool, requests: &mut Vec<Request>) {
        let _ = is_text;
        self.read(bytes, requests);
    }

    /// Returns the id at the beginning of a message that is not read further, for the error that answers it; 0 where there is
    /// none.
    fn id_of(&self, bytes: &[u8]) -> u64 {
        let _ = bytes;
        0
    }

    /// Appends a message of the engine that is not a record. Where the protocol has no word for it, nothing is appended.
    fn say(&mut self, message: &Message, out: &mut Vec<u8>);

    /// Ends a message: `out` has what was said from `start` on, then records as the form writes them.
    /// [`Framing::begin`] was called at `head`. A protocol with one record in each message makes several frames of it.
    /// `time` is when it is handed over, in nanoseconds since the Unix epoch.
    fn end(&self, framing: &dyn Framing, head: usize, start: usize, time: u64, out: &mut Vec<u8>);

    /// Returns the code with which a session is closed when it loses something that its protocol has no word for. Such a session
    /// is sent at most one record after the loss. `None` where the form writes gaps, or where clients notice losses by themselves.
    fn on_loss(&self, loss: Loss) -> Option<CloseCode> {
        let _ = loss;
        None
    }

    /// Returns the code and the text, at most 123 bytes, that a session ends with. The client was sent a [`Message::Ledger`]
    /// before.
    fn close(&self, code: CloseCode) -> (u16, &'static str) {
        (code.code(), code.text())
    }
}
