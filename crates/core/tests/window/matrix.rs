//! Every path with every reader, the window on and off.

use super::closed::freshness;
use super::model::{Answers, MS, Offer, Reader, Run, SECOND, Seen};
use super::way::{Dice, Path, Way};
use tickwire_core::engine::Freshness;

const OFF: Freshness =
    Freshness { target_ns: 0, first_bytes: 2048, max_bytes: 4 << 20, unanswered_ns: 2_000 * MS };
const END: u64 = 40 * SECOND;

fn paths() -> Vec<(&'static str, Way)> {
    use Path::{Constant, Jitter, Lossy, Lumps, Wave};
    let near = Constant(MS);
    let down = |path| Way::of(path, near);
    let changes = |at: u64, to| Way { change: Some((at, to, near)), ..down(Constant(5 * MS)) };
    vec![
        ("near", down(near)),
        ("80 ms", Way::of(Constant(40 * MS), Constant(40 * MS))),
        ("600 ms", Way::of(Constant(300 * MS), Constant(300 * MS))),
        ("1.9 s", Way::of(Constant(950 * MS), Constant(950 * MS))),
        ("2.1 s", Way::of(Constant(1_050 * MS), Constant(1_050 * MS))),
        ("lumps 0.25 s", down(Lumps(250 * MS))),
        ("lumps 0.5 s", down(Lumps(500 * MS))),
        ("lumps 1 s", down(Lumps(SECOND))),
        ("lumps 3 s", down(Lumps(3 * SECOND))),
        ("lumps both ways", Way::of(Lumps(500 * MS), Lumps(300 * MS))),
        ("jitter 0.6 s", down(Jitter(600 * MS))),
        ("wave 0.6 s", down(Wave(600 * MS, 5 * SECOND))),
        ("wave 0.6 s, quick", down(Wave(600 * MS, 1_500 * MS))),
        ("lossy", Way::of(Lossy(20 * MS, 50, 300 * MS), Lossy(20 * MS, 50, 300 * MS))),
        ("asymmetric", Way::of(near, Constant(900 * MS))),
        ("turns long", changes(15 * SECOND, Constant(700 * MS))),
        ("turns short", Way { change: Some((15 * SECOND, near, near)), ..down(Constant(700 * MS)) }),
        ("turns lumpy", changes(15 * SECOND, Lumps(SECOND))),
        ("200 KB/s, 80 ms", Way { rate: 200_000, ..Way::of(Constant(40 * MS), Constant(40 * MS)) }),
        ("10 KB/s, 300 ms", Way { rate: 10_000, ..Way::of(Constant(150 * MS), Constant(150 * MS)) }),
    ]
}

fn readers() -> Vec<(&'static str, Reader)> {
    let fast = Reader::FAST;
    vec![
        ("fast", fast),
        ("10 KB/s", Reader::steady(10_000)),
        ("1 KiB each 100 ms", Reader::bursty(1024, 100 * MS)),
        ("4 KiB each 400 ms", Reader::bursty(4096, 400 * MS)),
        ("stalls", Reader { stall: (10 * SECOND, 20 * SECOND), ..fast }),
        (
            "1 KiB each 100 ms, stood still",
            Reader { stall: (700 * MS, 5_300 * MS), ..Reader::bursty(1024, 100 * MS) },
        ),
        ("slow program", Reader { program: 500, answers: Answers::Receipts, ..fast }),
        ("SDK", Reader { answers: Answers::Receipts, ..fast }),
        ("receipts at own times", Reader { answers: Answers::OwnTimes, ..fast }),
        ("no pongs", Reader { answers: Answers::Nothing, ..fast }),
    ]
}

fn offers() -> Vec<(&'static str, Offer)> {
    vec![
        ("24 quotes", Offer { symbols: 24, updates_per_second: 98, is_lossless: false }),
        ("200 quotes", Offer { symbols: 200, updates_per_second: 9_000, is_lossless: false }),
        ("trades", Offer { symbols: 10, updates_per_second: 98, is_lossless: true }),
    ]
}

/// The amounts by which a session may be worse off with the window, in shares and milliseconds. The reasons:
///
/// - The noise: at which moment a record just passes, and the bytes of probes.
/// - A path that becomes another is found out by trying: that costs once, not more than one delay of the new one.
/// - Who stood still on a long path finds what fits into its window, and what is new one delay later; lossless records come
///   in some rounds.
#[derive(Clone, Copy, Debug)]
struct Slack {
    amount: f64,
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
}

impl Slack {
    fn of(way: &Way, reader: &Reader, offer: &Offer) -> Self {
        let stalls = if reader.stall.1 > 0 { way.longest() as f64 / MS as f64 } else { 0.0 };
        let once = way.longest_later() as f64 / MS as f64 + stalls;
        // Catching up takes as long as the stall.
        let owed = if reader.stall.1 > 0 && offer.is_lossless { 2_000.0 } else { 0.0 };
        Self {
            amount: 0.05 + stalls / 20_000.0,
            p50_ms: 30.0 + owed + stalls / 2.0,
            p99_ms: 100.0 + once / 2.0,
            most_ms: 250.0 + once,
        }
    }
}

/// Returns in which respects a session is worse off.
fn judge(on: &Seen, off: &Seen, slack: &Slack) -> Vec<String> {
    let mut wrong = Vec::new();
    let amount = on.records as f64 / off.records.max(1) as f64;
    // Where data are much newer, they are fewer: old ones are left out, and probes take their part of a slow reader's rate.
    // Where they are ten times as new, they may be 65 %: a slow program on a path of a second is idle now and then.
    let (age, age_off) = (on.age(0.5), off.age(0.5));
    let amount_min = match age_off {
        _ if age * 10 <= age_off => 0.65,
        _ if age * 2 < age_off => 0.7,
        _ => 1.0 - slack.amount,
    };
    if amount < amount_min {
        wrong.push(format!("amount {amount:.3}"));
    }
    if on.symbols < off.symbols {
        wrong.push(format!("{} symbols of {}", on.symbols, off.symbols));
    }
    for (quantile, times, ms) in
        [(0.5, 1.10, slack.p50_ms), (0.99, 1.15, slack.p99_ms), (1.0, 1.15, slack.most_ms)]
    {
        let (a, b) = (on.age(quantile), off.age(quantile));
        if a as f64 > b as f64 * times + ms {
            wrong.push(format!("q{quantile} {a} ms beside {b}"));
        }
    }
    wrong
}

/// Returns a path of any kind, or two of them one after another.
fn any_way(dice: &mut Dice) -> Way {
    let any = |dice: &mut Dice| {
        let time = (5 + dice.below(1_500)) * MS;
        match dice.below(6) {
            0 | 1 => Path::Constant(time / 2),
            2 => Path::Lumps(time.next_multiple_of(50 * MS)),
            3 => Path::Jitter(time / 2),
            4 => Path::Wave(time / 2, time + dice.below(5_000) * MS),
            _ => Path::Lossy(time / 8, 20 + dice.below(200), 200 * MS),
        }
    };
    let (down, up) = (any(dice), Path::Constant(dice.below(400) * MS));
    let change = (dice.below(4) == 0).then(|| (15 * SECOND, any(dice), up));
    let rate = if dice.below(4) == 0 { 10_000 + dice.below(300_000) } else { 0 };
    Way { down, up, change, rate }
}

fn any_reader(dice: &mut Dice) -> Reader {
    let answers = match dice.below(8) {
        0 | 1 => Answers::Receipts,
        2 => Answers::OwnTimes,
        3 => Answers::Nothing,
        _ => Answers::Pongs,
    };
    let from = (10 + dice.below(10)) * SECOND;
    let how = match dice.below(6) {
        0 => Reader::steady(2_000 + dice.below(300_000) as usize),
        1 => Reader::bursty(512 << dice.below(6), (20 + dice.below(380)) * MS),
        2 => Reader { stall: (from, from + dice.below(10_000) * MS), ..Reader::FAST },
        3 => Reader { program: 200 + dice.below(5_000), ..Reader::FAST },
        _ => Reader::FAST,
    };
    // Without receipts a program's own backlog is not to be seen.
    let answers = if how.program > 0 { Answers::Receipts } else { answers };
    Reader { answers, ..how }
}

#[test]
fn no_session_is_worse_off_on_any_path_with_any_reader() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let mut failed = Vec::new();
    for seed in 1..=seeds {
        let mut dice = Dice::new(seed);
        for _ in 0..8 {
            dice.below(2);
        }
        let (way, how) = (any_way(&mut dice), any_reader(&mut dice));
        let (_, offer) = offers()[dice.below(3) as usize];
        let times = ((7 * way.longest()).max(5 * SECOND), END);
        let on = Run::of(freshness(), way, how, offer, seed, times);
        let off = Run::of(OFF, way, how, offer, seed, times);
        let wrong = judge(&on, &off, &Slack::of(&way, &how, &offer));
        if !wrong.is_empty() {
            failed.push(format!("{seed}: {way:?} {how:?} {offer:?}: {wrong:?}"));
        }
    }
    assert!(failed.is_empty(), "{} of {seeds}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
#[allow(clippy::print_stdout, reason = "the table of the decision record")]
fn no_cell_is_worse_off() {
    let mut failures = 0;
    let only = std::env::var("CELL").unwrap_or_default();
    for (path, way) in paths() {
        for (reader, how) in readers() {
            for (what, offer) in offers() {
                let name = format!("{path} / {reader} / {what}");
                if !name.contains(&only) {
                    continue;
                }
                let times = ((7 * way.longest()).max(5 * SECOND), END);
                let on = Run::of(freshness(), way, how, offer, 1, times);
                let off = Run::of(OFF, way, how, offer, 1, times);
                let wrong = judge(&on, &off, &Slack::of(&way, &how, &offer));
                let age = |seen: &Seen| format!("{}/{}/{}", seen.age(0.5), seen.age(0.99), seen.age(1.0));
                println!(
                    "{name}: on {} {} off {} {}{}{}",
                    age(&on),
                    on.records,
                    age(&off),
                    off.records,
                    if wrong.is_empty() { "" } else { "   WORSE " },
                    wrong.join(", ")
                );
                failures += usize::from(!wrong.is_empty());
            }
        }
    }
    assert_eq!(failures, 0, "cells are worse off with the window than without");
}
