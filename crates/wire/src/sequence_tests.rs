use super::*;
use crate::pb::LedgerEntry;

/// Checks what a sequence says of these: `5` is a record, `4-5` a merged book change, `*5` a book snapshot, `!3-5` a gap, `!3-0` a
/// new epoch. Of each: `n` news, `s` a state, `+` a gap that is in order, `R` repeated, and after a number that has to be announced
/// and was not, `A`.
#[track_caller]
fn check(channel: Channel, granted: u64, records: &str, expected: &str) -> Sequence {
    let mut sequence = Sequence::new(channel, 1, granted);
    assert_eq!(told(&mut sequence, records), expected, "{} from {granted}: {records}", channel.name());
    sequence
}

fn told(sequence: &mut Sequence, records: &str) -> String {
    let mut told = String::new();
    for text in records.split(' ') {
        let digits = text.trim_start_matches(['!', '*']);
        let (first, last) = digits.split_once('-').unwrap_or((digits, digits));
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        told.push(if text.starts_with('!') {
            let (unannounced, announced) = sequence.gap(&gap(first, last));
            match (unannounced, announced) {
                (Some(_), _) => 'A',
                (None, Some(_)) => '+',
                (None, None) => 'R',
            }
        } else {
            let first_sequence = if first == last { 0 } else { first };
            let is_snapshot = text.starts_with('*');
            match sequence.record(Numbered { sequence: last, first_sequence, is_snapshot }) {
                Verdict::News => 'n',
                Verdict::State => 's',
                Verdict::After(_) => 'A',
                Verdict::Repeated => 'R',
            }
        });
    }
    told
}

fn gap(first_sequence: u64, last_sequence: u64) -> Gap {
    let (channel, cause) = (Channel::Trade.into(), GapCause::Bus.into());
    Gap { channel, cause, first_sequence, last_sequence, epoch: 2 }
}

#[test]
fn lossless_numbers_are_contiguous_or_announced() {
    check(Channel::Trade, 5, "6 7 8", "nnn");
    check(Channel::Trade, 5, "6 8 9", "nAn");
    check(Channel::Trade, 5, "6 6", "nR");
    check(Channel::Status, 5, "5 6", "sn");
    check(Channel::Status, 5, "5 5", "sR");
    check(Channel::Status, 5, "6 5", "nR");
    check(Channel::Trade, 5, "6 !7-9 10", "n+n");
    check(Channel::Trade, 5, "6 !7-9 !7-9 !8-11 12", "n+R+n");
    check(Channel::Trade, 5, "6 !8-9 10", "nAn");
    check(Channel::Trade, 5, "6 !7-0 1", "n+n");
    check(Channel::Trade, 5, "6 !9-0 1", "nAn");
    check(Channel::Trade, 5, "6 !7-0 40 41 43", "n+nnA");
    check(Channel::Trade, 5, "6 !7-0 !30-31 32 34", "n++nA");
}

#[test]
fn conflated_numbers_grow() {
    check(Channel::Quote, 5, "4 9 10 30", "snnn");
    check(Channel::Quote, 5, "9 9", "nR");
    check(Channel::Quote, 5, "9 8", "nR");
    check(Channel::Quote, 5, "9 !12-0 4", "n+n");
    check(Channel::Quote, 5, "9 !11-12 12 12 13", "n+sRn");
    check(Channel::Bar, 5, "9 8 10", "nsn");
}

#[test]
fn book_changes_join_or_wait_for_a_snapshot() {
    check(Channel::Book, 5, "*5 6 7-9 10", "snnn");
    check(Channel::Book, 5, "*5 6 8", "snA");
    check(Channel::Book, 5, "*5 6 8-9", "snA");
    check(Channel::Book, 5, "*5 6 6-7", "snR");
    check(Channel::Book, 5, "*5 6 *20 21", "snnn");
    check(Channel::Book, 5, "*7 6 8", "nsn");
    check(Channel::Book, 5, "*5 !6-8 11 *12 14", "s+nnA");
}

#[track_caller]
fn check_resumed(granted: (u64, u64), records: &str, expected: &str, [delivered, dropped]: [u64; 2]) {
    let mut sequence = check(Channel::Trade, 5, "6 7", "nn");
    sequence.resume(granted.0, granted.1);
    assert_eq!(told(&mut sequence, records), expected, "granted {granted:?}: {records}");
    assert_eq!(sequence.account().counted(), (delivered, dropped), "granted {granted:?}: {records}");
}

#[test]
fn what_passed_during_a_reconnect_comes_or_is_announced_first() {
    check_resumed((1, 7), "8 9", "nn", [2, 0]);
    check_resumed((1, 7), "7 8", "Rn", [1, 0]);
    // What was announced in front of the grant is in no account, what comes behind it is.
    check_resumed((1, 12), "!8-12 13", "+n", [1, 0]);
    check_resumed((1, 12), "!8-12 !13-14 15", "++n", [1, 2]);
    check_resumed((1, 12), "8 9 10", "nnn", [0, 0]);
    check_resumed((1, 12), "!9-12 13", "An", [1, 0]);
    check_resumed((1, 12), "13", "A", [1, 0]);
}

#[test]
fn a_reconnect_in_another_epoch_is_announced_first() {
    check_resumed((2, 0), "!8-0 1 2", "+nn", [2, 0]);
    check_resumed((2, 4), "!8-0 !1-4 5", "++n", [1, 0]);
    check_resumed((2, 4), "5 6", "An", [2, 0]);
}

#[test]
fn what_is_missing_is_told_exactly() {
    let mut sequence = Sequence::new(Channel::Trade, 1, 5);
    sequence.resume(1, 9);
    let record = |sequence| Numbered { sequence, ..Numbered::default() };
    let missing = |first, last, cause| Missing { first, last: Some(last), epoch: 1, cause };
    assert_eq!(sequence.due(), Some(6));
    assert_eq!(sequence.record(record(8)), Verdict::After(missing(6, 7, GapCause::Resume)));
    assert_eq!(sequence.record(record(11)), Verdict::After(missing(9, 10, GapCause::Unknown)));
    assert_eq!(sequence.skip_to(14, GapCause::Unknown), missing(12, 14, GapCause::Unknown));
    assert_eq!(missing(12, 14, GapCause::Unknown).count(), Some(3));
    // What was given up and comes all the same is in the account.
    assert_eq!(sequence.record(record(13)), Verdict::Repeated);
    assert_eq!(sequence.account().counted(), (2, 0));
    let (unannounced, announced) = sequence.gap(&gap(17, 18));
    assert_eq!(unannounced, Some(missing(15, 16, GapCause::Unknown)));
    assert_eq!(announced, Some(missing(17, 18, GapCause::Bus)));
    let left = Missing { first: 19, last: None, epoch: 7, cause: GapCause::Ingest };
    assert_eq!((sequence.restart(7, GapCause::Ingest), left.count()), (left, None));
    assert_eq!((sequence.position(), sequence.due()), ((7, 0), None));
}

#[test]
fn a_ledger_that_differs_is_found() {
    use crate::LedgerFault::{Delivered, Dropped, Sum};
    let sequence = check(Channel::Quote, 5, "5 6 9 !10-12 !15-16 16", "snn++s");
    let faults = |[published, delivered, conflated, dropped]: [u64; 4]| {
        let entry = LedgerEntry { published, delivered, conflated, dropped, ..LedgerEntry::default() };
        sequence.account().faults(&entry).collect::<Vec<_>>()
    };
    assert_eq!(faults([11, 2, 4, 5]), []);
    assert_eq!(faults([11, 3, 3, 5]), [Delivered { stated: 3, counted: 2 }]);
    assert_eq!(faults([11, 2, 5, 4]), [Dropped { stated: 4, counted: 5 }]);
    assert_eq!(faults([12, 2, 4, 5]), [Sum { published: 12, parts: 11 }]);
}
