//! Errors of a configuration, each with its place.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// A place where a setting is given. Errors are listed in the order of their places: by line of the file, then those of
/// settings that nobody gave, then variables of the environment, then flags as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A key in a file. Lines and columns count from 1, and columns are characters.
    File {
        /// Line of the key.
        line: usize,
        /// Column of the key.
        column: usize,
        /// Name of the file.
        file: String,
    },
    /// The file as a whole.
    Whole(String),
    /// Nobody gave it: it is a default, or it is missing.
    #[default]
    Nowhere,
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line: its number among the flags, and its name.
    Flag(usize, String),
}

impl Place {
    pub(crate) fn in_file(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::File {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            file: file.to_owned(),
        }
    }
}

/// Writes what stands before an error: `wide.toml, line 7, column 1: ` or `--rate: `; nothing where nobody gave the setting.
impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column, file } => write!(f, "{file}, line {line}, column {column}: "),
            Self::Nowhere => Ok(()),
            Self::Whole(name) | Self::Variable(name) | Self::Flag(_, name) => write!(f, "{name}: "),
        }
    }
}

/// All errors of a configuration, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(crate) what: &'static str,
    pub(crate) errors: Vec<String>,
    pub(crate) see: &'static str,
}

impl ConfigErrors {
    /// Returns each error with its place and remedy.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }
}

impl Display for ConfigErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (count, plural) = (self.errors.len(), if self.errors.len() == 1 { "" } else { "s" });
        write!(f, "{count} error{plural} in the {}:", self.what)?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        if self.see.is_empty() { Ok(()) } else { write!(f, "\n{}", self.see) }
    }
}

impl Error for ConfigErrors {}
