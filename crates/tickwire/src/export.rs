//! `tickwire export`: hands over to a program of its own, because what writes Parquet is large and no gateway needs it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The name of the program.
const PROGRAM: &str = "tickwire-export";

/// Becomes the program that exports; returns only where that cannot be started.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Error {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(PROGRAM));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(arguments).exec();
    anyhow::anyhow!(
        "`{}` cannot be started: {error}; it lies beside `tickwire` where both are built: cargo build --release -p tickwire-export",
        program.display()
    )
}
