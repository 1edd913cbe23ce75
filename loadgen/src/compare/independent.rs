//! Whether the runs are different ones: a run that stands there twice is no second measurement.

use std::path::PathBuf;

use anyhow::bail;

use crate::html::moment;
use crate::report::model::Report;

/// # Errors
/// When several files hold the same run, on one side or both; the text names them.
pub(super) fn check(files: &[&PathBuf], reports: &[&Report]) -> anyhow::Result<()> {
    let mut seen = vec![false; reports.len()];
    let mut groups = Vec::new();
    for (at, report) in reports.iter().enumerate() {
        if seen[at] {
            continue;
        }
        let same: Vec<_> = (at..reports.len()).filter(|other| is_same(report, reports[*other])).collect();
        for other in &same {
            seen[*other] = true;
        }
        if same.len() > 1 {
            let names: Vec<_> = same.iter().map(|other| files[*other].display().to_string()).collect();
            groups.push(format!(
                "{} (the run of {} that began {}, seed {})",
                names.join(" and "),
                report.scenario.title(),
                moment(report.started_ns),
                report.scenario.seed
            ));
        }
    }
    if !groups.is_empty() {
        bail!(
            "the same run is given several times: {}. Judgements hold of runs that know nothing of each other: give each run \
             once, and for more runs, run again",
            groups.join("; ")
        );
    }
    Ok(())
}

/// Whatever its file is called: no two runs begin to measure in the same nanosecond, at the same server, with the same seed.
fn is_same(a: &Report, b: &Report) -> bool {
    let run = |report: &Report| (report.started_ns, report.scenario.seed, report.scenario.url.clone());
    // Reports that do not say when they began are told apart by what they hold.
    a.started_ns != 0 && run(a) == run(b) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::sample;

    fn began(started_ns: u64, seed: u64, url: &str) -> Report {
        let mut report = sample();
        report.started_ns = started_ns;
        report.scenario.seed = seed;
        report.scenario.url = url.to_owned();
        report
    }

    #[track_caller]
    fn check_named(reports: &[Report], expected: Option<&str>) {
        let files: Vec<_> = (1..=reports.len()).map(|at| PathBuf::from(format!("{at}.json"))).collect();
        let outcome = check(&files.iter().collect::<Vec<_>>(), &reports.iter().collect::<Vec<_>>());
        let error = outcome.err().map(|error| error.to_string());
        match (expected, &error) {
            (Some(part), Some(error)) => assert!(error.contains(part), "{part} is not in: {error}"),
            (expected, found) => assert_eq!(expected, found.as_deref()),
        }
    }

    #[test]
    fn a_run_is_known_by_when_where_and_with_which_seed_it_began() {
        let a = || began(5, 1, "ws://a/");
        check_named(&[a(), began(6, 1, "ws://a/"), began(5, 2, "ws://a/"), began(5, 1, "ws://b/")], None);
        // As somebody who renames it, or formats it, or takes something out of it, has it.
        let mut edited = a();
        edited.machine.cpu = "?".to_owned();
        check_named(
            &[a(), began(6, 1, ""), edited],
            Some("1.json and 3.json (the run of dashboard (my.toml)"),
        );
        check_named(&[a(), began(6, 1, ""), a(), began(6, 1, "")], Some("; 2.json and 4.json"));
        let old = |p99_ns| {
            let mut report = began(0, 1, "");
            report.latency.summary.p99_ns = p99_ns;
            report
        };
        check_named(&[old(1), old(2)], None);
        check_named(&[old(1), old(2), old(1)], Some("1.json and 3.json"));
    }
}
