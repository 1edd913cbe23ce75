//! Fields of a scenario, from a file and from flags, later ones over earlier ones. All mistakes are found at once; each
//! names its file and line, or its flag, the field, and what would be right.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::access::{REDACTED, SECRET};

/// All fields by their full names: `sessions.count`, `readers[0].kind`.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Where tables begin, of which some have no field.
    tables: BTreeMap<String, Place>,
    /// Names that were asked for: what a scenario may hold.
    pub(super) known: Vec<String>,
    /// Lists of tables that were asked for, with how many there are.
    pub(super) lists: BTreeMap<String, usize>,
    flags: usize,
    mistakes: Vec<(Place, String)>,
    /// Where the file has what nobody is shown.
    secrets: Vec<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    value: Value,
    pub(super) place: Place,
    pub(super) is_used: bool,
}

/// Where something is said, in the order in which mistakes are named: by line of the file, then what nobody said anywhere,
/// then flags as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Line(usize, String),
    #[default]
    Nowhere,
    Flag(usize, String),
}

impl Place {
    /// `wide.toml, line 7: `, or `--rate: `; before what is wrong there.
    fn text(&self) -> String {
        match self {
            Self::Line(line, file) => format!("{file}, line {line}: "),
            Self::Nowhere => String::new(),
            Self::Flag(_, flag) => format!("{flag}: "),
        }
    }
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
            Place::Line(line, name.to_owned())
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            self.note(place(at), error.message());
        }
        self.add_table("", table.get_ref(), place(0), &place);
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, at: Place, place: &impl Fn(usize) -> Place) {
        self.tables.insert(path.to_owned(), at);
        for (key, value) in table {
            let name =
                if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            match value.get_ref() {
                DeValue::Table(inner) => self.add_table(&name, inner, place(key.span().start), place),
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for (at, item) in items.iter().enumerate() {
                        let name = format!("{name}[{at}]");
                        match item.get_ref() {
                            DeValue::Table(inner) => {
                                self.add_table(&name, inner, place(item.span().start), place);
                            }
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
        self.flags += 1;
        self.put(name.to_owned(), value, Place::Flag(self.flags, flag.to_owned()));
    }

    fn put(&mut self, name: String, value: Value, place: Place) {
        self.entries.insert(name, Entry { value, place, is_used: false });
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.known.push(name.to_owned());
        let entry = self.entries.get_mut(name)?;
        entry.is_used = true;
        Some(entry.value.clone())
    }

    /// Notes a mistake about a field: at its place or, where nobody set it, at that of its table.
    pub(crate) fn wrong(&mut self, name: &str, what: impl Display) {
        self.note(self.place(name), format!("`{name}`: {what}"));
    }

    pub(super) fn note(&mut self, place: Place, what: impl Into<String>) {
        self.mistakes.push((place, what.into()));
    }

    /// All mistakes, by line of the file, then those of flags, each with its place.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut all: Vec<_> = self.mistakes.iter().collect();
        // What is found at one place stays in the order in which it was found.
        all.sort_by_key(|(place, _)| place);
        all.into_iter().map(|(place, what)| format!("{}{what}", place.text())).collect()
    }

    fn place(&self, name: &str) -> Place {
        let mut name = name;
        loop {
            let table = self.tables.get(name);
            let within = self.entries.iter().filter(|(key, _)| is_within(key, name));
            let tables = self.tables.iter().filter(|(key, _)| is_within(key, name)).map(|(_, place)| place);
            let own = self.entries.get(name).map(|entry| &entry.place).or(table);
            if let Some(place) = own.or_else(|| within.map(|(_, entry)| &entry.place).chain(tables).min()) {
                return place.clone();
            }
            match name.rsplit_once('.') {
                Some((table, _)) => name = table,
                None => return Place::Nowhere,
            }
        }
    }

    /// Whether the field or table, or one within it, is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.entries.keys().any(|key| is_within(key, name))
    }

    /// How many tables `name[0]`, `name[1]`, … there are.
    pub(crate) fn count_of(&mut self, name: &str) -> usize {
        let most = self.entries.len() + self.tables.len();
        let count = (0..most).take_while(|at| self.has(&format!("{name}[{at}]"))).count();
        self.lists.insert(name.to_owned(), count);
        count
    }

    fn read<T>(&mut self, name: &str, remedy: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.take(name)?;
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

    /// A number above 0 and at most `to`; behind the remedy stands what else would help.
    pub(crate) fn positive(&mut self, name: &str, to: f64, hint: &str) -> Option<f64> {
        let remedy = format!("has to be a number above 0, at most {to}{hint}");
        self.read(name, &remedy, |value| match value {
            Value::Number(number) if *number > 0.0 && *number <= to => Some(*number),
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
        // What was said last holds, the name of one or weights.
        let within = self.entries.iter().filter(|(key, _)| *key != name && is_within(key, name));
        let last = within.map(|(_, entry)| entry.place.clone()).max();
        let single =
            self.entries.get(name).filter(|single| last.as_ref().is_none_or(|last| *last < single.place));
        if single.is_some() {
            let within = self.entries.iter_mut().filter(|(key, _)| is_within(key, name));
            within.for_each(|(_, entry)| entry.is_used = true);
            return self.choice(name, choices).map(|choice| vec![(choice, 1.0)]);
        }
        if let Some(single) = self.entries.get_mut(name) {
            single.is_used = true;
        }
        let is_asked = last.is_some();
        let mut weights = Vec::new();
        for (key, choice) in choices {
            if let Some(weight) = self.number(&format!("{name}.{key}"), 1e6).filter(|weight| *weight > 0.0) {
                weights.push((*choice, weight));
            }
        }
        if weights.is_empty() && is_asked {
            self.wrong(name, "no weight in there is above 0, as in { proto = 3, json = 1 }");
        }
        (!weights.is_empty()).then_some(weights)
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

/// Whether a name is this one, or of something in it.
fn is_within(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::super::unknown;
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
        unknown::refuse(&mut fields);
        assert_eq!(fields.mistakes(), [""; 0]);
    }

    #[test]
    fn a_table_without_fields_is_there() {
        let mut fields = fields("[a]\n[[b]]\n[[b]]\n");
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
        unknown::refuse(&mut fields);
        let all = fields.mistakes().join("\n");
        for part in [
            "x.toml, line 1: `n`: has to be a whole number from 1 to 9",
            "x.toml, line 4: `sessions.cuont` is no field of a scenario; did you mean `sessions.count`?",
            "x.toml, line 5: `sessions.kind`: has to be one of a, b",
            "x.toml, line 6: `sessions.d`: has to be a time with a unit",
            "--flag: `f`: has to be true or false",
        ] {
            assert!(all.contains(part), "{part} is not in\n{all}");
        }
        assert_eq!(fields.mistakes().len(), 5);
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        let fields = fields("a = 1\nb = = 2\n");
        let mistakes = fields.mistakes();
        assert!(mistakes[0].starts_with("x.toml, line 2: "), "{mistakes:?}");
    }

    #[test]
    fn mistakes_stand_in_the_order_of_the_file_and_flags_behind_them() {
        let mut fields = fields("z = 1\n[s]\nb = 2\na = 3\n[[r]]\n[[r]]\nk = 1\n[e]\nx = 1\n");
        fields.add_flag("--second", "b", "x");
        fields.add_flag("--first", "a", "x");
        fields.wrong("a", "6");
        fields.wrong("b", "5");
        fields.wrong("nobody", "4");
        fields.wrong("r[0].missing", "2");
        fields.wrong("r", "2 as well");
        fields.wrong("e.missing.too", "3");
        fields.wrong("s.a", "1");
        fields.wrong("s.b", "0");
        assert_eq!(
            fields.mistakes(),
            [
                "x.toml, line 3: `s.b`: 0",
                "x.toml, line 4: `s.a`: 1",
                "x.toml, line 5: `r[0].missing`: 2",
                "x.toml, line 5: `r`: 2 as well",
                "x.toml, line 8: `e.missing.too`: 3",
                "`nobody`: 4",
                "--second: `b`: 5",
                "--first: `a`: 6",
            ]
        );
    }
}
