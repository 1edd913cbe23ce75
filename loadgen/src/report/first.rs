//! What came of a run: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tickwire_wire::{PROTOCOL_VERSION, SCHEMA};

use crate::cli::Plan;
use crate::latency::Summary;
use crate::machine::Machine;
use crate::tally::{Gaps, LedgerSums, Noted, Tally};

/// Above this share of a core, a reading thread has no room for bursts.
const CPU_SHARE_MAX: f64 = 0.8;
/// Above this, at p99, reading late is a visible part of what is measured. Timers alone are late by up to 1 ms.
const LAG_P99_MAX_NS: u64 = 5_000_000;
/// Above this share of all processors, whoever measures and whoever is measured wait for each other.
const MACHINE_BUSY_MAX: f64 = 0.9;

/// How the generator itself fared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) seconds: f64,
    /// Of all processors; None where the system does not tell.
    pub(crate) machine_busy: Option<f64>,
    pub(crate) resident_bytes: u64,
}

/// Times in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) passed: bool,
    version: &'static str,
    protocol_version: u32,
    schema: &'static str,
    server: String,
    machine: Machine,
    plan: Plan,
    seconds: f64,
    sessions: Sessions,
    flow: Rates,
    /// By channel: from `event_time` to the read.
    from_event: BTreeMap<&'static str, Summary>,
    /// From the gateway's `sent_time` to the read.
    from_sent: Summary,
    gaps: BTreeMap<String, Gaps>,
    ledger: LedgerSums,
    conflating_notices: u64,
    refused: Noted,
    violations: Noted,
    generator: Generator,
}

#[derive(Debug, Serialize)]
struct Sessions {
    asked: u64,
    opened: u64,
    not_opened: Noted,
    ended_early: Noted,
}

#[derive(Debug, Serialize)]
struct Rates {
    messages: u64,
    records: u64,
    bytes: u64,
    records_by_channel: BTreeMap<&'static str, u64>,
    records_per_second: f64,
    bytes_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Generator {
    /// Of a core, by thread.
    cpu_share: Vec<f64>,
    /// How late its own timers were.
    lag: Summary,
    /// Of all cores, everything that runs there.
    machine_busy: Option<f64>,
    resident_bytes: u64,
    was_bottleneck: bool,
    /// What limits how far the latencies can be trusted.
    doubts: Vec<String>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, machine: Machine, opened: u64, own: &Own, tally: Tally) -> Self {
        let passed =
            tally.violations.count == 0 && tally.not_opened.count == 0 && tally.ended_early.count == 0;
        let per_second = |count: u64| count as f64 / own.seconds.max(0.001);
        let flow = Rates {
            messages: tally.flow.messages,
            records: tally.flow.records,
            bytes: tally.flow.bytes,
            records_by_channel: tally.records_by_channel,
            records_per_second: per_second(tally.flow.records),
            bytes_per_second: per_second(tally.flow.bytes),
        };
        let from_event: BTreeMap<_, _> =
            tally.from_event.iter().map(|(channel, latencies)| (*channel, latencies.summary())).collect();
        let backwards = from_event.values().map(|summary| summary.backwards).sum();
        let generator = Generator::new(tally.cpu_share, tally.lag.summary(), own, backwards);
        Self {
            passed,
            version: env!("CARGO_PKG_VERSION"),
            protocol_version: PROTOCOL_VERSION,
            schema: SCHEMA,
            server: tally.server,
            machine,
            plan: plan.clone(),
            seconds: own.seconds,
            sessions: Sessions {
                asked: plan.sessions as u64,
                opened,
                not_opened: tally.not_opened,
                ended_early: tally.ended_early,
            },
            flow,
            from_event,
            from_sent: tally.from_sent.summary(),
            gaps: tally.gaps,
            ledger: tally.ledger,
            conflating_notices: tally.conflating_notices,
            refused: tally.refused,
            violations: tally.violations,
            generator,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("text can always be appended");
        text.trim_end().to_owned()
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let (sessions, flow) = (&self.sessions, &self.flow);
        let (cpu, cores) = (&self.machine.cpu, self.machine.cores);
        writeln!(text, "tickwire-loadgen {} at {} ({})", self.version, self.plan.url, self.server)?;
        writeln!(text, "machine     {cores} cores, {cpu}, {}", self.machine.system)?;
        writeln!(
            text,
            "sessions    {} of {} open, {} not opened, {} ended early",
            sessions.opened, sessions.asked, sessions.not_opened.count, sessions.ended_early.count
        )?;
        writeln!(
            text,
            "received    {} records in {} messages, {} bytes, in {:.1} s: {:.0} records/s, {:.2} MB/s",
            flow.records,
            flow.messages,
            flow.bytes,
            self.seconds,
            flow.records_per_second,
            flow.bytes_per_second / 1e6
        )?;
        writeln!(text, "\nlatency, ms        count        p50        p90        p99      p99.9        max")?;
        for (channel, summary) in &self.from_event {
            write_summary(text, channel, summary)?;
        }
        write_summary(text, "sent → read", &self.from_sent)?;
        write_summary(text, "own lag", &self.generator.lag)?;
        writeln!(text, "(channels: from the event to the read)\n")?;
        for (cause, gaps) in &self.gaps {
            writeln!(text, "gaps        {cause}: {} with {} numbers", gaps.announced, gaps.numbers)?;
        }
        let l = &self.ledger;
        writeln!(
            text,
            "ledgers     {} entries checked: {} published = {} delivered + {} conflated + {} dropped + {} filtered",
            l.checked, l.published, l.delivered, l.conflated, l.dropped, l.filtered
        )?;
        let shares: Vec<_> =
            self.generator.cpu_share.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        let busy = self.generator.machine_busy.map_or("?".to_owned(), |busy| format!("{:.0}", busy * 100.0));
        writeln!(
            text,
            "generator   threads at {} of a core, machine at {busy} %, {:.0} MiB resident",
            shares.join(", "),
            self.generator.resident_bytes as f64 / 1_048_576.0
        )?;
        for doubt in &self.generator.doubts {
            writeln!(text, "            doubt: {doubt}")?;
        }
        let noted = [
            ("refused", &self.refused),
            ("not opened", &sessions.not_opened),
            ("ended early", &sessions.ended_early),
            ("VIOLATIONS", &self.violations),
        ];
        for (name, noted) in noted.iter().filter(|(_, noted)| noted.count > 0) {
            writeln!(text, "{name}: {}", noted.count)?;
            for line in &noted.first {
                writeln!(text, "  {line}")?;
            }
        }
        let verdict = if self.passed { "passed: every number is accounted for" } else { "FAILED" };
        writeln!(text, "{verdict}")
    }
}

impl Generator {
    fn new(cpu_share: Vec<f64>, lag: Summary, own: &Own, backwards: u64) -> Self {
        let busiest = cpu_share.iter().copied().fold(0.0, f64::max);
        let mut doubts = Vec::new();
        if busiest > CPU_SHARE_MAX {
            let percent = busiest * 100.0;
            doubts.push(format!(
                "a reading thread took {percent:.0} % of a core: the generator was the bottleneck; more threads or hosts"
            ));
        }
        if lag.p99_ns > LAG_P99_MAX_NS {
            let late = lag.p99_ns as f64 / 1e6;
            doubts.push(format!(
                "it read up to {late:.1} ms late (p99): latencies hold that, and the generator was the bottleneck"
            ));
        }
        let was_bottleneck = !doubts.is_empty();
        if let Some(busy) = own.machine_busy.filter(|busy| *busy > MACHINE_BUSY_MAX) {
            let percent = busy * 100.0;
            doubts.push(format!(
                "all processors were {percent:.0} % busy: latencies hold the wait for a processor, the generator's included"
            ));
        }
        if backwards > 0 {
            doubts.push(format!("{backwards} records came before their event time: the clocks differ"));
        }
        let (machine_busy, resident_bytes) = (own.machine_busy, own.resident_bytes);
        Self { cpu_share, lag, machine_busy, resident_bytes, was_bottleneck, doubts }
    }
}

fn write_summary(text: &mut String, name: &str, summary: &Summary) -> std::fmt::Result {
    let ms = |ns: u64| ns as f64 / 1e6;
    writeln!(
        text,
        "{name:<12} {:>11} {:>10.3} {:>10.3} {:>10.3} {:>10.3} {:>10.3}",
        summary.count,
        ms(summary.p50_ns),
        ms(summary.p90_ns),
        ms(summary.p99_ns),
        ms(summary.p999_ns),
        ms(summary.max_ns)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        share: f64,
        lag_p99_ns: u64,
        machine_busy: f64,
        backwards: u64,
        bottleneck: bool,
        doubts: usize,
    ) {
        let lag = Summary { p99_ns: lag_p99_ns, ..Summary::default() };
        let own = Own { seconds: 1.0, machine_busy: Some(machine_busy), resident_bytes: 0 };
        let generator = Generator::new(vec![0.1, share], lag, &own, backwards);
        assert_eq!((generator.was_bottleneck, generator.doubts.len()), (bottleneck, doubts));
    }

    #[test]
    fn it_says_when_it_was_the_bottleneck_itself() {
        check(0.5, 1_200_000, 0.5, 0, false, 0);
        check(0.9, 1_200_000, 0.5, 0, true, 1);
        check(0.5, 9_000_000, 0.5, 0, true, 1);
        check(0.5, 1_200_000, 0.95, 0, false, 1);
        check(0.5, 1_200_000, 0.5, 3, false, 1);
        check(0.9, 9_000_000, 0.95, 3, true, 4);
    }
}
