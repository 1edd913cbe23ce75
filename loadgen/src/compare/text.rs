//! The comparison for people.

use std::fmt::Write as _;

use super::{Comparison, Difference, Judgement, Side, Unit};

impl Comparison {
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("text can always be appended");
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "A  {}\nB  {}", self.before.join(", "), self.after.join(", "))?;
        for caution in &self.cautions {
            writeln!(text, "caution: {caution}")?;
        }
        let (a, b) = ("A: median (range)", "B: median (range)");
        writeln!(text, "\n{:<32} {a:<32} {b:<32} {:>8}  interval", "", "change")?;
        for difference in &self.differences {
            writeln!(
                text,
                "{:<32} {:<32} {:<32} {:>8}  {:<58} {}",
                difference.name,
                difference.before.show(difference.unit),
                difference.after.show(difference.unit),
                difference.change_text(),
                difference.interval_text(),
                difference.judgement.name()
            )?;
        }
        writeln!(text, "\n{}", self.conclusion())
    }

    pub(super) fn conclusion(&self) -> String {
        let of = |judgement: Judgement| {
            let found = self.differences.iter().filter(move |found| found.judgement == judgement);
            found.map(|found| found.name.as_str()).collect::<Vec<_>>()
        };
        let bound = self.worse_by * 100.0;
        let (worse, better, unclear) =
            (of(Judgement::Worse), of(Judgement::Better), of(Judgement::Unclear).len());
        let mut text = match worse.as_slice() {
            [] => format!("B is no worse than A by more than {bound} %"),
            worse => format!("B is worse than A by more than {bound} %: {}", worse.join(", ")),
        };
        if !better.is_empty() {
            let _ = write!(text, "; better: {}", better.join(", "));
        }
        if unclear > 0 {
            let _ = write!(text, "; unclear, and more runs can tell: {unclear}");
        }
        text
    }
}

impl Side {
    pub(super) fn show(&self, unit: Unit) -> String {
        let (Some(median), Some(low), Some(high)) = (self.median, self.low, self.high) else {
            return "–".to_owned();
        };
        match self.runs {
            1 => unit.show(median),
            _ => format!("{} ({} to {})", unit.show(median), unit.show(low), unit.show(high)),
        }
    }
}

impl Difference {
    pub(super) fn change_text(&self) -> String {
        self.change.map_or("–".to_owned(), signed)
    }

    pub(super) fn interval_text(&self) -> String {
        self.interval.map_or(String::new(), |interval| {
            format!(
                "{} to {} ({:.0} %, {})",
                signed(interval.low),
                signed(interval.high),
                interval.level * 100.0,
                interval.method.name()
            )
        })
    }
}

impl Judgement {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Better => "better",
            Self::Same => "same",
            Self::Unclear => "unclear",
            Self::Shown => "",
            Self::Absent => "on one side only",
        }
    }
}

fn signed(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}
