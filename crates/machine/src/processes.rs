//! Processes as the system sees them: the one under test with its threads, and everybody who used this machine's processors.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use procfs::process::{Process, Stat, all_processes};

/// CPU seconds of threads, by their ids, with their names.
type Tasks = BTreeMap<i32, (String, f64)>;

/// CPU seconds of a process since it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpu {
    /// The seconds of all threads, those that ended among them.
    pub total: f64,
    /// The part of it that threads took which the caller keeps apart.
    pub apart: f64,
    /// Threads that ended are not among them.
    tasks: Tasks,
}

/// CPU seconds by name of the thread, from looks now and then: what a thread did before it ended counts up to the last look.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    seen: Tasks,
    /// The seconds so far.
    pub by_name: BTreeMap<String, f64>,
}

impl Threads {
    /// Returns what counts from here on.
    pub fn from(now: &Cpu) -> Self {
        Self { seen: now.tasks.clone(), by_name: BTreeMap::new() }
    }

    /// Counts what threads did since the last look.
    pub fn look(&mut self, now: &Cpu) {
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
    /// Returns what the other threads took.
    pub fn own(&self) -> f64 {
        (self.total - self.apart).max(0.0)
    }

    /// Returns the seconds of the threads that are there, by their names.
    pub fn by_name(&self) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for (name, seconds) in self.tasks.values() {
            *all.entry(name.clone()).or_default() += seconds;
        }
        all
    }

    /// Returns the difference to an earlier time, without the single threads.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let (total, apart) = (self.total - then.total, self.apart - then.apart);
        Self { total: total.max(0.0), apart: apart.max(0.0), tasks: Tasks::new() }
    }
}

/// A process that is watched.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Its id.
    pub pid: u32,
}

impl Watched {
    /// Returns this process.
    pub fn myself() -> Self {
        Self { pid: std::process::id() }
    }

    fn process(self) -> Option<Process> {
        Process::new(self.pid as i32).ok()
    }

    /// Returns what it took so far, zero where it is gone. Threads whose names begin with `apart` are told apart; an empty name is none's.
    pub fn cpu(self, apart: &str) -> Cpu {
        let mut cpu = Cpu::default();
        let Some(process) = self.process() else { return cpu };
        cpu.total = process.stat().map_or(0.0, |stat| seconds(ticks(&stat)));
        for task in process.tasks().into_iter().flatten().flatten() {
            let (Ok(stat), Ok(times)) = (task.stat(), task.schedstat()) else { continue };
            let used = times.sum_exec_runtime as f64 / 1e9;
            if !apart.is_empty() && stat.comm.starts_with(apart) {
                cpu.apart += used;
            }
            cpu.tasks.insert(task.tid, (stat.comm, used));
        }
        cpu
    }

    /// Returns for how long its threads ran, and for how long they waited for a processor; none where it is gone.
    pub fn ran_and_waited(self) -> Option<(Duration, Duration)> {
        let tasks = self.process()?.tasks().ok()?.flatten().filter_map(|task| task.schedstat().ok());
        let sum = tasks
            .fold((0, 0), |(ran, waited), times| (ran + times.sum_exec_runtime, waited + times.run_delay));
        Some((Duration::from_nanos(sum.0), Duration::from_nanos(sum.1)))
    }

    /// Returns its memory with shared code; none where it is gone.
    pub fn resident_bytes(self) -> Option<u64> {
        self.process()?.status().ok()?.vmrss.map(|kib| kib << 10)
    }

    /// Returns its command line; empty where it is gone.
    pub fn command(self) -> String {
        let words = self.process().and_then(|process| process.cmdline().ok());
        words.unwrap_or_default().join(" ").trim().to_owned()
    }
}

/// Adds user and system time. Their sum is exact, but how it divides is sampled by the clock's ticks, which misleads about
/// threads that wake with them.
fn ticks(stat: &Stat) -> u64 {
    stat.utime + stat.stime
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// All processes by their ids. Those that the system does not show are not among them.
#[derive(Clone, Debug, Default)]
pub struct Processes(BTreeMap<u32, Stat>);

/// The work of processes between two looks. Those that ended before the second one are not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// CPU seconds of the family.
    pub own_seconds: f64,
    /// The others, the busiest first: name, process, CPU seconds.
    pub others: Vec<(String, u32, f64)>,
}

impl Processes {
    /// Looks at all of them.
    pub fn now() -> Self {
        let all = all_processes().into_iter().flatten().flatten();
        Self(all.filter_map(|process| Some((process.pid as u32, process.stat().ok()?))).collect())
    }

    /// Returns these, what they started, and so on.
    fn family(&self, roots: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        let mut family: BTreeSet<u32> = roots.into_iter().collect();
        loop {
            let known = family.len();
            let born = self.0.iter().filter(|(_, process)| family.contains(&(process.ppid as u32)));
            let born: Vec<u32> = born.map(|(pid, _)| *pid).collect();
            family.extend(born);
            if family.len() == known {
                return family;
            }
        }
    }

    /// Returns what was used since then; `roots` and their descendants are the family.
    pub fn since(&self, then: &Self, roots: impl IntoIterator<Item = u32>) -> Used {
        let family = self.family(roots);
        let mut used = Used::default();
        for (pid, process) in &self.0 {
            let before = then.0.get(pid).filter(|before| before.starttime == process.starttime);
            let seconds = seconds(ticks(process).saturating_sub(before.map_or(0, ticks)));
            if family.contains(pid) {
                used.own_seconds += seconds;
            } else {
                used.others.push((process.comm.clone(), *pid, seconds));
            }
        }
        used.others.sort_by(|a, b| b.2.total_cmp(&a.2));
        used
    }
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;
