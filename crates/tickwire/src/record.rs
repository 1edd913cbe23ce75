//! `tickwire record`: what passes the bus, byte for byte, in files that rotate.

mod asks;
mod files;
mod recorder;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tickwire_bus::{Backplane, NatsBus, NatsConfig};

use crate::arguments::duration;
use crate::bus_flags::BusFlags;
use crate::cli::Settings;
use crate::printing::say;
use crate::stop;
use files::FileSettings;
use recorder::{Recorder, Written};

/// The time between two lines about how much was recorded: on a terminal, and in the log.
const DRAW_PERIOD: Duration = Duration::from_millis(500);
const LOG_PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tickwire record recordings --bus nats://127.0.0.1:4222\n  \
    tickwire record recordings --venue binance --rotate-every 1h --zstd --for 8h\n  \
    tickwire inspect recordings/sim-*.twbus\n  tickwire demo --replay recordings/sim-20260105T093000Z-1.twbus\n\n\
    Files end with `.part` while they are written. Nothing is overwritten.")]
pub(crate) struct RecordCommand {
    /// Folder for the files; it is made where it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    bus: BusFlags,
    /// Record this venue only; may be given several times
    #[arg(long = "venue", value_name = "VENUE")]
    venues: Vec<String>,
    /// Begin a new file after so long
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    rotate_every: Duration,
    /// Begin a new file after so many bytes, before they are packed: 500000, 64MiB, 2GiB
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes)]
    rotate_bytes: u64,
    /// Pack the files with zstd
    #[arg(long)]
    zstd: bool,
    /// End after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// Print what was recorded as JSON when it ends
    #[arg(long)]
    json: bool,
}

/// Reads a number of bytes: digits, and KiB, MiB or GiB.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a number of bytes as 500000, 64MiB or 2GiB".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a number of bytes as 500000, 64MiB or 2GiB".to_owned())
}

/// Runs the command: it records until it is asked to stop.
pub(crate) async fn run(settings: &Settings, command: RecordCommand) -> anyhow::Result<()> {
    let config = settings.load(&[command.bus.setting()])?;
    let stop = stop::on_signal()?;
    std::fs::create_dir_all(&command.folder).map_err(|error| {
        anyhow::anyhow!("the folder `{}` cannot be made: {error}", command.folder.display())
    })?;
    // A recorder reads and asks as a gateway does, so the rights of one fit.
    let nats = NatsConfig { inbox_prefix: "_INBOX.gateway".to_owned(), ..config.nats.clone() };
    let bus: Arc<dyn Backplane> = Arc::new(NatsBus::connect(&nats)?);
    let files = FileSettings {
        folder: command.folder,
        bytes_max: command.rotate_bytes,
        time_max: command.rotate_every,
        is_packed: command.zstd,
    };
    let recorder = Recorder::new(Arc::clone(&bus), command.venues, files)?;
    let written = recorder.written();
    let show = tokio::spawn(show(written.clone()));
    let end = async {
        match command.time {
            Some(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = stop.cancelled() => {}
            },
            None => stop.cancelled().await,
        }
    };
    let outcome = recorder.run(end).await;
    show.abort();
    let _ = show.await;
    bus.close().await;
    outcome?;
    let written = written.get();
    if command.json {
        say(serde_json::to_string_pretty(&written)?);
    } else {
        say(words(&written));
        written.files.iter().for_each(say);
    }
    Ok(())
}

fn words(written: &recorder::Totals) -> String {
    format!(
        "{} messages, {}, {} files, {} losses on the way",
        HumanCount(written.messages),
        HumanBytes(written.bytes),
        written.files.len(),
        written.losses
    )
}

/// Shows how much was recorded: a line on a terminal, a line of log each minute elsewhere.
async fn show(written: Written) {
    let is_terminal = std::io::stderr().is_terminal();
    let bar = is_terminal.then(|| {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} recording: {msg}") {
            bar.set_style(style);
        }
        bar
    });
    let mut ticks = tokio::time::interval(if is_terminal { DRAW_PERIOD } else { LOG_PERIOD });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let words = words(&written.get());
        match &bar {
            Some(bar) => {
                bar.set_message(words);
                bar.tick();
            }
            None => tracing::info!("recorded {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [("500000", 500_000), ("1KiB", 1_024), ("64MiB", 64 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "-1", "1.5GiB", "GiB", "1GB", "99999999999999999999", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
