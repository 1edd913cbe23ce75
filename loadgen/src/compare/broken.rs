//! Which assertions broke, and in which runs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::report::model::Report;

/// An assertion that did not hold in a run of either side.
#[derive(Debug, Serialize)]
pub(super) struct BrokenAssertion {
    name: String,
    /// What each run that broke it measured; empty: it held there, or was not asserted.
    before: Vec<BrokenRun>,
    after: Vec<BrokenRun>,
}

#[derive(Debug, Serialize)]
struct BrokenRun {
    /// From 1, in the order of the command line.
    run: usize,
    measured: String,
    limit: String,
}

/// By name.
pub(super) fn assertions(before: &[Report], after: &[Report]) -> Vec<BrokenAssertion> {
    let broken = before.iter().chain(after).flat_map(|report| &report.verdicts);
    let names: BTreeSet<_> = broken.filter(|verdict| !verdict.held).map(|verdict| &verdict.name).collect();
    let runs = |side: &[Report], name: &str| {
        let found = side.iter().enumerate().filter_map(|(at, report)| {
            let verdict = report.verdicts.iter().find(|verdict| !verdict.held && verdict.name == name)?;
            let (measured, limit) = (verdict.measured.clone(), verdict.limit.clone());
            Some(BrokenRun { run: at + 1, measured, limit })
        });
        found.collect()
    };
    let of = |name: &String| BrokenAssertion {
        name: name.clone(),
        before: runs(before, name),
        after: runs(after, name),
    };
    names.into_iter().map(of).collect()
}

impl BrokenAssertion {
    /// `latency.p99: A no run; B run 1 (9 ms, has to be at most 8 ms)`.
    pub(super) fn text(&self) -> String {
        let side = |runs: &[BrokenRun]| {
            if runs.is_empty() {
                return "no run".to_owned();
            }
            let each =
                runs.iter().map(|run| format!("run {} ({}, has to be {})", run.run, run.measured, run.limit));
            each.collect::<Vec<_>>().join(", ")
        };
        format!("{}: A {}; B {}", self.name, side(&self.before), side(&self.after))
    }
}
