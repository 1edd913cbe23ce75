//! A scenario before it is read: a file, and flags over it. It travels to other processes in this form.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::scenario::access::{REDACTED, SECRET};
use crate::scenario::{self, Scenario};

/// Scenarios that come with the program: name and text, in the order in which one would try them.
pub(crate) const READY: [(&str, &str); 9] = [
    ("dashboard", include_str!("../scenarios/dashboard.toml")),
    ("firehose", include_str!("../scenarios/firehose.toml")),
    ("wide-idle", include_str!("../scenarios/wide-idle.toml")),
    ("first-price", include_str!("../scenarios/first-price.toml")),
    ("slow-readers", include_str!("../scenarios/slow-readers.toml")),
    ("reconnect-storm", include_str!("../scenarios/reconnect-storm.toml")),
    ("soak", include_str!("../scenarios/soak.toml")),
    ("saturation", include_str!("../scenarios/saturation.toml")),
    ("latency", include_str!("../scenarios/latency.toml")),
];

/// Returns the text of a scenario that comes with the program.
pub(crate) fn ready(name: &str) -> Option<&'static str> {
    READY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Name and text of the file; flags as flag, field, value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layers {
    pub(crate) name: String,
    /// Empty: it comes with the program, or there are flags only.
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) flags: Vec<(String, String, String)>,
}

impl Layers {
    /// Opens a file, or a scenario that comes with the program; without a name, all defaults hold.
    ///
    /// # Errors
    /// When there is no such file and no such scenario.
    pub(crate) fn open(scenario: Option<&str>) -> anyhow::Result<Self> {
        let Some(name) = scenario else { return Ok(Self::default()) };
        if let Some(text) = ready(name) {
            return Ok(Self {
                name: format!("{name} (ready-made)"),
                text: text.to_owned(),
                ..Self::default()
            });
        }
        if !Path::new(name).is_file() {
            let names = READY.map(|(name, _)| name).join(", ");
            bail!("no file {name}, and no ready-made scenario of this name; there are {names}");
        }
        let text = std::fs::read_to_string(name).with_context(|| format!("cannot read {name}"))?;
        Ok(Self { name: name.to_owned(), file: name.to_owned(), text, flags: Vec::new() })
    }

    pub(crate) fn flag(&mut self, flag: &str, field: &str, value: &str) {
        self.flags.push((flag.to_owned(), field.to_owned(), value.to_owned()));
    }

    /// # Errors
    /// With all errors of the scenario at once, a line each.
    pub(crate) fn read(&self) -> anyhow::Result<Scenario> {
        let mut layers = tickwire_config::Layers::of::<Scenario>();
        layers.file(&self.name, &self.text);
        for (flag, field, value) in &self.flags {
            layers.flag(flag, field, value);
        }
        let mut scenario = layers.read();
        scenario::complete(&mut layers, &mut scenario);
        layers.finish("scenario", "`tickwire-loadgen scenarios --fields` lists all settings")?;
        if scenario.name.is_empty() {
            let stem = Path::new(&self.file).file_stem();
            scenario.name = stem.map_or("own".to_owned(), |stem| stem.to_string_lossy().into_owned());
        }
        scenario.text = layers.shown(REDACTED);
        scenario.file.clone_from(&self.file);
        for (flag, field, value) in &self.flags {
            let value = if field == SECRET { REDACTED } else { value };
            let _ = writeln!(scenario.text, "# {flag}: {field} = {value}");
        }
        Ok(scenario)
    }
}
