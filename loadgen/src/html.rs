//! A report as a page for a browser: one file, nothing loaded from elsewhere.

use anyhow::Context as _;

use crate::cli::HtmlOptions;
use crate::report::model::Report;

/// Writes the page; returns where it is.
///
/// # Errors
/// When the file is no report, or the page cannot be written.
pub(crate) fn run(options: &HtmlOptions) -> anyhow::Result<String> {
    let report = Report::load(&options.report)?;
    let name = options.out.display();
    std::fs::write(&options.out, page(&report)).with_context(|| format!("cannot write {name}"))?;
    Ok(format!("wrote {name}"))
}

fn page(report: &Report) -> String {
    format!("<!doctype html><title>{}</title>", report.scenario.name)
}
