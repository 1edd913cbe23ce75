use procfs::FromRead as _;

use super::*;

fn stat(text: &str) -> Stat {
    Stat::from_read(text.as_bytes()).expect("it is one")
}

fn processes(all: &[(u32, &str, u32, u64, u64)]) -> Processes {
    let each = all.iter().map(|(pid, name, parent, started, ticks)| {
        let text = format!(
            "{pid} ({name}) S {parent} 7 7 0 -1 4194304 1 2 3 4 {ticks} 0 0 0 20 0 1 0 {started} 0 0"
        );
        (*pid, stat(&format!("{text}{}", " 0".repeat(28))))
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
    let used = Processes::now().since(&Processes::default(), [own]);
    assert!(used.others.iter().all(|(_, pid, _)| *pid != own));
    assert!(Processes::now().0.contains_key(&own));
}

#[test]
fn threads_that_ended_keep_what_they_did_and_those_behind_them_add_to_it() {
    let cpu = |tasks: &[(i32, &str, f64)]| {
        let tasks = tasks.iter().map(|(id, name, seconds)| (*id, ((*name).to_owned(), *seconds)));
        Cpu { tasks: tasks.collect(), ..Cpu::default() }
    };
    let mut threads = Threads::from(&cpu(&[(1, "main", 2.0), (2, "shard-0", 7.0), (3, "hub", 1.0)]));
    threads.look(&cpu(&[(1, "main", 2.5), (2, "shard-0", 10.0), (3, "hub", 1.0)]));
    // The gateway is restarted: new threads of the same names, one of them under an old id.
    threads.look(&cpu(&[(1, "main", 2.5), (3, "shard-0", 0.5), (9, "hub", 0.25)]));
    threads.look(&cpu(&[(1, "main", 3.0), (3, "shard-0", 1.5), (9, "hub", 0.25)]));
    let of = |name: &str| threads.by_name[name];
    assert_eq!((of("main"), of("shard-0"), of("hub")), (1.0, 4.5, 0.25));
}

#[test]
fn this_process_is_seen() {
    let own = Watched { pid: std::process::id() };
    assert!(own.resident_bytes().unwrap() > 100_000);
    let before = own.cpu();
    let mut value = 1_u64;
    let mut threads = Threads::from(&before);
    while threads.by_name.values().sum::<f64>() < 0.02 {
        value = std::hint::black_box(crate::source::mix(value));
        threads.look(&own.cpu());
    }
    assert!(!before.tasks.is_empty() && !own.command().is_empty());
    assert_eq!(Watched { pid: u32::MAX }.resident_bytes(), None);
}
