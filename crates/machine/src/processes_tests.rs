//! Processes, as they are read and as they are told apart.

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
    let others: Vec<_> =
        used.others.iter().map(|(name, pid, seconds)| (name.as_str(), *pid, *seconds)).collect();
    let expected =
        [("a) b", 20, 3.0), ("begun later", 25, 1.0), ("new", 30, 0.2), ("idle", 40, 0.0), ("init", 1, 0.0)];
    assert_eq!(others.len(), 5, "{others:?}");
    for ((name, pid, seconds), found) in expected.into_iter().zip(&others).take(3) {
        assert!((found.0, found.1) == (name, pid) && (found.2 - seconds).abs() < 1e-9, "{others:?}");
    }
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
    let own = Watched::myself();
    assert!(own.resident_bytes().unwrap() > 100_000);
    let before = own.cpu("");
    let mut value = 1_u64;
    let mut threads = Threads::from(&before);
    while threads.by_name.values().sum::<f64>() < 0.02 {
        value = std::hint::black_box(value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        threads.look(&own.cpu(""));
    }
    assert!(!before.tasks.is_empty() && !own.command().is_empty());
    assert!(own.ran_and_waited().unwrap().0.as_nanos() > 0);
    let gone = Watched { pid: u32::MAX };
    assert_eq!((gone.resident_bytes(), gone.ran_and_waited()), (None, None));
}
