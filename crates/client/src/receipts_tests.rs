use super::*;

const MS: u64 = 1_000_000;

#[track_caller]
fn check(receipt: Option<Receipt>, expected: Option<(u64, u64)>) {
    assert_eq!(receipt.map(|receipt| (receipt.sent_time, receipt.reader_lag_ns)), expected);
}

#[test]
fn messages_are_named_now_and_then_and_pings_at_once() {
    let mut receipts = Receipts::new(250 * MS);
    receipts.sent(5000 * MS);
    check(receipts.taken(5000 * MS, 7, 10_000 * MS), Some((5000 * MS, 7)));
    check(receipts.taken(5002 * MS, 8, 10_100 * MS), None);
    check(receipts.passed(Some(5003 * MS), 10_101 * MS), Some((5003 * MS, 8)));
    check(receipts.passed(Some(5003 * MS), 10_102 * MS), None);
    check(receipts.taken(5004 * MS, 9, 10_351 * MS), Some((5004 * MS, 9)));
}

#[test]
fn a_ping_that_is_not_the_gateways_stands_for_the_newest_message() {
    let mut receipts = Receipts::new(250 * MS);
    receipts.sent(5000 * MS);
    check(receipts.passed(ping_time(b"proxy"), MS), None);
    check(receipts.taken(5000 * MS, 1, MS), Some((5000 * MS, 1)));
    check(receipts.taken(5001 * MS, 2, 2 * MS), None);
    check(receipts.passed(ping_time(b"anything"), 3 * MS), Some((5001 * MS, 2)));
    assert_eq!(ping_time(&7_u64.to_le_bytes()), Some(7));
    // Another gateway may have another clock.
    receipts.disconnected();
    receipts.sent(3 * MS);
    check(receipts.passed(Some(3 * MS), 4 * MS), Some((3 * MS, 0)));
}
