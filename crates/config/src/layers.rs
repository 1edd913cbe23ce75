//! The layers, one over the other, with the place of each value.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::errors::{ConfigErrors, Place};
use crate::path::{find, is_a_list, is_a_table, is_no_entry, is_within, join, parent};
use crate::setting::{Kind, Setting};

/// Joins the levels of a path in the name of a variable.
const LEVELS: &str = "__";

/// All layers with the place of each value, and all errors that were found in them.
#[derive(Clone, Debug)]
pub struct Layers {
    root: Setting,
    /// The values as serde takes them; what nobody gave is not in it.
    values: Value,
    places: BTreeMap<String, Place>,
    errors: Vec<(Place, String)>,
    flags: usize,
    /// Lines of the file that are not TOML.
    broken: BTreeSet<usize>,
    /// Text of the file, and where secrets are in it.
    text: String,
    secrets: Vec<Range<usize>>,
}

impl Layers {
    /// Begins with no layer, for the settings of `T`.
    pub fn of<T: JsonSchema>() -> Self {
        Self {
            root: Setting::of::<T>(),
            values: json!({}),
            places: BTreeMap::new(),
            errors: Vec::new(),
            flags: 0,
            broken: BTreeSet::new(),
            text: String::new(),
            secrets: Vec::new(),
        }
    }

    /// Takes in a file in TOML. Where it is none, what can be read of it counts.
    pub fn file(&mut self, name: &str, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = Place::in_file(name, text, error.span().map_or(0, |span| span.start));
            let what = error.message().trim();
            self.note(
                place.clone(),
                format!("is not TOML: {what}; the file may have been cut off while it was written"),
            );
            if let Place::File { line, .. } = place {
                self.broken.insert(line);
            }
        }
        text.clone_into(&mut self.text);
        let (root, mut values) = (self.root.clone(), self.values.take());
        self.table(&root, table.get_ref(), &mut values, "", &|at| Place::in_file(name, text, at));
        self.values = values;
    }

    fn table(
        &mut self,
        setting: &Setting,
        table: &DeTable<'_>,
        into: &mut Value,
        path: &str,
        place: &dyn Fn(usize) -> Place,
    ) {
        if !into.is_object() {
            *into = json!({});
        }
        for (key, value) in table {
            let (name, at) = (join(path, key.get_ref()), place(key.span().start));
            match find(setting, path, key.get_ref()) {
                Ok(field) => self.value(field, value, &mut into[key.get_ref().as_ref()], &name, at, place),
                Err(problem) => self.note(at, format!("`{name}`: {problem}")),
            }
        }
    }

    fn value(
        &mut self,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
        into: &mut Value,
        path: &str,
        at: Place,
        place: &dyn Fn(usize) -> Place,
    ) {
        match (&setting.kind, value.get_ref()) {
            (Kind::Table(_) | Kind::Either(..), DeValue::Table(table)) => {
                self.places.insert(path.to_owned(), at);
                self.table(setting, table, into, path, place);
            }
            (Kind::Tables(item), DeValue::Array(items)) => {
                self.places.insert(path.to_owned(), at);
                *into = Value::Array(vec![json!({}); items.len()]);
                for (number, value) in items.iter().enumerate() {
                    let path = format!("{path}[{number}]");
                    self.value(item, value, &mut into[number], &path, place(value.span().start), place);
                }
            }
            (Kind::Table(_) | Kind::Tables(_), _) => {
                self.note(at, format!("`{path}`: {}", is_a_table(setting, path)));
            }
            (_, other) => {
                if setting.is_secret {
                    self.secrets.push(value.span());
                }
                self.put(setting, &plain(other), into, path, at);
            }
        }
    }

    /// Takes in a variable of the environment, if its name is that of a setting: `PREFIX_GATEWAY__LISTEN` is
    /// `gateway.listen`.
    pub fn variable(&mut self, prefix: &str, name: &str, text: &str) {
        let path = name.strip_prefix(prefix).filter(|path| path.contains(LEVELS));
        if let Some(path) = path.map(|path| path.to_ascii_lowercase().replace(LEVELS, ".")) {
            self.set(Place::Variable(name.to_owned()), &path, text);
        }
    }

    /// Takes in a flag that sets this path: `("--rate", "source.rate", "500")`.
    pub fn flag(&mut self, flag: &str, path: &str, text: &str) {
        self.flags += 1;
        // As it would stand in a file.
        let unquoted =
            text.starts_with(['"', '\'']).then(|| toml::from_str::<Value>(&format!("v = {text}")).ok());
        let unquoted = unquoted.flatten().and_then(|table| Some(table["v"].as_str()?.to_owned()));
        self.set(Place::Flag(self.flags, flag.to_owned()), path, unquoted.as_deref().unwrap_or(text));
    }

    /// Takes in a flag whose value is `NAME=VALUE`.
    pub fn pair(&mut self, flag: &str, pair: &str) {
        match pair.split_once('=') {
            Some((path, value)) => self.flag(flag, path.trim(), value.trim()),
            None => {
                self.flags += 1;
                let problem = format!("`{pair}`: has no `=`: write NAME=VALUE");
                self.note(Place::Flag(self.flags, flag.to_owned()), problem);
            }
        }
    }

    fn set(&mut self, place: Place, path: &str, text: &str) {
        let (root, mut values) = (self.root.clone(), self.values.take());
        if let Err(problem) = self.set_in(&root, &mut values, "", path, text, &place) {
            self.note(place, format!("`{path}`: {problem}"));
        }
        self.values = values;
    }

    fn set_in(
        &mut self,
        setting: &Setting,
        into: &mut Value,
        done: &str,
        rest: &str,
        text: &str,
        place: &Place,
    ) -> Result<(), String> {
        if rest.is_empty() && done.is_empty() {
            return Err("names no setting: write NAME=VALUE, as in sessions.window=16ms".to_owned());
        }
        if rest.is_empty() {
            if let Kind::Table(_) | Kind::Tables(_) = setting.kind {
                return Err(is_a_table(setting, done));
            }
            self.put(setting, &setting.parse(text), into, done, place.clone());
            return Ok(());
        }
        if let Kind::Tables(item) = &setting.kind {
            let number = rest.strip_prefix('[').and_then(|rest| rest.split_once("]."));
            let number = number.filter(|(_, rest)| !rest.is_empty());
            let parsed = number.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
            let (number, rest) = parsed.ok_or_else(|| is_a_list(item, done))?;
            if !into.is_array() {
                *into = json!([]);
            }
            let Value::Array(entries) = into else { return Ok(()) };
            if number > entries.len() {
                return Err(is_no_entry(item, done, entries.len()));
            }
            let path = format!("{done}[{number}]");
            if number == entries.len() {
                entries.push(json!({}));
                self.places.insert(path.clone(), place.clone());
            }
            return self.set_in(item, &mut entries[number], &path, rest, text, place);
        }
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let rest = if let Some(behind) = rest.strip_prefix('.') { behind } else { rest };
        let field = find(setting, done, name)?;
        let is_deeper = !rest.is_empty() && field.table().is_none() && !matches!(field.kind, Kind::Tables(_));
        if is_deeper {
            return Err(format!("does not exist; `{}` has nothing in it", join(done, name)));
        }
        if !into.is_object() {
            *into = json!({});
        }
        self.set_in(field, &mut into[name], &join(done, name), rest, text, place)
    }

    /// Puts a value in its place, over that of an earlier layer.
    fn put(&mut self, setting: &Setting, value: &Value, into: &mut Value, path: &str, place: Place) {
        self.places.retain(|known, _| !is_within(known, path));
        if setting.is_optional && *value == "" {
            *into = Value::Null;
            return;
        }
        match setting.take(value) {
            Some(value) => *into = value,
            None => self.note(place.clone(), format!("`{path}`: {}", setting.refusal(value))),
        }
        self.places.insert(path.to_owned(), place);
    }

    /// Makes a `T` of all layers. What is wrong is noted, and has its default in there.
    pub fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        remove_nulls(&mut self.values);
        let (root, values) = (self.root.clone(), self.values.clone());
        self.find_missing(&root, &values, "");
        loop {
            // Each round finds one error; without the value that is wrong, the next one shows.
            let mut whole = self.values.clone();
            root.complete(&mut whole);
            let error = match serde_path_to_error::deserialize(&whole) {
                Ok(found) => return found,
                Err(error) => error,
            };
            let mut path = String::new();
            let mut at = Some(&mut self.values);
            for segment in error.path() {
                // An error in an item that is no table is told of its list.
                let is_item = |at: &Option<&mut Value>, index: usize| {
                    at.as_ref().is_some_and(|at| at[index].is_object())
                };
                match segment {
                    Segment::Map { key } => {
                        path = join(&path, key);
                        at = at.and_then(|at| at.get_mut(key));
                    }
                    Segment::Seq { index } if is_item(&at, *index) => {
                        path = format!("{path}[{index}]");
                        at = at.and_then(|at| at.get_mut(*index));
                    }
                    _ => {}
                }
            }
            self.wrong(&path, error.inner());
            let table = self.values.pointer_mut(&pointer(parent(&path).unwrap_or_default()));
            let name = path.rsplit('.').next().unwrap_or_default();
            if table.and_then(|table| table.as_object_mut()?.remove(name)).is_none() {
                return T::default();
            }
        }
    }

    fn find_missing(&mut self, setting: &Setting, values: &Value, path: &str) {
        for name in &setting.required {
            let name = join(path, name);
            if !self.has(&name) {
                let about =
                    setting.table().into_iter().flatten().find(|(known, _)| join(path, known) == name);
                let about = about.map_or("", |(_, field)| field.about.as_str()).replace('\n', " ");
                self.wrong(&name, format_args!("is missing: {about}"));
            }
        }
        for (name, field) in setting.table().into_iter().flatten() {
            match (&field.kind, &values[name]) {
                (Kind::Tables(item), Value::Array(entries)) => {
                    for (number, entry) in entries.iter().enumerate() {
                        self.find_missing(item, entry, &format!("{}[{number}]", join(path, name)));
                    }
                }
                (_, inner @ Value::Object(_)) => self.find_missing(field, inner, &join(path, name)),
                _ => {}
            }
        }
    }

    /// Notes an error of a setting: at its place or, where nobody gave it, at that of its table.
    pub fn wrong(&mut self, path: &str, what: impl Display) {
        self.note(self.place(path), format!("`{path}`: {what}"));
    }

    /// Notes an error at a place.
    pub fn note(&mut self, place: Place, what: String) {
        // What else is found in a line that is not TOML follows from that.
        if !matches!(&place, Place::File { line, .. } if self.broken.contains(line)) {
            self.errors.push((place, what));
        }
    }

    fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            let within = self.places.iter().filter(|(known, _)| is_within(known, path));
            if let Some(place) = self.places.get(path).or_else(|| within.map(|(_, place)| place).min()) {
                return place.clone();
            }
            match parent(path) {
                Some(table) => path = table,
                None => return Place::Nowhere,
            }
        }
    }

    /// Returns whether a setting, or anything in a table, was given.
    pub fn has(&self, path: &str) -> bool {
        self.places.keys().any(|known| is_within(known, path))
    }

    /// Returns the text of the file, with this in place of each secret.
    pub fn shown(&self, instead: &str) -> String {
        let mut shown = self.text.clone();
        let mut secrets = self.secrets.clone();
        secrets.sort_by_key(|span| Reverse(span.start));
        for span in secrets {
            shown.replace_range(span, &format!("\"{instead}\""));
        }
        shown
    }

    /// Ends the reading; `what` was read, and `see` says where to find help.
    ///
    /// # Errors
    /// All that were noted, in the order of their places.
    pub fn finish(&self, what: &'static str, see: &'static str) -> Result<(), ConfigErrors> {
        let mut errors = self.errors.clone();
        // Those at one place stay in the order in which they were found.
        errors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let errors: Vec<_> = errors.into_iter().map(|(place, problem)| format!("{place}{problem}")).collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors { what, errors, see }) }
    }
}

/// Returns a value of a file as JSON. A number that JSON cannot hold, and a date, become texts.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.to_string().into(), Into::into),
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            parsed.map_or_else(|| number.as_str().into(), Value::Number)
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| plain(item.get_ref())).collect(),
        DeValue::Table(_) => Value::Object(Map::new()),
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Returns the JSON pointer of a path.
fn pointer(path: &str) -> String {
    let steps = path.split(['.', '[']).filter(|step| !step.is_empty());
    steps.fold(String::new(), |pointer, step| pointer + "/" + step.trim_end_matches(']'))
}
