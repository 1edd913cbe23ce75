use proptest::prelude::*;

use super::*;

fn tracked(epoch: u64, sequence: u64) -> Tracked {
    Tracked::new(Channel::Trade, epoch, sequence)
}

fn numbered(sequence: u64) -> Numbered {
    Numbered { sequence, ..Numbered::default() }
}

fn missing(first: u64, last: u64, cause: GapCause) -> Missing {
    Missing { first, last: Some(last), epoch: 1, cause }
}

fn announced(first: u64, last: u64) -> Gap {
    let (channel, cause) = (Channel::Trade.into(), GapCause::Shed.into());
    Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 2 }
}

#[test]
fn after_a_reconnect_back_fill_comes_or_the_loss_is_exact() {
    let mut filled = tracked(1, 5);
    filled.resume(1, 7);
    assert!(filled.is_owed());
    let verdicts = [5, 6, 7].map(|sequence| filled.record(numbered(sequence)));
    assert_eq!(verdicts, [Verdict::State, Verdict::News, Verdict::News]);
    assert!(!filled.is_owed());

    let mut jumped = tracked(1, 5);
    jumped.resume(1, 7);
    assert_eq!(jumped.record(numbered(8)), Verdict::After(missing(6, 7, GapCause::Resume)));

    let mut silent = tracked(1, 5);
    silent.resume(1, 7);
    assert_eq!(silent.give_up(), Some(missing(6, 7, GapCause::Resume)));
    assert_eq!(silent.give_up(), None);
    assert_eq!(silent.record(numbered(8)), Verdict::News);

    let mut restarted = tracked(1, 5);
    restarted.resume(2, 3);
    let lost = Missing { first: 6, last: None, epoch: 2, cause: GapCause::Resume };
    assert_eq!(restarted.record(numbered(4)), Verdict::After(lost));
    assert_eq!(restarted.record(numbered(5)), Verdict::News);
}

#[test]
fn a_heartbeat_finds_the_loss_of_a_last_record() {
    let mut tracked = tracked(1, 5);
    tracked.heartbeat(1, 5);
    assert!(!tracked.is_owed());
    tracked.heartbeat(1, 6);
    assert_eq!(tracked.give_up(), Some(missing(6, 6, GapCause::Unknown)));
    tracked.heartbeat(1, 7);
    assert_eq!(tracked.record(numbered(7)), Verdict::News);
    assert_eq!(tracked.give_up(), None);
}

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Patience {
    Patience { time: seconds * SECOND, ns_max: OWED_NS_MAX, filled_at: 0 }
}

#[test]
fn what_is_owed_has_a_clock_of_its_own() {
    let mut tracked = tracked(1, 5);
    tracked.heartbeat(1, 7);
    assert_eq!([100, 104].map(|time| tracked.settle(at(time))), [None; 2]);
    assert_eq!(tracked.record(numbered(6)), Verdict::News);
    assert_eq!([104, 108].map(|time| tracked.settle(at(time))), [None; 2], "a record on the way to it came");
    assert_eq!(tracked.settle(at(109)), Some(missing(7, 7, GapCause::Unknown)));
    assert_eq!(tracked.settle(at(109)), None);
}

#[test]
fn what_is_owed_later_is_not_forgotten() {
    let mut tracked = tracked(1, 5);
    for (time, sequence) in [(1, 6), (2, 8), (3, 9)] {
        tracked.heartbeat(1, sequence);
        assert_eq!(tracked.settle(at(time)), None);
    }
    assert_eq!(tracked.settle(at(6)), Some(missing(6, 6, GapCause::Unknown)));
    assert_eq!(tracked.settle(at(7)), None);
    assert_eq!(tracked.settle(at(8)), Some(missing(7, 9, GapCause::Unknown)));
    assert!(!tracked.is_owed());
}

#[test]
fn an_epoch_of_which_only_a_heartbeat_tells_is_told() {
    let mut tracked = tracked(1, 5);
    tracked.heartbeat(2, 3);
    assert_eq!(tracked.record(numbered(6)), Verdict::News, "the heartbeat was faster");
    assert_eq!(tracked.settle(at(1)), None);
    let lost = Missing { first: 7, last: None, epoch: 2, cause: GapCause::Unknown };
    assert_eq!(tracked.settle(at(6)), Some(lost));
    tracked.heartbeat(2, 4);
    assert_eq!(tracked.settle(at(6)), None);
    let first = Missing { epoch: 2, ..missing(1, 4, GapCause::Unknown) };
    assert_eq!(tracked.settle(at(11)), Some(first), "the first of the new one");
}

#[test]
fn a_back_fill_may_wait_for_its_turn() {
    let mut tracked = tracked(1, 5);
    tracked.resume(1, 9);
    let waiting = |time, filled_at| Patience { filled_at: filled_at * SECOND, ..at(time) };
    assert_eq!(tracked.settle(waiting(10, 10)), None);
    assert_eq!(tracked.settle(waiting(29, 25)), None, "others get theirs");
    assert_eq!(tracked.settle(waiting(30, 25)), Some(missing(6, 9, GapCause::Resume)));
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
        let (mut tracked, mut time, mut sequence) = (tracked(1, 0), 1, 0);
        // By which second each number has to be told.
        let mut due: Vec<(u64, u64)> = Vec::new();
        let tail = std::iter::repeat_n(Tick::Heartbeat { after: 1 }, 11);
        for tick in ticks.into_iter().chain(tail) {
            match tick {
                Tick::Record { is_lost } => {
                    sequence += 1;
                    if !is_lost {
                        prop_assert_ne!(tracked.record(numbered(sequence)), Verdict::Repeated, "given up too early");
                    }
                }
                Tick::Heartbeat { after } => {
                    tracked.heartbeat(1, sequence);
                    due.push((sequence, time + 2 * OWED_NS_MAX / SECOND + 3));
                    tracked.settle(at(time));
                    time += after;
                }
            }
            tracked.settle(at(time));
            let (_, position) = tracked.sequence.position();
            due.retain(|(sequence, _)| *sequence > position);
            prop_assert!(due.iter().all(|(_, by)| *by >= time), "{:?} at {} and {}", due, time, position);
        }
        prop_assert_eq!(tracked.sequence.position().1, sequence);
    }

    /// Whatever is lost and however often the connection breaks: each number after the beginning is delivered or
    /// missing, exactly once and in order.
    #[test]
    fn every_number_is_accounted_for(steps in prop::collection::vec((1u64..4, 0u8..6), 0..200)) {
        let (mut tracked, mut sent, mut accounted) = (tracked(1, 0), 0, Vec::new());
        for (count, what) in steps {
            let range = sent + 1..=sent + count;
            match what {
                0 => sent += count, // lost without a word
                1 => tracked.resume(1, sent),
                2 => {
                    let (before, gap) = tracked.gap(&announced(*range.start(), *range.end()));
                    for missing in [before, gap].into_iter().flatten() {
                        accounted.extend(missing.first..=missing.last.unwrap());
                    }
                    sent += count;
                }
                _ => for number in range {
                    match tracked.record(numbered(number)) {
                        Verdict::News | Verdict::State => {}
                        Verdict::After(missing) => accounted.extend(missing.first..=missing.last.unwrap()),
                        Verdict::Repeated => panic!("{number} came once"),
                    }
                    prop_assert_eq!(tracked.record(numbered(number)), Verdict::Repeated);
                    accounted.push(number);
                    sent = number;
                },
            }
        }
        let (_, position) = tracked.sequence.position();
        prop_assert_eq!(accounted, (1..=position).collect::<Vec<_>>());
    }
}
