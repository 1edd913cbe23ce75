//! The layers of the configuration: defaults, file, environment, flags; the later ones win.
//!
//! The default table is the schema: a key that is not in it is a mistake, and so is a value of another type.

use std::path::PathBuf;

use toml::{Table, Value};

use super::{Config, Mistake, Mistakes, Raw, check};

/// Prefix of the environment variables.
const PREFIX: &str = "TICKWIRE_";

/// Joins the levels of a path. Every setting is in a table, so a variable without it is none: a service of that name in
/// Kubernetes makes such variables.
const LEVELS: &str = "__";

/// Variables without levels that have a meaning: the command line's own, and those of the project's tests.
const OTHERS: [&str; 8] = [
    "TICKWIRE_CONFIG",
    "TICKWIRE_DATA",
    "TICKWIRE_DEMO_URL",
    "TICKWIRE_NATS_SERVER",
    "TICKWIRE_PROPTEST_CASES",
    "TICKWIRE_PYTHON",
    "TICKWIRE_URL",
    "TICKWIRE_VECTORS",
];

/// Variables that look like settings and are none.
pub(crate) fn ignored(environment: &[(String, String)]) -> impl Iterator<Item = &str> {
    let names = environment.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with(PREFIX) && !name.contains(LEVELS) && !OTHERS.contains(name))
}

/// Where values come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<PathBuf>,
    /// Name and value.
    pub(crate) environment: Vec<(String, String)>,
    /// Path and value: `gateway.listen`, `127.0.0.1:7400`.
    pub(crate) flags: Vec<(String, String)>,
}

/// Reads and checks everything.
///
/// # Errors
/// All mistakes of all layers.
pub(crate) fn load(sources: &Sources) -> Result<Config, Mistakes> {
    let schema = Table::try_from(Raw::default()).unwrap_or_default();
    let mut table = schema.clone();
    let mut mistakes = Vec::new();
    if let Some(file) = &sources.file {
        let place = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => match text.parse::<Table>() {
                Ok(from) => merge(&mut table, from, &place, &text, "", &mut mistakes),
                Err(error) => mistakes.push(syntax(&place, &text, &error)),
            },
            Err(error) => mistakes.push(Mistake {
                place,
                problem: format!("cannot be read: {error}; check the path given with --config"),
            }),
        }
    }
    for (name, value) in &sources.environment {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains(LEVELS)) else {
            continue;
        };
        let path = path.to_ascii_lowercase().replace(LEVELS, ".");
        set(&mut table, &path, value, name, &mut mistakes);
    }
    for (path, value) in &sources.flags {
        set(&mut table, path, value, &format!("--set {path}"), &mut mistakes);
    }
    let raw = match table.try_into::<Raw>() {
        Ok(raw) => raw,
        Err(error) => {
            mistakes.push(Mistake { place: "configuration".to_owned(), problem: error.message().to_owned() });
            return Err(Mistakes(mistakes));
        }
    };
    match check(raw) {
        Ok(config) if mistakes.is_empty() => Ok(config),
        Ok(_) => Err(Mistakes(mistakes)),
        Err(Mistakes(more)) => {
            mistakes.extend(more);
            Err(Mistakes(mistakes))
        }
    }
}

fn syntax(place: &str, text: &str, error: &toml::de::Error) -> Mistake {
    let at = error.span().map_or(0, |span| span.start);
    let line = text[..at.min(text.len())].lines().count().max(1);
    Mistake {
        place: format!("{place}, line {line}"),
        problem: format!(
            "is not TOML: {}; the file may have been cut off while it was written",
            error.message().trim()
        ),
    }
}

/// Puts the values of a file over the table, keeping the types of the table.
fn merge(table: &mut Table, from: Table, place: &str, text: &str, prefix: &str, mistakes: &mut Vec<Mistake>) {
    for (key, value) in from {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let place_of = |key: &str| match line_of(text, key) {
            Some(line) => format!("{place}, line {line}"),
            None => place.to_owned(),
        };
        match (table.get_mut(&key), value) {
            (None, _) => {
                let hint = nearest(&key, table.keys());
                mistakes.push(Mistake {
                    place: place_of(&key),
                    problem: format!("`{path}` does not exist{hint}"),
                });
            }
            (Some(Value::Table(inner)), Value::Table(value)) => {
                merge(inner, value, place, text, &path, mistakes);
            }
            (Some(known), value) => match fit(known, value) {
                Ok(value) => *known = value,
                Err(problem) => {
                    mistakes.push(Mistake { place: place_of(&key), problem: format!("`{path}` {problem}") });
                }
            },
        }
    }
}

/// Sets one value from text.
fn set(table: &mut Table, path: &str, text: &str, place: &str, mistakes: &mut Vec<Mistake>) {
    let mut fail = |problem: String| mistakes.push(Mistake { place: place.to_owned(), problem });
    let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = table;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        let hint = nearest(parent, at.keys());
        match at.get_mut(parent) {
            Some(Value::Table(inner)) => at = inner,
            _ => return fail(format!("`{path}` does not exist{hint}")),
        }
    }
    let hint = nearest(key, at.keys());
    let Some(known) = at.get_mut(key) else { return fail(format!("`{path}` does not exist{hint}")) };
    let value = match known {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
        }
        _ => {
            let parsed =
                format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
            parsed.unwrap_or_else(|| Value::String(text.to_owned()))
        }
    };
    match fit(known, value) {
        Ok(value) => *known = value,
        Err(problem) => fail(format!("`{path}` {problem}")),
    }
}

/// The value, if it is of the type that belongs here.
fn fit(known: &Value, value: Value) -> Result<Value, String> {
    match (known, value) {
        (Value::Float(_), Value::Integer(value)) => Ok(Value::Float(value as f64)),
        (Value::Integer(_), Value::Integer(value)) if value < 0 => {
            Err(format!("is {value}, but must not be negative"))
        }
        (Value::Array(_), Value::Array(values)) if values.iter().all(Value::is_str) => {
            Ok(Value::Array(values))
        }
        (Value::Array(_), _) => Err("must be a list of texts, as in [\"a\", \"b\"]".to_owned()),
        (known, value) if known.same_type(&value) => Ok(value),
        (known, value) => Err(format!("must be {}, not {}", article(known), article(&value))),
    }
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Line of the file in which a key is set, or its table begins.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let names = |line: &str| {
        let line = line.trim_start();
        let set = line.split('=').next().unwrap_or_default().trim();
        let header = line.trim_start_matches('[').split(']').next().unwrap_or_default();
        set == key || (line.starts_with('[') && header.rsplit('.').next() == Some(key))
    };
    text.lines().position(names).map(|at| at + 1)
}

/// A known key that is much like the one that was written.
fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a String>) -> String {
    let alike = |key: &&String| {
        let common = key.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count();
        common >= 3 || key.contains(wanted) || wanted.contains(key.as_str())
    };
    let keys: Vec<_> = known.collect();
    match keys.iter().copied().find(|key| alike(key)) {
        Some(key) => format!("; did you mean `{key}`?"),
        None => format!("; here are: {}", keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tickwire.toml");
        std::fs::write(&path, text).unwrap();
        (folder, Sources { file: Some(path), ..Sources::default() })
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn later_layers_win() {
        let (_folder, mut sources) =
            file("[gateway]\nheartbeat_ms = 2000\nping_ms = 2000\nlinger_ms = 2000\n");
        sources.environment = pairs(&[
            ("TICKWIRE_GATEWAY__PING_MS", "3000"),
            ("TICKWIRE_GATEWAY__LINGER_MS", "3000"),
            ("HOME", "/"),
        ]);
        sources.flags = pairs(&[("gateway.linger_ms", "4000"), ("bus.servers", "nats://a:1,nats://b:2")]);
        let raw = load(&sources).unwrap().raw;
        assert_eq!(
            (raw.gateway.heartbeat_ms, raw.gateway.ping_ms, raw.gateway.linger_ms),
            (2000, 3000, 4000)
        );
        assert_eq!(raw.gateway.no_progress_ms, Raw::default().gateway.no_progress_ms);
        assert_eq!(raw.bus.servers, ["nats://a:1", "nats://b:2"]);
    }

    #[test]
    fn mistakes_of_all_layers_are_listed_with_their_places() {
        let (_folder, mut sources) = file(
            "[gateway]\nlisten = 7400\nheartbeat = 5\n\n[gateway.limits]\nsessions = \"many\"\n[nats]\nurl = 1\n",
        );
        sources.environment = pairs(&[("TICKWIRE_GATEWAY__SHARD", "2"), ("TICKWIRE_LOG__FORMAT", "xml")]);
        sources.flags = pairs(&[("gateway.cork_us", "soon"), ("ingest.sim.depth", "-1")]);
        let told = load(&sources).unwrap_err().to_string();
        for part in [
            "line 2: `gateway.listen` must be a text, not a whole number",
            "line 3: `gateway.heartbeat` does not exist; did you mean `heartbeat_ms`?",
            "line 6: `gateway.limits.sessions` must be a whole number, not a text",
            "line 7: `nats` does not exist; here are: bus, gateway, ingest, log",
            "TICKWIRE_GATEWAY__SHARD: `gateway.shard` does not exist; did you mean `shards`?",
            "log.format: `xml` is not text or json",
            "--set gateway.cork_us: `gateway.cork_us` must be a whole number, not a text",
            "--set ingest.sim.depth: `ingest.sim.depth` is -1, but must not be negative",
        ] {
            assert!(told.contains(part), "missing: {part}\nin: {told}");
        }
    }

    #[test]
    fn variables_that_are_no_settings_are_told_apart() {
        let environment = pairs(&[
            ("TICKWIRE_GATEWAY_PORT", "tcp://10.0.0.1:80"),
            ("TICKWIRE_URL", "ws://x"),
            ("TICKWIRE_LOG__LEVEL", "debug"),
            ("HOME", "/"),
        ]);
        assert_eq!(ignored(&environment).collect::<Vec<_>>(), ["TICKWIRE_GATEWAY_PORT"]);
        assert_eq!(load(&Sources { environment, ..Sources::default() }).unwrap().raw.log.level, "debug");
    }

    #[test]
    fn a_half_written_file_names_the_line() {
        let (_folder, sources) = file("[gateway]\nheartbeat_ms = 2000\nlisten = \"127.0.0");
        let told = load(&sources).unwrap_err().to_string();
        assert!(told.contains("line 3: is not TOML"), "{told}");
    }
}
