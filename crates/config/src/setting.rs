//! A setting is what may be configured. All of them are a tree, made from the JSON schema of a program's types.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

const TIME_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Characters of a wrong value that an error shows.
const SHOWN_MAX: usize = 60;

/// One setting, or a table of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) kind: Kind,
    pub(crate) about: String,
    unit: String,
    hint: String,
    pub(crate) default: Value,
    /// It may be left out, and then there is no value.
    pub(crate) is_optional: bool,
    pub(crate) is_secret: bool,
    /// Names of settings in this table that have to be given.
    pub(crate) required: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The settings by name, in the order in which they were declared.
    Table(Vec<(String, Setting)>),
    /// A list of tables.
    Tables(Box<Setting>),
    List(Box<Setting>),
    /// A single value, or a table.
    Either(Box<Setting>, Box<Setting>),
    Text,
    Words(Vec<String>),
    Flag,
    Time,
    /// An IP address with a port.
    Address,
    Number(Range),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    is_whole: bool,
    from: f64,
    /// `from` itself is not allowed.
    is_above: bool,
    to: f64,
}

impl Setting {
    pub(crate) fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        Self::read(settings.into_generator().into_root_schema_for::<T>().as_value())
    }

    fn read(schema: &Value) -> Self {
        let choices = schema["anyOf"].as_array().into_iter().flatten();
        let choices: Vec<_> = choices.filter(|choice| choice["type"] != "null").collect();
        let types = match &schema["type"] {
            Value::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        let is = |name: &str| types.iter().any(|known| known == name);
        let (kind, inner) = match choices[..] {
            [inner] => {
                let inner = Self::read(inner);
                (inner.kind.clone(), Some(inner))
            }
            [one, table] => (Kind::Either(Box::new(Self::read(one)), Box::new(Self::read(table))), None),
            _ => (kind(schema, &is), None),
        };
        let text = |key: &str| schema[key].as_str().unwrap_or_default().to_owned();
        // serde's form of a `Duration` has required parts, too.
        let required = schema["required"].as_array().filter(|_| matches!(kind, Kind::Table(_)));
        let required = required.into_iter().flatten();
        let mut setting = Self {
            kind,
            about: text("description"),
            unit: text("unit"),
            hint: text("hint"),
            default: schema["default"].clone(),
            is_optional: is("null") || inner.is_some(),
            is_secret: schema["writeOnly"] == true,
            required: required.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        };
        if let Some(inner) = inner {
            setting.required = inner.required;
        }
        setting.pass_default();
        setting
    }

    /// The default of a table is that of the settings in it: where a program declares one of its own, theirs give way.
    fn pass_default(&mut self) {
        let Kind::Table(fields) = &mut self.kind else { return };
        for (name, field) in fields {
            if let Some(default) = self.default.get(name.as_str()) {
                field.default = default.clone();
                field.pass_default();
            }
        }
    }

    /// Completes tables of which a part was given: the rest is as the default of the table has it.
    pub(crate) fn complete(&self, given: &mut Value) {
        for (name, field) in self.table().into_iter().flatten() {
            let Some(inner) = given.get_mut(name).filter(|inner| inner.is_object()) else { continue };
            match (&field.kind, &field.default) {
                (Kind::Table(_), default @ Value::Object(_)) => {
                    let above = std::mem::replace(inner, default.clone());
                    lay_over(inner, above);
                }
                (Kind::Table(_), _) => field.complete(inner),
                _ => {}
            }
        }
    }

    /// Returns the settings of a table.
    pub(crate) fn table(&self) -> Option<&[(String, Self)]> {
        match &self.kind {
            Kind::Table(fields) => Some(fields),
            Kind::Either(_, table) => table.table(),
            _ => None,
        }
    }

    /// Returns a value as serde takes it; None where it is of another kind or out of bounds.
    pub(crate) fn take(&self, value: &Value) -> Option<Value> {
        match (&self.kind, value) {
            (Kind::Either(one, _), value) => one.take(value),
            (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => Some(value.clone()),
            (Kind::Words(words), Value::String(text)) => words.contains(text).then(|| value.clone()),
            (Kind::Time, Value::String(text)) => {
                let time = humantime::parse_duration(text).ok().filter(|time| *time <= TIME_MAX)?;
                Some(json!({ "secs": time.as_secs(), "nanos": time.subsec_nanos() }))
            }
            (Kind::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok().then(|| value.clone()),
            (Kind::Number(range), Value::Number(number)) => range.take(number.as_f64()?, value),
            (Kind::List(item), Value::Array(items)) => items.iter().map(|value| item.take(value)).collect(),
            (Kind::List(item), Value::String(text)) => {
                let parts = text.split(',').filter(|_| !text.is_empty());
                parts.map(|part| item.take(&item.parse(part.trim()))).collect()
            }
            (Kind::List(item), one) => Some(json!([item.take(one)?])),
            _ => None,
        }
    }

    /// Returns the value that a text of a flag or a variable stands for, as it would be in a file.
    pub(crate) fn parse(&self, text: &str) -> Value {
        let is_text = match &self.kind {
            Kind::Text | Kind::Words(_) | Kind::Time | Kind::Address => true,
            Kind::List(_) => !text.starts_with('['),
            Kind::Either(one, _) => return one.parse(text),
            _ => false,
        };
        let parsed = (!is_text).then(|| toml::from_str::<Value>(&format!("v = {text}")).ok()).flatten();
        parsed.and_then(|mut table| Some(table.get_mut("v")?.take())).unwrap_or_else(|| text.into())
    }

    /// Says what is wrong with a value that was not taken.
    pub(crate) fn refusal(&self, value: &Value) -> String {
        let shown = match value {
            _ if self.is_secret => String::new(),
            Value::Object(_) => ", not a table".to_owned(),
            value => {
                let text = value.to_string();
                let cut = if text.chars().count() > SHOWN_MAX { "…" } else { "" };
                format!(", not {}{cut}", text.chars().take(SHOWN_MAX).collect::<String>())
            }
        };
        format!("has to be {}{shown}{}", self.expected(), self.hint)
    }

    /// Writes what is allowed: `a whole number from 1 to 64 (bytes)`.
    fn expected(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        let what = match &self.kind {
            Kind::Table(_) | Kind::Tables(_) => "a table".to_owned(),
            Kind::List(item) => match &item.kind {
                Kind::Words(words) => format!("a list of {}", words.join(", ")),
                Kind::Number(range) => format!("a list of numbers, as in [0, 1], each {}", range.expected()),
                _ => "a list of texts, as in [\"a\", \"b\"]".to_owned(),
            },
            Kind::Either(one, table) => {
                let names: Vec<_> =
                    table.table().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                format!("{}, or a table with some of {}", one.expected(), names.join(", "))
            }
            Kind::Text => "a text in quotes".to_owned(),
            Kind::Words(words) => format!("one of {}", words.join(", ")),
            Kind::Flag => "true or false".to_owned(),
            Kind::Time => "a time with a unit, at most a week: \"500ms\", \"20s\", \"5m\", \"2h\"".to_owned(),
            Kind::Address => "an address with a port, as in \"127.0.0.1:7400\"".to_owned(),
            Kind::Number(range) => range.expected(),
        };
        what + &unit
    }

    /// Returns what is written there, for a list of all settings.
    pub(crate) fn kind_name(&self) -> String {
        let what = match &self.kind {
            Kind::Text => "text".to_owned(),
            Kind::Time => "time".to_owned(),
            Kind::Address => "address".to_owned(),
            Kind::List(item) => match &item.kind {
                Kind::Number(_) => "list of whole numbers".to_owned(),
                Kind::Words(words) => format!("list of {}", words.join(", ")),
                _ => "list of texts".to_owned(),
            },
            Kind::Number(range) => {
                let text = range.expected();
                text.strip_prefix("a ").map(str::to_owned).unwrap_or(text)
            }
            _ => self.expected(),
        };
        if self.unit.is_empty() { what } else { format!("{what}, {}", self.unit) }
    }
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                lay_over(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

fn kind(schema: &Value, is: &dyn Fn(&str) -> bool) -> Kind {
    let words = |values: &Value| -> Vec<String> {
        values.as_array().into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
    };
    let number = |key: &str| schema[key].as_f64();
    if let Some(variants) = schema["oneOf"].as_array() {
        let one = |variant: &Value| {
            variant["const"].as_str().map_or(words(&variant["enum"]), |word| vec![word.to_owned()])
        };
        return Kind::Words(variants.iter().flat_map(one).collect());
    }
    if schema["enum"].is_array() {
        return Kind::Words(words(&schema["enum"]));
    }
    if let Some(fields) = schema["properties"].as_object() {
        // So serde writes a `Duration`; here people write "16ms".
        if fields.contains_key("secs") && fields.contains_key("nanos") {
            return Kind::Time;
        }
        let mut fields: Vec<_> =
            fields.iter().map(|(name, field)| (name.clone(), Setting::read(field))).collect();
        let order = words(&schema["order"]);
        fields.sort_by_key(|(name, _)| order.iter().position(|known| known == name).unwrap_or(order.len()));
        return Kind::Table(fields);
    }
    if is("array") {
        let item = Box::new(Setting::read(&schema["items"]));
        return if item.table().is_some() { Kind::Tables(item) } else { Kind::List(item) };
    }
    if is("integer") || is("number") {
        let above = number("exclusiveMinimum");
        return Kind::Number(Range {
            is_whole: is("integer"),
            from: above.or_else(|| number("minimum")).unwrap_or(f64::NEG_INFINITY),
            is_above: above.is_some(),
            to: number("maximum").unwrap_or(f64::INFINITY),
        });
    }
    match schema["format"].as_str() {
        Some("address") => Kind::Address,
        _ if is("boolean") => Kind::Flag,
        _ => Kind::Text,
    }
}

impl Range {
    fn take(self, number: f64, value: &Value) -> Option<Value> {
        let is_in = number >= self.from && number <= self.to && !(self.is_above && number <= self.from);
        match self.is_whole {
            _ if !is_in => None,
            // 1e3 is a whole number, too.
            true if value.is_f64() => (number.fract() == 0.0).then(|| json!(number as i64)),
            _ => Some(value.clone()),
        }
    }

    fn expected(self) -> String {
        let what = if self.is_whole { "a whole number" } else { "a number" };
        match (self.from.is_finite(), self.to.is_finite()) {
            (true, true) if self.is_above => format!("{what} above {}, at most {}", self.from, self.to),
            (true, true) => format!("{what} from {} to {}", self.from, self.to),
            (true, false) if self.is_above => format!("{what} above {}", self.from),
            (true, false) => format!("{what} from {} on", self.from),
            (false, true) => format!("{what} up to {}", self.to),
            (false, false) => what.to_owned(),
        }
    }
}
