//! Whether the runs are different ones: a run that stands there twice is no second measurement.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;

use crate::report::document::moment;
use crate::report::model::Report;

/// # Errors
/// When several files hold the same run, on one side or both; the text names them.
pub(super) fn check(files: &[&PathBuf], reports: &[&Report]) -> anyhow::Result<()> {
    let mut runs: BTreeMap<_, (&Report, Vec<String>)> = BTreeMap::new();
    for (report, file) in reports.iter().zip(files) {
        // No two runs begin to measure in the same nanosecond, at the same server, with the same seed, whatever their files are
        // called. Reports that do not say when they began are told apart by what they hold.
        let began = (report.started_ns, report.scenario.seed, report.scenario.url.clone());
        let content = if report.started_ns == 0 { report.to_json() } else { String::new() };
        runs.entry((began, content)).or_insert((report, Vec::new())).1.push(file.display().to_string());
    }
    let twice = runs.values().filter(|(_, files)| files.len() > 1).map(|(report, files)| {
        let (title, began) = (report.scenario.title(), moment(report.started_ns));
        let seed = report.scenario.seed;
        format!("{} (the run of {title} that began {began}, seed {seed})", files.join(" and "))
    });
    let twice: Vec<_> = twice.collect();
    if !twice.is_empty() {
        bail!(
            "the same run is given several times: {}. Judgements hold of runs that know nothing of each other: give each run \
             once, and for more runs, run again",
            twice.join("; ")
        );
    }
    Ok(())
}
