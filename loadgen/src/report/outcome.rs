//! How a run came out, for people: the steps of a search, and the assertions that hold.

use std::fmt::Write as _;

use super::model::{Report, Saturation};

/// Lines of names are no longer than this.
const COLUMNS: usize = 110;
const INDENT: &str = "        ";
/// Before the names of what is always checked of every record.
const BROKEN: &str = "broken.";

impl Saturation {
    /// What was found, and every rate that was tried, in turn.
    pub(super) fn write_text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "saturation  {:.0} updates/s, {:.0} deliveries/s; then: {}",
            self.updates_per_second, self.deliveries_per_second, self.limited_by
        )?;
        for step in &self.steps {
            writeln!(
                text,
                "            tried {:>9.0} updates/s: {:>9.0} deliveries/s ({:.2} %), p99 {:>8.2} ms, {}",
                step.updates_per_second,
                step.deliveries_per_second,
                step.delivered_share * 100.0,
                step.p99_ns as f64 / 1e6,
                if step.held { "holds" } else { step.reason.as_str() }
            )?;
        }
        Ok(())
    }
}

impl Report {
    /// `passed`, with the names of all that holds.
    pub(super) fn passed_text(&self) -> String {
        // One that holds and has a hint was not judged, and is told apart.
        let judged = || self.verdicts.iter().filter(|verdict| verdict.hint.is_none());
        let count = judged().count();
        let holds = if count == 1 { "assertion holds" } else { "assertions hold" };
        let mut text = format!("passed: {count} {holds}");
        let names = judged().map(|verdict| verdict.name.as_str());
        let (always, others): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with(BROKEN));
        let always: Vec<_> = always.into_iter().filter_map(|name| name.strip_prefix(BROKEN)).collect();
        let mut words = Vec::new();
        if !always.is_empty() {
            words.push(format!("nothing broken ({})", always.join(", ")));
        }
        words.extend(others.into_iter().map(str::to_owned));
        let mut column = COLUMNS;
        for (at, word) in words.iter().enumerate() {
            text.push(if at == 0 { ':' } else { ',' });
            if column + word.len() + 2 > COLUMNS {
                text.extend(["\n", INDENT]);
                column = INDENT.len();
            } else {
                text.push(' ');
                column += 1;
            }
            text.push_str(word);
            column += word.len() + 1;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::report::model::tests::sample;
    use crate::report::model::{SaturationStep, Verdict};

    #[test]
    fn what_holds_is_named() {
        let mut report = sample();
        let named = |name: &str| Verdict { name: name.to_owned(), held: true, ..Verdict::default() };
        report.verdicts =
            ["broken.lost", "broken.order", "latency.p99", "delivered_share"].map(named).to_vec();
        let expected =
            "passed: 4 assertions hold:\n        nothing broken (lost, order), latency.p99, delivered_share";
        assert!(report.to_text().ends_with(expected), "{}", report.to_text());
        report.verdicts.extend((0..20).map(|at| named(&format!("age.throttled.p{at}"))));
        let text = report.passed_text();
        assert!(text.lines().all(|line| line.len() <= super::COLUMNS), "{text}");
        assert!(text.lines().count() > 3 && text.ends_with("age.throttled.p19"), "{text}");
        report.verdicts.truncate(1);
        assert_eq!(report.passed_text(), "passed: 1 assertion holds:\n        nothing broken (lost)");
    }

    #[test]
    fn every_rate_that_was_tried_is_named() {
        let mut report = sample();
        let step = |rate, held, reason: &str| SaturationStep {
            updates_per_second: rate,
            deliveries_per_second: rate * 10.0,
            delivered_share: 0.995,
            p99_ns: 4_200_000,
            held,
            reason: reason.to_owned(),
            ..SaturationStep::default()
        };
        report.saturation.as_mut().unwrap().steps =
            vec![step(100.0, true, ""), step(200.0, false, "p99 of 134.0 ms is above 100.0 ms")];
        let text = report.to_text();
        for part in [
            "tried       100 updates/s:      1000 deliveries/s (99.50 %), p99     4.20 ms, holds\n",
            "tried       200 updates/s:      2000 deliveries/s (99.50 %), p99     4.20 ms, p99 of 134.0 ms is above",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
