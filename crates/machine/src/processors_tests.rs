//! Busy and idle processors, and this machine.

use procfs::{FromBufReadSI as _, current_system_info};

use super::*;

#[test]
fn busy_is_what_is_neither_idle_nor_waiting() {
    let idle = |cpu: &str, at| {
        let text = format!("{cpu}cpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\nctxt 1\nbtime 1\nprocesses 1\n");
        Idle::of(&KernelStats::from_buf_read(text.as_bytes(), current_system_info()).unwrap(), at)
    };
    let began = Instant::now();
    let then = idle("cpu  100 0 50 800 50 0 0 0 0 0\n", began);
    // Not a tick more was counted as busy, and yet half of the time of both was not idle.
    let now = idle("cpu  100 0 50 880 70 0 0 0 0 0\n", began + Duration::from_secs(1));
    let busy = now.busy_since(then);
    assert!((busy.share - 0.5).abs() < 1e-9 && busy.processors == 2, "{busy:?}");
    assert!(then.busy_since(then).share == 0.0);
}

#[test]
fn this_machine_and_thread_are_seen() {
    let machine = Machine::look();
    assert!(machine.memory_bytes > 1 << 20 && machine.cores > 0, "{machine:?}");
    assert!(Idle::now().is_some_and(|idle| idle.processors > 0 && idle.ticks > 0));
    assert!(run_delay().is_some());
}
