//! A run's report, as it stands in JSON. One model for all who write it and all who read it: text, pictures, comparison.
//!
//! Times are nanoseconds, of the Unix epoch where they are moments. Shares are 0 to 1. What was not measured is absent,
//! or 0 with a count of 0. Unknown fields are passed over, so that an older program reads a newer report.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::latency::Summary;

/// Of this model. Raised when a field changes its meaning; new fields do not raise it.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) format: u32,
    /// Everything held: no broken promise, every assertion, and the generator was fast enough.
    pub(crate) passed: bool,
    /// Why there is no verdict: the generator itself was the bottleneck. Figures are shown and not to be trusted.
    pub(crate) refused: Option<String>,
    /// When measuring began.
    pub(crate) started_ns: u64,
    /// How long was measured.
    pub(crate) seconds: f64,
    pub(crate) versions: Versions,
    pub(crate) machine: Machine,
    pub(crate) scenario: Scenario,
    pub(crate) sessions: Sessions,
    pub(crate) flow: Flow,
    /// From the intended time to the read, of readers that read as fast as they can.
    pub(crate) latency: Latency,
    /// The same, by channel.
    pub(crate) by_channel: BTreeMap<String, Latency>,
    /// Where the time goes, in the order of the way.
    pub(crate) hops: Vec<Hop>,
    /// By kind of reader; `prompt` is among them.
    pub(crate) readers: Vec<Readers>,
    pub(crate) checks: Checks,
    /// Absent where the server's process is not known.
    pub(crate) server: Option<Server>,
    pub(crate) generator: Generator,
    pub(crate) clock: Clock,
    /// One for each second of measuring.
    pub(crate) series: Vec<Second>,
    pub(crate) events: Vec<Event>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) saturation: Option<Saturation>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    pub(crate) loadgen: String,
    pub(crate) protocol: u32,
    pub(crate) schema: String,
    /// What the server calls itself.
    pub(crate) server: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Machine {
    /// Kernel, its release, architecture.
    pub(crate) system: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Where it was read from; empty: it comes with the program, or there were flags only.
    pub(crate) file: String,
    pub(crate) about: String,
    /// The whole scenario as it was run, flags included, as TOML.
    pub(crate) text: String,
    pub(crate) seed: u64,
    pub(crate) url: String,
    /// TLS to whoever answered: nobody looked whether it was the right one.
    pub(crate) is_unverified: bool,
    /// `tickwire`, or the kind of the peer.
    pub(crate) kind: String,
    /// Of the server, for tables: `Tickwire`, `uWebSockets`.
    pub(crate) server: String,
    pub(crate) symbols: u64,
    /// Of the source's plan at the begin of measuring; 0: a source that this run does not own.
    pub(crate) updates_per_second: f64,
    /// Processes and threads that read.
    pub(crate) processes: usize,
    pub(crate) threads: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sessions {
    pub(crate) asked: u64,
    pub(crate) opened: u64,
    pub(crate) subscriptions: u64,
    /// Handshakes that the server dropped without an answer, and that were tried again.
    pub(crate) open_retries: u64,
    pub(crate) not_opened: Noted,
    /// Against the plan. What the scenario closes itself, or has the gateway close, is not among them.
    pub(crate) ended_early: Noted,
    /// Closed as the scenario expects: half-open and silent ones.
    pub(crate) closed_as_expected: u64,
    pub(crate) reconnects: u64,
    /// From the loss of a session to its subscriptions' answers.
    pub(crate) reconnect: Latency,
    /// From the connect to the last answer of a subscription.
    pub(crate) open: Latency,
}

/// How often something happened, and the first texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Noted {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

/// What was read while it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Flow {
    /// WebSocket messages.
    pub(crate) messages: u64,
    /// Delivered updates.
    pub(crate) records: u64,
    /// Of WebSocket messages with their heads.
    pub(crate) bytes: u64,
    pub(crate) reads: u64,
    pub(crate) records_by_channel: BTreeMap<String, u64>,
    pub(crate) records_per_second: f64,
    pub(crate) messages_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Updates that the source published while it was measured; 0: not known.
    pub(crate) published: u64,
    /// Records that these come to at all sessions, by what each one subscribes to; 0: not known. Sessions that are away for a
    /// while, or drop a symbol for a moment, count for the whole time.
    pub(crate) due: u64,
    /// Of these, those that throttled readers got only when they were let go, after measuring; not among the records.
    pub(crate) let_go: u64,
    /// Of those that are due, those that were delivered; 0: not known.
    pub(crate) delivered_share: f64,
}

/// A histogram, read off: figures for people, points for a curve, and all of it for who wants to merge or compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// Percentile curve: quantiles that near 1 by halves, five to each half.
    pub(crate) curve: Vec<Point>,
    /// The histogram in nanoseconds, HdrHistogram V2, Base64; empty where there is none.
    pub(crate) hdr: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// 0 to 1.
    pub(crate) q: f64,
    pub(crate) ns: u64,
    /// Values up to here.
    pub(crate) count: u64,
}

/// A leg of the way of a record. Hops join: each begins where the one before it ends. The gateway's own divide one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Hop {
    /// `intended`, `ingester`, `gateway_in`, `gateway_write`, `read`, `decoded`.
    pub(crate) from: String,
    pub(crate) to: String,
    /// One of so many was measured.
    pub(crate) sampled_one_in: u32,
    /// Of what: `records`; `messages`, or nothing, in older reports.
    pub(crate) of: String,
    /// The hop (`from-to`) that this is a part of, as the gateway tells of all its sessions that keep up; empty: a hop as the
    /// readers measure it.
    pub(crate) part_of: String,
    pub(crate) latency: Latency,
}

/// Sessions that read in one manner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Readers {
    /// `prompt`, `throttled`, `stalled`, `slow-program`, `half-open`, `silent`.
    pub(crate) kind: String,
    pub(crate) sessions: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Age of what the program gets, when it gets it.
    pub(crate) age: Latency,
    /// The same by channel, where there are several: lossless ones wait in line where conflated ones are replaced.
    pub(crate) by_channel: BTreeMap<String, Latency>,
    /// Of the bytes that a throttled reader could have taken, those that it got; 0: not throttled.
    pub(crate) used_share: f64,
    pub(crate) accounts: Accounts,
}

/// Sums of the gateway's ledgers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Accounts {
    /// Entries that were compared with what came.
    pub(crate) checked: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
    pub(crate) filtered: u64,
}

/// Whether what came is right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checks {
    pub(crate) accounts: Accounts,
    /// Connections whose ledger came, and those that ended without one: cut by a storm, lost, or half-open. The accounts are
    /// of the former.
    pub(crate) ledgers: u64,
    pub(crate) ledgers_missing: u64,
    /// Numbers of lossless channels, and of peers, that neither came nor were announced.
    pub(crate) lost: u64,
    /// Records that came behind a newer one.
    pub(crate) out_of_order: u64,
    pub(crate) duplicates: u64,
    /// Announced gaps, by cause.
    pub(crate) gaps: BTreeMap<String, Gaps>,
    pub(crate) conflating_notices: u64,
    pub(crate) refused: Noted,
    /// Last values that were compared with what the source published last, or with other sessions'.
    pub(crate) final_values: u64,
    pub(crate) final_values_wrong: Noted,
    /// By the rule that was broken: `lost`, `order`, `ledger`, `value`, `final`, `protocol`.
    pub(crate) broken: BTreeMap<String, Noted>,
    /// Sessions by what became of their records: the worst ones, and some ordinary ones.
    pub(crate) sessions: Vec<SessionAccount>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Gaps {
    pub(crate) announced: u64,
    pub(crate) numbers: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SessionAccount {
    pub(crate) number: u64,
    pub(crate) reader: String,
    pub(crate) encoding: String,
    pub(crate) subscriptions: u64,
    pub(crate) accounts: Accounts,
    pub(crate) gaps: u64,
    pub(crate) violations: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) command: String,
    /// While it was measured; the threads of a source in the same process are not counted in.
    pub(crate) cpu_seconds: f64,
    /// Of the source's threads in the server's process, beyond `cpu_seconds`.
    pub(crate) source_cpu_seconds: f64,
    /// By name of the thread, the source's among them; those that ended (a restart) up to the last look at them.
    pub(crate) cpu_by_thread: BTreeMap<String, f64>,
    /// CPU seconds per million delivered updates, without the source.
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) resident_bytes_before: u64,
    pub(crate) resident_bytes_open: u64,
    pub(crate) resident_bytes_max: u64,
    pub(crate) resident_bytes_end: u64,
    /// Growth from before the sessions to when they were open, by session.
    pub(crate) bytes_per_session: f64,
    /// Growth of resident memory while it was measured, bytes per second, by least squares.
    pub(crate) growth_per_second: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Generator {
    /// Of a core, by reading thread.
    pub(crate) cpu_share: Vec<f64>,
    /// CPU seconds of all its reading threads while it was measured.
    pub(crate) cpu_seconds: f64,
    /// Delivered updates per second of its CPU time: what one core of it would hold.
    pub(crate) records_per_cpu_second: f64,
    /// The most that each record can have waited for its read, since it came; and how late the thread was for its own clock, each 10 ms.
    pub(crate) lag: Latency,
    /// How late the own source published, where it runs here or tells.
    pub(crate) source_lag: Latency,
    /// Its threads' wait for a processor, as a share of the time.
    pub(crate) waited_share: f64,
    /// Of all cores, everything that runs there; absent where the system does not tell.
    pub(crate) machine_busy: Option<f64>,
    /// The part of it that the run did not start and does not watch; absent where the system does not tell.
    pub(crate) machine_busy_others: Option<f64>,
    /// The busiest of them.
    pub(crate) others: Vec<Program>,
    /// Who of those that are under test is among them, because the run does not know their processes; empty: nobody.
    pub(crate) others_hold: Vec<String>,
    pub(crate) resident_bytes: u64,
    pub(crate) bytes_per_session: f64,
    pub(crate) was_bottleneck: bool,
    /// Those of the doubts that made it one.
    pub(crate) bottlenecks: Vec<String>,
    /// What limits how far the latencies can be trusted.
    pub(crate) doubts: Vec<String>,
}

/// A process that does not belong to the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// Of all processors, while it was measured.
    pub(crate) share: f64,
}

/// The server's clock as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Clock {
    pub(crate) is_same_host: bool,
    /// Server's clock minus own; already taken out of the latencies.
    pub(crate) offset_ns: i64,
    /// The offset is right to within this.
    pub(crate) error_ns: u64,
    /// Shortest round trip of a ping.
    pub(crate) round_trip_ns: u64,
}

/// What happened in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Second {
    /// Seconds since measuring began, at the end of this one.
    pub(crate) at: f64,
    pub(crate) sessions: u64,
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of prompt readers.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
    /// Age of what other kinds of readers get, by kind.
    pub(crate) ages: BTreeMap<String, Age>,
    /// Share of one core, without a source in the same process; absent where it is not known.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) server_resident_bytes: Option<u64>,
    /// Of the busiest reading thread.
    pub(crate) generator_cpu: f64,
    /// Bytes that the gateway has not seen confirmed, all sessions; absent where its admin address is not known.
    pub(crate) pressure_bytes: Option<u64>,
    /// Recent records that the gateway keeps for those who come back; absent likewise.
    pub(crate) log_bytes: Option<u64>,
    /// Updates per second that the plan asks for.
    pub(crate) offered: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "a field that is a time says its unit")]
pub(crate) struct Age {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

/// Something that the scenario did, or that happened to it: a storm, a restart, a change of rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    /// Seconds since measuring began.
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// An assertion, and whether it held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    /// As in the scenario: `latency.p99`, `hop.gateway_write-read.p99`, `deliveries_per_second`.
    pub(crate) name: String,
    /// For people: `at most 8ms`.
    pub(crate) limit: String,
    pub(crate) measured: String,
    pub(crate) held: bool,
    /// Of one that broke: what may lie behind it.
    pub(crate) hint: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Saturation {
    /// Highest source rate that held, in updates per second; 0: none did.
    pub(crate) updates_per_second: f64,
    /// Delivered at that rate.
    pub(crate) deliveries_per_second: f64,
    /// What stood in the way of more.
    pub(crate) limited_by: String,
    pub(crate) steps: Vec<SaturationStep>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SaturationStep {
    pub(crate) updates_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) delivered_share: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) server_cpu: Option<f64>,
    pub(crate) held: bool,
    pub(crate) reason: String,
}

impl Scenario {
    /// The name, and the file where it is not the program's own.
    pub(crate) fn title(&self) -> String {
        if self.file.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.file) }
    }
}

impl Hop {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.from, self.to)
    }

    /// For people; a part follows on its whole.
    pub(crate) fn title(&self) -> String {
        let mark = if self.is_part() { "· " } else { "" };
        format!("{mark}{} → {}", self.from, self.to)
    }

    pub(crate) fn is_part(&self) -> bool {
        !self.part_of.is_empty()
    }

    /// Gateways tell its parts.
    pub(crate) fn is_divided(&self) -> bool {
        (self.from.as_str(), self.to.as_str()) == ("ingester", "gateway_write")
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

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }
}

#[cfg(test)]
pub(crate) mod tests;
