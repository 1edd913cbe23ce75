//! A run is watched while it goes on: the seconds of those who read, and the server's processors and memory.

use std::collections::BTreeMap;

use tickwire_machine::processes::{Cpu, Threads, Watched};
use tickwire_measure::{Latencies, Summary};
use tokio::time::Instant;

use super::admin;
use crate::part::Merge as _;
use crate::reader::SecondPart;
use crate::report::model::{Age, Second};
use crate::serve::SOURCE_THREAD;

const SECOND: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    watched: Option<Watched>,
    admin: Option<String>,
    seconds: BTreeMap<u64, SecondPart>,
    /// All seconds so far.
    sum: SecondPart,
    /// Second whose end was looked at.
    looked: Option<u64>,
    last_cpu: Option<(Instant, f64)>,
    begin: Cpu,
    /// While it was measured.
    pub(crate) cpu: Cpu,
    pub(crate) threads: Threads,
    pub(crate) command: String,
    pub(crate) resident_before: u64,
    pub(crate) resident_open: u64,
    pub(crate) resident_end: u64,
    pub(crate) pressure: Option<u64>,
}

impl Watch {
    pub(crate) fn new(watched: Option<Watched>, admin: Option<String>) -> Self {
        let command = watched.map(Watched::command).unwrap_or_default();
        Self { watched, admin, command, ..Self::default() }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.watched.map(|watched| watched.pid)
    }

    /// Returns the server's memory in bytes; 0 where it is not known.
    pub(super) fn resident(&self) -> u64 {
        self.watched.and_then(Watched::resident_bytes).unwrap_or(0)
    }

    fn cpu(&self) -> Cpu {
        self.watched.map(|watched| watched.cpu(SOURCE_THREAD)).unwrap_or_default()
    }

    pub(crate) fn begin(&mut self) {
        self.begin = self.cpu();
        self.last_cpu = Some((Instant::now(), self.begin.own()));
        self.threads = Threads::from(&self.begin);
    }

    /// Counts what threads did so far, before some of them end.
    pub(crate) fn look_at_threads(&mut self) {
        self.threads.look(&self.cpu());
    }

    pub(crate) fn end(&mut self) {
        let cpu = self.cpu();
        self.threads.look(&cpu);
        self.cpu = cpu.since(&self.begin);
        self.resident_end = self.resident();
    }

    /// Takes in seconds of this window, and looks at the server once a second.
    ///
    /// # Cancel safety
    /// Cancel-safe; a look may be lost.
    pub(crate) async fn look(&mut self, parts: &[SecondPart], window: (u64, u64), offered: f64) {
        for part in parts {
            if let Some((from, at)) = part.at
                && from == window.0
            {
                self.second(at, offered).include(part.clone());
                self.sum.include(part.clone());
            }
        }
        let running = tickwire_machine::now().saturating_sub(window.0) / SECOND;
        if self.looked.replace(running) == Some(running) || running == 0 {
            return;
        }
        let resident = self.watched.and_then(Watched::resident_bytes);
        let time = Instant::now();
        let total = self.watched.map(|_| {
            let cpu = self.cpu();
            self.threads.look(&cpu);
            cpu.own()
        });
        let share = total
            .zip(self.last_cpu)
            .map(|(total, (then, before))| (total - before).max(0.0) / (time - then).as_secs_f64().max(1e-3));
        self.last_cpu = total.map(|total| (time, total));
        let mut logs = None;
        if let Some(admin) = &self.admin {
            let text = admin::page(admin, "/metrics").await;
            let read = |name| text.as_ref().and_then(|text| gauge(text, name));
            (self.pressure, logs) = (read("tickwire_pressure_bytes"), read("tickwire_log_bytes"));
        }
        let pressure = self.pressure;
        let second = &mut self.second(running - 1, offered).second;
        (second.server_resident_bytes, second.server_cpu) = (resident, share);
        (second.pressure_bytes, second.log_bytes) = (pressure, logs);
    }

    fn second(&mut self, at: u64, offered: f64) -> &mut SecondPart {
        let second = Second { at: (at + 1) as f64, offered, ..Second::default() };
        self.seconds.entry(at).or_insert_with(|| SecondPart { second, ..SecondPart::default() })
    }

    /// Returns the last second that has records, with the prompt readers' ages.
    pub(crate) fn last(&self) -> Option<Second> {
        let last = self.seconds.values().rev().find(|part| part.second.records > 0);
        last.map(|part| read_off(part, &[]))
    }

    /// Returns all seconds; `names` are those of the kinds of readers, prompt last.
    pub(crate) fn series(&self, names: &[String]) -> Vec<Second> {
        self.seconds.values().map(|part| read_off(part, names)).collect()
    }

    /// Returns what all seconds come to, as one; and how many they are.
    pub(crate) fn sum(&self) -> Option<(Second, u64)> {
        Some((read_off(&self.sum, &[]), self.seconds.keys().next_back()? + 1))
    }
}

/// Returns a second with the quantiles of its ages.
fn read_off(part: &SecondPart, names: &[String]) -> Second {
    let ages = part.ages.iter().map(Latencies::summary);
    let Summary { p50_ns, p99_ns, p999_ns, max_ns, .. } = ages.clone().next_back().unwrap_or_default();
    let mut second = Second { p50_ns, p99_ns, p999_ns, max_ns, ..part.second.clone() };
    let slow = names.iter().zip(ages).filter(|(name, ages)| *name != "prompt" && ages.count > 0);
    let slow = slow
        .map(|(name, Summary { p50_ns, p99_ns, max_ns, .. })| (name.clone(), Age { p50_ns, p99_ns, max_ns }));
    second.ages = slow.collect();
    second
}

/// Returns the sum of the lines `name 123` and `name{label="x"} 123` of a page of metrics; None where there is none.
fn gauge(text: &str, name: &str) -> Option<u64> {
    let of = |line: &str| {
        let (key, value) = line.rsplit_once(' ')?;
        (key.split('{').next() == Some(name)).then(|| value.trim().parse::<u64>().ok())?
    };
    text.lines().filter_map(of).reduce(|sum, value| sum + value)
}

#[cfg(test)]
#[path = "../../tests/units/watch.rs"]
mod tests;
