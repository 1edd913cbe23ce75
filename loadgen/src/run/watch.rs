//! What is seen of a run while it goes on: the seconds of those who read, and the server's processors and memory.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::admin;
use crate::reader::{SecondPart, histogram};
use crate::report::model::{Age, Second};
use crate::server::{Cpu, Watched};

const SECOND: u64 = 1_000_000_000;

/// A second of all who read.
#[derive(Debug)]
struct Whole {
    sessions: u64,
    records: u64,
    messages: u64,
    bytes: u64,
    cpu: f64,
    ages: Vec<Histogram<u64>>,
    server_cpu: Option<f64>,
    resident: Option<u64>,
    pressure: Option<u64>,
    offered: f64,
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
    /// While it was measured.
    pub(crate) cpu: Cpu,
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
            cpu: Cpu::default(),
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

    pub(crate) fn begin(&mut self) {
        self.begin = self.watched.map(Watched::cpu).unwrap_or_default();
        self.last_cpu = Some((Instant::now(), self.begin.total()));
    }

    pub(crate) fn end(&mut self) {
        self.cpu = self.watched.map(Watched::cpu).unwrap_or_default().since(&self.begin);
        self.resident_end = self.watched.and_then(Watched::resident_bytes).unwrap_or(0);
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
        if self.looked == Some(running) {
            return;
        }
        self.looked = Some(running);
        let Some(ended) = running.checked_sub(1) else { return };
        let resident = self.watched.and_then(Watched::resident_bytes);
        let total = self.watched.map(|watched| watched.cpu().total());
        let time = Instant::now();
        let share = total
            .zip(self.last_cpu)
            .map(|(total, (then, before))| (total - before).max(0.0) / (time - then).as_secs_f64().max(1e-3));
        self.last_cpu = total.map(|total| (time, total));
        if let Some(admin) = &self.admin {
            let text = admin::page(admin, "/metrics").await;
            self.pressure = text.and_then(|text| gauge(&text, "pressure_bytes"));
        }
        let pressure = self.pressure;
        let whole = self.whole(ended, offered);
        (whole.resident, whole.server_cpu, whole.pressure) = (resident, share, pressure);
    }

    fn whole(&mut self, at: u64, offered: f64) -> &mut Whole {
        let kinds = self.kinds;
        self.seconds.entry(at).or_insert_with(|| Whole {
            sessions: 0,
            records: 0,
            messages: 0,
            bytes: 0,
            cpu: 0.0,
            ages: (0..kinds).map(|_| histogram()).collect(),
            server_cpu: None,
            resident: None,
            pressure: None,
            offered,
        })
    }

    fn add(&mut self, at: u64, part: &SecondPart, offered: f64) {
        let whole = self.whole(at, offered);
        whole.sessions += part.sessions;
        whole.records += part.records;
        whole.messages += part.messages;
        whole.bytes += part.bytes;
        whole.cpu = whole.cpu.max(part.cpu);
        for (kind, ages) in whole.ages.iter_mut().enumerate() {
            part.add_ages(kind, ages);
        }
    }

    /// The last second that is there: records per second, and the prompt readers' ages in nanoseconds.
    pub(crate) fn last(&self) -> Option<Second> {
        let (at, whole) = self.seconds.iter().rev().find(|(_, whole)| whole.records > 0)?;
        Some(whole.second(*at, &[]))
    }

    /// All seconds; `names` are those of the kinds of readers, prompt last.
    pub(crate) fn series(&self, names: &[&str]) -> Vec<Second> {
        self.seconds.iter().map(|(at, whole)| whole.second(*at, names)).collect()
    }

    /// All ages of prompt readers, in microseconds, and all records.
    pub(crate) fn sum(&self) -> (Histogram<u64>, u64) {
        let mut ages = histogram();
        for whole in self.seconds.values() {
            if let Some(prompt) = whole.ages.last() {
                ages.add(prompt).expect("all have the same bounds");
            }
        }
        (ages, self.seconds.values().map(|whole| whole.records).sum())
    }
}

impl Whole {
    fn second(&self, at: u64, names: &[&str]) -> Second {
        let ns =
            |ages: &Histogram<u64>, q| if ages.is_empty() { 0 } else { ages.value_at_quantile(q) * 1000 };
        let age = |ages: &Histogram<u64>| Age {
            p50_ns: ns(ages, 0.5),
            p99_ns: ns(ages, 0.99),
            max_ns: ns(ages, 1.0),
        };
        let prompt = self.ages.last();
        let prompt = |q| prompt.map_or(0, |ages| ns(ages, q));
        let mut ages = BTreeMap::new();
        for (name, kind) in names.iter().zip(&self.ages) {
            if *name != "prompt" && !kind.is_empty() {
                ages.insert((*name).to_owned(), age(kind));
            }
        }
        Second {
            at: (at + 1) as f64,
            sessions: self.sessions,
            records: self.records,
            messages: self.messages,
            bytes: self.bytes,
            p50_ns: prompt(0.5),
            p99_ns: prompt(0.99),
            p999_ns: prompt(0.999),
            max_ns: prompt(1.0),
            ages,
            server_cpu: self.server_cpu,
            server_resident_bytes: self.resident,
            generator_cpu: self.cpu,
            pressure_bytes: self.pressure,
            offered: self.offered,
        }
    }
}

/// The value of a line `…name 123` of a page of metrics.
fn gauge(text: &str, name: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut values = lines.filter_map(|line| line.split_once(' ').filter(|(key, _)| key.ends_with(name)));
    values.next()?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_the_end_of_its_name() {
        let text = "# HELP tickwire_pressure_bytes x\ntickwire_sessions 3\ntickwire_pressure_bytes 42\n";
        assert_eq!(gauge(text, "pressure_bytes"), Some(42));
        assert_eq!(gauge(text, "log_bytes"), None);
    }

    #[tokio::test]
    async fn parts_of_a_second_are_one_second() {
        let mut watch = Watch::new(None, None, 1);
        let now = crate::clock::now();
        let part = |at| SecondPart { at, records: 5, sessions: 2, cpu: 0.5, ..SecondPart::default() };
        let window = (now, now + SECOND);
        watch
            .look(&[part(Some((now, 0))), part(Some((now, 0))), part(None), part(Some((1, 0)))], window, 7.0)
            .await;
        let series = watch.series(&["prompt"]);
        assert_eq!(series.len(), 1);
        assert_eq!((series[0].records, series[0].sessions, series[0].offered), (10, 4, 7.0));
    }
}
