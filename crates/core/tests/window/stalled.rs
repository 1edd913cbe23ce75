//! Slow readers that stood still once, and such as are late now and then: none of them is taken for a long path.

use super::closed::{MS, OFFERED, Reader, run};

/// Slow readers, as bytes and milliseconds of each read.
const SLOW: [(usize, u64); 2] = [(512, 50), (1024, 100)];

/// A read in ten is late by up to 50 ms.
const BUSY: (u64, u64) = (100, 50 * MS);

/// The share and the time by which reads are late, and the ages in milliseconds at the median and at p99 that a reader has then.
/// A window of 120 ms that keeps its size would give a reader of the last kind 99 and 320 ms. This window takes some of its late
/// reads for pauses of the path, and covers them.
const LATE: [((u64, u64), u64, u64); 2] = [((100, 50 * MS), 125, 250), ((250, 150 * MS), 325, 1_350)];

#[test]
fn a_slow_reader_whose_reads_are_late_has_data_of_bounded_age() {
    let mut old = Vec::new();
    for (bytes, every_ms) in SLOW {
        for (busy, most_median, most_p99) in LATE {
            for seed in 1..=6 {
                let slow = Reader {
                    seed,
                    busy,
                    grants: Some((MS, 3_154)),
                    counts_from: 3_000 * MS,
                    ..Reader::bursty(bytes, every_ms * MS)
                };
                let outcome = run(slow, OFFERED, 40);
                let (median, p99) = (outcome.age(0.5), outcome.age(0.99));
                if median > most_median || p99 > most_p99 || outcome.used < 0.9 {
                    old.push(format!(
                        "{bytes} bytes each {every_ms} ms, {busy:?}, {seed}: {median} and {p99} ms, {:.2}",
                        outcome.used
                    ));
                }
            }
        }
    }
    assert!(old.is_empty(), "{}:\n{}", old.len(), old.join("\n"));
}

/// The ages in milliseconds at the median and at p99 that a reader has 8 s after it stood still: the usual ones, and those that
/// no reader exceeds.
///
/// So many of all runs exceed the usual ones. Most of them stood still for 0.4 s when their grants had just taken 0.4 s: two such
/// times are as a path makes them. The others read some of their data late in the very round of a trial.
const USUAL: (u64, u64) = (225, 650);
const MOST: (u64, u64) = (400, 1_200);
const BEYOND_USUAL: usize = 11;

#[test]
fn a_slow_reader_that_stood_still_is_not_taken_for_a_long_path() {
    let (mut old, mut runs) = (Vec::new(), 0);
    // At the start, when nothing is known of it, and later.
    for from in [450, 700, 1_500, 15_000] {
        for stall_ms in [400, 700, 1_500, 4_600, 10_000] {
            for (bytes, every_ms, busy) in
                [(10, 1, (0, 0)), (512, 50, (0, 0)), (512, 50, BUSY), (1024, 100, (0, 0)), (1024, 100, BUSY)]
            {
                for seed in 1..=8 {
                    let stall = (from * MS, (from + stall_ms + seed * 7) * MS);
                    let slow = Reader {
                        stall,
                        seed,
                        busy,
                        grants: Some((MS, 3_154)),
                        counts_from: stall.1 + 8_000 * MS,
                        ..Reader::bursty(bytes, every_ms * MS)
                    };
                    let outcome = run(slow, OFFERED, 40);
                    let (median, p99) = (outcome.age(0.5), outcome.age(0.99));
                    runs += 1;
                    assert!(outcome.used >= 0.9, "{slow:?}: {:.2}", outcome.used);
                    assert!(median <= MOST.0 && p99 <= MOST.1, "{slow:?}: {median} and {p99} ms");
                    if median > USUAL.0 || p99 > USUAL.1 {
                        old.push(format!("{slow:?}: {median} and {p99} ms"));
                    }
                }
            }
        }
    }
    assert!(old.len() <= BEYOND_USUAL, "{} of {runs}:\n{}", old.len(), old.join("\n"));
}
