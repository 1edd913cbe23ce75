//! Paths of settings: `sessions.count`, `readers[0].share`.

use crate::setting::{Kind, Setting};

/// As many edits may lie between a name and the one that was meant, and half as many as it has letters.
const EDITS_MAX: usize = 4;

pub(crate) fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

/// Returns the table or list that a setting is in.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).map(|at| &path[..at])
}

/// Returns whether a path is this one, or of something in it.
pub(crate) fn is_within(path: &str, table: &str) -> bool {
    path.strip_prefix(table)
        .is_some_and(|rest| rest.is_empty() || table.is_empty() || rest.starts_with(['.', '[']))
}

/// Finds the setting of this name in a table; says what was meant where there is none.
pub(crate) fn find<'a>(table: &'a Setting, path: &str, name: &str) -> Result<&'a Setting, String> {
    let fields = table.table().unwrap_or_default();
    if let Some((_, field)) = fields.iter().find(|(known, _)| known == name) {
        return Ok(field);
    }
    let edits = |known: &str| strsim::damerau_levenshtein(known, name);
    let is_like = |known: &str| {
        let is_begin = name.len() >= 3 && (known.starts_with(name) || name.starts_with(known));
        is_begin || edits(known) <= EDITS_MAX.min(name.len() / 2)
    };
    let likely = fields.iter().map(|(known, _)| known).filter(|known| is_like(known));
    Err(match likely.min_by_key(|known| edits(known)) {
        Some(known) => format!("does not exist; did you mean `{}`?", join(path, known)),
        None => {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            format!("does not exist; here are: {}", names.join(", "))
        }
    })
}

/// Says that a path is a table, where a single setting was to be set.
pub(crate) fn is_a_table(setting: &Setting, path: &str) -> String {
    let first = setting.table().and_then(|fields| fields.first()).map_or("…", |(name, _)| name);
    match &setting.kind {
        Kind::Tables(item) => is_a_list(item, path),
        _ => format!("is a table: set its settings one by one, as `{path}.{first}`"),
    }
}

/// Says how a path into a list of tables is written.
pub(crate) fn is_a_list(item: &Setting, path: &str) -> String {
    let example = entry(item, path, 0);
    format!("is a list of tables, and each setting is named with its entry's number, from 0: `{example}`")
}

/// Says which entries there are, where one was named that is not the next one.
pub(crate) fn is_no_entry(item: &Setting, path: &str, count: usize) -> String {
    let there = match count {
        0 => format!("there is no `{path}` yet"),
        1 => format!("there is `{path}[0]` only"),
        _ => format!("there are `{path}[0]` to `{path}[{}]`", count - 1),
    };
    format!(
        "is of an entry that does not exist: {there}; with `{}` comes the next one",
        entry(item, path, count)
    )
}

/// Returns the path of the first setting of an entry: `readers[0].kind`.
fn entry(item: &Setting, path: &str, at: usize) -> String {
    let first = item.table().and_then(|fields| fields.first()).map_or("…", |(name, _)| name);
    format!("{path}[{at}].{first}")
}
