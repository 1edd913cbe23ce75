//! Blocked sockets, the pressure ladder, and the end of sessions.

use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::Form;
use tickwire_wire::{Body, Channel, CloseCode, Encoding, GapCause, Message, Status, TradingState};

use super::rig::{
    BINARY, CLOSE, Client, EPOCH, PONG, Rig, SECOND, brief, limits, parse_frames, quote, status, trade,
};

fn narrow() -> EngineLimits {
    let mut limits = limits();
    limits.shed_bytes = 1_000;
    limits.shed_end_bytes = 500;
    limits.close_bytes = 4_000;
    limits
}

/// Makes a client whose socket takes nothing any more.
fn blocked(limits: EngineLimits, channels: &[Channel]) -> (Rig, Client) {
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    for channel in channels {
        rig.subscribe(client, *channel, &["sim:A", "sim:B"]);
    }
    rig.engine.take_ready(&mut Vec::new());
    rig.engine.unsent(client.key, 1, rig.now);
    (rig, client)
}

#[track_caller]
fn close_code(rig: &mut Rig, client: Client) -> u16 {
    let (bytes, filled) = rig.fill(client);
    assert!(filled.closed && !filled.more);
    let frames = parse_frames(&bytes);
    let [.., data, close] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(close.opcode, CLOSE);
    assert!(close.payload.len() <= 125);
    let messages = data.messages(client.encoding);
    assert!(matches!(messages.as_slice(), [.., Message::Ledger(_), Message::Sent(_)]), "{messages:?}");
    let (bytes, _) = rig.fill(client);
    assert!(bytes.is_empty(), "nothing comes after a close frame");
    u16::from_be_bytes([close.payload[0], close.payload[1]])
}

#[test]
fn a_blocked_session_gets_nothing_before_its_socket_takes_everything() {
    let (mut rig, client) = blocked(limits(), &[Channel::Quote]);
    rig.publish(0, 1, quote(1));
    assert!(!rig.engine.has_ready());
    assert!(rig.fill(client).0.is_empty(), "even when it is asked for");
    rig.engine.on_ping(client.key, b"x", rig.now);
    assert!(rig.fill(client).0.is_empty());
    rig.engine.unsent(client.key, 1, rig.now);
    assert!(!rig.engine.has_ready());
    rig.publish(0, 2, quote(2));
    rig.engine.unsent(client.key, 0, rig.now);
    let mut ready = Vec::new();
    rig.engine.take_ready(&mut ready);
    assert_eq!(ready, [client.key]);
    let frames = rig.read_frames(client);
    assert_eq!((frames[0].opcode, frames[0].payload.as_slice()), (PONG, &b"x"[..]));
    assert_eq!(frames[1].opcode, BINARY);
    rig.engine.take_ready(&mut ready);
    rig.publish(0, 3, quote(3));
    rig.publish(0, 4, quote(4));
    ready.clear();
    rig.engine.take_ready(&mut ready);
    assert_eq!(ready, [client.key], "once, however much there is");
}

#[test]
fn trades_are_shed_above_the_threshold_and_flow_again_below_half_of_it() {
    let (mut rig, client) = blocked(narrow(), &[Channel::Trade, Channel::Status]);
    rig.publish(0, 1, status(TradingState::Halted));
    let size = rig.publish(0, 1, trade(1)).bytes(&Form::own(Encoding::Proto)).len() as u64;
    let (mut number, mut before) = (1, 0);
    while rig.engine.pressure().0 > before {
        number += 1;
        before = rig.engine.pressure().0;
        rig.publish(0, number, trade(1));
        assert!(number < 10 + 1_000 / size, "{} bytes wait", rig.engine.pressure().0);
    }
    rig.publish(0, number + 1, trade(1));
    rig.publish(0, 2, status(TradingState::Open));
    rig.gap(0, Channel::Trade, GapCause::Bus, number + 2, number + 3, EPOCH);
    rig.publish(0, number + 4, trade(1));
    rig.engine.unsent(client.key, 0, rig.now);
    let expected = [
        "status 1".to_owned(),
        format!("trade gap shed 1-{}", number + 1),
        "status 2".to_owned(),
        format!("trade gap bus {}-{}", number + 2, number + 3),
    ];
    let got = brief(&rig.records(client));
    assert_eq!(got[..4], expected);
    assert_eq!(got[4..], [format!("trade gap shed {0}-{0}", number + 4)]);
    rig.publish(0, number + 5, trade(1));
    assert_eq!(brief(&rig.records(client)), [format!("trade {}", number + 5)], "it flows again");
    assert_eq!(rig.engine.pressure().0, 0);
}

#[test]
fn a_new_sequence_is_told_though_trades_around_it_are_shed() {
    let (mut rig, client) = blocked(narrow(), &[Channel::Trade]);
    rig.engine.unsent(client.key, 2_000, rig.now);
    rig.publish(0, 1, trade(1));
    rig.publish(0, 2, trade(1));
    rig.gap(0, Channel::Trade, GapCause::Ingest, 3, 0, EPOCH + 1);
    let update = rig.bus_update(0, EPOCH + 1, 1, trade(1));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    rig.engine.unsent(client.key, 0, rig.now);
    let expected = ["trade gap shed 1-2", "trade gap ingest 3-0", "trade gap shed 1-1"];
    assert_eq!(brief(&rig.records(client)), expected);
}

#[test]
fn shedding_ends_with_the_pressure_though_nothing_was_left_to_write() {
    let (mut rig, client) = blocked(narrow(), &[Channel::Trade]);
    rig.engine.unsent(client.key, 2_000, rig.now);
    rig.publish(0, 1, trade(1));
    rig.engine.unsent(client.key, 600, rig.now);
    rig.publish(0, 2, trade(1));
    rig.engine.unsent(client.key, 400, rig.now);
    rig.engine.unsent(client.key, 0, rig.now);
    rig.publish(0, 3, trade(1));
    assert_eq!(brief(&rig.records(client)), ["trade gap shed 1-2", "trade 3"]);
}

#[test]
fn critical_records_are_never_shed_and_end_the_session_at_last() {
    let (mut rig, client) = blocked(narrow(), &[Channel::Status]);
    let reason = "x".repeat(200);
    let body = || Body::Status(Status { state: 3, reason: reason.clone() });
    let mut number = 0;
    while rig.engine.closing(client.key).is_none() {
        number += 1;
        rig.publish(0, number, body());
        assert!(number < 30);
    }
    assert!(number > 10, "the threshold for shedding alone ends nothing");
    assert_eq!(rig.engine.closing(client.key), Some(CloseCode::SlowConsumer));
    assert!(rig.engine.has_ready(), "the close frame goes out although the socket is blocked");
    assert_eq!(close_code(&mut rig, client), 4408);
}

#[test]
fn a_client_that_asks_and_does_not_read_is_closed_with_its_ledger() {
    let (mut rig, client) = blocked(narrow(), &[Channel::Quote]);
    for _ in 0..200 {
        rig.engine.on_flood(client.key, b"");
        rig.engine.on_message(client.key, b"?", rig.now);
    }
    assert!(rig.engine.pressure().0 < 4_000 + 500, "{:?}", rig.engine.pressure());
    assert_eq!(close_code(&mut rig, client), 4408);
}

#[test]
fn every_close_carries_ledger_code_and_text() {
    for code in CloseCode::ALL {
        let (mut rig, client) = blocked(limits(), &[Channel::Quote, Channel::Trade]);
        rig.publish(0, 1, trade(1));
        rig.engine.close(client.key, code);
        rig.engine.close(client.key, CloseCode::Internal);
        rig.publish(0, 2, trade(2));
        rig.publish(1, 1, quote(2));
        assert_eq!(close_code(&mut rig, client), code.code());
        rig.publish(0, 3, trade(3));
        rig.engine.take_ready(&mut Vec::new());
        rig.engine.unsent(client.key, 0, rig.now);
        assert!(!rig.engine.has_ready());
        rig.engine.ended(client.key, rig.now).expect("it was open");
    }
}

#[test]
fn a_command_that_is_too_large_ends_the_session() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    rig.engine.on_message(client.key, &[b' '; 4097], rig.now);
    assert_eq!(close_code(&mut rig, client), 1009);
}

#[test]
fn no_progress_ends_the_session_and_progress_does_not() {
    let (mut rig, client) = blocked(limits(), &[Channel::Quote]);
    rig.engine.unsent(client.key, 100, rig.now);
    for left in (1..100).rev() {
        rig.now += 20 * SECOND;
        rig.engine.on_pong(client.key, b"", rig.now);
        rig.engine.unsent(client.key, left, rig.now);
        rig.engine.tick(rig.now);
        assert_eq!(rig.engine.closing(client.key), None);
    }
    rig.now += 31 * SECOND;
    rig.engine.unsent(client.key, 1, rig.now);
    rig.engine.tick(rig.now);
    assert_eq!(close_code(&mut rig, client), 4408);
}

#[test]
fn entering_and_leaving_conflation_is_told_once() {
    let (mut rig, client) = blocked(limits(), &[Channel::Quote]);
    rig.engine.unsent(client.key, 100, rig.now);
    rig.publish(0, 1, quote(1));
    for left in (50..60).rev() {
        rig.now += SECOND / 10;
        rig.engine.unsent(client.key, left, rig.now);
        rig.engine.tick(rig.now);
    }
    rig.publish(0, 2, quote(2));
    assert_eq!(rig.engine.pressure().1, 1, "it counts though it takes a little all the time");
    rig.engine.unsent(client.key, 0, rig.now);
    let codes = |messages: Vec<Message>| -> Vec<_> {
        let code =
            |m| if let Message::Notice(notice) = m { Some((notice.code, notice.conflated)) } else { None };
        messages.into_iter().filter_map(code).collect()
    };
    assert_eq!(codes(rig.read(client)), [("conflating".to_owned(), 0)]);
    rig.now += SECOND / 2;
    rig.engine.tick(rig.now);
    assert_eq!(codes(rig.read(client)), []);
    rig.now += SECOND;
    rig.engine.tick(rig.now);
    rig.engine.tick(rig.now);
    assert_eq!(codes(rig.read(client)), [("conflating_ended".to_owned(), 1)]);
    assert_eq!(rig.engine.pressure(), (0, 0));
}

#[test]
fn a_short_block_is_no_conflation() {
    let (mut rig, client) = blocked(limits(), &[Channel::Quote]);
    rig.now += SECOND / 10;
    rig.engine.tick(rig.now);
    rig.engine.unsent(client.key, 0, rig.now);
    rig.engine.tick(rig.now);
    assert!(!rig.read(client).iter().any(|m| matches!(m, Message::Notice(_))));
}
