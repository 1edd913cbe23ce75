//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
        3  no verdict: the generator could not keep up, and its figures say more of it than of\n     \
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
    /// How long to measure, instead of what the scenario says: 20s, 5m. Opening and warming up come before it
    #[arg(long = "for", value_name = "TIME", value_parser = value, allow_hyphen_values = true)]
    pub(crate) measure: Option<String>,
    /// Sessions to open
    #[arg(long, value_name = "NUMBER", value_parser = value, allow_hyphen_values = true)]
    pub(crate) sessions: Option<String>,
    /// Updates per second that the own source publishes over all symbols
    #[arg(long, value_name = "NUMBER", value_parser = value, allow_hyphen_values = true)]
    pub(crate) rate: Option<String>,
    /// Chooses symbols, readers and times
    #[arg(long, value_name = "NUMBER", value_parser = value, allow_hyphen_values = true)]
    pub(crate) seed: Option<String>,
    /// Channels, separated by commas
    #[arg(long, value_name = "CHANNELS")]
    pub(crate) channels: Option<String>,
    /// proto, msgpack or json, for all sessions
    #[arg(long, value_name = "ENCODING")]
    pub(crate) encoding: Option<String>,
    /// The server to load, instead of a gateway of its own
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Takes what the running ingester sends of these, separated by commas: sim:*, binance:BTCUSDT
    #[arg(long, value_name = "SYMBOLS")]
    pub(crate) symbols: Option<String>,
    /// NATS servers that the own source publishes on, separated by commas
    #[arg(long, value_name = "SERVERS")]
    pub(crate) bus: Option<String>,
    /// Admin address of the server, for its pressure: 127.0.0.1:7401
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<String>,
    /// The server's process, for its processors and memory
    #[arg(long, value_name = "PID", value_parser = value, allow_hyphen_values = true)]
    pub(crate) server_pid: Option<String>,
    /// Starts the server first, waits until it says `ready`, and ends it at last
    #[arg(long, value_name = "COMMAND")]
    pub(crate) spawn: Option<String>,
    /// The server is a peer of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) peer: Option<String>,
    /// What the peer is called in reports
    #[arg(long, value_name = "NAME")]
    pub(crate) peer_name: Option<String>,
    /// Where the peer takes updates: tcp://127.0.0.1:7501
    #[arg(long, value_name = "URL")]
    pub(crate) publish: Option<String>,
    /// Processors for the own gateway
    #[arg(long, value_name = "NUMBERS", value_parser = value, allow_hyphen_values = true)]
    pub(crate) server_cpus: Option<String>,
    /// Processors for the own source
    #[arg(long, value_name = "NUMBERS", value_parser = value, allow_hyphen_values = true)]
    pub(crate) source_cpus: Option<String>,
    /// Processors for reading
    #[arg(long, value_name = "NUMBERS", value_parser = value, allow_hyphen_values = true)]
    pub(crate) generator_cpus: Option<String>,
    /// Threads that read, in each process
    #[arg(long, value_name = "NUMBER", value_parser = value, allow_hyphen_values = true)]
    pub(crate) threads: Option<String>,
    /// Processes that read
    #[arg(long, value_name = "NUMBER", value_parser = value, allow_hyphen_values = true)]
    pub(crate) processes: Option<String>,
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
    #[arg(value_name = "A.json[,...]", value_parser = Files::parse)]
    pub(crate) before: Files,
    /// Reports of the other runs, separated by commas
    #[arg(value_name = "B.json[,...]", value_parser = Files::parse)]
    pub(crate) after: Files,
    /// From which change on a figure is worse
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

/// Reports of one side.
#[derive(Clone, Debug)]
pub(crate) struct Files(pub(crate) Vec<PathBuf>);

impl Files {
    fn parse(text: &str) -> Result<Self, String> {
        if text.split(',').any(|name| name.trim().is_empty()) {
            return Err("write files with one comma between them: A1.json,A2.json".to_owned());
        }
        Ok(Self(text.split(',').map(PathBuf::from).collect()))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|path| path.display().to_string()).collect()
    }
}

/// What stands behind a flag: a number below 0 is one that is too low, and another flag is none at all.
fn value(text: &str) -> Result<String, String> {
    if text.starts_with("--") {
        return Err("a value is missing: this is the next option".to_owned());
    }
    Ok(text.to_owned())
}

/// `10%` as 0.1.
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
    /// Where the page goes; `-` prints it
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
}

impl RunOptions {
    /// The scenario with the flags over it.
    ///
    /// # Errors
    /// When there is no such scenario, or a flag has no value.
    pub(crate) fn layers(&self) -> anyhow::Result<Layers> {
        let mut layers = Layers::open(self.scenario.as_deref())?;
        let flags = [
            ("--for", "duration", &self.measure),
            ("--sessions", "sessions.count", &self.sessions),
            ("--seed", "seed", &self.seed),
            ("--rate", "source.rate", &self.rate),
            ("--channels", "sessions.channels", &self.channels),
            ("--encoding", "sessions.encodings", &self.encoding),
            ("--url", "target.url", &self.url),
            ("--symbols", "sessions.symbols", &self.symbols),
            ("--bus", "target.bus", &self.bus),
            ("--admin", "target.admin", &self.admin),
            ("--server-pid", "target.server_pid", &self.server_pid),
            ("--spawn", "target.spawn", &self.spawn),
            ("--peer", "peer.kind", &self.peer),
            ("--peer-name", "peer.name", &self.peer_name),
            ("--publish", "peer.publish", &self.publish),
            ("--server-cpus", "target.server_cpus", &self.server_cpus),
            ("--source-cpus", "target.source_cpus", &self.source_cpus),
            ("--generator-cpus", "target.generator_cpus", &self.generator_cpus),
            ("--threads", "threads", &self.threads),
            ("--processes", "processes", &self.processes),
        ];
        for (flag, field, value) in flags {
            if let Some(value) = value {
                layers.flag(flag, field, value);
            }
        }
        if self.symbols.is_some() {
            layers.flag("--symbols", "source.kind", "running");
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
mod tests {
    use super::*;

    fn layers(arguments: &str) -> anyhow::Result<Layers> {
        let arguments = ["tickwire-loadgen", "run"].into_iter().chain(arguments.split_whitespace());
        match Cli::try_parse_from(arguments)?.command {
            Command::Run(options) => options.layers(),
            _ => unreachable!("it is `run`"),
        }
    }

    #[track_caller]
    fn check_refused(arguments: &str, expected: &str) {
        let error = layers(arguments).and_then(|layers| layers.read()).expect_err("it is wrong");
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{arguments}: {error}");
    }

    #[test]
    fn flags_stand_over_the_scenario() {
        let scenario =
            layers("dashboard --for 3s --sessions 7 --rate 9 --set sessions.window=16ms --encoding json");
        let scenario = scenario.unwrap().read().unwrap();
        assert_eq!((scenario.name.as_str(), scenario.sessions.count), ("dashboard", 7));
        assert_eq!(scenario.duration.as_secs(), 3);
        assert_eq!(scenario.sessions.window.as_millis(), 16);
        assert_eq!(scenario.source.shape, crate::scenario::Shape::Fixed(9.0));
        assert!(scenario.text.contains("# --for: duration = 3s"));
    }

    #[test]
    fn one_encoding_stands_over_weights_and_weights_over_one() {
        let encodings = |flags: &str| layers(flags).unwrap().read().unwrap().sessions.encodings;
        assert_eq!(encodings("soak --encoding json"), [(tickwire_wire::Encoding::Json, 1.0)]);
        let both = encodings("--encoding json --set sessions.encodings.msgpack=2");
        assert_eq!(both, [(tickwire_wire::Encoding::MsgPack, 2.0)]);
    }

    #[test]
    fn a_running_source_needs_no_file() {
        let scenario = layers(
            "--url ws://127.0.0.1:7400/v1/stream --symbols sim:*,binance:BTCUSDT --channels quote,trade",
        );
        let scenario = scenario.unwrap().read().unwrap();
        assert!(scenario.source.is_running);
        assert_eq!(scenario.sessions.symbols, ["sim:*", "binance:BTCUSDT"]);
        assert_eq!(scenario.sessions.channels.len(), 2);
    }

    #[test]
    fn mistakes_name_the_flag_and_the_remedy() {
        check_refused("nosuch", "there are dashboard, firehose");
        check_refused("--set x", "FIELD=VALUE");
        check_refused("--set sessions.cuont=1", "did you mean `sessions.count`");
        check_refused("--sessions many --for 20", "--sessions: `sessions.count`: has to be a whole number");
        check_refused("--sessions many --for 20", "--for: `duration`: has to be a time");
        for rate in ["0", "-5", "-1e3", "nan", "-inf"] {
            let expected = "--rate: `source.rate`: has to be a number above 0, at most 50000000";
            check_refused(&format!("--rate {rate}"), expected);
            check_refused(&format!("--rate={rate}"), expected);
        }
        check_refused("--for -5s --sessions -1", "--for: `duration`: has to be a time");
        check_refused("--rate --sessions 5", "a value is missing: this is the next option");
        check_refused("--set readers[3].share=0.5", "there is no `readers` yet; with `readers[0].kind`");
        check_refused("--set =5", "names no field: write FIELD=VALUE");
        check_refused(
            "--generator-cpus 100000",
            "--generator-cpus: `target.generator_cpus`: there is no processor 100000",
        );
        check_refused("--encoding cbor", "proto, msgpack, json");
        check_refused("--url ws://127.0.0.1:1/", "--symbols");
    }
}
