//! Structured logs, to standard error.

mod limit;
mod stderr;

use std::io::IsTerminal as _;

use tickwire_gateway::LOST_LINES;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogFormat, Raw};
use limit::{Limit, REPORT_EVERY};
use stderr::StandardError;

/// Starts logging as configured. Later calls change nothing. It has to be called within a runtime.
pub(crate) fn start(raw: &Raw) {
    let filter =
        EnvFilter::builder().parse_lossy(format!("{},{}", tickwire_bus::LOG_DIRECTIVE, raw.log.level));
    let colour = std::io::stderr().is_terminal();
    // A log that cannot be written is not worth the process: its terminal may have closed while it drains.
    let lines = tracing_subscriber::fmt::layer::<Registry>()
        .with_ansi(colour)
        .with_writer(StandardError)
        .log_internal_errors(false);
    let lines =
        if raw.log.format == LogFormat::Json { lines.json().boxed() } else { lines.compact().boxed() };
    let limit =
        (raw.log.lines_max > 0).then(|| Limit::new(raw.log.lines_max, tickwire_gateway::AUDIT_TARGET));
    let told = limit.clone();
    let started = Registry::default().with(lines.with_filter(limit).with_filter(filter)).try_init();
    if started.is_ok() {
        tokio::spawn(report(told));
    }
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
                "log lines could not be written since the start; is the disk full?"
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
