//! `tickwire-export`: what `tickwire export` runs.
//!
//! Exit status: 0 done, 1 failed, 2 wrong command line, 3 some of the recordings could not be read.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use arrow_schema::ArrowError;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tickwire_export::{ArrowStreamError, Exported, Exporter};
use tickwire_feed::adapter::{Adapter as _, Flow};
use tickwire_feed::replay::{Passes, Times};
use tickwire_feed::{Clock, Pace};
use tickwire_recordings::{Hints, Map, Player, PlayerConfig, Recording, receive_time};
use tickwire_wire::Channel;

/// Writes recordings as Parquet: one file for each channel, instrument and hour, with what is missing in the file itself
#[derive(Debug, Parser)]
#[command(name = "tickwire export", version, max_term_width = 110)]
#[command(after_help = "Examples:\n  tickwire export --parquet day esh4-glbx-mdp3-20231225.mbo.dbn.zst\n  \
    tickwire export --parquet day *.twbus --from 2026-12-01T08:00:00Z --json\n\n\
    Exit status: 0 done, 1 failed, 2 wrong command line, 3 some of the recordings could not be read")]
struct Command {
    /// Folder for the files; it is made where it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "arrow")]
    parquet: Option<PathBuf>,
    /// Write this channel of a stream of `tickwire tap --record`, which comes on standard input, to standard output as Arrow IPC
    #[arg(long, value_name = "CHANNEL", conflicts_with_all = ["parquet", "files", "json"], value_parser = channel)]
    arrow: Option<Channel>,
    /// Recordings of one venue, in any format that can be replayed
    #[arg(required_unless_present = "arrow", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of the recordings; told by their content unless given
    #[arg(long)]
    format: Option<tickwire_recordings::Format>,
    /// Venue of the recordings; told by their content unless given
    #[arg(long)]
    venue: Option<String>,
    /// Day of trading (2020-01-30), where times are counted from midnight; told by the name of the file unless given
    #[arg(long)]
    date: Option<tickwire_recordings::Day>,
    /// Mapping of the columns of plain CSV, in TOML; docs/recordings.md has examples
    #[arg(long, value_name = "FILE", value_parser = map)]
    map: Option<Arc<Map>>,
    /// Begin at this receive time, with what held then: 2024-08-08T23:55:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<u64>,
    /// End before this receive time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<u64>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

fn channel(name: &str) -> Result<Channel, String> {
    Channel::from_name(name).ok_or_else(|| "known: trade, quote, book, status, derivative".to_owned())
}

fn map(path: &str) -> Result<Arc<Map>, String> {
    Map::read(std::path::Path::new(path)).map(Arc::new)
}

fn time(text: &str) -> Result<u64, &'static str> {
    receive_time(text).ok_or("write 2024-08-08T23:55:00Z, or nanoseconds since 1970")
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(exported) => ExitCode::from(if exported.faults > 0 { 3 } else { 0 }),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_gone(written: &Result<Exported, ArrowStreamError>) -> bool {
    let Err(ArrowStreamError::Output(ArrowError::IoError(_, error))) = written else { return false };
    error.kind() == std::io::ErrorKind::BrokenPipe
}

fn run(command: &Command) -> anyhow::Result<Exported> {
    if let Some(channel) = command.arrow {
        let written = tickwire_export::arrow(std::io::stdin(), channel, std::io::stdout().lock());
        // Who reads it may have had enough.
        return if is_gone(&written) { Ok(Exported::default()) } else { Ok(written?) };
    }
    let Some(folder) = &command.parquet else { anyhow::bail!("name a folder with --parquet") };
    let hints = Hints {
        format: command.format,
        venue: command.venue.clone(),
        day: command.date,
        map: command.map.clone(),
    };
    let open = |path: &PathBuf| Recording::open(path, &hints);
    let recordings = command.files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = recordings.iter().map(|it| it.path().display().to_string()).collect();
    let config = PlayerConfig {
        pace: Pace::FlatOut,
        passes: Passes::Once,
        times: Times::Recorded,
        from: command.from,
        to: command.to,
        clock: Clock::system(),
    };
    let (mut player, _) = Player::open(recordings, config, &Arc::default())?;
    let mut exporter = Exporter::new(folder, &names.join(", "));
    let (progress, bar) = (player.progress(), ProgressBar::new(0));
    let template = "{elapsed_precise} {wide_bar} {percent:>3} %  {pos}/{len} statements  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut events = Vec::new();
    loop {
        let flow = runtime.block_on(player.next(&mut events))?;
        events.drain(..).try_for_each(|event| exporter.take(event))?;
        let at = progress.get();
        bar.set_length(at.statements_total);
        bar.set_position(at.statements);
        if flow == Flow::Ended {
            break;
        }
    }
    let exported = exporter.finish()?;
    bar.finish_and_clear();
    let Exported { files, rows, gaps, missing, unknown_gaps, faults } = exported;
    let mut out = std::io::stdout();
    if command.json {
        let summary = serde_json::json!({
            "files": files, "rows": rows, "gaps": gaps, "missing": missing,
            "gaps_of_unknown_size": unknown_gaps, "unreadable_places": faults,
        });
        writeln!(out, "{summary}")?;
    } else {
        writeln!(out, "{rows} rows in {files} files below {}", folder.display())?;
        if gaps > 0 {
            writeln!(
                out,
                "{gaps} gaps: {missing} events are missing, and of {unknown_gaps} gaps the size is not known"
            )?;
        }
        if faults > 0 {
            writeln!(out, "{faults} places of the recordings could not be read")?;
        }
    }
    Ok(exported)
}
