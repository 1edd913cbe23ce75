//! Dialects: the words in which a client asks for something and is told something.

use std::fmt;

use tickwire_wire::{Channel, CloseCode, Command, Error, Message};

use super::framing::Framing;
use crate::vocabulary::Form;

/// Something that a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The engine does it, and answers with messages that the dialect says.
    Command(Command),
    /// The message is no command; the client is told so.
    Wrong(Error),
    /// The dialect knows the response itself, as to a ping of its protocol: these bytes, between what was said before and what
    /// is said next.
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
    /// Its name, for operators.
    fn name(&self) -> &'static str;

    /// How records are written for this session, as long as it lives.
    fn form(&self) -> Form;

    /// Reads the requests that stand before the first message, as in the path of the HTTP request. The session was greeted before.
    fn begin(&mut self, requests: &mut Vec<Request>) {
        let _ = requests;
    }

    /// Reads one message of the client. It may hold several requests, or none.
    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>);

    /// The id in the beginning of a message that is not read, for the error that answers it; 0 where there is none.
    fn id_of(&self, bytes: &[u8]) -> u64 {
        let _ = bytes;
        0
    }

    /// Appends what the engine has to say that is no record. What the protocol has no word for is not said.
    fn say(&mut self, message: &Message, out: &mut Vec<u8>);

    /// Ends a message: `out` has what was said from `start` on, then records as the form writes them.
    /// [`Framing::begin`] was called at `head`. A protocol with one record in each message makes several frames of it.
    /// `time` is when it is handed over, in nanoseconds since the Unix epoch.
    fn end(&self, framing: &dyn Framing, head: usize, start: usize, time: u64, out: &mut Vec<u8>);

    /// With which code a session ends that loses something, where its protocol has no word for that; `None` where the form
    /// writes gaps, or where clients find out by themselves. It gets nothing more, a record behind the loss at most.
    fn on_loss(&self, loss: Loss) -> Option<CloseCode> {
        let _ = loss;
        None
    }

    /// The code and the words that a session ends with. At most 123 bytes of words. Before them the client was said a
    /// [`Message::Ledger`].
    fn close(&self, code: CloseCode) -> (u16, &'static str) {
        (code.code(), code.text())
    }
}
