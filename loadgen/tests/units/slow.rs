use tickwire_client::receipts::ping_time;

use super::*;

const SECOND: u64 = 1000 * MS;

fn record(event_time: u64) -> Waiting {
    Waiting::Record { channel: Channel::Quote, event_time, counts: true }
}

#[test]
fn it_works_at_its_rate_and_falls_behind() {
    let mut program = Program::new(SECOND);
    for at in 0..100 {
        program.read(record(at));
    }
    let mut done = 0;
    for tenth in 1..=20 {
        program.work(SECOND + tenth * SECOND / 10, 10.0, |_| done += 1);
    }
    assert!((20..=21).contains(&done), "{done}");
}

#[test]
fn a_ping_waits_for_its_turn_and_takes_no_time() {
    let mut program = Program::new(SECOND);
    program.read(Waiting::Ping(Some(1)));
    program.read(Waiting::End { sent_time: 2, read_at: SECOND });
    program.read(record(3));
    program.read(Waiting::End { sent_time: 4, read_at: SECOND });
    program.read(Waiting::Ping(Some(5)));
    let mut seen = Vec::new();
    program.work(SECOND, 10.0, |what| seen.push(what));
    assert_eq!(seen, [Waiting::Ping(Some(1))]);
    seen.clear();
    program.work(SECOND + 99 * MS, 10.0, |what| seen.push(what));
    assert_eq!(seen, []);
    program.work(SECOND + 101 * MS, 10.0, |what| seen.push(what));
    let end = Waiting::End { sent_time: 4, read_at: SECOND };
    assert_eq!(seen, [record(3), end, Waiting::Ping(Some(5))]);
}

/// Returns the end of a message that was read so long before.
fn end(sent_time: u64, lag: u64, now: u64) -> Waiting {
    Waiting::End { sent_time, read_at: now - lag }
}

#[track_caller]
fn check(receipts: &mut Paced, now: u64, expected: Option<(u64, u64)>) {
    let due = receipts.due(now).map(|receipt| (receipt.sent_time, receipt.reader_lag_ns));
    assert_eq!(due, expected);
}

#[test]
fn receipts_name_pings_at_once_and_messages_now_and_then() {
    let mut receipts = Paced::default();
    receipts.receipts.sent(5 * SECOND);
    receipts.passed(end(5 * SECOND, 7, 10 * SECOND), 10 * SECOND);
    check(&mut receipts, 10 * SECOND, Some((5 * SECOND, 7)));
    receipts.passed(end(5 * SECOND + 2, 8, 10 * SECOND + 100 * MS), 10 * SECOND + 100 * MS);
    check(&mut receipts, 10 * SECOND + 100 * MS, None);
    receipts.passed(Waiting::Ping(Some(5 * SECOND + 3)), 10 * SECOND + 101 * MS);
    check(&mut receipts, 10 * SECOND + 101 * MS, Some((5 * SECOND + 3, 8)));
    // The next ones wait, and the newest counts.
    receipts.passed(Waiting::Ping(Some(5 * SECOND + 5)), 10 * SECOND + 102 * MS);
    receipts.passed(Waiting::Ping(Some(5 * SECOND + 7)), 10 * SECOND + 103 * MS);
    check(&mut receipts, 10 * SECOND + 104 * MS, None);
    assert_eq!(receipts.next(), Some(10 * SECOND + 111 * MS));
    check(&mut receipts, 10 * SECOND + 111 * MS, Some((5 * SECOND + 7, 0)));
    assert_eq!(receipts.next(), None);
    // A proxy's ping names nothing, and nothing is said twice.
    receipts.passed(Waiting::Ping(ping_time(b"proxy")), 11 * SECOND);
    receipts.passed(Waiting::Ping(ping_time(b"anything")), 11 * SECOND);
    receipts.passed(Waiting::Ping(Some(5 * SECOND + 7)), 11 * SECOND);
    check(&mut receipts, 11 * SECOND, None);
    receipts.passed(end(5 * SECOND + 8, 1, 11 * SECOND), 11 * SECOND);
    check(&mut receipts, 11 * SECOND, Some((5 * SECOND + 8, 1)));
}
