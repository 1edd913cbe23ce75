//! Fields of a scenario, from a file and from flags, later ones over earlier ones. All mistakes are found at once; each
//! names its file and line, or its flag, the field, and what would be right.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::access::{REDACTED, SECRET};

/// All fields by their full names: `sessions.count`, `readers[0].kind`.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    entries: BTreeMap<String, Entry>,
    /// Names of tables, of which some have no field.
    tables: BTreeSet<String>,
    /// Names that were asked for: what a scenario may hold.
    known: Vec<String>,
    pub(crate) mistakes: Vec<String>,
    /// Where the file has what nobody is shown.
    secrets: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    /// `wide.toml, line 7`, or the flag.
    place: String,
    is_used: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(f64),
    Flag(bool),
    List(Vec<Value>),
    Unusable,
}

impl Fields {
    /// Takes in a file. What is not TOML becomes a mistake.
    pub(crate) fn add_file(&mut self, name: &str, text: &str) {
        let place = |at: usize| {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            format!("{name}, line {line}")
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            self.mistakes.push(format!("{}: {}", place(at), error.message()));
        }
        self.add_table("", table.get_ref(), &place);
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, place: &impl Fn(usize) -> String) {
        self.tables.insert(path.to_owned());
        for (key, value) in table {
            let name =
                if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            match value.get_ref() {
                DeValue::Table(inner) => self.add_table(&name, inner, place),
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for (at, item) in items.iter().enumerate() {
                        let name = format!("{name}[{at}]");
                        match item.get_ref() {
                            DeValue::Table(inner) => self.add_table(&name, inner, place),
                            other => self.put(name, convert(other), place(item.span().start)),
                        }
                    }
                }
                other => {
                    if name == SECRET {
                        self.secrets.push(value.span());
                    }
                    self.put(name, convert(other), place(key.span().start));
                }
            }
        }
    }

    /// The text of the file without what nobody is shown.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        let mut secrets = self.secrets.clone();
        secrets.sort_by_key(|span| Reverse(span.start));
        for span in secrets {
            shown.replace_range(span, &format!("\"{REDACTED}\""));
        }
        shown
    }

    /// Takes in `name=value` of a flag. A value that is no TOML is text.
    pub(crate) fn add_flag(&mut self, flag: &str, name: &str, value: &str) {
        let document = format!("v = {value}");
        let parsed = DeTable::parse(&document).ok().and_then(|table| {
            let mut values = table.get_ref().values();
            values.next().map(|value| convert(value.get_ref()))
        });
        let value = parsed.filter(|value| *value != Value::Unusable);
        let value = value.unwrap_or_else(|| Value::Text(document.trim_start_matches("v = ").to_owned()));
        self.put(name.to_owned(), value, flag.to_owned());
    }

    fn put(&mut self, name: String, value: Value, place: String) {
        self.entries.insert(name, Entry { value, place, is_used: false });
    }

    fn take(&mut self, name: &str) -> Option<(Value, String)> {
        self.known.push(name.to_owned());
        let entry = self.entries.get_mut(name)?;
        entry.is_used = true;
        Some((entry.value.clone(), entry.place.clone()))
    }

    /// Notes a mistake about a field, at its place.
    pub(crate) fn wrong(&mut self, name: &str, what: impl Display) {
        let place = self.entries.get(name).map(|entry| format!("{}: ", entry.place)).unwrap_or_default();
        self.mistakes.push(format!("{place}`{name}`: {what}"));
    }

    /// Whether the field or table, or one within it, is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        let within = |key: &String| {
            key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.tables.contains(name) || self.entries.keys().any(within)
    }

    /// How many tables `name[0]`, `name[1]`, … there are.
    pub(crate) fn count_of(&self, name: &str) -> usize {
        (0..self.entries.len() + self.tables.len())
            .take_while(|at| self.has(&format!("{name}[{at}]")))
            .count()
    }

    fn read<T>(&mut self, name: &str, remedy: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let (value, _) = self.take(name)?;
        let found = read(&value);
        if found.is_none() {
            self.wrong(name, remedy);
        }
        found
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, "has to be a text in quotes", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, "has to be true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.read(name, "has to be a list of texts, as in [\"a\", \"b\"]", |value| match value {
            Value::Text(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Value::List(items) => items.iter().map(text_of).collect(),
            _ => None,
        })
    }

    pub(crate) fn numbers(&mut self, name: &str) -> Option<Vec<usize>> {
        self.read(name, "has to be a list of whole numbers, as in [0, 1]", |value| match value {
            Value::Number(_) => Some(vec![whole(value)? as usize]),
            Value::Text(text) => text.split(',').map(|part| part.trim().parse().ok()).collect(),
            Value::List(items) => items.iter().map(|item| whole(item).map(|n| n as usize)).collect(),
            _ => None,
        })
    }

    /// A whole number within bounds.
    pub(crate) fn count(&mut self, name: &str, from: u64, to: u64) -> Option<u64> {
        let remedy = format!("has to be a whole number from {from} to {to}");
        self.read(name, &remedy, |value| whole(value).filter(|number| (from..=to).contains(number)))
    }

    /// A number that is not negative and at most `to`.
    pub(crate) fn number(&mut self, name: &str, to: f64) -> Option<f64> {
        let remedy = format!("has to be a number from 0 to {to}");
        self.read(name, &remedy, |value| match value {
            Value::Number(number) if (0.0..=to).contains(number) => Some(*number),
            _ => None,
        })
    }

    /// A time: text with a unit.
    pub(crate) fn time(&mut self, name: &str) -> Option<Duration> {
        self.read(
            name,
            "has to be a time with a unit, at most a week: \"500ms\", \"20s\", \"5m\", \"2h\"",
            |value| match value {
                Value::Text(text) => duration(text),
                _ => None,
            },
        )
    }

    /// One of several words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let remedy = format!("has to be one of {}", names.join(", "));
        self.read(name, &remedy, |value| match value {
            Value::Text(text) => choices.iter().find(|(name, _)| name == text).map(|(_, choice)| *choice),
            _ => None,
        })
    }

    /// Weights by name, as in `{ proto = 3, json = 1 }`, or a single name.
    pub(crate) fn weights<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<Vec<(T, f64)>> {
        if let Some(Entry { value: Value::Text(_), .. }) = self.entries.get(name) {
            return self.choice(name, choices).map(|choice| vec![(choice, 1.0)]);
        }
        let mut weights = Vec::new();
        for (key, choice) in choices {
            if let Some(weight) = self.number(&format!("{name}.{key}"), 1e6).filter(|weight| *weight > 0.0) {
                weights.push((*choice, weight));
            }
        }
        (!weights.is_empty()).then_some(weights)
    }

    /// Names what nobody asked for, with the nearest name that exists.
    pub(crate) fn refuse_unknown(&mut self) {
        for (name, entry) in &self.entries {
            if entry.is_used {
                continue;
            }
            let nearest = self.known.iter().min_by_key(|known| distance(known, name));
            let remedy = match nearest {
                Some(known) if distance(known, name) <= 4 => format!("did you mean `{known}`?"),
                _ => "`tickwire-loadgen scenarios --fields` lists those that exist".to_owned(),
            };
            self.mistakes.push(format!("{}: `{name}` is no field of a scenario; {remedy}", entry.place));
        }
    }

    /// Names that were asked for, in this order.
    #[cfg(test)]
    pub(crate) fn known(&self) -> &[String] {
        &self.known
    }
}

fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Unusable, |n| Value::Number(n as f64)),
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Unusable, Value::Number),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => Value::List(items.iter().map(|item| convert(item.get_ref())).collect()),
        DeValue::Datetime(_) | DeValue::Table(_) => Value::Unusable,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) if *number >= 0.0 && number.fract() == 0.0 && *number < 9e15 => {
            Some(*number as u64)
        }
        _ => None,
    }
}

/// `200us`, `500ms`, `20s`, `5m`, `2h`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (seconds <= 7.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

/// Edits from one name to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        let mut fields = Fields::default();
        fields.add_file("x.toml", text);
        fields
    }

    #[test]
    fn values_of_every_kind() {
        let mut fields = fields(
            "a = \"t\"\nn = 5\n[s]\nd = \"1.5s\"\nl = [\"x\", \"y\"]\nf = true\nw = { x = 2, y = 0.5 }\n[[r]]\nk = 1\n[[r]]\nk = 2\n",
        );
        assert_eq!(fields.text("a").as_deref(), Some("t"));
        assert_eq!(fields.count("n", 1, 9), Some(5));
        assert_eq!(fields.time("s.d"), Some(Duration::from_millis(1500)));
        assert_eq!(fields.texts("s.l"), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(fields.flag("s.f"), Some(true));
        assert_eq!(fields.weights("s.w", &[("x", 1), ("y", 2), ("z", 3)]), Some(vec![(1, 2.0), (2, 0.5)]));
        assert_eq!(fields.count_of("r"), 2);
        assert_eq!(fields.count("r[1].k", 0, 9), Some(2));
        fields.count("r[0].k", 0, 9);
        fields.refuse_unknown();
        assert_eq!(fields.mistakes, [""; 0]);
    }

    #[test]
    fn a_table_without_fields_is_there() {
        let fields = fields("[a]\n[[b]]\n[[b]]\n");
        assert!(fields.has("a") && !fields.has("c"));
        assert_eq!(fields.count_of("b"), 2);
    }

    #[test]
    fn flags_stand_over_the_file() {
        let mut fields = fields("n = 5\nd = \"1s\"\n");
        fields.add_flag("--n", "n", "7");
        fields.add_flag("--set", "d", "2s");
        fields.add_flag("--set", "l", "[1, 2]");
        assert_eq!(fields.count("n", 1, 9), Some(7));
        assert_eq!(fields.time("d"), Some(Duration::from_secs(2)));
        assert_eq!(fields.numbers("l"), Some(vec![1, 2]));
    }

    #[test]
    fn all_mistakes_are_named_with_place_and_remedy() {
        let mut fields = fields("n = 50\n\n[sessions]\ncuont = 1\nkind = \"x\"\nd = \"5\"\n");
        fields.add_flag("--flag", "f", "maybe");
        fields.count("n", 1, 9);
        fields.count("sessions.count", 1, 9);
        fields.choice("sessions.kind", &[("a", 1), ("b", 2)]);
        fields.time("sessions.d");
        fields.flag("f");
        fields.refuse_unknown();
        let all = fields.mistakes.join("\n");
        for part in [
            "x.toml, line 1: `n`: has to be a whole number from 1 to 9",
            "x.toml, line 4: `sessions.cuont` is no field of a scenario; did you mean `sessions.count`?",
            "x.toml, line 5: `sessions.kind`: has to be one of a, b",
            "x.toml, line 6: `sessions.d`: has to be a time with a unit",
            "--flag: `f`: has to be true or false",
        ] {
            assert!(all.contains(part), "{part} is not in\n{all}");
        }
        assert_eq!(fields.mistakes.len(), 5);
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        let fields = fields("a = 1\nb = = 2\n");
        assert!(fields.mistakes[0].starts_with("x.toml, line 2: "), "{:?}", fields.mistakes);
    }
}
