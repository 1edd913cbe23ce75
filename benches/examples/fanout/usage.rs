//! CPU time of this process's threads and its memory, as Linux tells them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

/// Keeps this thread, and those that it starts, on one core where there are several.
pub(crate) fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

pub(crate) struct Usage {
    at: Instant,
    /// The nanoseconds on a core, by the thread's name.
    threads: BTreeMap<String, u64>,
    rss_kib: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let spent = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0_u64);
            *threads.entry(read("comm").trim().to_owned()).or_default() += spent;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let rss_kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self { at: Instant::now(), threads, rss_kib }
    }

    /// Prints one report: `told` is the clients' line, whose first word is what was delivered.
    pub(crate) fn print(&self, idle: &Self, start: &Self, told: &str, sessions: usize) {
        let seconds = (self.at - start.at).as_secs_f64();
        let delivered: f64 = told.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let mut line = format!("{told} | {:.0} deliveries/s", delivered / seconds);
        let spent = |usage: &Self| usage.threads.get("shard-0").copied().unwrap_or(0) as f64 / 1e9;
        let cpu = spent(self) - spent(start);
        let share = 100.0 * cpu / seconds;
        let _ =
            write!(line, ", {share:.1} % of a core, {:.2} CPU s per million", cpu / delivered.max(1.0) * 1e6);
        let grown = self.rss_kib.saturating_sub(idle.rss_kib) as f64;
        println!("{line} | RSS {} MiB, {:.2} KiB a session", self.rss_kib >> 10, grown / sessions as f64);
    }
}
