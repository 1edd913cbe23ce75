//! The process under test, as the system sees it: time on processors by thread, and memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::serve::SOURCE_THREAD;

/// CPU seconds of threads, by their ids, with their names.
type Tasks = BTreeMap<u32, (String, f64)>;

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds since the process began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) total: f64,
    /// The part of it that the source's threads took.
    pub(crate) source: f64,
    /// Threads that ended are not among them.
    tasks: Tasks,
}

/// CPU seconds by name of the thread, from looks now and then: what a thread did before it ended counts up to the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads {
    seen: Tasks,
    pub(crate) by_name: BTreeMap<String, f64>,
}

impl Threads {
    /// Counts from here on.
    pub(crate) fn from(now: &Cpu) -> Self {
        Self { seen: now.tasks.clone(), by_name: BTreeMap::new() }
    }

    pub(crate) fn look(&mut self, now: &Cpu) {
        for (id, (name, seconds)) in &now.tasks {
            // One that took less than before is another thread with the same id.
            let before = self.seen.get(id).map_or(0.0, |(_, before)| *before);
            let used = if before <= *seconds { seconds - before } else { *seconds };
            *self.by_name.entry(name.clone()).or_default() += used;
        }
        self.seen.clone_from(&now.tasks);
    }
}

impl Cpu {
    /// Without the source.
    pub(crate) fn own(&self) -> f64 {
        (self.total - self.source).max(0.0)
    }

    pub(crate) fn since(&self, then: &Self) -> Self {
        Self {
            total: (self.total - then.total).max(0.0),
            source: (self.source - then.source).max(0.0),
            tasks: Tasks::new(),
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
            cpu.total = parse_stat(&text).unwrap_or_default();
        }
        let tasks = std::fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        for task in tasks {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            // Nanoseconds on a processor come first (Documentation/scheduler/sched-stats.rst).
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ns: f64 = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
            let id = task.file_name().to_str().and_then(|id| id.parse().ok()).unwrap_or(0);
            if name.trim() == SOURCE_THREAD {
                cpu.source += ns / 1e9;
            }
            cpu.tasks.insert(id, (name.trim().to_owned(), ns / 1e9));
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

/// proc(5), `/proc/pid/stat`: user and system time are fields 14 and 15; the name in field 2 may hold anything. Their sum is
/// exact, but how it divides is sampled by the clock's ticks, which misleads about threads that wake with them.
fn parse_stat(text: &str) -> Option<f64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(seconds()? + seconds()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_stat(text), Some(3.0));
        assert_eq!(parse_stat("nothing"), None);
    }

    #[test]
    fn threads_that_ended_keep_what_they_did_and_those_behind_them_add_to_it() {
        let cpu = |tasks: &[(u32, &str, f64)]| {
            let tasks = tasks.iter().map(|(id, name, seconds)| (*id, ((*name).to_owned(), *seconds)));
            Cpu { tasks: tasks.collect(), ..Cpu::default() }
        };
        let mut threads = Threads::from(&cpu(&[(1, "main", 2.0), (2, "shard-0", 7.0), (3, "hub", 1.0)]));
        threads.look(&cpu(&[(1, "main", 2.5), (2, "shard-0", 10.0), (3, "hub", 1.0)]));
        // The gateway is restarted: new threads of the same names, one of them under an old id.
        threads.look(&cpu(&[(1, "main", 2.5), (3, "shard-0", 0.5), (9, "hub", 0.25)]));
        threads.look(&cpu(&[(1, "main", 3.0), (3, "shard-0", 1.5), (9, "hub", 0.25)]));
        let of = |name: &str| threads.by_name[name];
        assert_eq!((of("main"), of("shard-0"), of("hub")), (1.0, 4.5, 0.25));
    }

    #[test]
    fn this_process_is_seen() {
        let own = Watched { pid: std::process::id() };
        assert!(own.resident_bytes().unwrap() > 100_000);
        let before = own.cpu();
        let mut value = 1_u64;
        let mut threads = Threads::from(&before);
        while threads.by_name.values().sum::<f64>() < 0.02 {
            value = std::hint::black_box(crate::source::mix(value));
            threads.look(&own.cpu());
        }
        assert!(!before.tasks.is_empty() && !own.command().is_empty());
        assert_eq!(Watched { pid: u32::MAX }.resident_bytes(), None);
    }
}
