//! The command line.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use crate::layers::Layers;

/// Open-loop load generator for Tickwire, and for servers that people compare it with.
#[derive(Debug, Parser)]
#[command(name = "tickwire-loadgen", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a scenario: opens sessions, reads, checks every record, and reports
    #[command(after_help = "Examples:\n  tickwire-loadgen run dashboard\n  \
        tickwire-loadgen run slow-readers --out result\n  \
        tickwire-loadgen run firehose --rate 5000 --for 10s --set gateway.shards=2\n  \
        tickwire-loadgen run --url ws://10.0.0.5:7400/v1/stream --symbols sim:* --sessions 5000 --for 5m\n\n\
        Without SCENARIO: 100 sessions, each with all of 100 symbols, at 500 updates per second, for 20 s.\n\
        Without --url: a gateway and a source are started for the run, and ended with it.\n\
        The result goes to standard output; progress to standard error, off terminals as plain lines.\n\n\
        Exit status:\n  \
        0  every assertion holds\n  \
        1  one does not\n  \
        2  the command line or the scenario is wrong, nothing could be measured, or the result\n     \
        could not be written\n  \
        3  no verdict: the generator could not keep up, and its results say more of it than of\n     \
        the server. Give it a free core, more --threads or a lower --rate; or take the risk\n     \
        with --allow-bottleneck, which makes it 0 or 1")]
    Run(Box<RunOptions>),
    /// Lists the ready-made scenarios, or prints one
    Scenarios(ScenariosOptions),
    /// Prints how runs differ, how sure that is, and whether anything is worse
    #[command(after_help = "Examples:\n  tickwire-loadgen compare before.json after.json\n  \
        tickwire-loadgen compare a1.json,a2.json,a3.json,a4.json b1.json,b2.json,b3.json,b4.json\n\n\
        Runs of less than 10 s have no intervals: only gross differences count as worse (2 times and more).\n\n\
        Exit status:\n  \
        0  nothing is shown to be worse by more than --worse-by\n  \
        1  something is\n  \
        2  the command line is wrong, a file is no report, or the same run is given several times\n  \
        3  no judgement: a run ended without a verdict, because its generator could not keep up")]
    Compare(CompareOptions),
    /// Makes a page for a browser from a report
    Html(HtmlOptions),
    /// Plays the source, and a gateway; started by `run`
    #[command(hide = true)]
    Serve,
    /// Reads a part of the sessions; started by `run`
    #[command(hide = true)]
    Read,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// A file, or the name of a ready-made scenario
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// Any field of the scenario: `sessions.window=16ms`, `readers[0].share=0.5`
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    fields: Fields,
    /// Directory for report.json and .hgrm files
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) out: Option<PathBuf>,
    /// Writes the report as a page for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Prints the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Judges the assertions even where the generator could not keep up (which is status 3 otherwise)
    #[arg(long)]
    pub(crate) allow_bottleneck: bool,
}

/// Flags that set a field of the scenario: flag, field, what is written behind it, and what it does.
#[rustfmt::skip]
const FIELDS: [(&str, &str, &str, &str); 20] = [
    ("for", "duration", "TIME", "How long to measure, instead of what the scenario says: 20s, 5m. Opening and warming up come before it"),
    ("sessions", "sessions.count", "NUMBER", "Sessions to open"),
    ("rate", "source.rate", "NUMBER", "Updates per second that the own source publishes over all symbols"),
    ("seed", "seed", "NUMBER", "Chooses symbols, readers and times"),
    ("channels", "sessions.channels", "CHANNELS", "Channels, separated by commas"),
    ("encoding", "sessions.encodings", "ENCODING", "proto, msgpack or json, for all sessions"),
    ("url", "target.url", "URL", "The server to load, instead of a gateway of its own"),
    ("symbols", "sessions.symbols", "SYMBOLS", "Takes what the running ingester sends of these, separated by commas: sim:*, binance:BTCUSDT"),
    ("bus", "target.bus", "SERVERS", "NATS servers that the own source publishes on, separated by commas"),
    ("admin", "target.admin", "ADDRESS", "Admin address of the server, for its pressure: 127.0.0.1:7401"),
    ("server-pid", "target.server_pid", "PID", "The server's process, for its processors and memory"),
    ("spawn", "target.spawn", "COMMAND", "Starts the server first, waits until it says `ready`, and ends it at last"),
    ("peer", "peer.kind", "KIND", "The server is a peer of this kind"),
    ("peer-name", "peer.name", "NAME", "What the peer is called in reports"),
    ("publish", "peer.publish", "URL", "Where the peer takes updates: tcp://127.0.0.1:7501"),
    ("server-cpus", "target.server_cpus", "NUMBERS", "Processors for the own gateway"),
    ("source-cpus", "target.source_cpus", "NUMBERS", "Processors for the own source"),
    ("generator-cpus", "target.generator_cpus", "NUMBERS", "Processors for reading"),
    ("threads", "threads", "NUMBER", "Threads that read, in each process"),
    ("processes", "processes", "NUMBER", "Processes that read"),
];

/// Those of `FIELDS` that were given: flag, field and value.
#[derive(Clone, Debug)]
struct Fields(Vec<(&'static str, &'static str, String)>);

impl Args for Fields {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(FIELDS.map(|(flag, _, name, help)| {
            Arg::new(flag)
                .long(flag)
                .value_name(name)
                .help(help)
                .value_parser(value)
                .allow_hyphen_values(true)
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Fields {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(flag, field, _, _)| Some((flag, field, matches.get_one::<String>(flag)?.clone()));
        Ok(Self(FIELDS.into_iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ScenariosOptions {
    /// Prints this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Lists all fields that a scenario may have, with type, default and meaning
    #[arg(long, conflicts_with = "name")]
    pub(crate) fields: bool,
    /// Prints that list as JSON
    #[arg(long, requires = "fields")]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareOptions {
    /// Reports of the runs to compare with, separated by commas
    #[arg(value_name = "A.json[,...]", required = true, num_args = 1, value_delimiter = ',', value_parser = file)]
    pub(crate) before: Vec<PathBuf>,
    /// Reports of the other runs, separated by commas
    #[arg(value_name = "B.json[,...]", required = true, num_args = 1, value_delimiter = ',', value_parser = file)]
    pub(crate) after: Vec<PathBuf>,
    /// A result is worse from this change on
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = share)]
    pub(crate) worse_by: f64,
    /// Prints the comparison as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Draws the comparison on a page for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Judges even where a run has no verdict, because its generator could not keep up (status 3 otherwise)
    #[arg(long)]
    pub(crate) allow_bottleneck: bool,
}

/// Takes one of several files with a comma between them.
fn file(name: &str) -> Result<PathBuf, String> {
    if name.trim().is_empty() {
        return Err("write files with one comma between them: A1.json,A2.json".to_owned());
    }
    Ok(name.into())
}

/// Takes what stands behind a flag: a number below 0 is one that is too low, and another flag is none at all.
fn value(text: &str) -> Result<String, String> {
    if text.starts_with("--") {
        return Err("a value is missing: this is the next option".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads `10%` as 0.1.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| (0.0..=1000.0).contains(number));
    number.map(|number| number / 100.0).ok_or_else(|| "write a percentage, as in 10%".to_owned())
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HtmlOptions {
    /// The report
    #[arg(value_name = "REPORT.json")]
    pub(crate) report: PathBuf,
    /// The page goes here; `-` prints it
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
}

impl RunOptions {
    /// Returns the scenario with the flags over it.
    ///
    /// # Errors
    /// When there is no such scenario, or a flag has no value.
    pub(crate) fn layers(&self) -> anyhow::Result<Layers> {
        let mut layers = Layers::open(self.scenario.as_deref())?;
        for (flag, field, value) in &self.fields.0 {
            layers.flag(&format!("--{flag}"), field, value);
            if *flag == "symbols" {
                layers.flag("--symbols", "source.kind", "running");
            }
        }
        for set in &self.set {
            let (field, value) = set.split_once('=').ok_or_else(|| {
                anyhow::anyhow!("--set {set}: write FIELD=VALUE, as in --set sessions.window=16ms")
            })?;
            layers.flag("--set", field.trim(), value.trim());
        }
        Ok(layers)
    }
}

#[cfg(test)]
#[path = "../tests/units/cli.rs"]
mod tests;
