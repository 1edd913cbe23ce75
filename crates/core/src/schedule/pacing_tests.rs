use super::*;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const SECOND: u64 = 1_000 * MS;

/// A shard on a core of its own: so many sessions, and when each has something new.
struct Shape {
    sessions: usize,
    /// The time from one arrival for a session to the next.
    arrival: Box<dyn Fn(&mut u64) -> u64>,
    write_ns: u64,
}

/// Returns the next number between 0 and 1 of a linear congruence with the constants of Knuth's MMIX.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Returns arrivals without memory, with this mean.
fn at_random(mean: u64) -> Box<dyn Fn(&mut u64) -> u64> {
    Box::new(move |state| (-uniform(state).ln() * mean as f64) as u64 + 1)
}

/// Returns arrivals for all at once, so far apart.
fn in_ticks(every: u64) -> Box<dyn Fn(&mut u64) -> u64> {
    Box::new(move |_| every)
}

/// The outcome of a second: the delay at its end and the share of the core that it took.
#[derive(Debug)]
struct Outcome {
    delay_ns: u64,
    busy: f64,
}

/// Runs four seconds: each session is written to a delay after its first arrival, and its next begins behind that.
fn run(shape: &Shape, pacing: Pacing, fixed: Option<u64>) -> Outcome {
    let mut pacer = Pacer::new(pacing, 0);
    let mut state = 7;
    let mut next: Vec<u64> = (0..shape.sessions).map(|_| (shape.arrival)(&mut state)).collect();
    let (mut wrote, mut cycle) = (vec![0; shape.sessions], vec![0; shape.sessions]);
    let (step, end) = (50 * MS, 4 * SECOND);
    let mut busy = 0.0;
    for from in (0..end).step_by(step as usize) {
        let delay = fixed.unwrap_or(pacer.delay_ns());
        let mut writes = 0;
        for at in 0..shape.sessions {
            while next[at] + delay < from + step {
                let now = next[at] + delay;
                while next[at] <= now {
                    pacer.on_age(now - next[at]);
                    next[at] += (shape.arrival)(&mut state);
                }
                let passed = now - wrote[at];
                cycle[at] = if cycle[at] == 0 { passed } else { (7 * cycle[at] + passed) / 8 };
                pacer.on_write(cycle[at], shape.write_ns);
                wrote[at] = now;
                writes += 1;
            }
        }
        busy = (writes * shape.write_ns) as f64 / step as f64;
        pacer.adjust(busy.min(1.0), from + step);
    }
    Outcome { delay_ns: fixed.unwrap_or(pacer.delay_ns()), busy }
}

/// Returns the sum that the pacing makes small: the core that is taken, dearer the less of it is idle, and the delay at its worth.
fn price(outcome: &Outcome, pacing: Pacing, idle: f64) -> f64 {
    outcome.busy / (idle * idle) + pacing.worth * outcome.delay_ns as f64 / 1e6
}

#[test]
fn what_seldom_changes_never_waits() {
    let shape = Shape { sessions: 500, arrival: at_random(20 * MS), write_ns: 5 * US };
    assert_eq!(run(&shape, Pacing::default(), None).delay_ns, 0);
}

#[test]
fn ticks_farther_apart_than_a_delay_is_worth_do_not_wait() {
    for sessions in [20, 40, 80] {
        let shape = Shape { sessions, arrival: in_ticks(MS), write_ns: 5 * US };
        let found = run(&shape, Pacing::default(), None);
        assert!(found.delay_ns < 100 * US, "{sessions} sessions: {found:?}");
    }
}

#[test]
fn no_other_delay_is_better() {
    for (sessions, mean) in [(20, 50 * US), (20, 200 * US), (100, 500 * US), (500, 2 * MS), (300, MS)] {
        let shape = Shape { sessions, arrival: at_random(mean), write_ns: 5 * US };
        let pacing = Pacing::default();
        let found = run(&shape, pacing, None);
        assert!(found.delay_ns > 0, "{sessions} sessions each {mean}: {found:?}");
        let idle = 1.0 - found.busy;
        for other in [found.delay_ns / 2, found.delay_ns * 2] {
            let other = run(&shape, pacing, Some(other));
            let (own, its) = (price(&found, pacing, idle), price(&other, pacing, idle));
            assert!(own < its, "{sessions} sessions each {mean}: {found:?} {own}, {other:?} {its}");
        }
    }
}

#[test]
fn no_delay_is_longer_than_allowed() {
    let shape = Shape { sessions: 2_000, arrival: at_random(100 * US), write_ns: 5 * US };
    for ms in [0, 1, 8] {
        let pacing = Pacing { wait_max: Duration::from_millis(ms), ..Pacing::default() };
        let delay = run(&shape, pacing, None).delay_ns;
        assert!(delay <= ms * MS && delay >= ms * MS * 99 / 100, "{delay} of {ms} ms");
    }
}

#[test]
fn odd_settings_stay_within_bounds() {
    let shape = Shape { sessions: 500, arrival: at_random(2 * MS), write_ns: 5 * US };
    for worth in [0.0, f64::INFINITY, f64::NAN, 1e300] {
        let outcome = run(&shape, Pacing { worth, ..Pacing::default() }, None);
        assert!(outcome.delay_ns <= 8 * MS, "{worth}: {outcome:?}");
    }
}

#[test]
fn shards_on_one_core_wait_as_long_as_one_would() {
    let whole = Shape { sessions: 400, arrival: at_random(2 * MS), write_ns: 5 * US };
    let part = Shape { sessions: 100, arrival: at_random(2 * MS), write_ns: 5 * US };
    let alone = run(&whole, Pacing::default(), None).delay_ns;
    let shared = run(&part, Pacing { shards_per_core: 4.0, ..Pacing::default() }, None).delay_ns;
    assert!(alone.abs_diff(shared) < alone / 5, "{alone} {shared}");
}

/// Feeds a period of 50 ms: so many writes to sessions with this cycle, each of this length, and the age of each 61st record.
fn period(
    pacer: &mut Pacer,
    step: u64,
    (writes, cycle, write): (u64, u64, u64),
    age: impl Fn(u64) -> u64,
    busy: f64,
) {
    for nth in 0..writes {
        pacer.on_write(cycle, write);
        pacer.on_age(age(nth));
    }
    pacer.adjust(busy, step * 50 * MS);
}

#[test]
fn a_busy_moment_makes_nobody_wait_long_where_records_come_in_ticks() {
    let mut pacer = Pacer::new(Pacing::default(), 0);
    for step in 1..=200 {
        // Others took the core for a moment.
        let busy = if step % 8 == 0 { 0.95 } else { 0.2 };
        let delay = pacer.delay_ns();
        period(&mut pacer, step, (1_000, MS, 6 * US), |_| delay, busy);
        assert!(pacer.delay_ns() <= 100 * US, "step {step}: {}", pacer.delay_ns());
    }
}

#[test]
fn what_is_measured_differs_and_the_delay_hardly_does() {
    let mut pacer = Pacer::new(Pacing::default(), 0);
    let (mut shortest, mut longest) = (f64::INFINITY, 0.0_f64);
    for step in 1..=200 {
        let write = if step % 2 == 0 { 8 * US } else { 5 * US };
        let delay = pacer.delay_ns();
        let cycle = delay + 50 * US;
        let writes = 20 * 50 * MS / cycle;
        period(&mut pacer, step, (writes, cycle, write), |nth| nth % 64 * delay / 64, 0.25);
        if step > 100 {
            shortest = shortest.min(pacer.delay_ns);
            longest = longest.max(pacer.delay_ns);
        }
    }
    assert!(shortest > 0.0 && longest < shortest * 1.15, "{shortest} to {longest}");
}

#[test]
fn a_load_that_jumps_is_followed_within_a_second() {
    let shape = |mean| Shape { sessions: 300, arrival: at_random(mean), write_ns: 5 * US };
    let wanted = run(&shape(2 * MS), Pacing::default(), None);
    assert!(wanted.delay_ns > MS);
    let mut pacer = Pacer::new(Pacing::default(), 0);
    for step in 1..=20 {
        let delay = pacer.delay_ns();
        let cycle = delay + 2 * MS;
        let writes = 300 * 50 * MS / cycle;
        let busy = (writes * 5 * US) as f64 / (50 * MS) as f64;
        period(&mut pacer, step, (writes, cycle, 5 * US), |nth| nth % 64 * delay / 64, busy);
    }
    let (found, wanted) = (pacer.delay_ns(), wanted.delay_ns);
    assert!(found > wanted * 2 / 3 && found < wanted * 3 / 2, "{found} of {wanted}");
}

#[test]
fn what_was_interrupted_is_not_the_price_of_a_write() {
    let mut pacers = [Pacer::new(Pacing::default(), 0), Pacer::new(Pacing::default(), 0)];
    for step in 1..=60 {
        for (at, pacer) in pacers.iter_mut().enumerate() {
            let cycle = pacer.delay_ns() + 2 * MS;
            for write in 0..500 * 50 * MS / cycle {
                let is_interrupted = at == 1 && write % 100 == 0 && step > 1;
                pacer.on_write(cycle, if is_interrupted { 4 * MS } else { 5 * US });
            }
            pacer.adjust(0.5, step * 50 * MS);
        }
    }
    let [clean, disturbed] = pacers.map(|pacer| pacer.delay_ns);
    assert!(clean > 0.0 && (disturbed - clean).abs() < clean / 10.0, "{clean} {disturbed}");
}
