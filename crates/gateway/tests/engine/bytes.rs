//! Frames and budgets, and the promise that every update is encoded once.

use std::sync::Arc;

use tickwire_core::vocabulary::{Form, Update};
use tickwire_wire::{Body, Channel, Encoding, GapCause, Status, encode_sent_time};

use super::rig::{EPOCH, PONG, Rig, bus_update, limits, parse_frames, quote};
use super::schedule::drive_bytes;

/// Checks a status whose record fills a WebSocket message of exactly this payload.
#[track_caller]
fn check_head(payload: usize, head: usize) {
    let mut limits = limits();
    limits.write_bytes = 1 << 20;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::MsgPack);
    rig.subscribe(client, Channel::Status, &["sim:A"]);
    let mut sent = Vec::new();
    encode_sent_time(Encoding::MsgPack, rig.now, &mut sent);
    let body = |fill: usize| Body::Status(Status { state: 2, reason: "x".repeat(fill) });
    let size = |rig: &Rig, fill| {
        rig.bus_update(0, EPOCH, 1, body(fill)).bytes(&Form::own(Encoding::MsgPack)).len() + sent.len()
    };
    let fill = (0..=payload).rev().find(|fill| size(&rig, *fill) <= payload).expect("small enough");
    assert_eq!(size(&rig, fill), payload, "no record has this size");
    rig.publish(0, 1, body(fill));
    let (bytes, _) = rig.fill(client);
    assert_eq!(bytes.len(), head + payload);
    assert_eq!(parse_frames(&bytes)[0].payload.len(), payload);
}

#[test]
fn frame_heads_are_right_where_their_form_changes() {
    check_head(125, 2);
    check_head(126, 4);
    check_head(65_535, 4);
    check_head(65_536, 10);
}

#[test]
fn a_write_keeps_its_budget() {
    for budget in [0, 1, 50, 500, 5_000] {
        let mut limits = limits();
        limits.write_bytes = budget;
        let mut rig = Rig::new(limits);
        let client = rig.open(Encoding::Json);
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
        let size = (1..=100)
            .map(|n| rig.publish(0, n, super::rig::trade(1)).bytes(&Form::own(Encoding::Json)).len())
            .max()
            .unwrap();
        loop {
            let (bytes, filled) = rig.fill(client);
            assert!(!bytes.is_empty());
            assert!(bytes.len() < budget + size + 60, "{} bytes for a budget of {budget}", bytes.len());
            rig.engine.unsent(client.key, 0, rig.now);
            if !filled.more {
                break;
            }
        }
        assert_eq!(rig.engine.totals().delivered, 100);
    }
}

#[test]
fn bytes_are_made_once_for_each_encoding() {
    let rig = Rig::new(limits());
    let record = rig.record(0, 1, quote(3));
    for source in [Encoding::Proto, Encoding::MsgPack] {
        let update = bus_update(&rig.infos[0], source, EPOCH, &record);
        let other_face = Arc::clone(&update);
        for encoding in Encoding::ALL {
            let bytes = update.bytes(&Form::own(encoding));
            assert!(std::ptr::eq(bytes, other_face.bytes(&Form::own(encoding))), "made again for {encoding}");
        }
    }
    let odd = [0x0a, 0x02, 0x08, 0x64];
    let info = Arc::clone(&rig.infos[0]);
    let update = Update::from_bus(info, Channel::Quote, EPOCH, (1, 1), Encoding::Proto, &odd);
    assert_eq!(
        update.bytes(&Form::own(Encoding::Proto)),
        odd,
        "in the encoding of the bus they pass untouched, even unread"
    );
}

#[test]
fn a_record_that_cannot_be_read_becomes_a_gap() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    let info = Arc::clone(&rig.infos[0]);
    let update = Update::from_bus(info, Channel::Trade, EPOCH, (1, 1), Encoding::Proto, b"\xff\xff\xff");
    rig.event(tickwire_core::vocabulary::Event::Update(Arc::new(update)));
    assert_eq!(super::rig::brief(&rig.records(client)), ["trade gap bus 1-1"]);
    assert_eq!(rig.engine.totals().dropped, 1);
}

#[test]
fn the_log_stays_within_its_limits_though_records_grow() {
    let mut limits = limits();
    limits.log_bytes_per_topic = 2_000;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    for number in 1..=100 {
        rig.gap(0, Channel::Trade, GapCause::Upstream, number, number, EPOCH);
        rig.read(client);
        assert!(rig.engine.log_bytes() <= 2_000 + 300);
    }
}

#[test]
fn keys_and_topics_from_anywhere_do_no_harm() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.engine.ended(client.key, rig.now);
    rig.engine.on_message(client.key, b"?", rig.now);
    rig.engine.on_ping(client.key, b"?", rig.now);
    rig.engine.on_pong(client.key, b"", rig.now);
    rig.engine.on_flood(client.key, b"");
    rig.engine.unsent(client.key, 9, rig.now);
    rig.engine.close(client.key, tickwire_wire::CloseCode::Full);
    assert!(rig.fill(client).0.is_empty());
    assert_eq!(rig.engine.closing(client.key), None);
    let topic = tickwire_core::vocabulary::TopicId(u32::MAX);
    rig.state(topic, 1, Vec::new());
    rig.event(tickwire_core::vocabulary::Event::Unavailable { topic, reason: "?".into(), is_unknown: false });
    rig.publish(0, 1, quote(1));
    assert_eq!(rig.engine.topics(), 0);
}

#[test]
fn each_ping_is_answered_in_order_and_of_too_many_the_newest() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.read(client);
    for pings in [1, 10, 64, 100_u8] {
        for number in 0..pings {
            rig.engine.on_ping(client.key, &[number], rig.now);
        }
        let frames = rig.read_frames(client);
        let pongs: Vec<_> =
            frames.iter().filter(|frame| frame.opcode == PONG).map(|frame| frame.payload[0]).collect();
        assert_eq!(pongs, (pings.saturating_sub(64)..pings).collect::<Vec<_>>());
    }
}

#[test]
fn any_bytes_are_a_schedule() {
    drive_bytes(b"");
    drive_bytes(b"abc");
    drive_bytes(&(0..=u8::MAX).cycle().take(4_000).collect::<Vec<_>>());
    drive_bytes(&(0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
}
