//! This module tells what the machine is, how busy its processors are, and which of them and how many files this process may use.

use std::io;
use std::time::{Duration, Instant};

use procfs::process::Process;
use procfs::{CpuInfo, Current as _, CurrentSI as _, KernelStats, Meminfo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// Descriptors that a process needs beside its sockets.
const OTHER_FILES: u64 = 64;

/// A machine, so that what is measured on it means something elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Kernel, its release, architecture.
    pub system: String,
    /// Name of the processors.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// All of its memory.
    pub memory_bytes: u64,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let system = format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()));
        let cpu = CpuInfo::current().ok().and_then(|all| all.model_name(0).map(str::to_owned));
        let memory_bytes = Meminfo::current().map_or(0, |memory| memory.mem_total);
        Self { system, cpu: cpu.unwrap_or_else(|| "unknown".to_owned()), cores: cores(), memory_bytes }
    }
}

/// Returns how many processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns how long this thread has waited for a processor; None where the system does not tell.
pub fn run_delay() -> Option<Duration> {
    let thread = Process::myself().ok()?.task_from_tid(gettid().as_raw_nonzero().get()).ok()?;
    Some(Duration::from_nanos(thread.schedstat().ok()?.run_delay))
}

/// The time that all processors together have been idle.
///
/// The kernel's counts of busy ticks are samples at its timer: work that begins with a timer and ends before the next one is
/// not in them, and at low load that is most of it. Idle time is measured where the timer stops on idle processors
/// (`CONFIG_NO_HZ`), so the rest of the time is what was busy.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    ticks: u64,
    processors: usize,
    at: Instant,
}

/// The work of all processors in some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Busy {
    /// The part of their time that they worked, 0 to 1.
    pub share: f64,
    /// The number of processors.
    pub processors: usize,
    /// The length of that time.
    pub seconds: f64,
}

impl Busy {
    /// Returns what all processors could have done, in seconds.
    pub fn processor_seconds(self) -> f64 {
        self.seconds * self.processors as f64
    }
}

impl Idle {
    /// Returns the idle time so far; None where the system does not tell.
    pub fn now() -> Option<Self> {
        Some(Self::of(&KernelStats::current().ok()?, Instant::now()))
    }

    fn of(stats: &KernelStats, at: Instant) -> Self {
        let ticks = stats.total.idle + stats.total.iowait.unwrap_or(0);
        Self { ticks, processors: stats.cpu_time.len(), at }
    }

    /// Returns what was done since then.
    pub fn busy_since(self, then: Self) -> Busy {
        let seconds = (self.at - then.at).as_secs_f64();
        let all = seconds * self.processors as f64;
        let idle = self.ticks.saturating_sub(then.ticks) as f64 / procfs::ticks_per_second() as f64;
        let share = if all > 0.0 { (1.0 - idle / all).clamp(0.0, 1.0) } else { 0.0 };
        Busy { share, processors: self.processors, seconds }
    }
}

/// Makes room for so many sockets.
///
/// # Errors
/// When the system allows fewer; the text says what to do.
pub fn allow_files(sockets: usize) -> io::Result<()> {
    let wanted = sockets as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < wanted) {
        return Err(io::Error::other(format!(
            "{sockets} connections need {wanted} open files and the limit is {maximum}: raise it with `ulimit -n`"
        )));
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?)
}

/// Returns the processors that this process may use; empty where the system does not tell.
pub fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).ok();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.as_ref().is_some_and(|set| set.is_set(*cpu))).collect()
}

/// Keeps this thread, and those that it starts, on these processors; none: on all.
///
/// # Errors
/// When there is no such processor.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        if *cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("there is no processor {cpu}")));
        }
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).map_err(|error| {
        let there = cores();
        io::Error::other(format!(
            "cannot use processors {cpus:?}: {error}; there are {there} of them, from 0"
        ))
    })
}

#[cfg(test)]
#[path = "processors_tests.rs"]
mod tests;
