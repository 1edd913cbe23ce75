//! CPU time of this process's threads and its memory, as Linux tells them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use tickwire_machine::processes::Watched;

/// Keeps this thread, and those that it starts, on one core where there are several.
pub(crate) fn pin(core: usize) {
    let _ = tickwire_machine::processors::pin(&[core]);
}

pub(crate) struct Usage {
    at: Instant,
    /// The seconds on a core, by the thread's name.
    threads: BTreeMap<String, f64>,
    resident_bytes: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let own = Watched::myself();
        let resident_bytes = own.resident_bytes().unwrap_or(0);
        Self { at: Instant::now(), threads: own.cpu("").by_name(), resident_bytes }
    }

    /// Prints one report: `told` is the clients' line, whose first word is what was delivered.
    pub(crate) fn print(&self, idle: &Self, start: &Self, told: &str, sessions: usize) {
        let seconds = (self.at - start.at).as_secs_f64();
        let delivered: f64 = told.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let mut line = format!("{told} | {:.0} deliveries/s", delivered / seconds);
        let spent = |usage: &Self| usage.threads.get("shard-0").copied().unwrap_or(0.0);
        let cpu = spent(self) - spent(start);
        let share = 100.0 * cpu / seconds;
        let _ =
            write!(line, ", {share:.1} % of a core, {:.2} CPU s per million", cpu / delivered.max(1.0) * 1e6);
        let grown = self.resident_bytes.saturating_sub(idle.resident_bytes) as f64 / 1024.0;
        println!(
            "{line} | RSS {} MiB, {:.2} KiB a session",
            self.resident_bytes >> 20,
            grown / sessions as f64
        );
    }
}
