//! Events as short lines, so that a test states them in order.

use tickwire_client::{Client, Event, State};

/// Returns the events of the next batch.
pub(crate) async fn next(client: &mut Client) -> Vec<String> {
    let batch = client.next().await.expect("the client has ended");
    batch.events().iter().map(line).collect()
}

/// Returns the next events, at least so many, in whole batches.
pub(crate) async fn take(client: &mut Client, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.extend(next(client).await);
    }
    lines
}

/// Reads while something else goes on, and returns its outcome with the events that came meanwhile.
pub(crate) async fn during<T>(client: &mut Client, other: impl Future<Output = T>) -> (T, Vec<String>) {
    let mut lines = Vec::new();
    let mut other = std::pin::pin!(other);
    loop {
        tokio::select! {
            outcome = &mut other => return (outcome, lines),
            lines_now = next(client) => lines.extend(lines_now),
        }
    }
}

/// Returns everything up to the batch with this line, it included.
pub(crate) async fn until(client: &mut Client, start: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    while !lines.iter().any(|line| line.starts_with(start)) {
        lines.extend(next(client).await);
    }
    lines
}

fn line(event: &Event) -> String {
    match event {
        Event::Record(update) => format!("{} {}", update.record.channel().name(), update.record.sequence),
        Event::Gap(gap) => format!("{gap} by {:?} in epoch {}", gap.noticed_by, gap.epoch),
        Event::Subscribed(outcome) => {
            let granted: Vec<_> = outcome.granted.iter().map(|g| g.symbol.as_str()).collect();
            let refused: Vec<_> =
                outcome.refused.iter().map(|r| format!("{} {}", r.symbol, r.code)).collect();
            format!("subscribed [{}] refused [{}]", granted.join(", "), refused.join(", "))
        }
        Event::State(State::Connected { .. }) => "connected".to_owned(),
        Event::State(State::Disconnected { reason, retry_in }) => {
            format!("disconnected {} ({reason})", if retry_in.is_some() { "for now" } else { "for good" })
        }
        Event::State(State::Mute { silence }) => format!("mute {silence:?}"),
        Event::State(State::Feed { venue, state, .. }) => format!("feed {venue} {state:?}"),
        Event::State(State::BookBroken { reason, .. }) => format!("broken ({reason})"),
        Event::State(State::BookRepaired { .. }) => "repaired".to_owned(),
        Event::State(State::Ended { scale, channel, reason, returns }) => {
            let how = if *returns { "and comes again" } else { "for good" };
            format!("ended {} {} {how} ({reason})", channel.name(), scale.symbol)
        }
        Event::Notice(notice) => format!("notice {}", notice.code),
        Event::Ledger(ledger) => format!("ledger of {}", ledger.entries.len()),
        Event::Rejected(error) => format!("rejected {}", error.code),
        other => format!("{other:?}"),
    }
}
