//! Structured logs, to standard error, and the lines of a service to standard output. Nobody waits for either.

mod limit;
mod lines;
mod panics;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::Duration;

use tickwire_gateway::{LOST_LINES, SPAN_TARGET};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogFormat, Raw};
use limit::{Limit, REPORT_EVERY};
use lines::Lines;

/// The lines of this process that wait to be written, once logging has started.
static LINES: OnceLock<Lines> = OnceLock::new();
/// Those that wait for standard output.
static ANNOUNCED: OnceLock<Lines> = OnceLock::new();
/// The most bytes of these: a service says some lines at its start.
const ANNOUNCED_BYTES_MAX: usize = 64 << 10;
/// The time that lines have to be written when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Starts logging as configured, and traces where this process `is_served` from. Later calls change nothing. It has to be called within a runtime.
#[cfg_attr(not(feature = "otel"), expect(unused_variables, unused_mut, reason = "only traces need it"))]
pub(crate) fn start(raw: &Raw, is_served: bool) {
    // Spans are for traces, and would only repeat in lines what these say.
    let directives = format!("{},{SPAN_TARGET}=off,{}", tickwire_bus::LOG_DIRECTIVE, raw.log.level);
    let filter = EnvFilter::builder().parse_lossy(directives);
    let colour = io::stderr().is_terminal();
    let waiting = LINES.get_or_init(|| Lines::start(raw.log.waiting_bytes, io::stderr()));
    // A log that cannot be written is not worth the process: its terminal may have closed while it drains.
    let lines = tracing_subscriber::fmt::layer::<Registry>()
        .with_ansi(colour)
        .with_writer(waiting.clone())
        .log_internal_errors(false);
    let lines =
        if raw.log.format == LogFormat::Json { lines.json().boxed() } else { lines.compact().boxed() };
    let limit =
        (raw.log.lines_max > 0).then(|| Limit::new(raw.log.lines_max, tickwire_gateway::AUDIT_TARGET));
    let told = limit.clone();
    let mut layers = vec![lines.with_filter(limit).with_filter(filter).boxed()];
    #[cfg(feature = "otel")]
    let problem = is_served
        .then(|| crate::traces::layer(&raw.traces))
        .transpose()
        .map(|layer| layers.extend(layer.flatten()))
        .err();
    let started = Registry::default().with(layers).try_init();
    #[cfg(feature = "otel")]
    if let Some(problem) = problem {
        tracing::error!(problem, "there are no traces");
    }
    if started.is_ok() {
        panics::tell(waiting.clone(), raw.log.format);
        tokio::spawn(report(told));
    }
}

/// Waits until the lines are written, but not for long. Call it before the process ends.
pub(crate) fn flush() {
    for lines in [&LINES, &ANNOUNCED].into_iter().filter_map(OnceLock::get) {
        lines.flush(FAREWELL);
    }
}

/// Has a line written to standard output, whether anybody reads it or not, and waits for nobody.
pub(crate) fn write_out(line: &str) {
    let lines = ANNOUNCED.get_or_init(|| Lines::start(ANNOUNCED_BYTES_MAX, io::stdout()));
    lines.push(false, line.as_bytes());
}

/// Writes a line behind those of the log, and waits for that, but not for long. Returns false where there is no log.
pub(crate) fn write_last(line: &str) -> bool {
    let lines = LINES.get();
    if let Some(lines) = lines {
        lines.push(false, line.as_bytes());
        lines.flush(FAREWELL);
    }
    lines.is_some()
}

/// Tells every few seconds what the limit swallowed, and what could not be written.
async fn report(limit: Option<Limit>) {
    let mut told = 0;
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let (audit, other) = LOST_LINES.counts();
        if audit + other > told {
            // Where it cannot be written either, it is one more, and is told next time.
            tracing::error!(
                audit,
                other,
                "log lines could not be written since the start; is the disk full, or does nobody read them?"
            );
            told = audit + other;
        }
        for swallowed in limit.iter().flat_map(Limit::take_swallowed) {
            let of = swallowed.metadata;
            tracing::warn!(
                lines = swallowed.lines,
                level = %of.level(),
                target = of.target(),
                place = of.name(),
                "log lines of one place were swallowed, because it wrote more than log.lines_max in a second"
            );
        }
    }
}
