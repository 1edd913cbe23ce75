//! What a report has to say about the machine, so that its figures mean something elsewhere.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::{Resource, getrlimit, setrlimit};

pub(crate) use crate::report::model::Machine;

/// Descriptors that a process needs beside its sockets.
const OTHER_FILES: u64 = 64;

impl Machine {
    pub(crate) fn look() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let system = format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()));
        let memory_kib: u64 = field("/proc/meminfo", "MemTotal")
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        Self { system, cpu, cores: cores(), memory_bytes: memory_kib << 10 }
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The value behind `name:` in a file of the kernel.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// Memory of this process now, in bytes; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let kib = field("/proc/self/status", "VmRSS").and_then(|v| v.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) << 10
}

/// How long this thread has waited for a processor; None where the system does not tell.
pub(crate) fn run_delay() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long all processors together have been idle.
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

/// What all processors did for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Busy {
    /// Of their time, 0 to 1.
    pub(crate) share: f64,
    pub(crate) processors: usize,
    pub(crate) seconds: f64,
}

impl Busy {
    /// What all processors could have done.
    pub(crate) fn processor_seconds(self) -> f64 {
        self.seconds * self.processors as f64
    }
}

impl Idle {
    /// None where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?, Instant::now())
    }

    /// proc(5), `/proc/stat`: user, nice, system, idle, iowait, …; a line for all processors, then one for each.
    fn parse(text: &str, at: Instant) -> Option<Self> {
        let (all, each) = text.split_once('\n')?;
        let all = all.strip_prefix("cpu ")?;
        let mut waits = all.split_whitespace().skip(3).take(2).map_while(|n| n.parse::<u64>().ok());
        let ticks = waits.next()? + waits.next().unwrap_or(0);
        let processors = each.lines().take_while(|line| line.starts_with("cpu")).count();
        (processors > 0).then_some(Self { ticks, processors, at })
    }

    pub(crate) fn busy_since(self, then: Self) -> Busy {
        let seconds = (self.at - then.at).as_secs_f64();
        let all = seconds * self.processors as f64;
        let idle = self.ticks.saturating_sub(then.ticks) as f64 / TICKS_PER_SECOND;
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
    let is_allowed = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    ensure!(
        is_allowed,
        "{sessions} connections need {wanted} open files and the limit is {}: raise it with `ulimit -n`",
        limit.maximum.unwrap_or(0)
    );
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    Ok(())
}

/// Processors that this process may use; empty where the system does not tell.
pub(crate) fn allowed() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).ok();
    let is_set = |cpu: &usize| set.as_ref().is_some_and(|set| set.is_set(*cpu));
    (0..rustix::thread::CpuSet::MAX_CPU).filter(is_set).collect()
}

/// Keeps this thread, and those that it starts, on these processors; none: on all.
///
/// # Errors
/// When there is no such processor.
pub(crate) fn pin(cpus: &[usize]) -> anyhow::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus {
        ensure!(*cpu < rustix::thread::CpuSet::MAX_CPU, "there is no processor {cpu}");
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(|error| {
        anyhow::anyhow!("cannot use processors {cpus:?}: {error}; there are {} of them, from 0", cores())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting() {
        let began = Instant::now();
        let then = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n";
        let then = Idle::parse(then, began).unwrap();
        // Not a tick more was counted as busy, and yet half of the time of both was not idle.
        let now = "cpu  100 0 50 880 70 0 0 0 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n";
        let now = Idle::parse(now, began + Duration::from_secs(1)).unwrap();
        let busy = now.busy_since(then);
        assert!((busy.share - 0.5).abs() < 1e-9 && busy.processors == 2, "{busy:?}");
        assert!(then.busy_since(then).share == 0.0);
        assert!(Idle::parse("intr 5", began).is_none());
    }
}
