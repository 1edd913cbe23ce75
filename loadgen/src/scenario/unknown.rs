//! Names that no scenario has, and what was meant.

use super::describe;
use super::fields::{Entry, Fields};

/// As many edits may lie between a name and the one that was meant, and half as many as it has letters.
const EDITS_MAX: usize = 4;

/// Notes each name that nobody asked for, with the remedy.
pub(super) fn refuse(fields: &mut Fields) {
    let unknown = |(name, entry): (&String, &Entry)| {
        (!entry.is_used).then(|| (entry.place.clone(), format!("`{name}` {}", what(fields, name))))
    };
    let unknown: Vec<_> = fields.entries.iter().filter_map(unknown).collect();
    for (place, what) in unknown {
        fields.note(place, what);
    }
}

/// What is wrong with a name, and the remedy.
fn what(fields: &Fields, name: &str) -> String {
    // Lists by the longest name: `source.steps` before `source`.
    let lists = fields.lists.iter().rev();
    let mut of = lists.filter_map(|(list, count)| Some((list, *count, name.strip_prefix(list.as_str())?)));
    let of = of.find(|(_, _, rest)| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    if let Some((list, count, rest)) = of {
        let example = describe::first_of(list);
        match index(rest) {
            None => {
                return format!(
                    "is no name of a field: `{list}` is a list, and its fields are named with their number, from 0: `{example}`"
                );
            }
            Some(at) if at > count => {
                let next = example.replacen("[0]", &format!("[{count}]"), 1);
                let there = match count {
                    0 => format!("there is no `{list}` yet"),
                    1 => format!("there is `{list}[0]` only"),
                    _ => format!("there are `{list}[0]` to `{list}[{}]`", count - 1),
                };
                return format!(
                    "is of an entry that does not exist: {there}; with `{next}` comes the next one"
                );
            }
            Some(_) => {}
        }
    }
    let is_table = |known: &&String| {
        known.strip_prefix(name).is_some_and(|rest| !name.is_empty() && rest.starts_with('.'))
    };
    if let Some(field) = fields.known.iter().find(is_table) {
        return format!("is a table: set its fields one by one, as `{field}`");
    }
    if name.is_empty() {
        return "names no field: write FIELD=VALUE, as in sessions.window=16ms".to_owned();
    }
    // Whatever its number, an entry has the fields of all others.
    let known = fields.known.iter().min_by_key(|known| distance(known, name));
    match known.filter(|known| distance(known, name) <= EDITS_MAX.min(name.len() / 2)) {
        Some(known) => format!("is no field of a scenario; did you mean `{known}`?"),
        None => "is no field of a scenario; `tickwire-loadgen scenarios --fields` lists those that exist"
            .to_owned(),
    }
}

/// The number in `[3].share`; None: it is not written so.
fn index(rest: &str) -> Option<usize> {
    let (number, field) = rest.strip_prefix('[')?.split_once("].")?;
    (!field.is_empty()).then(|| number.parse().ok())?
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

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let mut fields = Fields::default();
        let readers = "[[readers]]\nkind = \"silent\"\nshare = 0.1\n".repeat(2);
        fields.add_file("x.toml", &format!("{readers}[[source.steps]]\nlasting = \"1s\"\nrate = 5\n"));
        fields.add_flag("--set", name, "1");
        crate::scenario::read(&mut fields, 2);
        let mistakes = fields.mistakes();
        let expected = format!("--set: `{name}` {expected}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(&expected)), "{expected}: {mistakes:?}");
    }

    #[test]
    fn what_was_meant_is_said() {
        check("sessions.cuont", "is no field of a scenario; did you mean `sessions.count`?");
        check("readers[1].shar", "is no field of a scenario; did you mean `readers[1].share`?");
        check("xx", "is no field of a scenario; `tickwire-loadgen scenarios --fields`");
        check("sed", "is no field of a scenario; did you mean `seed`?");
        check("no.such.thing.at.all", "is no field of a scenario; `tickwire-loadgen scenarios --fields`");
        check("sessions", "is a table: set its fields one by one, as `sessions.");
        check("", "names no field: write FIELD=VALUE");
    }

    #[test]
    fn entries_that_do_not_exist_and_paths_that_are_none_say_how_to_write_them() {
        check(
            "readers[3].share",
            "is of an entry that does not exist: there are `readers[0]` to `readers[1]`; with `readers[2].kind` comes the next",
        );
        check(
            "source.steps[4].rate",
            "is of an entry that does not exist: there is `source.steps[0]` only; with",
        );
        check(
            "churn.storms[1].at",
            "is of an entry that does not exist: there is no `churn.storms` yet; with",
        );
        let syntax = "is no name of a field: `readers` is a list, and its fields are named with their number, from 0: \
                      `readers[0].kind`";
        for name in [
            "readers.share",
            "readers.0.share",
            "readers[x].share",
            "readers[-1].share",
            "readers[0",
            "readers[0]share",
            "readers",
        ] {
            check(name, syntax);
        }
    }
}
