//! How two runs differ.

use std::fmt::Write as _;

use crate::cli::CompareOptions;
use crate::report::model::Report;

/// Returns a table for people.
///
/// # Errors
/// When one of the files is no report.
pub(crate) fn run(options: &CompareOptions) -> anyhow::Result<String> {
    let (before, after) = (Report::load(&options.before)?, Report::load(&options.after)?);
    let mut text = String::new();
    let (a, b) = (before.latency.summary, after.latency.summary);
    for (name, a, b) in
        [("p50", a.p50_ns, b.p50_ns), ("p99", a.p99_ns, b.p99_ns), ("max", a.max_ns, b.max_ns)]
    {
        let _ = writeln!(text, "{name:<6} {:>10.3} ms {:>10.3} ms", a as f64 / 1e6, b as f64 / 1e6);
    }
    Ok(text)
}
