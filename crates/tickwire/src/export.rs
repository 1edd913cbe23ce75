//! `tickwire export`: hands over to a program of its own, because what writes Parquet is large and no gateway needs it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the program.
const PROGRAM: &str = "tickwire-export";

/// Returns the program that exports: beside this one, or where the system looks for programs.
pub(crate) fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(PROGRAM));
    beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// Says that it cannot be started, and what to do.
pub(crate) fn missing(program: &Path, error: &std::io::Error) -> String {
    format!(
        "`{}` cannot be started: {error}; it lies beside `tickwire` where both are built: cargo build --release -p tickwire-export",
        program.display()
    )
}

/// Becomes the program that exports; returns only where that cannot be started.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Error {
    let program = program();
    let error = Command::new(&program).args(arguments).exec();
    anyhow::anyhow!(missing(&program, &error))
}
