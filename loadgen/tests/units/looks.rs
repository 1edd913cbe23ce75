use super::*;

const MS: u64 = 1_000_000;

#[test]
fn what_comes_while_the_thread_works_waits_since_the_look_before() {
    let mut looks = Looks::new(0);
    // It slept, and woke for what came.
    assert_eq!(looks.since(MS, 10 * MS, 5 * MS), 5 * MS);
    looks.looked(5 * MS, 5 * MS, false);
    // Working that through took 7 ms, and the next look finds something at once.
    assert_eq!(looks.since(12 * MS, 20 * MS, 12 * MS + 1000), 5 * MS);
    looks.looked(12 * MS + 1000, 5 * MS, false);
    assert_eq!(looks.since(12 * MS + 2000, 20 * MS, 12 * MS + 3000), 12 * MS + 1000);
}

#[test]
fn what_a_full_look_leaves_out_waits_on() {
    let mut looks = Looks::new(0);
    let since = looks.since(MS, 10 * MS, 5 * MS);
    looks.looked(5 * MS, since, true);
    let since = looks.since(8 * MS, 10 * MS, 8 * MS);
    assert_eq!(since, 5 * MS);
    looks.looked(8 * MS, since, false);
    assert_eq!(looks.since(9 * MS, 10 * MS, 9 * MS), 8 * MS);
}

#[test]
fn who_sleeps_longer_than_planned_is_late_from_then_on() {
    let looks = Looks::new(0);
    assert_eq!(looks.since(MS, 10 * MS, 14 * MS), 10 * MS);
    // A timer was due before it slept at all.
    assert_eq!(looks.since(3 * MS, 2 * MS, 5 * MS), 3 * MS);
}
