//! `tickwire ingest`.

mod several;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tickwire_bus::lease::{LeaseHolder, LeaseTiming, LeasedBus};
use tickwire_bus::{Backplane, HistoryState, NatsBus, NatsConfig};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::replay::Findings;
use tickwire_feed::sim::{Sim, SimAdapter, SimConfig};
use tickwire_feed::{AtEnd, Clock, IngestConfig, IngestReport, Ingester, Pace, Summary};
use tickwire_recordings::contents::Contents;
use tickwire_wire::Channel;
use tokio_util::sync::CancellationToken;

use crate::cli::{IngestCommand, IngestSource, Settings, Usage};
use crate::config::Config;
use crate::dry_run;
use crate::incomplete::Incomplete;
use crate::inspect;
use crate::live::{self, LiveFlags, VenueName};
use crate::printing::say;
use crate::recorded::{self, At, Recorded, RecordedProgress};
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
            let make = || simulated(&config.sim);
            let report = publish_or_stand_by(&config, &config.raw.ingest.lease, make, stop).await?;
            tell(None, &report, None, out.json);
        }
        IngestSource::Live(source) => {
            let (venue, flags) = source.parts();
            Box::pin(publish_live(settings, venue, &flags, stop)).await?;
        }
        IngestSource::Venues { venues, out } => {
            let config = settings.load(&out.settings())?;
            for (venue, report) in several::publish(config, &venues, stop).await? {
                tell(Some(venue), &report, None, out.json);
            }
        }
        IngestSource::Replay { files, replay, out } => {
            let flags: Vec<_> = replay.settings().into_iter().chain(out.settings()).collect();
            let config = settings.load(&flags)?;
            if !config.raw.ingest.lease.is_empty() {
                let remedy = "leave --lease and ingest.lease out";
                return Err(Usage(format!(
                    "recordings are played by one process, and not by a lease: {remedy}"
                ))
                .into());
            }
            let Some(mut adapter) = recorded::open(&config, files, &stop).await? else { return Ok(()) };
            let progress = adapter.progress();
            let contents = if let Recorded::Any(_, contents) = &mut adapter {
                std::mem::take(contents)
            } else {
                Vec::new()
            };
            let mut ingest = config.ingest.clone();
            ingest.at_end = AtEnd::Stop;
            let report = publish(&config, ingest, adapter, Some(progress.clone()), stop).await?;
            let told = match &progress {
                RecordedProgress::Binance(progress) => Told::Binance(progress.findings()),
                RecordedProgress::Any(progress) => Told::Any(contents, progress.faults()),
            };
            tell(None, &report, Some(&told), out.json);
            let losses = told.losses();
            if !losses.is_empty() {
                return Err(Incomplete::new("the replay", losses.join("; ")).into());
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
    if flags.dry_run {
        return dry_run::run(config.ingest.clone(), live::source(&config, venue), stop).await;
    }
    let make = || Ok(live::source(&config, venue));
    let report = Box::pin(publish_or_stand_by(&config, &config.raw.ingest.lease, make, stop)).await?;
    tell(None, &report, None, out.json);
    Ok(())
}

/// Makes the simulated market, in real time from now on.
pub(crate) fn simulated(sim: &SimConfig) -> anyhow::Result<SimAdapter> {
    let clock = Clock::system();
    let sim = Sim::new(SimConfig { start_time: clock.now(), ..sim.clone() })?;
    Ok(SimAdapter::new(sim, Pace::Speed(1.0), clock))
}

/// The findings about recordings that were played.
enum Told {
    Binance(Findings),
    Any(Vec<(PathBuf, Contents)>, u64),
}

impl Told {
    fn losses(&self) -> Vec<String> {
        match self {
            Self::Binance(findings) => findings.losses(),
            Self::Any(_, 0) => Vec::new(),
            Self::Any(_, faults) => vec![format!("{faults} places of the recordings could not be read")],
        }
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Self::Binance(findings) => as_json(findings),
            Self::Any(files, _) => {
                files.iter().map(|(path, contents)| inspect::as_json(path, contents)).collect()
            }
        }
    }

    fn as_words(&self) -> Vec<String> {
        match self {
            Self::Binance(findings) => as_words(findings),
            Self::Any(files, _) => {
                let odd = |contents: &Contents| contents.faults > 0 || !contents.unused.is_empty();
                let files = files.iter().filter(|(_, contents)| odd(contents));
                files.flat_map(|(path, contents)| inspect::as_words(path, contents)).collect()
            }
        }
    }
}

/// Publishes until it is asked to stop; where a lease is named, only while it is held.
async fn publish_or_stand_by<A: Adapter + 'static>(
    config: &Config,
    name: &str,
    make: impl Fn() -> anyhow::Result<A>,
    stop: CancellationToken,
) -> anyhow::Result<IngestReport> {
    if name.is_empty() {
        return publish(config, config.ingest.clone(), make()?, None, stop).await;
    }
    let bus = connect(config)?;
    let summary = loop {
        let holder = LeaseHolder::new(Arc::clone(&bus), name, &owner(), LeaseTiming::default())?;
        let term = holder.term();
        let (give_back, end) = (CancellationToken::new(), stop.child_token());
        let ingest = IngestConfig { lease: Some(term.clone()), ..config.ingest.clone() };
        let leased: Arc<dyn Backplane> = Arc::new(LeasedBus::new(Arc::clone(&bus), term));
        let ingester = Ingester::new(ingest, make()?, leased);
        let show = tokio::spawn(show(None, 0.0, ingester.stats()));
        let mut holding = tokio::spawn(holder.run(give_back.clone()));
        let mut running = tokio::spawn(ingester.run(end.clone()));
        tracing::info!(name, "standing by for the lease");
        let ended = tokio::select! {
            _ = &mut holding => {
                // What was published by the lease is over: what comes is of another epoch, and begins behind those who stand by.
                end.cancel();
                let _ = running.await?;
                None
            }
            ended = &mut running => {
                give_back.cancel();
                let _ = holding.await;
                Some(ended??)
            }
        };
        show.abort();
        match ended {
            Some(summary) => break summary,
            None if stop.is_cancelled() => break Summary::default(),
            None => {}
        }
    };
    bus.close().await;
    whole(summary)
}

/// Returns what tells this process from any other that wants the same lease.
fn owner() -> String {
    format!("process {} {:016x}", std::process::id(), rand::random::<u64>())
}

fn connect(config: &Config) -> anyhow::Result<Arc<dyn Backplane>> {
    let nats = NatsConfig { inbox_prefix: "_INBOX.ingest".to_owned(), ..config.nats.clone() };
    Ok(Arc::new(NatsBus::connect(&nats)?))
}

fn whole(summary: Summary) -> anyhow::Result<IngestReport> {
    if let Some(reason) = summary.lost {
        anyhow::bail!("the source was lost: {reason}");
    }
    Ok(summary.report)
}

async fn publish(
    config: &Config,
    ingest: IngestConfig,
    adapter: impl Adapter,
    progress: Option<RecordedProgress>,
    stop: CancellationToken,
) -> anyhow::Result<IngestReport> {
    let bus = connect(config)?;
    if progress.is_some() {
        // A recording that starts before the bus is there would lose its beginning.
        wait_for(&bus, &stop).await;
    }
    let ingester = Ingester::new(ingest, adapter, Arc::clone(&bus));
    let stats = ingester.stats();
    let show = tokio::spawn(show(progress, config.raw.ingest.replay.speed, stats));
    let summary = ingester.run(stop).await;
    show.abort();
    let _ = show.await;
    bus.close().await;
    whole(summary?)
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
async fn show(progress: Option<RecordedProgress>, speed: f64, stats: tickwire_feed::IngestStats) {
    let is_terminal = std::io::stderr().is_terminal();
    let bar = progress.as_ref().filter(|_| is_terminal).map(|_| bar());
    let mut ticks = tokio::time::interval(if bar.is_some() { PROGRESS_PERIOD } else { LOG_PERIOD });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let report = stats.report();
        match (&bar, progress.as_ref().map(RecordedProgress::get)) {
            (Some(bar), Some(at)) => {
                bar.set_length(at.total);
                bar.set_position(at.done);
                let (records, gaps) = (report.tally.records, report.tally.upstream_gaps);
                bar.set_message(format!("{records} records, {gaps} gaps{}", left(&at, speed)));
            }
            (None, Some(at)) => tracing::info!(
                done = at.done,
                total = at.total,
                pass = at.pass,
                records = report.tally.records,
                "replaying{}",
                left(&at, speed)
            ),
            (_, None) => tracing::info!(
                records = report.tally.records, refused = report.tally.refused_messages, state = %report.reason,
                "ingesting"
            ),
        }
    }
}

/// Says how long a replay still takes at its speed; flat out, the bar itself shows it.
fn left(at: &At, speed: f64) -> String {
    if speed == 0.0 || at.time == 0 {
        return String::new();
    }
    let left = at.end.saturating_sub(at.time) as f64 / speed / 1e9;
    format!(", {} left", humantime::format_duration(Duration::from_secs(left as u64)))
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{elapsed_precise} {wide_bar} {percent:>3} %  {pos}/{len}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Says what the run came to, that of a venue where there are several.
fn tell(venue: Option<VenueName>, report: &IngestReport, told: Option<&Told>, json: bool) {
    let venue = venue.map(|venue| venue.row().name);
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
        if let Some(venue) = venue {
            summary["venue"] = venue.into();
        }
        if let Some(told) = told {
            summary["recordings"] = told.as_json();
        }
        say(summary);
        return;
    }
    let of = |(name, count): (&String, &serde_json::Value)| format!("{name} {count}");
    let channels: Vec<_> = channels.iter().map(of).collect();
    if let Some(venue) = venue {
        say(format_args!("{venue}:"));
    }
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
    told.into_iter().flat_map(Told::as_words).for_each(say);
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
