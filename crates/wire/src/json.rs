//! The JSON encoding: one object a line, prices and sizes as exact decimal strings, times and epochs as strings of digits.

mod command;
mod record;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use self::record::parse;
use crate::forms;
use crate::message::{Command, Message};
use crate::pb::{Error, Heartbeat, Hello, Identity, Ledger, Notice, Subscribed};
use crate::record::Scale;

pub(crate) fn encode(message: &Message, scale: &Scale, out: &mut Vec<u8>) {
    match message {
        Message::Record(record) => record::with_form(record, scale, |form| write(form, out)),
        Message::Hello(m) => write(&JsonControl::Hello(m), out),
        Message::Subscribed(m) => write(&JsonControl::Subscribed(m), out),
        Message::Notice(m) => write(&JsonControl::Notice(m), out),
        Message::Heartbeat(m) => write(&JsonControl::Heartbeat(m), out),
        Message::Ledger(m) => write(&JsonControl::Ledger(m), out),
        Message::Error(m) => write(&JsonControl::Error(m), out),
        Message::Identity(m) => write(&JsonControl::Identity(m), out),
        Message::Sent(time) => write(&JsonControl::Sent(&Sent { sent_time: *time }), out),
    }
    out.push(b'\n');
}

pub(crate) fn encode_command(command: &Command, out: &mut Vec<u8>) {
    write(command, out);
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing to memory fails for no message: all keys are text");
}

/// Reads the first line; returns its message, unless its type is unknown, and how many bytes it took.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Option<Message>, usize), String> {
    let end = bytes.iter().position(|b| *b == b'\n');
    let line = &bytes[..end.unwrap_or(bytes.len())];
    let used = end.map_or(bytes.len(), |end| end + 1);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok((None, used));
    }
    Ok((decode_line(line)?, used))
}

pub(crate) fn decode_command(bytes: &[u8]) -> Result<Command, String> {
    command::read(bytes)
}

pub(crate) fn command_id(bytes: &[u8]) -> Option<u64> {
    command::id(bytes)
}

/// A message other than market data, on its way out.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum JsonControl<'a> {
    Hello(&'a Hello),
    Subscribed(&'a Subscribed),
    Notice(&'a Notice),
    Heartbeat(&'a Heartbeat),
    Ledger(&'a Ledger),
    Error(&'a Error),
    Identity(&'a Identity),
    Sent(&'a Sent),
}

#[derive(Serialize, Deserialize)]
struct Sent {
    #[serde(with = "forms::wide")]
    sent_time: u64,
}

/// The type of the line, read before the other keys. An enum tagged by serde would copy the line into a tree first.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    name: Cow<'a, str>,
}

fn decode_line(line: &[u8]) -> Result<Option<Message>, String> {
    let Kind { name } = parse(line)?;
    Ok(Some(match &*name {
        "hello" => Message::Hello(parse(line)?),
        "subscribed" => Message::Subscribed(parse(line)?),
        "notice" => Message::Notice(parse(line)?),
        "heartbeat" => Message::Heartbeat(parse(line)?),
        "ledger" => Message::Ledger(parse(line)?),
        "error" => Message::Error(parse(line)?),
        "identity" => Message::Identity(parse(line)?),
        "sent" => Message::Sent(parse::<Sent>(line)?.sent_time),
        kind => return Ok(record::read(kind, line)?.map(Message::Record)),
    }))
}
