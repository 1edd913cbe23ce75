//! One JSON object a line: records and the gateway's messages as in the JSON encoding, and beside them what the client knows.

use std::io::{self, Write};

use serde::Serialize;
use tickwire_client::{Event, GapEvent, NoticedBy, State};
use tickwire_wire::{Encoding, Message, Scale, Subscribed, encode_message};

/// The lines that the JSON encoding has no word for. Times and epochs are text, as in the JSON encoding.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Connected { address: &'a str },
    Disconnected { reason: String, retry_in_ms: Option<u64> },
    Mute { silence_ms: u64 },
    Feed { venue: &'a str, state: String, since: String, reason: &'a str, book_proof: String },
    BookBroken { symbol: &'a str, reason: &'a str },
    BookRepaired { symbol: &'a str },
    Ended { symbol: &'a str, channel: &'static str, reason: &'a str, returns: bool },
    Gap(GapLine<'a>),
}

#[derive(Serialize)]
struct GapLine<'a> {
    symbol: &'a str,
    channel: &'static str,
    cause: String,
    first_sequence: u64,
    /// Null: not known, because the sequence started anew under `epoch`.
    last_sequence: Option<u64>,
    epoch: String,
    noticed_by: &'static str,
    /// The place where it was lost, whether anything repairs that, and what comes next.
    explanation: &'static str,
}

/// Writes an event: none, one or two lines.
pub(super) fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let json = |message: &Message, scale: &Scale| {
        let mut line = Vec::with_capacity(256);
        encode_message(Encoding::Json, message, scale, &mut line);
        line
    };
    let plain = |message: &Message| json(message, &Scale::default());
    let line = match event {
        Event::Record(update) => {
            // The copy is of one record, and the JSON encoding's writer takes no less.
            json(&Message::Record(update.record.clone()), &update.scale)
        }
        Event::Gap(gap) => own(&Line::Gap(gap_line(gap)))?,
        Event::Subscribed(outcome) => {
            let (granted, refused) = (outcome.granted.clone(), outcome.refused.clone());
            plain(&Message::Subscribed(Subscribed { id: 0, granted, refused }))
        }
        Event::Notice(notice) => plain(&Message::Notice(notice.clone())),
        Event::Identity(identity) => plain(&Message::Identity(identity.clone())),
        Event::Ledger(ledger) => plain(&Message::Ledger(ledger.clone())),
        Event::Rejected(error) => plain(&Message::Error(error.clone())),
        Event::State(State::Connected { address, hello }) => {
            let mut lines = own(&Line::Connected { address })?;
            lines.extend(plain(&Message::Hello(hello.as_ref().clone())));
            lines
        }
        Event::State(state) => match state_line(state) {
            Some(line) => own(&line)?,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    out.write_all(&line)
}

fn own(line: &Line<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn state_line(state: &State) -> Option<Line<'_>> {
    Some(match state {
        State::Disconnected { reason, retry_in } => Line::Disconnected {
            reason: reason.to_string(),
            retry_in_ms: retry_in.map(|wait| wait.as_millis() as u64),
        },
        State::Mute { silence } => Line::Mute { silence_ms: silence.as_millis() as u64 },
        State::Feed { venue, state, since, reason, book_proof } => Line::Feed {
            venue,
            state: super::show::word(state.as_str_name(), "FEED_STATE_"),
            since: since.to_string(),
            reason,
            book_proof: super::show::word(book_proof.as_str_name(), "BOOK_PROOF_"),
        },
        State::BookBroken { scale, reason } => Line::BookBroken { symbol: &scale.symbol, reason },
        State::BookRepaired { scale } => Line::BookRepaired { symbol: &scale.symbol },
        State::Ended { scale, channel, reason, returns } => {
            Line::Ended { symbol: &scale.symbol, channel: channel.name(), reason, returns: *returns }
        }
        _ => return None,
    })
}

fn gap_line(gap: &GapEvent) -> GapLine<'_> {
    GapLine {
        symbol: &gap.scale.symbol,
        channel: gap.channel.name(),
        cause: super::show::word(gap.cause.as_str_name(), "GAP_CAUSE_"),
        first_sequence: gap.first,
        last_sequence: gap.last,
        epoch: gap.epoch.to_string(),
        noticed_by: if gap.noticed_by == NoticedBy::Gateway { "gateway" } else { "client" },
        explanation: gap.explanation(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::recorder::tests::{every_kind_of_event, gap, quote};

    #[track_caller]
    fn check(event: &Event, expected: &str) {
        let mut out = Vec::new();
        write(&mut out, event).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn records_are_as_in_the_json_encoding() {
        check(
            &quote(7),
            concat!(
                r#"{"type":"quote","symbol":"sim:A B","instrument":3,"sequence":7,"event_time":"1000","#,
                r#""receive_time":"1500","bid_price":"99.50","bid_size":"1.000","ask_price":"100.00","#,
                r#""ask_size":"0.020"}"#,
                "\n"
            ),
        );
    }

    #[test]
    fn a_gap_says_where_and_what_comes_next() {
        check(
            &gap(tickwire_wire::Channel::Book, 8, None, tickwire_wire::GapCause::Upstream),
            concat!(
                r#"{"type":"gap","symbol":"sim:A B","channel":"book","cause":"upstream","first_sequence":8,"#,
                r#""last_sequence":null,"epoch":"5","noticed_by":"gateway","explanation":"events of the venue did "#,
                r#"not reach the ingester; the book is wrong until its next snapshot, which comes by itself"}"#,
                "\n"
            ),
        );
    }

    #[test]
    fn every_line_is_an_object_with_its_type() {
        let mut out = Vec::new();
        for event in every_kind_of_event() {
            write(&mut out, &event).unwrap();
        }
        let types: Vec<_> = std::str::from_utf8(&out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].clone())
            .collect();
        assert_eq!(
            types,
            [
                "connected",
                "hello",
                "subscribed",
                "feed",
                "instrument",
                "quote",
                "trade",
                "book",
                "bar",
                "stat",
                "status",
                "derivative",
                "gap",
                "gap",
                "ended",
                "notice",
                "ledger",
                "error",
                "disconnected",
            ]
        );
    }
}
