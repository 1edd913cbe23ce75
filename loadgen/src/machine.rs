//! What a report has to say about the machine, so that its figures mean something elsewhere.

use std::time::Duration;

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

/// Ticks of all processors so far: busy ones, and all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    /// None where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// proc(5), `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; guest times are part of user.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
        let [user, nice, system, idle, rest @ ..] = ticks.as_slice() else { return None };
        let waiting = rest.first().copied().unwrap_or(0);
        let all = user + nice + system + idle + rest.iter().sum::<u64>();
        Some(Self { busy: all - idle - waiting, all })
    }

    /// Share of all processors that was busy since then.
    pub(crate) fn busy_since(self, then: Self) -> f64 {
        let all = self.all.saturating_sub(then.all);
        if all == 0 { 0.0 } else { self.busy.saturating_sub(then.busy) as f64 / all as f64 }
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
        let then = Ticks::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n").unwrap();
        let now = Ticks::parse("cpu  150 10 80 850 60 5 5 40 0 0\n").unwrap();
        let share = now.busy_since(then);
        assert!((share - 0.7).abs() < 1e-9, "{share}");
        assert!(then.busy_since(then).abs() < 1e-9);
        assert!(Ticks::parse("intr 5").is_none());
    }
}
