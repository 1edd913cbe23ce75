//! `tickwire-loadgen`: many sessions at a server, and what each of them sees.
//!
//! Open loop: the source's plan sets the pace, and a record's latency counts from the moment at which it was due, so that
//! a server that stands still is charged for everything that it kept waiting.
//!
//! Exit status: 0 every assertion holds, 1 one does not, 2 wrong command line or scenario, or nothing could be measured,
//! 3 no verdict, because the generator itself was the bottleneck. 2 also where the figures could not be written where they were
//! asked for.

mod audience;
mod cli;
mod clock;
mod compare;
mod crew;
mod handshake;
mod html;
mod latency;
mod layers;
mod machine;
mod numbering;
mod output;
mod part;
mod peer;
mod plan;
mod processes;
mod progress;
mod reader;
mod report;
mod run;
mod scenario;
mod serve;
mod server;
mod source;
mod support;
mod walk;
mod ws;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, RunOptions, ScenariosOptions};
use compare::Comparison;
use report::model::Report;

const WRONG: u8 = 2;
const NO_VERDICT: u8 = 3;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(options) => match run(&options) {
            Ok(report) => shown(&options, &report),
            Err(error) => failed(&error),
        },
        Command::Scenarios(options) => ended(scenarios(&options)),
        Command::Compare(options) => compared(compare::run(&options)),
        Command::Html(options) => ended(html::run(&options)),
        Command::Serve => serve::run().unwrap_or_else(|error| failed(&error)),
        Command::Read => crew::run().map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS),
    }
}

fn run(options: &RunOptions) -> anyhow::Result<Report> {
    let layers = options.layers()?;
    layers.read()?;
    output::check(options.out.as_deref(), options.html.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = runtime.block_on(run::run(layers))?;
    if report.generator.was_bottleneck && !options.allow_bottleneck {
        let why = report.generator.bottlenecks.join("; ");
        report.refused =
            Some(format!("the generator itself was the bottleneck: {why} (--allow-bottleneck gives one)"));
        report.passed = false;
    }
    Ok(report)
}

/// Files first, and the figures in any case: a disk that is full by now takes nobody's result away.
fn shown(options: &RunOptions, report: &Report) -> ExitCode {
    let files = options.out.as_deref().map(|directory| report.write(directory));
    let page = options.html.as_deref().map(|path| output::write(path, &html::page(report)));
    let text = if options.json { report.to_json() } else { report.to_text() };
    let printed = Some(print(&text));
    let mut missing = [files, page, printed].into_iter().flatten().filter_map(Result::err).peekable();
    if missing.peek().is_some() {
        missing.for_each(|error| {
            failed(&error);
        });
        return ExitCode::from(WRONG);
    }
    match (&report.refused, report.passed) {
        (Some(_), _) => ExitCode::from(NO_VERDICT),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::FAILURE,
    }
}

fn scenarios(options: &ScenariosOptions) -> anyhow::Result<String> {
    if options.fields {
        return Ok(if options.json { scenario::describe::to_json() } else { scenario::describe::to_text() });
    }
    if let Some(name) = &options.name {
        return scenario::ready::text(name).map(str::to_owned).ok_or_else(|| {
            anyhow::anyhow!("no ready-made scenario is called {name}; `scenarios` lists them")
        });
    }
    let mut text = String::new();
    for (name, _) in scenario::ready::READY {
        let about = layers::Layers::open(Some(name))?.read()?.about;
        writeln!(text, "{name:<16} {about}")?;
    }
    Ok(text)
}

/// Prints what came of a command that measures nothing.
fn ended(outcome: anyhow::Result<String>) -> ExitCode {
    match outcome {
        Ok(text) => print(&text).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS),
        Err(error) => failed(&error),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Whoever reads, as `head` does, has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot print the result: {error}"))
        }
        _ => Ok(()),
    }
}

/// Prints a comparison; says by the status whether anything is worse, and whether that can be said.
fn compared(outcome: anyhow::Result<(String, Comparison)>) -> ExitCode {
    let (text, comparison) = match outcome {
        Ok(compared) => compared,
        Err(error) => return failed(&error),
    };
    match print(&text) {
        Ok(()) if comparison.refused.is_some() => ExitCode::from(NO_VERDICT),
        Ok(()) if comparison.is_worse => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(WRONG)
}
