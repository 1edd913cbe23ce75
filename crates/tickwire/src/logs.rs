//! Structured logs, to standard error.

use tracing_subscriber::EnvFilter;

use crate::config::Raw;

/// Starts logging as configured. Later calls change nothing.
pub(crate) fn start(raw: &Raw) {
    let filter = EnvFilter::builder().parse_lossy(format!("{},{}", tickwire_bus::LOG_DIRECTIVE, raw.log.level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if raw.log.format == "json" { builder.json().try_init() } else { builder.compact().try_init() };
}
