//! Who used this machine's processors: all processes, looked at when measuring begins and when it ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::model::Program;

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Other programs that are named.
const NAMED_MAX: usize = 3;
/// Of all processors: who took less is not named.
const NAMED_SHARE_MIN: f64 = 0.005;

/// Processes by their ids; those that the system does not show are not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(BTreeMap<u32, Process>);

#[derive(Clone, Debug, PartialEq)]
struct Process {
    name: String,
    parent: u32,
    started: u64,
    ticks: u64,
}

/// What processes did between two looks. Those that ended before the second one are not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// CPU seconds of those that belong to the run.
    pub(crate) own_seconds: f64,
    /// The others, the busiest first: name, process, CPU seconds.
    others: Vec<(String, u32, f64)>,
}

impl Processes {
    pub(crate) fn now() -> Self {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let read = |pid| Process::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        Self(pids.filter_map(|pid| Some((pid, read(pid)?))).collect())
    }

    /// These, and what they started, and so on.
    fn family(&self, roots: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        let mut family: BTreeSet<u32> = roots.into_iter().collect();
        loop {
            let known = family.len();
            let born = self.0.iter().filter(|(_, process)| family.contains(&process.parent));
            let born: Vec<u32> = born.map(|(pid, _)| *pid).collect();
            family.extend(born);
            if family.len() == known {
                return family;
            }
        }
    }

    /// What was used since then; `roots` and their descendants belong to the run.
    pub(crate) fn since(&self, then: &Self, roots: impl IntoIterator<Item = u32>) -> Used {
        let family = self.family(roots);
        let mut used = Used::default();
        for (pid, process) in &self.0 {
            let before = then.0.get(pid).filter(|before| before.started == process.started);
            let ticks = process.ticks.saturating_sub(before.map_or(0, |before| before.ticks));
            let seconds = ticks as f64 / TICKS_PER_SECOND;
            if family.contains(pid) {
                used.own_seconds += seconds;
            } else {
                used.others.push((process.name.clone(), *pid, seconds));
            }
        }
        used.others.sort_by(|a, b| b.2.total_cmp(&a.2));
        used
    }
}

impl Process {
    /// proc(5), `/proc/pid/stat`: behind the name, which may hold anything, state, parent, …; user and system time are fields 14
    /// and 15, the start field 22.
    fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Self { name, parent: field(4)? as u32, started: field(22)?, ticks: field(14)? + field(15)? })
    }
}

impl Used {
    /// The busiest others, by their share of all that processors could do in so many seconds.
    pub(crate) fn busiest(&self, processor_seconds: f64) -> Vec<Program> {
        let share = |seconds: f64| if processor_seconds > 0.0 { seconds / processor_seconds } else { 0.0 };
        let programs = self.others.iter().take(NAMED_MAX).map(|(name, pid, seconds)| Program {
            name: name.clone(),
            pid: *pid,
            share: share(*seconds),
        });
        programs.filter(|program| program.share >= NAMED_SHARE_MIN).collect()
    }
}

/// Names with their shares, for people.
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
mod tests {
    use super::*;

    fn processes(all: &[(u32, &str, u32, u64, u64)]) -> Processes {
        let each = all.iter().map(|(pid, name, parent, started, ticks)| {
            let text = format!(
                "{pid} ({name}) S {parent} 7 7 0 -1 4194304 1 2 3 4 {ticks} 0 0 0 20 0 1 0 {started} 0 0"
            );
            (*pid, Process::parse(&text).expect("it is one"))
        });
        Processes(each.collect())
    }

    #[test]
    fn what_a_run_did_not_start_is_named_by_how_busy_it_was() {
        let then = processes(&[
            (1, "init", 0, 1, 9_000),
            (7, "run", 1, 5, 100),
            (8, "serve", 7, 5, 100),
            (20, "a) b", 1, 3, 1_000),
            (30, "old", 1, 3, 5_000),
        ]);
        let now = processes(&[
            (1, "init", 0, 1, 9_000),
            (7, "run", 1, 5, 150),
            (8, "serve", 7, 5, 250),
            (9, "worker", 8, 60, 50),
            (20, "a) b", 1, 3, 1_300),
            (25, "begun later", 1, 70, 100),
            // The same id, and another process.
            (30, "new", 1, 70, 20),
            (40, "idle", 1, 3, 1),
        ]);
        let used = now.since(&then, [7]);
        assert!((used.own_seconds - 2.5).abs() < 1e-9, "{used:?}");
        let named = used.busiest(10.0);
        let named: Vec<_> = named.iter().map(|program| (program.name.as_str(), program.pid)).collect();
        assert_eq!(named, [("a) b", 20), ("begun later", 25), ("new", 30)]);
        assert_eq!(used.busiest(1e4), []);
    }

    #[test]
    fn this_process_is_one_of_its_own() {
        let own = std::process::id();
        let then = Processes::default();
        let used = Processes::now().since(&then, [own]);
        assert!(used.others.iter().all(|(_, pid, _)| *pid != own));
        assert!(Processes::now().0.contains_key(&own));
    }
}
