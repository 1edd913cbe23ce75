//! `tickwire-loadgen`: many sessions at a server, and what each of them sees.
//!
//! Open loop: the source's plan sets the pace, and a record's latency counts from the moment at which it was due, so that
//! a server that stands still is charged for everything that it kept waiting.
//!
//! Exit status: 0 every assertion holds, 1 one does not, 2 wrong command line or scenario, or nothing could be measured,
//! 3 no verdict, because the generator itself was the bottleneck. 2 also where the result could not be written where it was
//! asked for.

mod board;
mod child;
mod cli;
mod compare;
mod html;
mod layers;
mod output;
mod part;
mod peer;
mod plan;
mod progress;
mod reader;
mod report;
mod run;
mod scenario;
mod serve;
mod source;
mod websocket;
mod workers;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, RunOptions, ScenariosOptions};
use compare::Comparison;
use report::model::Report;
use scenario::Scenario;

/// This stands above the list of all fields of a scenario.
const FIELDS: &str = "\
Fields of a scenario: name, what is written there, its default in square brackets, and what it means. Times have a unit: \"200us\",
\"16ms\", \"20s\", \"5m\", \"1h\". Braces list words of which one stands there. What has `[]` in its name is in a list of tables:
[[readers]] in a file, `readers[0].share` with --set. --set FIELD=VALUE sets any of them over a file.
";
const WRONG: u8 = 2;
const NO_VERDICT: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run(&options).and_then(|report| shown(&options, &report)),
        Command::Scenarios(options) => scenarios(&options).and_then(|text| print(&text)),
        Command::Compare(options) => {
            compare::run(&options).and_then(|(text, comparison)| compared(&text, &comparison))
        }
        Command::Html(options) => html::run(&options).and_then(|text| print(&text)),
        Command::Serve => serve::run(),
        Command::Read => child::block_on(workers::run()).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(WRONG)
    })
}

fn run(options: &RunOptions) -> anyhow::Result<Report> {
    let layers = options.layers()?;
    layers.read()?;
    output::check(options.out.as_deref(), options.html.as_deref())?;
    let mut report = child::block_on(run::run(layers))?;
    if report.generator.was_bottleneck && !options.allow_bottleneck {
        let why = report.generator.bottlenecks.join("; ");
        report.refused =
            Some(format!("the generator itself was the bottleneck: {why} (--allow-bottleneck gives one)"));
        report.passed = false;
    }
    Ok(report)
}

/// Writes the files first, and prints the result in any case: a disk that is full by now takes nobody's result away.
fn shown(options: &RunOptions, report: &Report) -> anyhow::Result<ExitCode> {
    let files = options.out.as_deref().map(|directory| report.write(directory));
    let page = options.html.as_deref().map(|path| output::write(path, &html::page(&report.document())));
    let text = if options.json { report.to_json() } else { report.document().to_text() };
    let printed = print(&text).map(drop);
    let missing: Vec<_> =
        [files, page, Some(printed)].into_iter().flatten().filter_map(Result::err).collect();
    if !missing.is_empty() {
        let lines: Vec<_> = missing.iter().map(|error| format!("{error:#}")).collect();
        anyhow::bail!(lines.join("\nerror: "));
    }
    Ok(status(report.refused.is_some(), report.passed))
}

fn status(is_refused: bool, holds: bool) -> ExitCode {
    match (is_refused, holds) {
        (true, _) => ExitCode::from(NO_VERDICT),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

fn scenarios(options: &ScenariosOptions) -> anyhow::Result<String> {
    if options.fields {
        let (text, json) =
            (tickwire_config::describe::<Scenario>, tickwire_config::describe_json::<Scenario>);
        return Ok(if options.json { json() } else { format!("{FIELDS}\n{}", text()) });
    }
    if let Some(name) = &options.name {
        return layers::ready(name).map(str::to_owned).ok_or_else(|| {
            anyhow::anyhow!("no ready-made scenario is called {name}; `scenarios` lists them")
        });
    }
    let mut text = String::new();
    for (name, _) in layers::READY {
        let about = layers::Layers::open(Some(name))?.read()?.about;
        writeln!(text, "{name:<16} {about}")?;
    }
    Ok(text)
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Whoever reads, as `head` does, has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot print the result: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints a comparison; the status says whether anything is worse, and whether that can be said.
fn compared(text: &str, comparison: &Comparison) -> anyhow::Result<ExitCode> {
    print(text)?;
    Ok(status(comparison.refused.is_some(), !comparison.is_worse))
}
