//! Structured logs, to standard error.

mod limit;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogFormat, Raw};
use limit::{Limit, REPORT_EVERY};

/// Starts logging as configured. Later calls change nothing. It has to be called within a runtime.
pub(crate) fn start(raw: &Raw) {
    let filter =
        EnvFilter::builder().parse_lossy(format!("{},{}", tickwire_bus::LOG_DIRECTIVE, raw.log.level));
    let colour = std::io::stderr().is_terminal();
    // A log that cannot be written is not worth the process: its terminal may have closed while it drains.
    let lines = tracing_subscriber::fmt::layer::<Registry>()
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let lines =
        if raw.log.format == LogFormat::Json { lines.json().boxed() } else { lines.compact().boxed() };
    let limit =
        (raw.log.lines_max > 0).then(|| Limit::new(raw.log.lines_max, tickwire_gateway::AUDIT_TARGET));
    let told = limit.clone();
    let started = Registry::default().with(lines.with_filter(limit).with_filter(filter)).try_init();
    if let (Ok(()), Some(limit)) = (started, told) {
        tokio::spawn(report(limit));
    }
}

/// Tells every few seconds what the limit swallowed.
async fn report(limit: Limit) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        for swallowed in limit.take_swallowed() {
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
