//! `tickwire-loadgen`: many sessions at a gateway, and what each of them sees.
//!
//! Open loop: the market sets the pace, and a record's latency counts from the moment at which it was due, so that a
//! gateway that stands still is charged for everything that it kept waiting.
//!
//! Exit status: 0 all well, 1 a promise was broken, or sessions did not open or did not last, 2 wrong command line, or
//! nothing could be measured.

mod cli;
mod handshake;
mod latency;
mod load;
mod machine;
mod numbering;
mod progress;
mod report;
mod session;
mod tally;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    let is_json = options.json;
    match load::run(options) {
        Ok(report) => {
            let text = if is_json { report.to_json() } else { report.to_text() };
            if writeln!(std::io::stdout(), "{text}").is_err() || !report.passed {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}
