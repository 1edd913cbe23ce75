//! The machine, so that the results of a run mean something elsewhere: what it is, how busy it is, and what this process may use of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use procfs::process::Process;
use procfs::{CpuInfo, Current as _, CurrentSI as _, KernelStats, Meminfo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

pub(crate) use crate::report::model::Machine;

/// Descriptors that a process needs beside its sockets.
const OTHER_FILES: u64 = 64;

impl Machine {
    pub(crate) fn look() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let system = format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()));
        let cpu = CpuInfo::current().ok().and_then(|all| all.model_name(0).map(str::to_owned));
        let memory_bytes = Meminfo::current().map_or(0, |memory| memory.mem_total);
        Self { system, cpu: cpu.unwrap_or_else(|| "unknown".to_owned()), cores: cores(), memory_bytes }
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns how long this thread has waited for a processor; None where the system does not tell.
pub(crate) fn run_delay() -> Option<Duration> {
    let thread = Process::myself().ok()?.task_from_tid(gettid().as_raw_nonzero().get()).ok()?;
    Some(Duration::from_nanos(thread.schedstat().ok()?.run_delay))
}

/// The time that all processors together have been idle.
///
/// The kernel's counts of busy ticks are samples at its timer: work that begins with a timer and ends before the next one is
/// not in them, and at low load that is most of it. Idle time is measured where the timer stops on idle processors
/// (`CONFIG_NO_HZ`), so the rest of the time is what was busy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    ticks: u64,
    processors: usize,
    at: Instant,
}

/// The work of all processors in some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Busy {
    /// The part of their time that they worked, 0 to 1.
    pub(crate) share: f64,
    pub(crate) processors: usize,
    pub(crate) seconds: f64,
}

impl Busy {
    /// Returns what all processors could have done, in seconds.
    pub(crate) fn processor_seconds(self) -> f64 {
        self.seconds * self.processors as f64
    }
}

impl Idle {
    /// Returns the idle time so far; None where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        Some(Self::of(&KernelStats::current().ok()?, Instant::now()))
    }

    fn of(stats: &KernelStats, at: Instant) -> Self {
        let ticks = stats.total.idle + stats.total.iowait.unwrap_or(0);
        Self { ticks, processors: stats.cpu_time.len(), at }
    }

    pub(crate) fn busy_since(self, then: Self) -> Busy {
        let seconds = (self.at - then.at).as_secs_f64();
        let all = seconds * self.processors as f64;
        let idle = self.ticks.saturating_sub(then.ticks) as f64 / procfs::ticks_per_second() as f64;
        let share = if all > 0.0 { (1.0 - idle / all).clamp(0.0, 1.0) } else { 0.0 };
        Busy { share, processors: self.processors, seconds }
    }
}

/// Makes room for as many sockets as sessions.
pub(crate) fn allow_files(sessions: usize) -> anyhow::Result<()> {
    let wanted = sessions as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{sessions} connections need {wanted} open files and the limit is {}: raise it with `ulimit -n`",
        limit.maximum.unwrap_or(0)
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?)
}

/// Runs something on this thread to its end; what it leaves behind is not waited for.
pub(crate) fn block_on<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run);
    runtime.shutdown_background();
    outcome
}

/// Returns the processors that this process may use; empty where the system does not tell.
pub(crate) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).ok();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.as_ref().is_some_and(|set| set.is_set(*cpu))).collect()
}

/// Keeps this thread, and those that it starts, on these processors; none: on all.
///
/// # Errors
/// When there is no such processor.
pub(crate) fn pin(cpus: &[usize]) -> anyhow::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        ensure!(*cpu < CpuSet::MAX_CPU, "there is no processor {cpu}");
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).map_err(|error| {
        anyhow::anyhow!("cannot use processors {cpus:?}: {error}; there are {} of them, from 0", cores())
    })
}

#[cfg(test)]
#[path = "../tests/units/machine.rs"]
mod tests;
