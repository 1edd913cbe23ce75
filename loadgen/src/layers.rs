//! A scenario before it is read: a file, and flags over it. It travels to other processes in this form.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::scenario::access::{REDACTED, SECRET};
use crate::scenario::{self, Scenario, ready};

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
        if let Some(text) = ready::text(name) {
            return Ok(Self {
                name: format!("{name} (ready-made)"),
                text: text.to_owned(),
                ..Self::default()
            });
        }
        if !Path::new(name).is_file() {
            let names = ready::READY.map(|(name, _)| name).join(", ");
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
