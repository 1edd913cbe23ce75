//! The subscription to a symbol, and how old its data is.

use std::time::Duration;

use tickwire_wire::{Command, FeedState, Message, Refused, Subscribe};
use tokio::time::Instant;

use super::command::DoctorCommand;
use super::conversation::{Conversation, Heard};
use super::report::Report;
use super::way::PATIENCE;

/// Data that is older at the gateway is no market of now.
const OLD: Duration = Duration::from_secs(10);

/// The news of the symbol.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    /// The youngest record's age when the gateway sent it, in nanoseconds.
    youngest_ns: Option<u64>,
    /// The state of the feed, and the ingester's words.
    feed: Option<(FeedState, String)>,
    ended: Option<String>,
}

/// Subscribes, and waits for data.
pub(super) async fn look(command: &DoctorCommand, conversation: &mut Conversation, report: &mut Report) {
    let Some(symbol) = &command.symbol else {
        report.skipped(
            "subscribe",
            "no symbol was named; name one to see whether data comes: tickwire doctor URL venue:SYMBOL",
        );
        return;
    };
    let channel = command.channel.name();
    let asked =
        Subscribe { id: 1, channel: channel.to_owned(), symbols: vec![symbol.clone()], max_rate: 0.0 };
    if let Err(why) = conversation.say(&Command::Subscribe(asked)).await {
        report.failure("subscribe", why, "try again; look at the gateway's log");
        return;
    }
    let mut seen = Seen::default();
    if subscribed(symbol, channel, conversation, &mut seen, report).await.is_none() {
        return;
    }
    let until = Instant::now() + command.duration;
    while seen.ended.is_none() && (seen.youngest_ns.is_none() || seen.feed.is_none() || seen.records < 2) {
        match conversation.hear(until).await {
            Heard::Messages(messages, _) => seen.take(&messages),
            Heard::Pong => {}
            Heard::Silence => break,
            Heard::Closed(why) => seen.ended = Some(why),
        }
    }
    tell(&seen, symbol, channel, command.duration, report);
}

async fn subscribed(
    symbol: &str,
    channel: &str,
    conversation: &mut Conversation,
    seen: &mut Seen,
    report: &mut Report,
) -> Option<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match conversation.hear(until).await {
            Heard::Messages(messages, _) => {
                seen.take(&messages);
                for message in messages {
                    match message {
                        Message::Subscribed(told) if !told.granted.is_empty() => {
                            report.ok("subscribe", format_args!("{channel} of {symbol} is granted"));
                            return Some(());
                        }
                        Message::Subscribed(told) => {
                            let refused = told.refused.into_iter().next().unwrap_or_default();
                            report.failure(
                                "subscribe",
                                format_args!("{channel} of {symbol} is refused: {}", refused.message),
                                remedy(&refused),
                            );
                            return None;
                        }
                        Message::Error(error) => {
                            report.failure(
                                "subscribe",
                                format_args!("the command was refused: {}", error.message),
                                "docs/protocol.md has the codes of errors",
                            );
                            return None;
                        }
                        _ => {}
                    }
                }
            }
            Heard::Pong => {}
            Heard::Closed(why) => {
                report.failure(
                    "subscribe",
                    format_args!("the session was ended: {why}"),
                    "docs/protocol.md has the table of close codes",
                );
                return None;
            }
            Heard::Silence => {
                report.failure(
                    "subscribe",
                    format_args!("no response within {PATIENCE:?}"),
                    "something in between may hold back what clients send",
                );
                return None;
            }
        }
    }
}

fn remedy(refused: &Refused) -> &'static str {
    match refused.code.as_str() {
        "unknown_venue" => {
            "no ingester of that venue is heard by this gateway: start one, or check the bus in /readyz"
        }
        "unknown_symbol" | "bad_symbol" => {
            "write it as the venue does, with the venue before it: binance:BTCUSDT"
        }
        "not_entitled" => "this token does not grant it",
        "unavailable" => "the gateway cannot learn the state of it now: see the feed and the bus in /readyz",
        "limit" => "a limit of the gateway is reached: see gateway.limits",
        "ended" => "the instrument is not listed any more",
        _ => "docs/protocol.md has the codes",
    }
}

impl Seen {
    fn take(&mut self, messages: &[Message]) {
        let sent = messages.iter().find_map(|message| match message {
            Message::Sent(time) => Some(*time),
            _ => None,
        });
        for message in messages {
            match message {
                Message::Record(record) => {
                    self.records += 1;
                    if let Some(sent) = sent {
                        let age = sent.saturating_sub(record.event_time);
                        self.youngest_ns = Some(self.youngest_ns.map_or(age, |known| known.min(age)));
                    }
                }
                Message::Heartbeat(heartbeat) => {
                    for feed in &heartbeat.feeds {
                        self.feed = Some((feed.state(), feed.reason.clone()));
                    }
                }
                _ => {}
            }
        }
    }
}

fn tell(seen: &Seen, symbol: &str, channel: &str, waited: Duration, report: &mut Report) {
    let venue = symbol.split(':').next().unwrap_or_default();
    if let Some((state, reason)) = &seen.feed {
        let name = state.as_str_name().trim_start_matches("FEED_STATE_").to_ascii_lowercase();
        report.fact("feed", name.clone());
        if *state != FeedState::Live {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            report.failure(
                "data",
                format_args!("the feed of {venue} is {name}{reason}, so its prices are dead"),
                "start the ingester of that venue, or look at its log; /readyz tells what the gateway hears",
            );
            return;
        }
    }
    if let Some(why) = &seen.ended {
        report.failure(
            "data",
            format_args!("the session was ended: {why}"),
            "docs/protocol.md has the table of close codes",
        );
        return;
    }
    report.fact("records", seen.records);
    let Some(age) = seen.youngest_ns.map(Duration::from_nanos) else {
        let said = format!("nothing came of {symbol} within {waited:?}; the feed is there");
        report.warning(
            "data",
            said,
            format_args!(
                "{channel} of that symbol may be quiet: wait longer (--for 30s), or name a busier symbol"
            ),
        );
        return;
    };
    report.fact("age_ms", age.as_millis() as u64);
    if age > OLD {
        let said =
            format!("the newest {channel} of {symbol} was {} old when the gateway sent it", rounded(age));
        report.warning("data", said, "the symbol is quiet, a recording is played with its own times, or the venue's or the ingester's clock is wrong");
    } else {
        report.ok(
            "data",
            format_args!("{channel} of {symbol} comes; it was {} old when the gateway sent it", rounded(age)),
        );
    }
}

/// Returns a time as people say it.
fn rounded(age: Duration) -> String {
    if age < Duration::from_secs(1) {
        format!("{:.1} ms", age.as_secs_f64() * 1e3)
    } else {
        humantime::format_duration(Duration::from_secs(age.as_secs())).to_string()
    }
}
