//! The only place that writes to standard output and standard error; logs go through `tracing`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line for the user or the next program. A reader that went away ends the process quietly, as it would any
/// member of a pipe.
pub(crate) fn say(line: impl Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Writes a line about what went wrong.
pub(crate) fn complain(line: impl Display) {
    eprintln!("{line}");
}
