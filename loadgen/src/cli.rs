//! The command line, and the plan that it comes to.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tickwire_wire::{Channel, Encoding, is_venue};

/// Most sessions of one process: a client address has about this many ports towards one gateway.
const SESSIONS_MAX: usize = 60_000;
/// Sessions that are opened per second where `--ramp` does not say: a tenth of what one core shakes hands with.
const OPENED_PER_SECOND: f64 = 500.0;

/// Open-loop load generator for Tickwire: many sessions at a gateway, and what each of them sees.
#[derive(Debug, Parser)]
#[command(name = "tickwire-loadgen", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Opens sessions, reads for a while, checks every number, and reports
    #[command(after_help = "Examples:\n  tickwire-loadgen run --sessions 100 --for 20s\n  \
        tickwire-loadgen run --url ws://10.0.0.5:7400/v1/stream --sessions 5000 --ramp 30s \\\n    \
        --symbols sim:* --channels quote,trade,book --encoding msgpack --for 5m --json > report.json\n\n\
        Exit status: 0 all well; 1 a promise was broken, or sessions did not open or did not last;\n\
        2 wrong command line, or nothing could be measured.\n\
        Latency from the event compares two clocks: run it on the host of the ingester, or keep both in step.")]
    Run(RunOptions),
    /// Prints how two reports differ
    Compare(CompareOptions),
    /// Makes a page for a browser from a report
    Html(HtmlOptions),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareOptions {
    /// Report of the run to compare with
    #[arg(value_name = "A.json")]
    pub(crate) before: PathBuf,
    /// Report of the other run
    #[arg(value_name = "B.json")]
    pub(crate) after: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HtmlOptions {
    /// The report
    #[arg(value_name = "REPORT.json")]
    pub(crate) report: PathBuf,
    /// Where the page goes
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// The gateway
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:7400/v1/stream")]
    pub(crate) url: String,
    /// Sessions to open
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) sessions: usize,
    /// What each session subscribes to, separated by commas: venue:SYMBOL, or venue:* for all of a venue
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',', default_value = "sim:*")]
    pub(crate) symbols: Vec<String>,
    /// Channels, separated by commas: quote, trade, book, bar, stat, status, instrument
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',', default_value = "quote,trade")]
    pub(crate) channels: Vec<String>,
    /// proto, msgpack, json
    #[arg(long, value_name = "ENCODING", default_value = "proto")]
    pub(crate) encoding: String,
    /// How long to measure, from when all sessions are open: 20s, 500ms, 5m
    #[arg(long = "for", value_name = "TIME", default_value = "20s")]
    pub(crate) measure: String,
    /// Over how long sessions are opened [default: 500 sessions per second]
    #[arg(long, value_name = "TIME")]
    pub(crate) ramp: Option<String>,
    /// Threads that read [default: half of the cores]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) threads: Option<usize>,
    /// Report as JSON, times in nanoseconds
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) path: String,
}

/// What to do, checked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) url: String,
    #[serde(skip)]
    pub(crate) target: Target,
    pub(crate) sessions: usize,
    pub(crate) symbols: Vec<String>,
    #[serde(serialize_with = "channel_names")]
    pub(crate) channels: Vec<Channel>,
    #[serde(serialize_with = "encoding_name")]
    pub(crate) encoding: Encoding,
    #[serde(rename = "measure_seconds", serialize_with = "seconds")]
    pub(crate) measure: Duration,
    #[serde(rename = "ramp_seconds", serialize_with = "seconds")]
    pub(crate) ramp: Duration,
    pub(crate) threads: usize,
}

impl RunOptions {
    /// Checks everything before anything is opened.
    pub(crate) fn plan(self, cores: usize) -> anyhow::Result<Plan> {
        let target = target(&self.url)?;
        let sessions = self.sessions;
        ensure!(
            (1..=SESSIONS_MAX).contains(&sessions),
            "--sessions {sessions}: 1 to {SESSIONS_MAX}; for more, run it on several hosts"
        );
        ensure!(!self.symbols.is_empty(), "--symbols names none; write venue:SYMBOL, or venue:*");
        for symbol in &self.symbols {
            let is_valid = symbol.split_once(':').is_some_and(|(v, s)| is_venue(v) && !s.is_empty());
            ensure!(is_valid, "--symbols `{symbol}`: write venue:SYMBOL, as in sim:*");
        }
        let mut channels = Vec::new();
        for name in &self.channels {
            let names = Channel::ALL.map(Channel::name).join(", ");
            let channel = Channel::from_name(name)
                .with_context(|| format!("--channels `{name}`: there are {names}"))?;
            ensure!(!channels.contains(&channel), "--channels names `{name}` twice");
            channels.push(channel);
        }
        let encoding = Encoding::from_name(&self.encoding)
            .with_context(|| format!("--encoding `{}`: proto, msgpack or json", self.encoding))?;
        let measure = duration(&self.measure).with_context(|| format!("--for {}", self.measure))?;
        ensure!(!measure.is_zero(), "--for {}: measure for at least 1ms", self.measure);
        let ramp = match &self.ramp {
            Some(text) => duration(text).with_context(|| format!("--ramp {text}"))?,
            None => Duration::from_secs_f64(sessions as f64 / OPENED_PER_SECOND),
        };
        let threads = self.threads.unwrap_or(cores / 2).max(1).min(sessions);
        ensure!(self.threads.is_none_or(|n| (1..=256).contains(&n)), "--threads: 1 to 256");
        let (url, symbols) = (self.url, self.symbols);
        Ok(Plan { url, target, sessions, symbols, channels, encoding, measure, ramp, threads })
    }
}

fn target(url: &str) -> anyhow::Result<Target> {
    if url.starts_with("wss://") {
        bail!("--url {url}: TLS is not supported yet; use ws://, and TLS ends at a proxy");
    }
    let rest = url.strip_prefix("ws://");
    let rest = rest.with_context(|| format!("--url {url}: write ws://HOST:PORT/v1/stream"))?;
    let (host, path) = rest.find('/').map_or((rest, "/v1/stream"), |at| rest.split_at(at));
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    let name = port.map_or(host, |port| &host[..host.len() - port.len() - 1]);
    ensure!(is_printable && !name.is_empty(), "--url {url}: write ws://HOST:PORT/v1/stream");
    let address = match port {
        Some(port) => {
            let valid = port.parse::<u16>().is_ok_and(|port| port > 0);
            ensure!(valid, "--url {url}: `{port}` is no port");
            host.to_owned()
        }
        None => format!("{host}:7400"),
    };
    Ok(Target { address, path: path.to_owned() })
}

/// `500ms`, `20s`, `5m`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => bail!("a time has a unit: 500ms, 20s, 5m"),
    };
    let number: f64 = number.parse().context("a time is a number and a unit: 500ms, 20s, 5m")?;
    let seconds = number * unit;
    ensure!(seconds <= 86_400.0, "at most a day");
    Ok(Duration::from_secs_f64(seconds))
}

fn channel_names<S: serde::Serializer>(channels: &[Channel], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(channels.iter().map(|channel| channel.name()))
}

fn encoding_name<S: serde::Serializer>(encoding: &Encoding, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(encoding.name())
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &str) -> anyhow::Result<Plan> {
        let arguments = ["tickwire-loadgen", "run"].into_iter().chain(arguments.split_whitespace());
        let Command::Run(options) = Cli::try_parse_from(arguments)?.command else { unreachable!() };
        options.plan(4)
    }

    #[track_caller]
    fn check_refused(arguments: &str, expected: &str) {
        let error = format!("{:#}", plan(arguments).expect_err("it is wrong"));
        assert!(error.contains(expected), "{arguments}: {error}");
    }

    #[track_caller]
    fn check_target(url: &str, address: &str, path: &str) {
        assert_eq!(target(url).unwrap(), Target { address: address.to_owned(), path: path.to_owned() });
    }

    #[track_caller]
    fn check_duration(text: &str, milliseconds: u64) {
        assert_eq!(duration(text).unwrap(), Duration::from_millis(milliseconds));
    }

    #[test]
    fn defaults_make_a_plan() {
        let plan = plan("").unwrap();
        assert_eq!((plan.sessions, plan.threads), (100, 2));
        assert_eq!(plan.channels, [Channel::Quote, Channel::Trade]);
        assert_eq!(plan.symbols, ["sim:*"]);
        assert_eq!((plan.measure, plan.ramp), (Duration::from_secs(20), Duration::from_millis(200)));
        assert_eq!(plan.encoding, Encoding::Proto);
    }

    #[test]
    fn lists_are_split_and_threads_are_no_more_than_sessions() {
        let plan = plan("--symbols sim:A,binance:B/C --channels book,bar --threads 8 --sessions 3").unwrap();
        assert_eq!(plan.symbols, ["sim:A", "binance:B/C"]);
        assert_eq!(plan.channels, [Channel::Book, Channel::Bar]);
        assert_eq!(plan.threads, 3);
    }

    #[test]
    fn mistakes_name_the_flag_and_the_remedy() {
        check_refused("--sessions 0", "1 to 60000");
        check_refused("--sessions 60001", "several hosts");
        check_refused("--symbols BTCUSDT", "venue:SYMBOL");
        check_refused("--symbols Sim:A", "venue:SYMBOL");
        check_refused("--symbols sim:", "venue:SYMBOL");
        check_refused("--symbols sim:A,", "venue:SYMBOL");
        check_refused("--channels quotes", "quote, trade, book");
        check_refused("--channels quote,quote", "twice");
        check_refused("--encoding cbor", "proto, msgpack or json");
        check_refused("--for 20", "unit");
        check_refused("--for 0s", "at least");
        check_refused("--for 1.2.3s", "a number and a unit");
        check_refused("--for 25h", "unit");
        check_refused("--ramp x", "unit");
        check_refused("--ramp 90000s", "a day");
        check_refused("--threads 0", "1 to 256");
        check_refused("--url wss://a:1/", "TLS");
        check_refused("--url http://a:1/", "ws://HOST:PORT");
        check_refused("--url ws://:7400/", "ws://HOST:PORT");
        check_refused("--url ws://a:b/", "no port");
        check_refused("--url ws://a:0/", "no port");
    }

    #[test]
    fn urls_and_times() {
        check_target("ws://127.0.0.1:7400/v1/stream", "127.0.0.1:7400", "/v1/stream");
        check_target("ws://gateway", "gateway:7400", "/v1/stream");
        check_target("ws://gateway/x?y=1", "gateway:7400", "/x?y=1");
        check_target("ws://[::1]:80", "[::1]:80", "/v1/stream");
        check_target("ws://[::1]", "[::1]:7400", "/v1/stream");
        check_duration("500ms", 500);
        check_duration("1.5s", 1500);
        check_duration("2m", 120_000);
    }
}
