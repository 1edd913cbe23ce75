//! Our own protocol, `tickwire.v1`, in its three encodings.

use tickwire_wire::{
    Encoding, Error, Message, Scale, command_id, decode_command, encode_message, encode_sent_time,
};

use super::dialect::{Dialect, Request};
use super::framing::Framing;
use crate::vocabulary::Form;

/// Makes the dialect of one of our encodings.
pub fn own_dialect(encoding: Encoding) -> Box<dyn Dialect> {
    match encoding {
        Encoding::Proto => Box::new(Own::<{ Encoding::Proto as usize }>),
        Encoding::MsgPack => Box::new(Own::<{ Encoding::MsgPack as usize }>),
        Encoding::Json => Box::new(Own::<{ Encoding::Json as usize }>),
    }
}

/// The encoding is a part of the type: a session of ours has nothing to remember, so its box takes no memory.
#[derive(Debug)]
struct Own<const ENCODING: usize>;

impl<const ENCODING: usize> Own<ENCODING> {
    const ENCODING: Encoding = Encoding::ALL[ENCODING];
}

impl<const ENCODING: usize> Dialect for Own<ENCODING> {
    fn name(&self) -> &'static str {
        Self::ENCODING.name()
    }

    fn form(&self) -> Form {
        Form::own(Self::ENCODING)
    }

    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>) {
        requests.push(match decode_command(Self::ENCODING, bytes) {
            Ok(command) => Request::Command(command),
            Err(error) => {
                let message = explain(Self::ENCODING, &error.reason);
                Request::Wrong(Error { id: self.id_of(bytes), code: "bad_command".to_owned(), message })
            }
        });
    }

    fn id_of(&self, bytes: &[u8]) -> u64 {
        command_id(Self::ENCODING, bytes).unwrap_or_default()
    }

    fn say(&mut self, message: &Message, out: &mut Vec<u8>) {
        encode_message(Self::ENCODING, message, &Scale::default(), out);
    }

    fn end(&self, framing: &dyn Framing, head: usize, start: usize, time: u64, out: &mut Vec<u8>) {
        encode_sent_time(Self::ENCODING, time, out);
        framing.end(head, start, Self::ENCODING.is_text(), out);
    }
}

/// Explains what was wrong with a command, and what a right one looks like.
fn explain(encoding: Encoding, reason: &str) -> String {
    let remedy = match encoding {
        Encoding::Json => r#"write {"op":"subscribe","id":1,"channel":"quote","symbols":["venue:SYMBOL"]}"#,
        Encoding::Proto => "send one tickwire.v1.Command per message",
        Encoding::MsgPack => "send one array [operation, [fields]] per message",
    };
    format!("{reason}; {remedy}")
}
