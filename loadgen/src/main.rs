//! `tickwire-loadgen`: many sessions at a gateway, and what each of them sees.
//!
//! Open loop: the market sets the pace, and a record's latency counts from the moment at which it was due, so that a
//! gateway that stands still is charged for everything that it kept waiting.
//!
//! Exit status: 0 all well, 1 a promise was broken, or sessions did not open or did not last, 2 wrong command line, or
//! nothing could be measured.

mod cli;
mod compare;
mod handshake;
mod html;
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
    let options = match Cli::parse().command {
        Command::Run(options) => options,
        Command::Compare(options) => return ended(compare::run(&options)),
        Command::Html(options) => return ended(html::run(&options)),
    };
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

/// Prints what came of a command that measures nothing.
fn ended(outcome: anyhow::Result<String>) -> ExitCode {
    match outcome {
        Ok(text) if writeln!(std::io::stdout(), "{}", text.trim_end()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}
