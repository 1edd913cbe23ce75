//! What limits how far a comparison can be trusted: a line for each kind, with the runs that it is about.

use std::collections::BTreeSet;

use super::grounds::{GROSS_RUNS, GROSS_SECONDS};
use super::statistics::SECONDS_MIN;
use super::{RUNS_ENOUGH, RUNS_MIN};
use crate::html::quantity;
use crate::report::model::Report;

/// One line a kind.
pub(super) fn cautions(before: &[Report], after: &[Report]) -> Vec<String> {
    let mut cautions: Vec<_> = few(before, after).into_iter().collect();
    let doubts = |report: &Report| report.generator.doubts.clone();
    cautions
        .extend(said_of(before, after, doubts).into_iter().map(|(runs, doubt)| format!("{runs}: {doubt}")));
    cautions.extend(differing(before, after));
    cautions
}

/// Runs that have no verdict, and why; None: all have one.
pub(super) fn without_verdict(before: &[Report], after: &[Report]) -> Option<String> {
    let refused = said_of(before, after, |report| report.refused.iter().cloned().collect());
    let refused: Vec<_> =
        refused.into_iter().map(|(runs, reason)| format!("{runs} without a verdict: {reason}")).collect();
    (!refused.is_empty()).then(|| refused.join("; "))
}

fn few(before: &[Report], after: &[Report]) -> Option<String> {
    let few = before.len().min(after.len());
    let shortest = before.iter().chain(after).map(|report| report.series.len()).min().unwrap_or(0);
    let runs = format!("few runs ({} and {})", before.len(), after.len());
    let more = format!("Give {RUNS_ENOUGH} or more runs a side");
    if few < RUNS_MIN && shortest < SECONDS_MIN {
        Some(format!(
            "short runs ({shortest} s): there are no intervals, and only gross differences are judged (a figure {GROSS_SECONDS} \
             times as much or more, with no second of one side among the other's; {GROSS_RUNS} times where there are only \
             whole runs). Intervals take {SECONDS_MIN} s a run, or {RUNS_MIN} runs a side"
        ))
    } else if few < RUNS_MIN {
        Some(format!(
            "{runs}: intervals are of the seconds within runs and know nothing of how runs differ. {more}"
        ))
    } else if few < RUNS_ENOUGH {
        Some(format!(
            "{runs}: intervals between them are of a lower level than 95 %, as is said beside them. {more}"
        ))
    } else {
        None
    }
}

/// What is said of runs, each kind once: texts that differ by nothing but their figures are of one kind. With whom it is
/// said of, `A run 1, 2; B run 1`.
fn said_of(
    before: &[Report],
    after: &[Report],
    read: impl Fn(&Report) -> Vec<String>,
) -> Vec<(String, String)> {
    let mut kinds: Vec<Kind> = Vec::new();
    for (side, reports) in [before, after].into_iter().enumerate() {
        for (at, report) in reports.iter().enumerate() {
            for text in read(report) {
                let (words, figures) = parts(&text);
                let kind = kinds.iter_mut().find(|kind| kind.words == words);
                let kind = match kind {
                    Some(kind) => kind,
                    None => {
                        kinds.push(Kind { words, figures: Vec::new(), runs: [Vec::new(), Vec::new()] });
                        kinds.last_mut().expect("it was put there")
                    }
                };
                kind.figures.push(figures);
                if kind.runs[side].last() != Some(&(at + 1)) {
                    kind.runs[side].push(at + 1);
                }
            }
        }
    }
    kinds.iter().map(|kind| (kind.whose([before.len(), after.len()]), kind.text())).collect()
}

struct Kind {
    /// What stands around the figures: one more than there are of them.
    words: Vec<String>,
    /// As they were written, for each text.
    figures: Vec<Vec<String>>,
    /// From 1, of A and of B.
    runs: [Vec<usize>; 2],
}

impl Kind {
    fn whose(&self, all: [usize; 2]) -> String {
        let sides = ["A", "B"].into_iter().zip(&self.runs).zip(all);
        let named = sides.filter(|((_, runs), _)| !runs.is_empty()).map(|((side, runs), all)| {
            let list = runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if runs.len() == all && all > 1 {
                format!("{side} all {all} runs")
            } else {
                format!("{side} run {list}")
            }
        });
        named.collect::<Vec<_>>().join("; ")
    }

    /// The text, with the range of each figure.
    fn text(&self) -> String {
        let mut text = self.words[0].clone();
        for (at, words) in self.words[1..].iter().enumerate() {
            let value = |figure: &&String| figure.parse::<f64>().unwrap_or(0.0);
            let mut all: Vec<_> = self.figures.iter().map(|figures| &figures[at]).collect();
            all.sort_by(|a, b| value(a).total_cmp(&value(b)));
            let (low, high) = (all[0], all[all.len() - 1]);
            text.push_str(low);
            if low != high {
                text.extend([" to ", high]);
            }
            text.push_str(words);
        }
        text
    }
}

/// Words and figures of a text, in turn. A digit in a word (`p99`) is part of the word.
fn parts(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut words, mut figures) = (vec![String::new()], Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let last = words.last().and_then(|word| word.chars().last());
        let begins = first.is_ascii_digit()
            && !last.is_some_and(|last| last.is_alphanumeric() || "._-".contains(last));
        if begins {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let figure = rest[..end].trim_end_matches('.');
            figures.push(figure.to_owned());
            words.push(String::new());
            rest = &rest[figure.len()..];
        } else {
            words.last_mut().expect("there is one from the start").push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (words, figures)
}

/// In what the two sides are not alike beside what they measured.
fn differing(before: &[Report], after: &[Report]) -> Option<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, read: fn(&Report) -> String| {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) =
            (before.iter().map(read).collect(), after.iter().map(read).collect());
        if a != b {
            let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
            found.push(format!("{what} ({} and {})", list(a), list(b)));
        }
    };
    differs("scenario", |report| report.scenario.name.clone());
    differs("server", |report| report.scenario.server.clone());
    differs("rate", |report| format!("{}/s", quantity::number(report.scenario.updates_per_second)));
    differs("number of sessions", |report| report.sessions.asked.to_string());
    differs("time of measuring", |report| format!("{:.0} s", report.seconds));
    differs("machine", |report| {
        format!("{} × {}, {}", report.machine.cores, report.machine.cpu, report.machine.system)
    });
    differs("version", |report| report.versions.server.clone());
    if texts(before) != texts(after) {
        found.push("words of the scenario".to_owned());
    }
    (!found.is_empty()).then(|| format!("A and B differ in more than their figures: {}", found.join("; ")))
}

fn texts(reports: &[Report]) -> BTreeSet<&str> {
    reports.iter().map(|report| report.scenario.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::sample;

    fn doubting(doubts: &[&str]) -> Report {
        let mut report = sample();
        report.generator.doubts = doubts.iter().map(|doubt| (*doubt).to_owned()).collect();
        report
    }

    #[test]
    fn a_kind_of_doubt_is_one_line_that_names_its_runs() {
        let before = [
            doubting(&["all processors were 93 % busy", "it read up to 5.5 ms late (p99)"]),
            doubting(&[]),
            doubting(&["all processors were 99 % busy"]),
        ];
        let after = vec![doubting(&["it read up to 12.0 ms late (p99)"]); 3];
        let mut cautions = cautions(&before, &after);
        assert!(cautions.remove(0).starts_with("few runs (3 and 3)"));
        assert_eq!(
            cautions,
            [
                "A run 1, 3: all processors were 93 to 99 % busy",
                "A run 1; B all 3 runs: it read up to 5.5 to 12.0 ms late (p99)",
            ]
        );
    }

    #[test]
    fn all_that_differs_is_one_line() {
        let mut after = sample();
        (after.machine.cores, after.sessions.asked, after.scenario.text) = (64, 7, "other".to_owned());
        let cautions = cautions(&vec![sample(); 4], &vec![after; 4]);
        assert_eq!(cautions.len(), 1, "{cautions:?}");
        for part in ["number of sessions (500 and 7)", "machine (", "64 × ", "; words of the scenario"] {
            assert!(cautions[0].contains(part), "{part} is not in {}", cautions[0]);
        }
        assert_eq!(super::cautions(&vec![sample(); 4], &vec![sample(); 4]), [""; 0]);
    }

    #[track_caller]
    fn check_parts(text: &str, figures: &[&str]) {
        let (words, found) = parts(text);
        assert_eq!(found, figures, "{text}");
        let kind = Kind { words, figures: vec![found], runs: [vec![1], Vec::new()] };
        assert_eq!(kind.text(), text);
    }

    #[test]
    fn figures_are_told_from_words() {
        check_parts("", &[]);
        check_parts("a thread took 93 % of a core. 7 of 8.", &["93", "7", "8"]);
        check_parts("up to 5.25 ms late (p99), v1.2 → 3", &["5.25", "3"]);
    }
}
