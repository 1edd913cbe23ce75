//! Cautions limit how far a comparison can be trusted: each kind has a line, with the runs that it is about.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use indexmap::IndexMap;
use regex::{Captures, Regex};

use super::judgement::{GROSS_RUNS, GROSS_SECONDS};
use super::statistics::SECONDS_MIN;
use super::{RUNS_ENOUGH, RUNS_MIN, Sides};
use crate::report::metric::Unit;
use crate::report::model::Report;

/// Returns one line for each kind.
pub(super) fn cautions(sides: Sides<'_>) -> Vec<String> {
    let own = said_of(sides, |report| report.generator.cautions.clone());
    let own = own.into_iter().map(|(runs, caution)| format!("{runs}: {caution}"));
    few(sides).into_iter().chain(own).chain(differing(sides)).collect()
}

/// Returns which runs have no verdict, and why; None: all have one.
pub(super) fn without_verdict(sides: Sides<'_>) -> Option<String> {
    let refused = said_of(sides, |report| report.refused.iter().cloned().collect());
    let refused = refused.into_iter().map(|(runs, reason)| format!("{runs} without a verdict: {reason}"));
    let refused: Vec<_> = refused.collect();
    (!refused.is_empty()).then(|| refused.join("; "))
}

fn few(sides: Sides<'_>) -> Option<String> {
    let [a, b] = sides.map(<[Report]>::len);
    let shortest = sides.iter().copied().flatten().map(|report| report.series.len()).min().unwrap_or(0);
    let why = match a.min(b) {
        RUNS_ENOUGH.. => return None,
        RUNS_MIN.. => "intervals between them are of a lower level than 95 %, as is said beside them",
        _ if shortest < SECONDS_MIN => {
            return Some(format!(
                "short runs ({shortest} s): there are no intervals, and only gross differences are judged (a metric {GROSS_SECONDS} \
                 times as much or more, with no second of one side among the other's; {GROSS_RUNS} times where there are only \
                 whole runs). Intervals take {SECONDS_MIN} s a run, or {RUNS_MIN} runs a side"
            ));
        }
        _ => "intervals are of the seconds within runs and know nothing of how runs differ",
    };
    Some(format!("few runs ({a} and {b}): {why}. Give {RUNS_ENOUGH} or more runs a side"))
}

/// A number of a text, with what stands before it. A digit in a word (`p99`) is part of the word.
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|[^\w.-])(\d+(?:\.\d+)?)").expect("the expression is right"));

/// Texts that differ by nothing but their numbers.
#[derive(Default)]
struct Kind {
    /// As they were written, for each text.
    numbers: Vec<Vec<String>>,
    /// Runs count from 1, of A and of B.
    runs: [BTreeSet<usize>; 2],
}

/// Returns what is said of runs, each kind once, with whom it is said of: `A run 1, 2; B run 1`.
fn said_of(sides: Sides<'_>, read: impl Fn(&Report) -> Vec<String>) -> Vec<(String, String)> {
    let mut kinds: IndexMap<String, Kind> = IndexMap::new();
    for (side, reports) in sides.into_iter().enumerate() {
        for (at, text) in reports
            .iter()
            .enumerate()
            .flat_map(|(at, report)| read(report).into_iter().map(move |text| (at, text)))
        {
            let kind = kinds.entry(NUMBER.replace_all(&text, "${1}0").into_owned()).or_default();
            kind.numbers.push(NUMBER.captures_iter(&text).map(|found| found[2].to_owned()).collect());
            kind.runs[side].insert(at + 1);
        }
    }
    kinds.iter().map(|(words, kind)| (kind.whose(sides.map(<[Report]>::len)), kind.text(words))).collect()
}

impl Kind {
    fn whose(&self, all: [usize; 2]) -> String {
        let sides = ["A", "B"].into_iter().zip(&self.runs).zip(all);
        let named = sides.filter(|((_, runs), _)| !runs.is_empty()).map(|((side, runs), all)| {
            if runs.len() == all && all > 1 {
                return format!("{side} all {all} runs");
            }
            format!("{side} run {}", runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        });
        named.collect::<Vec<_>>().join("; ")
    }

    /// Returns the text, with the range of each number.
    fn text(&self, words: &str) -> String {
        let value = |number: &str| number.parse().unwrap_or(0.0);
        let mut places = 0..;
        let range = |found: &Captures<'_>| {
            let at = places.next().unwrap_or_default();
            let mut all: Vec<_> = self.numbers.iter().map(|numbers| numbers[at].as_str()).collect();
            all.sort_by(|a, b| f64::total_cmp(&value(a), &value(b)));
            let (low, high) = (all[0], all[all.len() - 1]);
            if low == high { format!("{}{low}", &found[1]) } else { format!("{}{low} to {high}", &found[1]) }
        };
        NUMBER.replace_all(words, range).into_owned()
    }
}

/// Returns in what the two sides are not alike beside what they measured.
fn differing(sides: Sides<'_>) -> Option<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, read: fn(&Report) -> String| {
        let [a, b] = sides.map(|side| side.iter().map(read).collect::<BTreeSet<_>>());
        if a != b {
            let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
            found.push(format!("{what} ({} and {})", list(a), list(b)));
        }
    };
    differs("scenario", |report| report.scenario.name.clone());
    differs("server", |report| report.scenario.server.clone());
    differs("rate", |report| format!("{}/s", Unit::Number.show(report.scenario.updates_per_second)));
    differs("number of sessions", |report| report.sessions.asked.to_string());
    differs("time of measuring", |report| format!("{:.0} s", report.seconds));
    differs("machine", |report| {
        format!("{} × {}, {}", report.machine.cores, report.machine.cpu, report.machine.system)
    });
    differs("version", |report| report.versions.server.clone());
    let [a, b] = sides.map(|side| side.iter().map(|report| &report.scenario.text).collect::<BTreeSet<_>>());
    if a != b {
        found.push("words of the scenario".to_owned());
    }
    (!found.is_empty()).then(|| format!("A and B differ in more than their results: {}", found.join("; ")))
}
