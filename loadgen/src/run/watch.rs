//! A run is watched while it goes on: the seconds of those who read, and the server's processors and memory.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::admin;
use crate::processes::{Cpu, Threads, Watched};
use crate::reader::{SecondPart, histogram};
use crate::report::model::{Age, Second};

const SECOND: u64 = 1_000_000_000;

/// A second of all who read; quantiles are read off the ages at the end.
#[derive(Debug)]
struct Whole {
    second: Second,
    /// Ages by kind of reader, in microseconds.
    ages: Vec<Histogram<u64>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    watched: Option<Watched>,
    admin: Option<String>,
    kinds: usize,
    seconds: BTreeMap<u64, Whole>,
    /// Second whose end was looked at.
    looked: Option<u64>,
    last_cpu: Option<(Instant, f64)>,
    begin: Cpu,
    /// All seconds so far: ages of prompt readers in microseconds, records, bytes.
    ages: Histogram<u64>,
    records: u64,
    bytes: u64,
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
    pub(crate) fn new(watched: Option<Watched>, admin: Option<String>, kinds: usize) -> Self {
        Self {
            watched,
            admin,
            kinds,
            seconds: BTreeMap::new(),
            looked: None,
            last_cpu: None,
            begin: Cpu::default(),
            ages: histogram(),
            records: 0,
            bytes: 0,
            cpu: Cpu::default(),
            threads: Threads::default(),
            command: watched.map(Watched::command).unwrap_or_default(),
            resident_before: 0,
            resident_open: 0,
            resident_end: 0,
            pressure: None,
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.watched.map(|watched| watched.pid)
    }

    /// Returns the server's memory in bytes; 0 where it is not known.
    pub(super) fn resident(&self) -> u64 {
        self.watched.and_then(Watched::resident_bytes).unwrap_or(0)
    }

    fn cpu(&self) -> Cpu {
        self.watched.map(Watched::cpu).unwrap_or_default()
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
                self.add(at, part, offered);
            }
        }
        let running = crate::clock::now().saturating_sub(window.0) / SECOND;
        if self.looked.replace(running) == Some(running) || running == 0 {
            return;
        }
        let resident = self.watched.and_then(Watched::resident_bytes);
        let cpu = self.watched.map(Watched::cpu);
        let time = Instant::now();
        if let Some(cpu) = &cpu {
            self.threads.look(cpu);
        }
        let total = cpu.map(|cpu| cpu.own());
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
        let second = &mut self.whole(running - 1, offered).second;
        (second.server_resident_bytes, second.server_cpu) = (resident, share);
        (second.pressure_bytes, second.log_bytes) = (pressure, logs);
    }

    fn whole(&mut self, at: u64, offered: f64) -> &mut Whole {
        let kinds = self.kinds;
        self.seconds.entry(at).or_insert_with(|| Whole {
            second: Second { at: (at + 1) as f64, offered, ..Second::default() },
            ages: (0..kinds).map(|_| histogram()).collect(),
        })
    }

    fn add(&mut self, at: u64, part: &SecondPart, offered: f64) {
        let Whole { second, ages } = self.whole(at, offered);
        second.sessions += part.sessions;
        second.records += part.records;
        second.messages += part.messages;
        second.bytes += part.bytes;
        second.generator_cpu = second.generator_cpu.max(part.cpu);
        for (kind, ages) in ages.iter_mut().enumerate() {
            part.add_ages(kind, ages);
        }
        part.add_ages(self.kinds.saturating_sub(1), &mut self.ages);
        (self.records, self.bytes) = (self.records + part.records, self.bytes + part.bytes);
    }

    /// Returns the last second that has records, with the prompt readers' ages.
    pub(crate) fn last(&self) -> Option<Second> {
        let last = self.seconds.values().rev().find(|whole| whole.second.records > 0);
        last.map(|whole| whole.read_off(&[]))
    }

    /// Returns all seconds; `names` are those of the kinds of readers, prompt last.
    pub(crate) fn series(&self, names: &[&str]) -> Vec<Second> {
        self.seconds.values().map(|whole| whole.read_off(names)).collect()
    }

    /// Returns all ages of prompt readers, in microseconds, and all records.
    pub(crate) fn sum(&self) -> (&Histogram<u64>, u64) {
        (&self.ages, self.records)
    }

    /// Returns what all seconds come to, as one of average records and bytes; and how many they are.
    pub(crate) fn so_far(&self) -> Option<(Second, u64)> {
        let count = self.seconds.keys().next_back()? + 1;
        let (records, bytes) = (self.records / count, self.bytes / count);
        let second = Second { records, bytes, ..Second::default() };
        Some((with_ages(second, &self.ages), count))
    }
}

impl Whole {
    fn read_off(&self, names: &[&str]) -> Second {
        let mut second = self.second.clone();
        for (name, ages) in names.iter().zip(&self.ages) {
            if *name != "prompt" && !ages.is_empty() {
                let age = Age { p50_ns: ns(ages, 0.5), p99_ns: ns(ages, 0.99), max_ns: ns(ages, 1.0) };
                second.ages.insert((*name).to_owned(), age);
            }
        }
        match self.ages.last() {
            Some(prompt) => with_ages(second, prompt),
            None => second,
        }
    }
}

fn with_ages(second: Second, ages: &Histogram<u64>) -> Second {
    let [p50_ns, p99_ns, p999_ns, max_ns] = [0.5, 0.99, 0.999, 1.0].map(|q| ns(ages, q));
    Second { p50_ns, p99_ns, p999_ns, max_ns, ..second }
}

/// Returns a quantile of ages, in nanoseconds; 0 where there are none.
pub(super) fn ns(ages: &Histogram<u64>, quantile: f64) -> u64 {
    if ages.is_empty() { 0 } else { ages.value_at_quantile(quantile) * 1000 }
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
