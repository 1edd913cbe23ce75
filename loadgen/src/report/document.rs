//! A report or a comparison for people: sections of values and tables. Terminals and pages are written from the same one.
//!
//! Values come from the model by serde: the name of a field is its name for people too, and tells its unit.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, presets};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;
use tickwire_measure::Picture;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::metric::unit_of;

#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) about: Vec<Block>,
    /// One sentence says how it came out; pages have it near the top, terminals at the end.
    pub(crate) outcome: (Tone, String),
    /// The outcome rests on these.
    pub(crate) reasons: Vec<Block>,
    pub(crate) body: Vec<Block>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    /// Limits how far the rest can be trusted.
    Caution,
}

/// Names and what there is to say of them.
pub(crate) type Named = Vec<(String, String)>;

#[derive(Debug)]
pub(crate) enum Block {
    Section(&'static str, Vec<Block>),
    Line(Tone, String),
    Facts(Vec<(&'static str, String)>),
    /// All rows have the same names. Terminals leave out the columns that are listed.
    Table(Vec<Named>, &'static [&'static str]),
    // From here on, on pages only.
    /// Values in large type, with their names.
    Tiles(Named),
    Pictures(Vec<Picture>),
    Folded(&'static str, Vec<Block>),
    /// Text as it is.
    Verbatim(String),
}

impl Document {
    /// Writes it for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for block in self.about.iter().chain(&self.body) {
            block.write(&mut text);
        }
        text.push('\n');
        for reason in &self.reasons {
            reason.write(&mut text);
        }
        text + &self.outcome.1
    }
}

impl Block {
    fn write(&self, text: &mut String) {
        let _ = match self {
            Self::Section(name, blocks) => {
                let mut within = String::new();
                for block in blocks {
                    block.write(&mut within);
                }
                if within.is_empty() { Ok(()) } else { write!(text, "\n{name}\n{within}") }
            }
            Self::Line(tone, line) => writeln!(text, "{}{line}", tone.prefix()),
            Self::Facts(facts) => {
                let mut table = table();
                table.add_rows(facts.iter().map(|(name, fact)| [*name, fact]));
                writeln!(text, "{}", table.trim_fmt())
            }
            Self::Table(rows, page_only) if !rows.is_empty() => {
                let is_shown = |cell: &&(String, String)| !page_only.contains(&cell.0.as_str());
                let mut table = table();
                table.set_header(rows[0].iter().filter(is_shown).map(|(name, _)| name));
                table.add_rows(rows.iter().map(|row| row.iter().filter(is_shown).map(|(_, cell)| cell)));
                let are_numbers = rows[0].iter().filter(is_shown).map(|(name, _)| are_numbers(rows, name));
                for (column, _) in table.column_iter_mut().zip(are_numbers).filter(|(_, numbers)| *numbers) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
                writeln!(text, "{}", table.trim_fmt())
            }
            _ => Ok(()),
        };
    }
}

fn table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Returns whether a column holds numbers: they stand at its right.
pub(crate) fn are_numbers(rows: &[Named], column: &str) -> bool {
    let cells = rows.iter().flatten().filter(|(name, _)| name == column);
    cells
        .into_iter()
        .all(|(_, cell)| cell.starts_with(|first: char| "–+-".contains(first) || first.is_ascii_digit()))
}

impl Tone {
    pub(crate) fn prefix(self) -> &'static str {
        if self == Self::Caution { "caution: " } else { "" }
    }
}

/// Returns the values of a part of a report, in the order of its fields; those of parts within it are not among them.
pub(crate) fn values(part: &impl Serialize) -> Named {
    let text = serde_json::to_string(part).unwrap_or_default();
    let fields: IndexMap<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    fields.iter().filter_map(|(name, value)| Some((label(name), shown(name, value)?))).collect()
}

fn label(field: &str) -> String {
    field.trim_end_matches("_ns").replace(['_', '.'], " ")
}

fn shown(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("–".to_owned()),
        Value::Bool(value) => Some(if *value { "yes" } else { "no" }.to_owned()),
        Value::Number(number) => number.as_f64().map(|number| unit_of(name).show(number)),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes nanoseconds of the Unix epoch for people.
pub(crate) fn moment(ns: u64) -> String {
    let whole_seconds = OffsetDateTime::from_unix_timestamp((ns / 1_000_000_000) as i64);
    whole_seconds.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ns} ns"))
}

/// Writes the same as a sentence: `opened 40, reconnects 0`.
pub(crate) fn described(part: &impl Serialize) -> String {
    let values = values(part).into_iter().filter(|(_, value)| !["", "no", "–"].contains(&value.as_str()));
    values.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}
