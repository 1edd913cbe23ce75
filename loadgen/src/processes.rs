//! Processes as the system sees them: the one under test with its threads, and everybody who used this machine's processors.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::{Process, Stat, all_processes};

use crate::report::model::Program;
use crate::serve::SOURCE_THREAD;

/// So many other programs are named.
const NAMED_MAX: usize = 3;
/// Programs that took a smaller part of all processors are not named.
const NAMED_SHARE_MIN: f64 = 0.005;

/// CPU seconds of threads, by their ids, with their names.
type Tasks = BTreeMap<i32, (String, f64)>;

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
    /// Returns what others than the source took.
    pub(crate) fn own(&self) -> f64 {
        (self.total - self.source).max(0.0)
    }

    pub(crate) fn since(&self, then: &Self) -> Self {
        let (total, source) = (self.total - then.total, self.source - then.source);
        Self { total: total.max(0.0), source: source.max(0.0), tasks: Tasks::new() }
    }
}

/// A process that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
}

impl Watched {
    fn process(self) -> Option<Process> {
        Process::new(self.pid as i32).ok()
    }

    /// Returns zero where the process is gone.
    pub(crate) fn cpu(self) -> Cpu {
        let mut cpu = Cpu::default();
        let Some(process) = self.process() else { return cpu };
        cpu.total = process.stat().map_or(0.0, |stat| seconds(ticks(&stat)));
        for task in process.tasks().into_iter().flatten().flatten() {
            let (Ok(stat), Ok(times)) = (task.stat(), task.schedstat()) else { continue };
            let used = times.sum_exec_runtime as f64 / 1e9;
            if stat.comm.starts_with(SOURCE_THREAD) {
                cpu.source += used;
            }
            cpu.tasks.insert(task.tid, (stat.comm, used));
        }
        cpu
    }

    /// Returns none where the process is gone.
    pub(crate) fn resident_bytes(self) -> Option<u64> {
        self.process()?.status().ok()?.vmrss.map(|kib| kib << 10)
    }

    pub(crate) fn command(self) -> String {
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

/// All processes by their ids, when measuring begins and when it ends. Those that the system does not show are not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(BTreeMap<u32, Stat>);

/// The work of processes between two looks. Those that ended before the second one are not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// CPU seconds of those that belong to the run.
    pub(crate) own_seconds: f64,
    /// The others, the busiest first: name, process, CPU seconds.
    others: Vec<(String, u32, f64)>,
}

impl Processes {
    pub(crate) fn now() -> Self {
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

    /// Returns what was used since then; `roots` and their descendants belong to the run.
    pub(crate) fn since(&self, then: &Self, roots: impl IntoIterator<Item = u32>) -> Used {
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

impl Used {
    /// Returns the busiest others, by their share of all that processors could do in so many seconds.
    pub(crate) fn busiest(&self, processor_seconds: f64) -> Vec<Program> {
        let share = |seconds: f64| if processor_seconds > 0.0 { seconds / processor_seconds } else { 0.0 };
        let busiest = self.others.iter().take(NAMED_MAX);
        let busiest = busiest.map(|(name, pid, seconds)| Program {
            name: name.clone(),
            pid: *pid,
            share: share(*seconds),
        });
        busiest.filter(|program| program.share >= NAMED_SHARE_MIN).collect()
    }
}

/// Returns names with their shares, for people.
pub(crate) fn named(programs: &[Program]) -> String {
    let each = programs
        .iter()
        .map(|Program { name, pid, share }| format!("{name} {:.0} %, process {pid}", share * 100.0));
    let each: Vec<_> = each.collect();
    if each.is_empty() {
        "they ended before it was looked, or the system does not show them".to_owned()
    } else {
        each.join("; ")
    }
}

#[cfg(test)]
#[path = "../tests/units/processes.rs"]
mod tests;
