//! Losses on the bus: found, announced, repaired.

use tickwire_wire::{Bar, Body, Channel, Encoding};

use super::rig::{EPOCH, ID, MS, Rig, body, frame, gap_body, head, record, response};
use tickwire_core::hub::BUFFER_MAX;

/// Checks a hole: a topic at 5 gets 6, then 9.
#[track_caller]
fn check_hole(channel: Channel, expected: &[&str], answered: Option<&[&str]>) {
    let mut rig = Rig::live(channel, 5);
    rig.records(EPOCH, 6, 6);
    rig.records(EPOCH, 9, 9);
    assert_eq!(rig.told(), expected, "{channel:?}");
    rig.tick();
    match answered {
        None => assert!(rig.take_requests().is_empty(), "{channel:?}"),
        Some(answered) => {
            let request = rig.request();
            rig.records(EPOCH, 10, 10);
            rig.respond_to(request, EPOCH, 9);
            assert_eq!(rig.told(), answered, "{channel:?}");
        }
    }
}

#[test]
fn a_hole_is_announced_or_superseded_or_mended() {
    check_hole(Channel::Trade, &["6", "gap bus 7-8", "9"], None);
    check_hole(Channel::Status, &["6", "gap bus 7-8", "9"], None);
    check_hole(Channel::Quote, &["6", "9"], None);
    check_hole(Channel::Stat, &["6", "9"], None);
    check_hole(Channel::Book, &["6", "gap bus 7-8"], Some(&["state 9@7 [9]", "10"]));
    // The newest bar of another interval may be among what was lost.
    check_hole(Channel::Bar, &["6"], Some(&["state 9@7 [9]", "10"]));
}

#[test]
fn a_book_goes_on_with_a_snapshot_without_a_request() {
    let mut rig = Rig::live(Channel::Book, 5);
    rig.frame(EPOCH, 8, 8, &[body(Channel::Book, 8, true)]);
    rig.records(EPOCH, 9, 9);
    assert_eq!(rig.told(), ["gap bus 6-7", "8", "9"]);
    rig.tick();
    assert!(rig.take_requests().is_empty());
}

#[test]
fn a_bar_of_another_interval_is_not_lost() {
    let mut rig = Rig::live(Channel::Bar, 5);
    rig.records(EPOCH, 7, 7);
    let request = rig.request();
    let minute = Body::Bar(Bar { interval: 60, ..Bar::default() });
    let records = [record(ID, 6, minute), record(ID, 7, body(Channel::Bar, 7, true))];
    rig.hub.on_response(request, Ok(response(EPOCH, 7, &records)), rig.now);
    assert_eq!(rig.told(), ["state 7@7 [6, 7]"]);
}

#[test]
fn what_is_known_already_is_passed_over() {
    for channel in [Channel::Trade, Channel::Quote, Channel::Book, Channel::Status] {
        let mut rig = Rig::live(channel, 5);
        rig.records(EPOCH, 6, 7);
        rig.records(EPOCH, 6, 7);
        rig.records(EPOCH, 5, 8);
        assert_eq!(rig.told(), ["6", "7", "8"], "{channel:?}");
    }
}

#[test]
fn a_gap_that_overlaps_what_is_known_is_cut() {
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.gap(EPOCH, 3, 8);
    rig.records(EPOCH, 9, 9);
    assert_eq!(rig.told(), ["gap upstream 6-8", "9"]);
}

#[test]
fn a_gap_of_one_number_is_no_state() {
    for channel in [Channel::Quote, Channel::Stat, Channel::Bar, Channel::Trade] {
        let mut rig = Rig::live(channel, 5);
        rig.gap(EPOCH, 6, 6);
        assert_eq!(rig.told(), ["gap upstream 6-6"], "{channel:?}");
        rig.want(1);
        assert_eq!(rig.told_to(1), ["state 6@7 []"], "{channel:?}: what was lost may be newer");
    }
}

#[test]
fn a_broken_book_has_no_state() {
    let mut rig = Rig::live(Channel::Book, 5);
    rig.gap(EPOCH, 6, 6);
    rig.want(1);
    assert_eq!(rig.told_to(1), ["state 6@7 []"]);
    let mut rig = Rig::new(Channel::Book);
    rig.want(0);
    let request = rig.request();
    let gap = record(ID, 6, gap_body(Channel::Book, 6, 6));
    rig.hub.on_response(request, Ok(response(EPOCH, 6, &[gap])), rig.now);
    assert_eq!(rig.told(), ["state 6@7 []"]);
}

/// Checks that a position alone tells that the last of a topic at 5, sequence numbers 6 to 8, were lost.
#[track_caller]
fn check_tail(channel: Channel, at_once: &[&str], answered: Option<&[&str]>) {
    let mut rig = Rig::live(channel, 5);
    rig.position(EPOCH, 8);
    rig.wait(250);
    assert!(rig.told().is_empty(), "{channel:?}: the records may be on their way");
    rig.wait(50);
    assert_eq!(rig.told(), at_once, "{channel:?}");
    match answered {
        None => assert!(rig.take_requests().is_empty()),
        Some(answered) => {
            rig.respond(EPOCH, 8);
            assert_eq!(rig.told(), answered, "{channel:?}");
        }
    }
    assert_eq!(rig.hub.counts.lost, if channel.is_critical() { 2 } else { 3 });
}

#[test]
fn the_loss_of_the_last_is_found_by_its_position() {
    check_tail(Channel::Trade, &["gap bus 6-8"], None);
    check_tail(Channel::Book, &["gap bus 6-8"], Some(&["state 8@7 [8]"]));
    check_tail(Channel::Quote, &["gap bus 6-8"], Some(&["state 8@7 [8]"]));
    check_tail(Channel::Bar, &["gap bus 6-8"], Some(&["state 8@7 [8]"]));
    check_tail(Channel::Status, &[], Some(&["gap bus 6-7", "8"]));
    check_tail(Channel::Instrument, &[], Some(&["gap bus 6-7", "8"]));
}

#[test]
fn a_position_that_overtakes_its_records_is_no_loss() {
    for channel in [Channel::Trade, Channel::Quote, Channel::Book, Channel::Status] {
        let mut rig = Rig::live(channel, 5);
        rig.position(EPOCH, 6);
        rig.wait(250);
        rig.position(EPOCH, 7);
        rig.records(EPOCH, 6, 6);
        rig.wait(250);
        rig.records(EPOCH, 7, 7);
        rig.wait(1000);
        assert_eq!(rig.told(), ["6", "7"], "{channel:?}");
        assert!(rig.take_requests().is_empty());
    }
}

#[test]
fn a_position_that_comes_while_another_is_open_is_not_forgotten() {
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.position(EPOCH, 6);
    rig.position(EPOCH, 7);
    rig.records(EPOCH, 6, 6);
    rig.wait(300);
    assert_eq!(rig.told(), ["6", "gap bus 7-7"]);
}

#[test]
fn a_position_that_comes_before_the_state_is_not_forgotten() {
    let mut rig = Rig::new(Channel::Trade);
    rig.want(0);
    let request = rig.request();
    rig.position(EPOCH, 7);
    rig.respond_to(request, EPOCH, 6);
    rig.wait(350);
    assert_eq!(rig.told(), ["state 6@7 []", "gap bus 7-7"]);
}

#[test]
fn a_new_sequence_is_told_however_it_is_found() {
    let next = EPOCH + 1;
    for (channel, expected) in [
        (Channel::Trade, ["gap ingest 6-0 @8", "1"]),
        (Channel::Quote, ["gap ingest 6-0 @8", "1"]),
        (Channel::Status, ["gap ingest 6-0 @8", "1"]),
    ] {
        let mut rig = Rig::live(channel, 5);
        rig.replace(next);
        rig.records(next, 1, 1);
        rig.records(EPOCH, 6, 6);
        assert_eq!(rig.told(), expected, "by a record, {channel:?}");
    }
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.replace(next);
    rig.position(next, 3);
    rig.respond(next, 3);
    rig.wait(300);
    assert_eq!(rig.told(), ["gap ingest 6-0 @8", "gap bus 1-3"], "by a position");
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.replace(next);
    rig.respond(next, 3);
    assert_eq!(rig.told(), ["gap ingest 6-0 @8", "state 3@8 [3]"], "by a response");
    let mut rig = Rig::live(Channel::Book, 5);
    rig.replace(next);
    rig.respond(next, 3);
    rig.records(next, 3, 4);
    assert_eq!(rig.told(), ["gap ingest 6-0 @8", "state 3@8 [3]", "4"]);
}

#[test]
fn records_that_the_response_of_a_new_ingester_overtakes_are_not_lost() {
    for channel in [Channel::Trade, Channel::Status] {
        let mut rig = Rig::live(channel, 5);
        rig.replace(EPOCH + 1);
        rig.respond(EPOCH + 1, 2);
        rig.records(EPOCH + 1, 1, 2);
        rig.wait(1000);
        assert_eq!(rig.told(), ["gap ingest 6-0 @8", "1", "2"], "{channel:?}");
    }
}

#[test]
fn the_response_of_an_ingester_that_was_replaced_is_not_believed() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(Some(u64::from(rig.topic().0)));
    let request = rig.request();
    rig.replace(EPOCH + 1);
    rig.records(EPOCH + 1, 1, 1);
    rig.respond_to(request, EPOCH, 9);
    assert_eq!(rig.told(), ["gap ingest 6-0 @8", "1"]);
    rig.respond(EPOCH + 1, 1);
    rig.wait(1000);
    assert!(rig.take_requests().is_empty() && rig.told().is_empty());
}

#[test]
fn a_response_from_before_the_loss_does_not_lead_back() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(Some(u64::from(rig.topic().0)));
    let request = rig.request();
    rig.records(EPOCH, 6, 6);
    rig.position(EPOCH, 8);
    rig.wait(300);
    assert_eq!(rig.told(), ["6", "gap bus 7-8"]);
    rig.respond_to(request, EPOCH, 5);
    assert!(rig.told().is_empty());
    rig.respond(EPOCH, 8);
    assert_eq!(rig.told(), ["state 8@7 [8]"]);
}

#[test]
fn a_full_buffer_leads_to_the_right_state() {
    let end = BUFFER_MAX as u64 + 10;
    for channel in [Channel::Trade, Channel::Quote, Channel::Book] {
        let mut rig = Rig::new(channel);
        rig.want(0);
        let request = rig.request();
        for number in 1..=end {
            rig.records(EPOCH, number, number);
        }
        rig.respond_to(request, EPOCH, 2);
        let told = rig.told();
        let kept = BUFFER_MAX as u64 + 1;
        match channel {
            Channel::Trade => {
                assert_eq!(
                    told[..3],
                    ["state 2@7 []", &format!("gap bus 3-{}", kept - 1), &kept.to_string()]
                );
            }
            Channel::Quote => assert_eq!(told[..2], ["state 2@7 [2]", &kept.to_string()]),
            _ => {
                assert_eq!(told, ["state 2@7 [2]", &format!("gap bus 3-{}", kept - 1)]);
                rig.respond(EPOCH, end - 1);
                assert_eq!(rig.told(), [format!("state {0}@7 [{0}]", end - 1), end.to_string()]);
            }
        }
        assert_eq!(told.last().is_some_and(|last| *last == end.to_string()), channel != Channel::Book);
    }
}

#[test]
fn the_newest_of_a_critical_channel_arrives_though_a_gap_came_after_it() {
    let mut rig = Rig::live(Channel::Status, 5);
    rig.gap(EPOCH, 7, 7);
    let request = rig.request();
    let newest = record(ID, 6, body(Channel::Status, 6, true));
    rig.hub.on_response(request, Ok(response(EPOCH, 7, std::slice::from_ref(&newest))), rig.now);
    assert_eq!(rig.told(), ["6", "gap upstream 7-7"]);
    // This is the same, with nothing that came after it.
    let mut rig = Rig::live(Channel::Status, 5);
    rig.position(EPOCH, 7);
    rig.wait(300);
    let request = rig.request();
    rig.hub.on_response(request, Ok(response(EPOCH, 7, &[newest])), rig.now);
    assert_eq!(rig.told(), ["6", "gap bus 7-7"]);
}

#[test]
fn what_was_kept_of_a_critical_channel_is_not_announced_as_lost() {
    let mut rig = Rig::live(Channel::Status, 5);
    rig.position(EPOCH, 6);
    rig.wait(300);
    let request = rig.request();
    rig.records(EPOCH, 7, 8);
    rig.respond_to(request, EPOCH, 8);
    assert_eq!(rig.told(), ["gap bus 6-6", "7", "8"]);
}

/// Checks a message that contradicts itself, in place of 6 to 7, and its loss.
#[track_caller]
fn check_damage(channel: Channel, payload: Vec<u8>) {
    let mut rig = Rig::live(channel, 5);
    let malformed = rig.hub.counts.malformed;
    rig.message(u64::from(rig.topic().0), payload);
    assert!(rig.told().is_empty(), "nothing of a damaged message is used");
    assert_eq!(rig.hub.counts.malformed, malformed + 1);
    rig.wait(300);
    rig.records(EPOCH, 8, 8);
    assert_eq!(rig.told(), ["gap bus 6-7", "8"]);
}

#[test]
fn a_damaged_message_is_counted_and_its_numbers_are_lost() {
    let trade = |number| body(Channel::Trade, number, false);
    let fewer = frame(Channel::Trade, EPOCH, (6, 7), &[trade(7)]);
    let more = frame(Channel::Trade, EPOCH, (6, 7), &[trade(6), trade(7), trade(8)]);
    let foreign = frame(Channel::Trade, EPOCH, (6, 7), &[trade(6), body(Channel::Quote, 7, false)]);
    let misnumbered = frame(Channel::Trade, EPOCH, (6, 7), &[gap_body(Channel::Trade, 6, 6)]);
    let mut cut = frame(Channel::Trade, EPOCH, (6, 7), &[trade(6), trade(7)]);
    cut.truncate(cut.len() - 3);
    for payload in [fewer, more, foreign, misnumbered, cut] {
        check_damage(Channel::Trade, payload);
    }
}

#[test]
fn a_conflated_record_that_cannot_be_read_or_is_another_goes_no_further() {
    let mut misnumbered = frame(Channel::Quote, EPOCH, (5, 5), &[body(Channel::Quote, 5, false)]);
    let right = head(Encoding::MsgPack, ID, Channel::Quote, EPOCH, (6, 6));
    misnumbered[..right.len()].copy_from_slice(&right);
    let proto = |record: &[u8]| [&head(Encoding::Proto, ID, Channel::Quote, EPOCH, (6, 6)), record].concat();
    for (case, payload) in [
        ("a wrong wire type in its quote", proto(b"\x0a\x02\x2a\x00")),
        ("no body", proto(b"\x0a\x02\x08\x64")),
        ("no record but a notice", proto(b"\x0a\x03\x92\x01\x00")),
        ("another channel", frame(Channel::Quote, EPOCH, (6, 6), &[body(Channel::Trade, 6, false)])),
        ("another number", misnumbered),
    ] {
        let mut rig = Rig::live(Channel::Quote, 5);
        let malformed = rig.hub.counts.malformed;
        rig.message(u64::from(rig.topic().0), payload);
        assert!(rig.told().is_empty(), "{case}");
        assert_eq!(rig.hub.counts.malformed, malformed + 1, "{case}");
        rig.records(EPOCH, 7, 7);
        assert_eq!(rig.told(), ["7"], "{case}");
    }
}

#[test]
fn messages_of_others_are_counted_and_harmless() {
    let mut rig = Rig::live(Channel::Trade, 5);
    let mut other = frame(Channel::Trade, EPOCH, (6, 6), &[body(Channel::Trade, 6, false)]);
    other[4] ^= 1;
    let token = u64::from(rig.topic().0);
    rig.message(token, other);
    rig.message(token, frame(Channel::Quote, EPOCH, (6, 6), &[body(Channel::Quote, 6, false)]));
    rig.message(token, b"short".to_vec());
    assert_eq!(rig.hub.counts.malformed, 3);
    rig.records(EPOCH, 6, 6);
    rig.wait(500);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn numbers_at_the_end_of_their_range_break_nothing() {
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.gap(EPOCH, 6, u64::MAX - 1);
    rig.records(EPOCH, u64::MAX - 1, u64::MAX);
    rig.now += MS;
    rig.records(EPOCH, u64::MAX, u64::MAX);
    assert_eq!(rig.told(), [format!("gap upstream 6-{}", u64::MAX - 1), u64::MAX.to_string()]);
}
