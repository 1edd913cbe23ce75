//! The cost of one client's commands for the engine: reading them, doing them, and the responses. The elements are
//! names, positions or subscriptions (instruments that appear times sessions that get them); the system call is not
//! charged.

use criterion::{Criterion, Throughput};
use tickwire_benches::command_scene::{Commands, Task};
use tickwire_benches::criterion;

const INSTRUMENTS: usize = 1_000;

fn commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("commands");
    for task in Task::ALL {
        let mut scene = Commands::new(task, INSTRUMENTS);
        group.throughput(Throughput::Elements(scene.counted() as u64));
        group.bench_function(task.name(), |b| b.iter(|| scene.counted()));
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    commands(&mut criterion);
    criterion.final_summary();
}
