//! Assertions that broke are named, with the runs in which they did.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Sides;

/// An assertion that did not hold in a run of either side.
#[derive(Debug, Default, Serialize)]
pub(super) struct BrokenAssertion {
    name: String,
    /// Each run that broke it says what it measured; empty: it held there, or was not asserted.
    before: Vec<BrokenRun>,
    after: Vec<BrokenRun>,
}

#[derive(Debug, Serialize)]
struct BrokenRun {
    /// Runs count from 1, in the order of the command line.
    run: usize,
    measured: String,
    limit: String,
}

/// Returns all that broke, by name.
pub(super) fn assertions([before, after]: Sides<'_>) -> Vec<BrokenAssertion> {
    let mut all: BTreeMap<&str, BrokenAssertion> = BTreeMap::new();
    let runs = before.iter().enumerate().chain(after.iter().enumerate());
    for (place, (at, report)) in runs.enumerate() {
        for verdict in report.verdicts.iter().filter(|verdict| !verdict.held) {
            let found = all.entry(&verdict.name).or_default();
            found.name.clone_from(&verdict.name);
            let side = if place < before.len() { &mut found.before } else { &mut found.after };
            let (measured, limit) = (verdict.measured.clone(), verdict.limit.clone());
            side.push(BrokenRun { run: at + 1, measured, limit });
        }
    }
    all.into_values().collect()
}

impl BrokenAssertion {
    /// Returns `latency.p99: A no run; B run 1 (9 ms, has to be at most 8 ms)`.
    pub(super) fn text(&self) -> String {
        let [a, b] = [&self.before, &self.after].map(|runs| {
            let text =
                |run: &BrokenRun| format!("run {} ({}, has to be {})", run.run, run.measured, run.limit);
            let runs = runs.iter().map(text).collect::<Vec<_>>().join(", ");
            if runs.is_empty() { "no run".to_owned() } else { runs }
        });
        format!("{}: A {a}; B {b}", self.name)
    }
}
