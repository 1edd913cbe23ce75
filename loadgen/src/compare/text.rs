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
        let has_runs = self.differences.iter().any(|found| found.before.runs.max(found.after.runs) > 1);
        let head = if has_runs { ["A: median (range)", "B: median (range)"] } else { ["A", "B"] };
        let mut rows =
            vec![["", head[0], head[1], "change", "interval, or other grounds", ""].map(str::to_owned)];
        rows.extend(self.differences.iter().map(|found| {
            [
                found.name.clone(),
                found.before.show(found.unit),
                found.after.show(found.unit),
                found.change_text(),
                found.grounds_text(),
                found.judgement.name().to_owned(),
            ]
        }));
        writeln!(text)?;
        write_table(text, &rows)?;
        if !self.broken_assertions.is_empty() {
            writeln!(text, "\nbroken assertions:")?;
        }
        for broken in &self.broken_assertions {
            writeln!(text, "  {}", broken.text())?;
        }
        writeln!(text, "\n{}", self.conclusion())
    }

    pub(super) fn conclusion(&self) -> String {
        if let Some(reason) = &self.refused {
            return format!(
                "NO JUDGEMENT: {reason}. Run again what has no verdict, with a free core, more --threads or a lower --rate; or take \
                 the risk with `compare --allow-bottleneck`"
            );
        }
        let of = |judgement: Judgement| {
            let found = self.differences.iter().filter(move |found| found.judgement == judgement);
            found.map(Difference::name_text).collect::<Vec<_>>()
        };
        let bound = self.worse_by * 100.0;
        let (worse, better, unclear) =
            (of(Judgement::Worse), of(Judgement::Better), of(Judgement::Unclear).len());
        let mut text = match worse.as_slice() {
            [] if unclear > 0 => format!("B is not shown to be worse than A by more than {bound} %"),
            [] => format!("B is no worse than A by more than {bound} %"),
            worse => format!("B is worse than A by more than {bound} %: {}", worse.join(", ")),
        };
        if !better.is_empty() {
            let _ = write!(text, "; better: {}", better.join(", "));
        }
        if unclear > 0 {
            let _ = write!(text, "; unclear: {unclear} (longer or more runs can tell)");
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
    /// With what it rests on, where that is no interval.
    fn name_text(&self) -> String {
        let factor = self.grounds.and_then(super::Grounds::factor);
        factor.map_or_else(|| self.name.clone(), |factor| format!("{} ({factor}, no interval)", self.name))
    }

    /// The interval, or what else the judgement rests on.
    pub(super) fn grounds_text(&self) -> String {
        let interval = self.interval_text();
        if interval.is_empty() {
            self.grounds.map(super::Grounds::text).unwrap_or_default()
        } else {
            interval
        }
    }

    pub(super) fn change_text(&self) -> String {
        self.change.map_or("–".to_owned(), signed)
    }

    fn interval_text(&self) -> String {
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

/// Columns as wide as what is in them; the change is set to the right.
fn write_table(text: &mut String, rows: &[[String; 6]]) -> std::fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [name, a, b, change, grounds] = [0, 1, 2, 3, 4].map(width);
    for row in rows {
        let line = format!(
            "{:<name$}  {:<a$}  {:<b$}  {:>change$}  {:<grounds$}  {}",
            row[0], row[1], row[2], row[3], row[4], row[5]
        );
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use crate::report::model::tests::sample;

    #[test]
    fn columns_are_no_wider_than_what_is_in_them_and_counts_are_whole() {
        let mut after = sample();
        after.checks.lost = 1;
        let text = compare(&[sample()], &[after], 0.1).to_text();
        let line = text.lines().find(|line| line.starts_with("lost ")).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells, ["lost", "0", "1", "–", "any", "more", "is", "worse", "WORSE"]);
        assert!(
            text.lines().filter(|line| !line.starts_with("caution")).all(|line| line.chars().count() < 130),
            "{text}"
        );
    }
}
