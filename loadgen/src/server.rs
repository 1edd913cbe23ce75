//! The process under test, as the system sees it: time on processors by thread, and memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::serve::SOURCE_THREAD;

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds since the process began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// By name of the thread. Threads that ended are not among them.
    pub(crate) by_thread: BTreeMap<String, f64>,
}

impl Cpu {
    /// Of threads that play the source: nanoseconds are known for them, as for all threads.
    pub(crate) fn source(&self) -> f64 {
        self.by_thread.get(SOURCE_THREAD).copied().unwrap_or(0.0)
    }

    pub(crate) fn total(&self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn since(&self, then: &Self) -> Self {
        let by_thread = self.by_thread.iter().map(|(name, now)| {
            let before = then.by_thread.get(name).copied().unwrap_or(0.0);
            (name.clone(), (now - before).max(0.0))
        });
        Self {
            user: self.user - then.user,
            system: self.system - then.system,
            by_thread: by_thread.collect(),
        }
    }
}

/// A process that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
}

impl Watched {
    fn path(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid))
    }

    /// Zero where the process is gone.
    pub(crate) fn cpu(self) -> Cpu {
        let mut cpu = Cpu::default();
        if let Ok(text) = std::fs::read_to_string(self.path("stat")) {
            (cpu.user, cpu.system) = parse_stat(&text).unwrap_or_default();
        }
        let tasks = std::fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        for task in tasks {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            // Nanoseconds on a processor come first (Documentation/scheduler/sched-stats.rst).
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ns: f64 = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
            *cpu.by_thread.entry(name.trim().to_owned()).or_default() += ns / 1e9;
        }
        cpu
    }

    /// None where the process is gone.
    pub(crate) fn resident_bytes(self) -> Option<u64> {
        let text = std::fs::read_to_string(self.path("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }

    pub(crate) fn command(self) -> String {
        let bytes = std::fs::read(self.path("cmdline")).unwrap_or_default();
        let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}

/// proc(5), `/proc/pid/stat`: user and system time are fields 14 and 15; the name in field 2 may hold anything.
fn parse_stat(text: &str) -> Option<(f64, f64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_stat(text), Some((2.5, 0.5)));
        assert_eq!(parse_stat("nothing"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let own = Watched { pid: std::process::id() };
        assert!(own.resident_bytes().unwrap() > 100_000);
        let before = own.cpu();
        let mut value = 1_u64;
        while own.cpu().since(&before).by_thread.values().sum::<f64>() < 0.02 {
            value = std::hint::black_box(crate::source::mix(value));
        }
        assert!(!before.by_thread.is_empty() && !own.command().is_empty());
        assert_eq!(Watched { pid: u32::MAX }.resident_bytes(), None);
    }
}
