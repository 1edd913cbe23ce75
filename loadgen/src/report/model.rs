//! A run's report, as it stands in JSON. One model for all who write it and all who read it: text, pictures, comparison.
//!
//! Times are nanoseconds, of the Unix epoch where they are moments. Shares are 0 to 1. What was not measured is absent,
//! or 0 with a count of 0. Unknown fields are passed over, so that an older program reads a newer report.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tickwire_machine::processors::Machine;
use tickwire_measure::{Latencies, Summary};

/// This is the format of this model. It is raised when a field changes its meaning; new fields do not raise it.
pub(crate) const FORMAT: u32 = 1;

/// Defines the parts of a report: plain data, of which a file may lack any.
macro_rules! parts {
    ($($(#[$about:meta])* struct $part:ident { $($(#[$says:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $part {
            $($(#[$says])* pub(crate) $field: $kind,)*
        }
    )*};
}

parts! {
    struct Report {
        format: u32,
        /// Everything held: no broken promise, every assertion, and the generator was fast enough.
        passed: bool,
        /// This says why there is no verdict: the generator itself was the bottleneck. Results are shown and not to be trusted.
        refused: Option<String>,
        /// When measuring began.
        started_ns: u64,
        /// Measuring took so long.
        seconds: f64,
        versions: Versions, machine: Machine, scenario: Scenario, sessions: Sessions, flow: Flow,
        /// It lasts from the intended time to the read, at readers that read as fast as they can.
        latency: Latency,
        /// The same, by channel.
        by_channel: BTreeMap<String, Latency>,
        /// The time goes here, in the order of the way.
        hops: Vec<Hop>,
        /// There is one for each kind of reader; `prompt` is among them.
        readers: Vec<Readers>,
        checks: Checks,
        /// Absent where the server's process is not known.
        server: Option<Server>,
        generator: Generator, clock: Clock,
        /// One for each second of measuring.
        series: Vec<Second>,
        events: Vec<Event>, verdicts: Vec<Verdict>, saturation: Option<Saturation>,
    }

    struct Versions {
        loadgen: String, protocol: u32, schema: String,
        /// The server calls itself so.
        server: String,
    }

    struct Scenario {
        name: String,
        /// It was read from here; empty: it comes with the program, or there were flags only.
        file: String,
        about: String,
        /// The whole scenario as it was run, flags included, as TOML.
        text: String,
        seed: u64, url: String,
        /// TLS to whoever answered: nobody looked whether it was the right one.
        is_unverified: bool,
        /// `tickwire`, or the kind of the peer.
        kind: String,
        /// The server is called so in tables: `Tickwire`, `uWebSockets`.
        server: String,
        symbols: u64,
        /// The source's plan has this at the begin of measuring; 0: a source that this run does not own.
        updates_per_second: f64,
        /// Processes and threads that read.
        processes: usize,
        threads: usize,
    }

    struct Sessions {
        asked: u64, opened: u64, subscriptions: u64,
        /// Handshakes that the server dropped without a response, and that were tried again.
        open_retries: u64,
        not_opened: Noted,
        /// These ended against the plan. What the scenario closes itself, or has the gateway close, is not among them.
        ended_early: Noted,
        /// Closed as the scenario expects: half-open and silent ones.
        closed_as_expected: u64,
        reconnects: u64,
        /// It lasts from the loss of a session to the responses to its subscriptions.
        reconnect: Latency,
        /// It lasts from the connect to the last response to a subscription; from the first subscription, where all subscribe together.
        open: Latency,
        /// It lasts from a session's first subscription to its first record.
        first: Latency,
    }

    /// Something happened so often; the first texts are kept.
    #[derive(Eq)]
    struct Noted {
        count: u64, first: Vec<String>,
    }

    /// This was read while it was measured.
    struct Flow {
        /// WebSocket messages.
        messages: u64,
        /// Delivered updates.
        records: u64,
        /// WebSocket messages count with their heads.
        bytes: u64,
        reads: u64, records_by_channel: BTreeMap<String, u64>, records_per_second: f64,
        messages_per_second: f64, bytes_per_second: f64,
        /// Updates that the source published while it was measured; 0: not known.
        published: u64,
        /// Records that these come to at all sessions, by what each one subscribes to; 0: not known. Sessions that are away for a
        /// while, or drop a symbol for a moment, count for the whole time.
        due: u64,
        /// Throttled readers got so many of these only when they were let go, after measuring; they are not among the records.
        let_go: u64,
        /// This share of those that are due was delivered; 0: not known.
        delivered_share: f64,
    }

    /// A histogram, read off: values for people, points for a curve, and all of it for who wants to merge or compare.
    struct Latency {
        #[serde(flatten)]
        summary: Summary,
        /// Percentile curve: quantiles that near 1 by halves, five to each half.
        curve: Vec<Point>,
        /// The histogram in nanoseconds, HdrHistogram V2, Base64; empty where there is none.
        hdr: String,
    }

    #[derive(Copy)]
    struct Point {
        /// 0 to 1.
        q: f64,
        ns: u64,
        /// Values up to here.
        count: u64,
    }

    /// A leg of the way of a record. Hops join: each begins where the one before it ends. The gateway's own divide one of them.
    struct Hop {
        /// `intended`, `ingester`, `gateway_in`, `gateway_write`, `read`, `decoded`.
        from: String,
        to: String,
        /// One of so many was measured.
        sampled_one_in: u32,
        /// This is counted: `records`; `messages`, or nothing, in older reports.
        of: String,
        /// The hop (`from-to`) that this is a part of, as the gateway tells of all its sessions that keep up; empty: a hop as the
        /// readers measure it.
        part_of: String,
        latency: Latency,
    }

    /// Sessions that read in one manner.
    struct Readers {
        /// `prompt`, `throttled`, `stalled`, `slow-program`, `half-open`, `silent`.
        kind: String,
        sessions: u64, records: u64, bytes: u64,
        /// Age of what the program gets, when it gets it.
        age: Latency,
        /// The same by channel, where there are several: lossless ones wait in line where conflated ones are replaced.
        by_channel: BTreeMap<String, Latency>,
        /// A throttled reader got this share of the bytes that it could have taken; 0: not throttled.
        used_share: f64,
        accounts: Accounts,
    }

    /// Sums of the gateway's ledgers.
    #[derive(Copy, Eq)]
    struct Accounts {
        /// Entries that were compared with what came.
        checked: u64,
        published: u64, delivered: u64, conflated: u64, dropped: u64, filtered: u64,
    }

    /// Whether what came is right.
    struct Checks {
        accounts: Accounts,
        /// Connections whose ledger came, and those that ended without one: cut by a storm, lost, or half-open. The accounts are
        /// of the former.
        ledgers: u64,
        ledgers_missing: u64,
        /// Sequence numbers of lossless channels, and of peers, that neither came nor were announced.
        lost: u64,
        /// Records that came behind a newer one.
        out_of_order: u64,
        duplicates: u64,
        /// Announced gaps, by cause.
        gaps: BTreeMap<String, Gaps>,
        conflating_notices: u64, refused: Noted,
        /// Last values that were compared with what the source published last, or with other sessions'.
        final_values: u64,
        final_values_wrong: Noted,
        /// They stand under the rule that was broken: `lost`, `order`, `ledger`, `value`, `final`, `protocol`.
        broken: BTreeMap<String, Noted>,
        /// Sessions by what became of their records: the worst ones, and some ordinary ones.
        sessions: Vec<SessionAccount>,
    }

    #[derive(Copy, Eq)]
    struct Gaps {
        announced: u64, numbers: u64,
    }

    struct SessionAccount {
        number: u64, reader: String, encoding: String, subscriptions: u64, accounts: Accounts, gaps: u64,
        violations: u64,
    }

    struct Server {
        pid: u32, command: String,
        /// While it was measured; the threads of a source in the same process are not counted in.
        cpu_seconds: f64,
        /// The source's threads in the server's process took this beyond `cpu_seconds`.
        source_cpu_seconds: f64,
        /// They stand under the name of the thread, the source's among them; those that ended (a restart) up to the last look at them.
        cpu_by_thread: BTreeMap<String, f64>,
        /// CPU seconds per million delivered updates, without the source.
        cpu_seconds_per_million: f64,
        resident_bytes_before: u64, resident_bytes_open: u64, resident_bytes_max: u64,
        resident_bytes_end: u64,
        /// Growth from before the sessions to when they were open, by session.
        bytes_per_session: f64,
        /// Growth of resident memory while it was measured, bytes per second, by least squares.
        growth_per_second: f64,
    }

    struct Generator {
        /// Each reading thread took this share of a core.
        cpu_share: Vec<f64>,
        /// CPU seconds of all its reading threads while it was measured.
        cpu_seconds: f64,
        /// Delivered updates per second of its CPU time: what one core of it would hold.
        records_per_cpu_second: f64,
        /// The most that each record can have waited for its read, since it came; and how late the thread was for its own clock, each 10 ms.
        lag: Latency,
        /// The own source published so late, where it runs here or tells.
        source_lag: Latency,
        /// Its threads' wait for a processor, as a share of the time.
        waited_share: f64,
        /// Everything that runs there took this share of all cores; absent where the system does not tell.
        machine_busy: Option<f64>,
        /// The part of it that the run did not start and does not watch; absent where the system does not tell.
        machine_busy_others: Option<f64>,
        /// The busiest of them.
        others: Vec<Program>,
        /// These of those that are under test are among them, because the run does not know their processes; empty: nobody.
        others_hold: Vec<String>,
        resident_bytes: u64, bytes_per_session: f64, was_bottleneck: bool,
        /// Those of the cautions that made it one.
        bottlenecks: Vec<String>,
        /// These limit how far the results can be trusted.
        #[serde(rename = "doubts")]
        cautions: Vec<String>,
    }

    /// A process that does not belong to the run.
    struct Program {
        name: String, pid: u32,
        /// It took this share of all processors while it was measured.
        share: f64,
    }

    /// The server's clock as seen from here.
    struct Clock {
        is_same_host: bool,
        /// Server's clock minus own; already taken out of the latencies.
        offset_ns: i64,
        /// The offset is right to within this.
        error_ns: u64,
        /// Shortest round trip of a ping.
        round_trip_ns: u64,
    }

    /// One second brought this.
    struct Second {
        /// Seconds since measuring began, at the end of this one.
        at: f64,
        sessions: u64, records: u64, messages: u64, bytes: u64,
        /// These are of prompt readers.
        p50_ns: u64, p99_ns: u64, p999_ns: u64, max_ns: u64,
        /// Age of what other kinds of readers get, by kind.
        ages: BTreeMap<String, Age>,
        /// Share of one core, without a source in the same process; absent where it is not known.
        server_cpu: Option<f64>,
        server_resident_bytes: Option<u64>,
        /// The busiest reading thread took this share of a core.
        generator_cpu: f64,
        /// Bytes that the gateway has not seen confirmed, all sessions; absent where its admin address is not known.
        pressure_bytes: Option<u64>,
        /// Recent records that the gateway keeps for those who come back; absent likewise.
        log_bytes: Option<u64>,
        /// Updates per second that the plan asks for.
        offered: f64,
    }

    #[allow(clippy::struct_field_names, reason = "a field that is a time says its unit")]
    #[derive(Copy, Eq)]
    struct Age {
        p50_ns: u64, p99_ns: u64, max_ns: u64,
    }

    /// Something that the scenario did, or that happened to it: a storm, a restart, a change of rate.
    struct Event {
        /// Seconds since measuring began.
        at: f64,
        text: String,
    }

    /// An assertion, and whether it held.
    struct Verdict {
        /// As in the scenario: `latency.p99`, `hop.gateway_write-read.p99`, `deliveries_per_second`.
        name: String,
        /// People read it as `at most 8ms`.
        limit: String,
        measured: String, held: bool,
        /// This may lie behind it, where it broke.
        hint: Option<String>,
    }

    struct Saturation {
        /// Highest source rate that held, in updates per second; 0: none did.
        updates_per_second: f64,
        /// Delivered at that rate.
        deliveries_per_second: f64,
        /// This stood in the way of more.
        limited_by: String,
        steps: Vec<SaturationStep>,
    }

    struct SaturationStep {
        updates_per_second: f64, deliveries_per_second: f64, delivered_share: f64,
        p50_ns: u64, p99_ns: u64, max_ns: u64,
        server_cpu: Option<f64>, held: bool, reason: String,
    }
}

/// Points of a curve for each halving of the distance to 1.
const CURVE_STEPS: u32 = 5;

impl From<Latencies> for Latency {
    fn from(from: Latencies) -> Self {
        let (summary, mut curve): (_, Vec<Point>) = (from.summary(), Vec::new());
        for step in from.histogram().iter_quantiles(CURVE_STEPS).take_while(|_| !from.is_empty()) {
            let (ns, q) = (step.value_iterated_to(), step.quantile_iterated_to());
            let count = curve.last().map_or(0, |point| point.count) + step.count_since_last_iteration();
            curve.push(Point { q, ns, count });
        }
        Self { summary, curve, hdr: from.to_hdr() }
    }
}

impl Scenario {
    /// Returns the name, and the file where it is not the program's own.
    pub(crate) fn title(&self) -> String {
        if self.file.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.file) }
    }
}

impl Hop {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.from, self.to)
    }
}

impl Report {
    /// Reads a report from a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no report of this format; the text names the file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let remedy = "`tickwire-loadgen run SCENARIO --out DIRECTORY` writes DIRECTORY/report.json";
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read report {name}; {remedy}"))?;
        let report: Self =
            serde_json::from_str(&text).with_context(|| format!("{name} is no report; {remedy}"))?;
        ensure!(report.format != 0, "{name} is no report, for it does not say its format; {remedy}");
        ensure!(
            report.format == FORMAT,
            "{name} is a report of format {}, and this program reads format {FORMAT}: run it again, or take the \
             tickwire-loadgen that wrote it",
            report.format
        );
        Ok(report)
    }

    /// Returns all readers but prompt ones.
    pub(crate) fn slow_readers(&self) -> impl Iterator<Item = &Readers> {
        self.readers.iter().filter(|readers| readers.kind != "prompt")
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }
}
