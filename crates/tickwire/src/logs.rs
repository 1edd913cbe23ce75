//! Structured logs, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Raw};

/// Starts logging as configured. Later calls change nothing.
pub(crate) fn start(raw: &Raw) {
    let filter =
        EnvFilter::builder().parse_lossy(format!("{},{}", tickwire_bus::LOG_DIRECTIVE, raw.log.level));
    let colour = std::io::stderr().is_terminal();
    // A log that cannot be written is not worth the process: its terminal may have closed while it drains.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let _ = if raw.log.format == LogFormat::Json {
        builder.json().try_init()
    } else {
        builder.compact().try_init()
    };
}
