//! `tickwire ingest`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tickwire_bus::{Backplane, HistoryState, NatsBus, NatsConfig};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::binance::Market;
use tickwire_feed::replay::{Findings, Passes, Replay, ReplayConfig, ReplayProgress, Times};
use tickwire_feed::sim::{Sim, SimAdapter, SimConfig};
use tickwire_feed::{AtEnd, Clock, IngestConfig, IngestReport, Ingester, Pace};
use tickwire_wire::Channel;
use tokio_util::sync::CancellationToken;

use crate::cli::{IngestCommand, IngestSource, Settings};
use crate::config::Config;
use crate::dry_run;
use crate::live::{self, LiveFlags, VenueName};
use crate::printing::say;
use crate::stop;

const PROGRESS_PERIOD: Duration = Duration::from_millis(100);
/// The period at which a run without a terminal says how far it is.
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// Symbols that a summary names.
const NAMES_MAX: usize = 16;
/// The time that a recording waits for the history to be made.
const HISTORY_WAIT: Duration = Duration::from_secs(5);

/// Publishes until the source ends or it is asked to stop.
pub(crate) async fn run(settings: &Settings, command: IngestCommand) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    match command.source {
        IngestSource::Sim { sim, out } => {
            let flags: Vec<_> = sim.settings().into_iter().chain(out.settings()).collect();
            let config = settings.load(&flags)?;
            let adapter = simulated(&config.sim)?;
            let report = publish(&config, config.ingest.clone(), adapter, None, stop).await?;
            tell(&report, None, out.json);
        }
        IngestSource::Live(source) => {
            let (venue, flags) = source.parts();
            Box::pin(publish_live(settings, venue, &flags, stop)).await?;
        }
        IngestSource::Replay { files, replay, out } => {
            let flags: Vec<_> = replay.settings().into_iter().chain(out.settings()).collect();
            let config = settings.load(&flags)?;
            let Some(adapter) = recorded(&config, files, &stop).await? else { return Ok(()) };
            let progress = adapter.progress();
            let mut ingest = config.ingest.clone();
            ingest.at_end = AtEnd::Stop;
            let report = publish(&config, ingest, adapter, Some(progress.clone()), stop).await?;
            let findings = progress.findings();
            tell(&report, Some(&findings), out.json);
            let losses = findings.losses();
            if !losses.is_empty() {
                return Err(Incomplete(losses.join("; ")).into());
            }
        }
    }
    Ok(())
}

/// Publishes a live venue until it is asked to stop, or prints what would be published.
async fn publish_live(
    settings: &Settings,
    venue: VenueName,
    LiveFlags { venue: flags, out }: &LiveFlags,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let named: Vec<_> = flags.settings(venue).into_iter().chain(out.settings()).collect();
    let config = settings.load(&named)?;
    let adapter = live::source(&config, venue);
    if flags.dry_run {
        return dry_run::run(config.ingest.clone(), adapter, stop).await;
    }
    let report = publish(&config, config.ingest.clone(), adapter, None, stop).await?;
    tell(&report, None, out.json);
    Ok(())
}

/// Makes the simulated market, in real time from now on.
pub(crate) fn simulated(sim: &SimConfig) -> anyhow::Result<SimAdapter> {
    let clock = Clock::system();
    let sim = Sim::new(SimConfig { start_time: clock.now(), ..sim.clone() })?;
    Ok(SimAdapter::new(sim, Pace::Speed(1.0), clock))
}

/// A replay came to its end, and not all that is in the recordings could be used.
#[derive(Debug, thiserror::Error)]
#[error("the replay is over, but {0}")]
pub(crate) struct Incomplete(String);

/// Opens a recording, as configured; returns `None` where it was asked to stop before it was read.
pub(crate) async fn recorded(
    config: &Config,
    files: Vec<PathBuf>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Replay>> {
    let raw = &config.raw.ingest.replay;
    let market = if raw.venue.is_empty() {
        None
    } else {
        let market = Market::from_venue(&raw.venue);
        Some(market.ok_or_else(|| {
            let known = Market::ALL.map(Market::venue).join(", ");
            anyhow::anyhow!("recordings of venue `{}` cannot be replayed; known: {known}", raw.venue)
        })?)
    };
    let replay = ReplayConfig {
        market,
        files,
        pace: if raw.speed == 0.0 { Pace::FlatOut } else { Pace::Speed(raw.speed) },
        passes: if raw.looped { Passes::Endless } else { Passes::Once },
        times: if raw.rebase { Times::Rebased } else { Times::Recorded },
        clock: Clock::system(),
    };
    tokio::select! {
        opened = tokio::task::spawn_blocking(|| Replay::open(replay)) => Ok(Some(opened??)),
        () = stop.cancelled() => Ok(None),
    }
}

async fn publish(
    config: &Config,
    ingest: IngestConfig,
    adapter: impl Adapter,
    progress: Option<ReplayProgress>,
    stop: CancellationToken,
) -> anyhow::Result<IngestReport> {
    let nats = NatsConfig { inbox_prefix: "_INBOX.ingest".to_owned(), ..config.nats.clone() };
    let bus: Arc<dyn Backplane> = Arc::new(NatsBus::connect(&nats)?);
    if progress.is_some() {
        // A recording that starts before the bus is there would lose its beginning.
        wait_for(&bus, &stop).await;
    }
    let ingester = Ingester::new(ingest, adapter, Arc::clone(&bus));
    let stats = ingester.stats();
    let show = tokio::spawn(show(progress, stats));
    let summary = ingester.run(stop).await;
    show.abort();
    let _ = show.await;
    bus.close().await;
    let summary = summary?;
    if let Some(reason) = summary.lost {
        anyhow::bail!("the source was lost: {reason}");
    }
    Ok(summary.report)
}

async fn wait_for(bus: &Arc<dyn Backplane>, stop: &CancellationToken) {
    let mut state = bus.state();
    if !state.borrow().is_up() {
        tracing::info!("waiting for the bus");
    }
    tokio::select! {
        _ = state.wait_for(tickwire_bus::BusState::is_up) => {}
        () = stop.cancelled() => {}
    }
    if let Some(history) = bus.history() {
        // Its first records are to be kept too. A history that cannot be used keeps nobody waiting.
        let mut state = history.state();
        let known = state.wait_for(|state| *state != HistoryState::Checking);
        tokio::select! {
            _ = tokio::time::timeout(HISTORY_WAIT, known) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Shows how far a replay is: a bar on a terminal, a line of log each ten seconds elsewhere.
async fn show(progress: Option<ReplayProgress>, stats: tickwire_feed::IngestStats) {
    let is_terminal = std::io::stderr().is_terminal();
    let bar = progress.as_ref().filter(|_| is_terminal).map(|_| bar());
    let mut ticks = tokio::time::interval(if bar.is_some() { PROGRESS_PERIOD } else { LOG_PERIOD });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let report = stats.report();
        match (&bar, progress.as_ref().map(ReplayProgress::get)) {
            (Some(bar), Some(at)) => {
                bar.set_length(at.lines_total);
                bar.set_position(at.lines);
                bar.set_message(format!(
                    "{} records, {} gaps",
                    report.tally.records, report.tally.upstream_gaps
                ));
            }
            (None, Some(at)) => tracing::info!(
                lines = at.lines,
                lines_total = at.lines_total,
                pass = at.pass,
                records = report.tally.records,
                "replaying"
            ),
            (_, None) => tracing::info!(
                records = report.tally.records, refused = report.tally.refused_messages, state = %report.reason,
                "ingesting"
            ),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{elapsed_precise} {wide_bar} {percent:>3} %  {pos}/{len} lines  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Says what the run came to.
fn tell(report: &IngestReport, findings: Option<&Findings>, json: bool) {
    let tally = &report.tally;
    let channels: serde_json::Map<_, _> = Channel::ALL
        .into_iter()
        .map(|channel| (channel.name().to_owned(), serde_json::Value::from(tally.channel(channel))))
        .collect();
    if json {
        let mut summary = serde_json::json!({
            "records": tally.records,
            "channels": channels,
            "messages": tally.messages,
            "bytes": tally.bytes,
            "refused_messages": tally.refused_messages,
            "missed_numbers": tally.missed_numbers,
            "faults": tally.faults,
            "last_fault": report.last_fault,
            "upstream_gaps": tally.upstream_gaps,
            "repeats": tally.repeats,
            "instruments": report.instruments,
        });
        if let (Some(findings), Some(summary)) = (findings, summary.as_object_mut()) {
            summary.insert("recordings".to_owned(), as_json(findings));
        }
        say(summary);
        return;
    }
    let of = |(name, count): (&String, &serde_json::Value)| format!("{name} {count}");
    let channels: Vec<_> = channels.iter().map(of).collect();
    say(format_args!(
        "{} records of {} instruments: {}",
        tally.records,
        report.instruments,
        channels.join(", ")
    ));
    say(format_args!(
        "{} bus messages, {} bytes; {} refused; {} lines unusable, {} repeated, {} gaps upstream",
        tally.messages, tally.bytes, tally.refused_messages, tally.faults, tally.repeats, tally.upstream_gaps
    ));
    findings.into_iter().flat_map(as_words).for_each(say);
    if let Some(fault) = &report.last_fault {
        say(format_args!("last fault: {fault}"));
    }
}

fn as_json(findings: &Findings) -> serde_json::Value {
    let unused: serde_json::Map<_, _> =
        findings.unused_kinds.iter().map(|(kind, count)| (kind.clone(), (*count).into())).collect();
    serde_json::json!({
        "new_sequences": findings.counts.new_sequences,
        "unused_snapshots": findings.counts.unused_snapshots,
        "unused_changes": findings.unused_changes,
        "waiting_books": findings.waiting_books,
        "silent": findings.silent,
        "odd_event_times": findings.counts.odd_event_times,
        "replaced_times": findings.replaced_times,
        "steps_back": findings.steps_back,
        "silences": findings.silences,
        "damaged_parts": findings.damaged_parts,
        "unused_messages": unused,
        "doubled_aggregates": findings.doubled_aggregates,
        "aggregated": findings.aggregated,
        "losses": findings.losses(),
    })
}

/// Returns the lines for all that is not as usual.
fn as_words(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    let counted = [
        (findings.counts.new_sequences, "sequences of the venue began anew"),
        (findings.counts.unused_snapshots, "depth snapshots were of no use"),
        (findings.unused_changes, "changes of depth came to no book"),
        (findings.counts.odd_event_times, "times of the venue could not be used"),
        (findings.replaced_times, "receive times fitted to no other line, and were replaced"),
        (findings.steps_back, "times the receive times went back"),
        (findings.silences, "silences of more than ten minutes were passed over"),
        (findings.damaged_parts, "parts of the recordings are damaged"),
        (findings.doubled_aggregates, "messages of aggTrade repeat the trades and were not used"),
    ];
    let odd: Vec<_> = counted.iter().filter(|(count, _)| *count > 0).collect();
    lines.extend(odd.iter().map(|(count, what)| format!("{count} {what}")));
    let named = [
        (&findings.waiting_books, "books that wait for a snapshot"),
        (&findings.silent, "nothing could be used of"),
        (&findings.aggregated, "aggTrade stands for the trades of"),
    ];
    for (names, what) in named {
        if !names.is_empty() {
            let shown: Vec<_> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
            let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
            lines.push(format!("{what}: {}{more}", shown.join(", ")));
        }
    }
    for (kind, count) in &findings.unused_kinds {
        lines.push(format!("{count} messages of `{kind}` were not used"));
    }
    lines
}
