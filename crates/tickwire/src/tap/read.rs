//! A stream from a file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tickwire_client::Event;
use tickwire_wire::Channel;
use tokio_util::sync::CancellationToken;

use super::TapCommand;
use super::progress::Progress;
use super::recording::{Damage, Recorded, Recording};
use super::screen::{Pressed, Screen};
use super::show::{Form, Show};
use super::sink::{Flow, Sink};

/// The time between two drawings while a long file is read.
const DRAW_PERIOD: Duration = Duration::from_millis(100);

/// Shows a file to its end, or up to its first damage.
///
/// # Errors
/// Damage, after everything in front of it was shown; standard output cannot be written.
pub(super) async fn run(
    file: &Path,
    command: &TapCommand,
    form: Form,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut recording = Recording::open(file)?;
    let mut sink = Sink {
        show: Show::open(form, command.arrow()?).context("the output cannot be written")?,
        recorder: None,
        tally: None,
        refusals: None,
        progress: Progress::start(false),
        left: command.count,
        waits: false,
        rate: 0.0,
        trouble: None,
        hidden: Vec::new(),
    };
    if let Show::Table(screen) = &mut sink.show {
        screen.board.is_recording = true;
    }
    let filter = Filter { symbols: &command.symbols, channels: &command.channels };
    let outcome = show(&mut recording, &mut sink, &filter, stop).await;
    sink.uncover();
    outcome
}

async fn show<R: std::io::Read>(
    recording: &mut Recording<R>,
    sink: &mut Sink,
    filter: &Filter<'_>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    // The clock of a recording stands where its last batch was sent.
    let (mut now, mut drawn) = (0, Instant::now());
    let damage = loop {
        let batch = match recording.next() {
            Ok(Some(batch)) => batch,
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        };
        let Recorded { events, sent_time } = batch;
        now = sent_time.unwrap_or(now);
        let is_enough =
            sink.take(events.iter().filter(|event| filter.takes(event)), sent_time, now)? == Flow::End;
        if is_enough || stop.is_cancelled() {
            break None;
        }
        if let Show::Table(screen) = &mut sink.show
            && drawn.elapsed() >= DRAW_PERIOD
        {
            draw(screen, now)?;
            drawn = Instant::now();
            if screen.pressed().now_or_never() == Some(Pressed::Quit) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    };
    if let Show::Table(screen) = &mut sink.show {
        stand(screen, damage.as_ref(), now, stop).await?;
    }
    damage.map_or(Ok(()), |damage| Err(damage.into()))
}

/// Leaves the table on the screen until the user has seen enough.
async fn stand(
    screen: &mut Screen,
    damage: Option<&Damage>,
    now: u64,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    screen.board.notice(damage.map_or_else(|| "the recording ends here".to_owned(), Damage::to_string));
    loop {
        draw(screen, now)?;
        tokio::select! {
            pressed = screen.pressed() => if pressed == Pressed::Quit { return Ok(()) },
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn draw(screen: &mut Screen, now: u64) -> anyhow::Result<()> {
    screen.draw(now).context("the terminal cannot be written")
}

/// The part of a file that is to be shown; an empty one shows all.
struct Filter<'a> {
    symbols: &'a [String],
    channels: &'a [Channel],
}

impl Filter<'_> {
    fn takes(&self, event: &Event) -> bool {
        let (symbol, channel) = match event {
            Event::Record(update) => (update.symbol(), update.record.channel()),
            Event::Gap(gap) => (gap.scale.symbol.as_str(), gap.channel),
            _ => return true,
        };
        let is_named = |name: &String| match name.strip_suffix(":*") {
            Some(venue) => symbol.strip_prefix(venue).is_some_and(|rest| rest.starts_with(':')),
            None => name == symbol,
        };
        (self.symbols.is_empty() || self.symbols.iter().any(is_named))
            && (self.channels.is_empty() || self.channels.contains(&channel))
    }
}

#[cfg(test)]
mod tests {
    use tickwire_wire::GapCause;

    use super::*;
    use crate::tap::recorder::tests::{connected, gap, quote};

    #[track_caller]
    fn check(symbols: &[&str], channels: &[Channel], event: &Event, expected: bool) {
        let symbols: Vec<_> = symbols.iter().map(ToString::to_string).collect();
        assert_eq!(Filter { symbols: &symbols, channels }.takes(event), expected);
    }

    #[test]
    fn symbols_and_channels_choose() {
        check(&[], &[], &quote(7), true);
        check(&["sim:A B"], &[Channel::Quote], &quote(7), true);
        check(&["sim:*"], &[], &quote(7), true);
        check(&["si:*"], &[], &quote(7), false);
        check(&["sim:A"], &[], &quote(7), false);
        check(&[], &[Channel::Trade], &quote(7), false);
        check(&[], &[Channel::Trade], &gap(Channel::Trade, 1, None, GapCause::Bus), true);
        check(&[], &[Channel::Trade], &gap(Channel::Quote, 1, None, GapCause::Bus), false);
        check(&["sim:A"], &[Channel::Trade], &connected(), true);
    }
}
