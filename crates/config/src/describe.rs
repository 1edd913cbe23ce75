//! Descriptions of all settings, for people and programs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::path::join;
use crate::setting::{Kind, Setting};

/// One setting, or several that differ by a word in braces.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    kind: String,
    default: String,
    about: String,
}

/// Writes two lines for each setting: name, kind, default in square brackets; description. Settings that differ by their
/// name alone share them, with the names in braces.
pub fn describe<T: JsonSchema>() -> String {
    let mut text = String::new();
    let mut section = None;
    for Described { name, kind, default, about } in all::<T>(true) {
        let head = name.split_once(['.', '[']).map(|(head, _)| head.to_owned());
        if section.as_ref().is_some_and(|section| *section != head) {
            text.push('\n');
        }
        section = Some(head);
        let _ = writeln!(text, "{name}  {kind}  [{default}]\n    {about}");
    }
    text
}

/// Writes a JSON list of all settings, each with `name`, `kind`, `default` and `about`.
pub fn describe_json<T: JsonSchema>() -> String {
    serde_json::to_string_pretty(&all::<T>(false)).unwrap_or_default()
}

fn all<T: JsonSchema>(in_braces: bool) -> Vec<Described> {
    let mut all = Vec::new();
    collect(&Setting::of::<T>(), "", "", in_braces, &mut all);
    all
}

fn collect(table: &Setting, path: &str, about: &str, in_braces: bool, all: &mut Vec<Described>) {
    let fields = table.table().unwrap_or_default();
    let alike = |a: &(String, Setting), b: &(String, Setting)| in_braces && a.1 == b.1;
    for fields in fields.chunk_by(alike) {
        let (name, field) = &fields[0];
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let name =
            join(path, &if let [_] = fields { name.clone() } else { format!("{{{}}}", names.join(",")) });
        let about = if field.about.is_empty() { about } else { &field.about };
        match &field.kind {
            Kind::Table(_) => collect(field, &name, about, in_braces, all),
            Kind::Tables(item) => collect(item, &format!("{name}[]"), about, in_braces, all),
            Kind::Either(_, inner) => collect(inner, &name, about, in_braces, all),
            _ => {
                let default = match default(field) {
                    _ if table.required.contains(&fields[0].0) => "(must be given)".to_owned(),
                    None => "(none)".to_owned(),
                    Some(default) => default,
                };
                all.push(Described {
                    name,
                    kind: field.kind_name(),
                    default,
                    about: about.replace('\n', " "),
                });
            }
        }
    }
}

/// Returns the default as it would be written.
fn default(setting: &Setting) -> Option<String> {
    if let (Kind::Time, default @ Value::Object(_)) = (&setting.kind, &setting.default) {
        let time = serde_json::from_value(default.clone()).ok()?;
        return Some(format!("\"{}\"", humantime::format_duration(time)));
    }
    toml::Value::try_from(&setting.default).ok().map(|default| default.to_string())
}

/// Writes a file with all defaults, and what they mean.
pub fn template<T: JsonSchema>() -> String {
    let root = Setting::of::<T>();
    let mut text = String::new();
    comment(&mut text, &root.about);
    table(&mut text, &root, "");
    text
}

fn comment(text: &mut String, about: &str) {
    for line in about.lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

fn table(text: &mut String, setting: &Setting, path: &str) {
    let fields = || setting.table().into_iter().flatten();
    for (name, field) in fields().filter(|(_, field)| field.table().is_none()) {
        comment(text, &field.about);
        match default(field) {
            Some(default) => writeln!(text, "{name} = {default}"),
            None => writeln!(text, "# {name} ="),
        }
        .unwrap_or_default();
    }
    for (name, field) in fields().filter(|(_, field)| field.table().is_some()) {
        let path = join(path, name);
        text.push('\n');
        comment(text, &field.about);
        if field.table().into_iter().flatten().any(|(_, inner)| inner.table().is_none()) {
            let _ = writeln!(text, "[{path}]");
        }
        table(text, field, &path);
    }
}
