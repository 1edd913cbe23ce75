use proptest::prelude::*;
use tickwire_wire::Channel;

use super::*;

fn missing(first: u64, last: u64, cause: GapCause) -> Missing {
    Missing { first, last: Some(last), epoch: 1, cause }
}

fn announced(first: u64, last: u64) -> Gap {
    let (channel, cause) = (Channel::Trade.into(), GapCause::Shed.into());
    Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 2 }
}

#[test]
fn a_snapshot_repeats_the_last_number_once() {
    let mut tracker = SequenceTracker::new(1, 5);
    assert_eq!(tracker.record(5), Verdict::Take);
    assert_eq!(tracker.record(5), Verdict::Duplicate);
    assert_eq!(tracker.record(6), Verdict::Take);
}

#[test]
fn a_jump_is_a_loss() {
    let mut tracker = SequenceTracker::new(1, 5);
    assert_eq!(tracker.record(6), Verdict::Take);
    assert_eq!(tracker.record(9), Verdict::TakeAfter(missing(7, 8, GapCause::Unknown)));
    assert_eq!(tracker.record(7), Verdict::Duplicate);
    assert_eq!(tracker.record(10), Verdict::Take);
}

#[test]
fn an_announced_gap_is_no_violation() {
    let mut tracker = SequenceTracker::new(1, 5);
    assert_eq!(tracker.gap(&announced(6, 9)), (None, Some(missing(6, 9, GapCause::Shed))));
    assert_eq!(tracker.record(10), Verdict::Take);
    assert_eq!(tracker.gap(&announced(6, 9)), (None, None), "known already");
    let expected = (Some(missing(11, 11, GapCause::Unknown)), Some(missing(12, 13, GapCause::Shed)));
    assert_eq!(tracker.gap(&announced(12, 13)), expected);
    assert_eq!(tracker.gap(&announced(12, 15)), (None, Some(missing(14, 15, GapCause::Shed))));
}

#[test]
fn a_new_sequence_starts_anywhere() {
    let mut tracker = SequenceTracker::new(1, 5);
    let restart = Missing { first: 6, last: None, epoch: 2, cause: GapCause::Shed };
    assert_eq!(tracker.gap(&announced(6, 0)), (None, Some(restart)));
    assert_eq!(tracker.position(), (2, 0));
    assert_eq!(tracker.record(4), Verdict::Take);
    assert_eq!(
        tracker.record(6),
        Verdict::TakeAfter(Missing { epoch: 2, ..missing(5, 5, GapCause::Unknown) })
    );
}

#[test]
fn after_a_reconnect_back_fill_comes_or_the_loss_is_exact() {
    let mut filled = SequenceTracker::new(1, 5);
    filled.resume(1, 7);
    assert!(filled.is_owed());
    assert_eq!([filled.record(5), filled.record(6), filled.record(7)], [Verdict::Take; 3]);
    assert!(!filled.is_owed());

    let mut jumped = SequenceTracker::new(1, 5);
    jumped.resume(1, 7);
    assert_eq!(jumped.record(8), Verdict::TakeAfter(missing(6, 7, GapCause::Resume)));

    let mut silent = SequenceTracker::new(1, 5);
    silent.resume(1, 7);
    assert_eq!(silent.give_up(), Some(missing(6, 7, GapCause::Resume)));
    assert_eq!(silent.give_up(), None);
    assert_eq!(silent.record(8), Verdict::Take);

    let mut restarted = SequenceTracker::new(1, 5);
    restarted.resume(2, 3);
    let lost = Missing { first: 6, last: None, epoch: 2, cause: GapCause::Resume };
    assert_eq!(restarted.record(4), Verdict::TakeAfter(lost));
    assert_eq!(restarted.record(5), Verdict::Take);
}

#[test]
fn a_heartbeat_finds_the_loss_of_a_last_record() {
    let mut tracker = SequenceTracker::new(1, 5);
    tracker.heartbeat(1, 5);
    assert!(!tracker.is_owed());
    tracker.heartbeat(1, 6);
    assert_eq!(tracker.give_up(), Some(missing(6, 6, GapCause::Unknown)));
    tracker.heartbeat(1, 7);
    assert_eq!(tracker.record(7), Verdict::Take);
    assert_eq!(tracker.give_up(), None);
}

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Patience {
    Patience { time: seconds * SECOND, ns_max: OWED_NS_MAX, filled_at: 0 }
}

#[test]
fn what_is_owed_has_a_clock_of_its_own() {
    let mut tracker = SequenceTracker::new(1, 5);
    tracker.heartbeat(1, 7);
    assert_eq!([100, 104].map(|time| tracker.settle(at(time))), [None; 2]);
    assert_eq!(tracker.record(6), Verdict::Take);
    assert_eq!([104, 108].map(|time| tracker.settle(at(time))), [None; 2], "a record on the way to it came");
    assert_eq!(tracker.settle(at(109)), Some(missing(7, 7, GapCause::Unknown)));
    assert_eq!(tracker.settle(at(109)), None);
}

#[test]
fn what_is_owed_later_is_not_forgotten() {
    let mut tracker = SequenceTracker::new(1, 5);
    for (time, sequence) in [(1, 6), (2, 8), (3, 9)] {
        tracker.heartbeat(1, sequence);
        assert_eq!(tracker.settle(at(time)), None);
    }
    assert_eq!(tracker.settle(at(6)), Some(missing(6, 6, GapCause::Unknown)));
    assert_eq!(tracker.settle(at(7)), None);
    assert_eq!(tracker.settle(at(8)), Some(missing(7, 9, GapCause::Unknown)));
    assert!(!tracker.is_owed());
}

#[test]
fn a_sequence_of_which_only_a_heartbeat_tells_is_told() {
    let mut tracker = SequenceTracker::new(1, 5);
    tracker.heartbeat(2, 3);
    assert_eq!(tracker.record(6), Verdict::Take, "the heartbeat was faster");
    assert_eq!(tracker.settle(at(1)), None);
    let lost = Missing { first: 7, last: None, epoch: 2, cause: GapCause::Unknown };
    assert_eq!(tracker.settle(at(6)), Some(lost));
    tracker.heartbeat(2, 4);
    assert_eq!(tracker.settle(at(6)), None);
    let first = Missing { epoch: 2, ..missing(1, 4, GapCause::Unknown) };
    assert_eq!(tracker.settle(at(11)), Some(first), "the first of the new one");
}

#[test]
fn a_back_fill_may_wait_for_its_turn() {
    let mut tracker = SequenceTracker::new(1, 5);
    tracker.resume(1, 9);
    let waiting = |time, filled_at| Patience { filled_at: filled_at * SECOND, ..at(time) };
    assert_eq!(tracker.settle(waiting(10, 10)), None);
    assert_eq!(tracker.settle(waiting(29, 25)), None, "others get theirs");
    assert_eq!(tracker.settle(waiting(30, 25)), Some(missing(6, 9, GapCause::Resume)));
}

/// A gateway that loses some records without a word, sends heartbeats each second, and others' records between.
#[derive(Clone, Copy, Debug)]
enum Tick {
    Record {
        is_lost: bool,
    },
    /// Seconds until the next one.
    Heartbeat {
        after: u64,
    },
}

fn tick() -> impl Strategy<Value = Tick> {
    prop_oneof![
        any::<bool>().prop_map(|is_lost| Tick::Record { is_lost }),
        (1..4_u64).prop_map(|after| Tick::Heartbeat { after }),
    ]
}

proptest! {
    /// No number stays untold for longer than twice the wait from the heartbeat that knew it, whatever else moves; and
    /// what comes within the wait is not given up.
    #[test]
    fn a_lost_tail_is_told_in_time(ticks in prop::collection::vec(tick(), 1..80)) {
        let (mut tracker, mut time, mut sequence) = (SequenceTracker::new(1, 0), 1, 0);
        // By which second each number has to be told.
        let mut due: Vec<(u64, u64)> = Vec::new();
        let tail = std::iter::repeat_n(Tick::Heartbeat { after: 1 }, 11);
        for tick in ticks.into_iter().chain(tail) {
            match tick {
                Tick::Record { is_lost } => {
                    sequence += 1;
                    if !is_lost {
                        prop_assert_ne!(tracker.record(sequence), Verdict::Duplicate, "given up too early");
                    }
                }
                Tick::Heartbeat { after } => {
                    tracker.heartbeat(1, sequence);
                    due.push((sequence, time + 2 * OWED_NS_MAX / SECOND + 3));
                    tracker.settle(at(time));
                    time += after;
                }
            }
            tracker.settle(at(time));
            let (_, position) = tracker.position();
            due.retain(|(sequence, _)| *sequence > position);
            prop_assert!(due.iter().all(|(_, by)| *by >= time), "{:?} at {} and {}", due, time, position);
        }
        prop_assert_eq!(tracker.position().1, sequence);
    }

    /// Whatever is lost and however often the connection breaks: each number after the beginning is delivered or
    /// missing, exactly once and in order.
    #[test]
    fn every_number_is_accounted_for(steps in prop::collection::vec((1u64..4, 0u8..6), 0..200)) {
        let (mut tracker, mut sent, mut accounted) = (SequenceTracker::new(1, 0), 0, Vec::new());
        for (count, what) in steps {
            let range = sent + 1..=sent + count;
            match what {
                0 => sent += count, // lost without a word
                1 => tracker.resume(1, sent),
                2 => {
                    let (before, gap) = tracker.gap(&announced(*range.start(), *range.end()));
                    for missing in [before, gap].into_iter().flatten() {
                        accounted.extend(missing.first..=missing.last.unwrap());
                    }
                    sent += count;
                }
                _ => for number in range {
                    match tracker.record(number) {
                        Verdict::Take => {}
                        Verdict::TakeAfter(missing) => accounted.extend(missing.first..=missing.last.unwrap()),
                        Verdict::Duplicate => panic!("{number} came once"),
                    }
                    prop_assert_eq!(tracker.record(number), Verdict::Duplicate);
                    accounted.push(number);
                    sent = number;
                },
            }
        }
        let (_, position) = tracker.position();
        prop_assert_eq!(accounted, (1..=position).collect::<Vec<_>>());
    }
}
