//! Heartbeats, pings, silence, draining.

use proptest::prelude::*;
use tickwire_core::engine::EngineLimits;
use tickwire_wire::{BookProof, Channel, Command, Encoding, FeedState, Heartbeat, Message, Unsubscribe};

use super::rig::{CLOSE, Client, EPOCH, PING, Rig, SECOND, limits, quote, trade};

fn heartbeats(messages: Vec<Message>) -> Vec<Heartbeat> {
    let heartbeat =
        |message| if let Message::Heartbeat(heartbeat) = message { Some(heartbeat) } else { None };
    messages.into_iter().filter_map(heartbeat).collect()
}

fn tick(rig: &mut Rig, client: Client, millis: u64) -> Vec<Heartbeat> {
    rig.now += millis * 1_000_000;
    rig.engine.tick(rig.now);
    heartbeats(rig.read(client))
}

#[test]
fn a_second_of_silence_brings_a_heartbeat_with_what_moved() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    let first = heartbeats(rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B"]));
    assert_eq!((first[0].feeds[0].venue.as_str(), first[0].feeds[0].book_proof()), ("sim", BookProof::Chain));
    rig.publish(0, 1, trade(1));
    rig.read(client);
    assert_eq!(tick(&mut rig, client, 999), []);
    let heartbeat = &tick(&mut rig, client, 1)[0];
    assert_eq!((heartbeat.time, heartbeat.feeds[0].state()), (rig.now, FeedState::Live));
    let [position] = heartbeat.positions.as_slice() else { panic!("{heartbeat:?}") };
    assert_eq!((position.instrument, position.epoch, position.sequence), (100, EPOCH, 1));
    assert_eq!(tick(&mut rig, client, 500), []);
    rig.publish(1, 1, trade(1));
    rig.read(client);
    assert_eq!(tick(&mut rig, client, 999), [], "data breaks the silence");
    let heartbeat = &tick(&mut rig, client, 1)[0];
    assert_eq!(heartbeat.positions.iter().map(|p| p.instrument).collect::<Vec<_>>(), [101]);
    assert_eq!(tick(&mut rig, client, 1_000)[0].positions, [], "nothing moved");
}

#[test]
fn a_feed_that_changes_is_told_at_once_to_those_concerned() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    let stranger = rig.open(Encoding::Json);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.read(stranger);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    let unsubscribe = |channel: Channel| {
        let (channel, symbols) = (channel.name().to_owned(), vec!["sim:A".to_owned()]);
        Command::Unsubscribe(Unsubscribe { id: 1, channel, symbols })
    };
    rig.send(client, &unsubscribe(Channel::Trade));
    rig.read(client);
    rig.feed(FeedState::Down);
    let heartbeat = &heartbeats(rig.read(client))[0];
    assert_eq!((heartbeat.feeds[0].state(), heartbeat.feeds[0].since), (FeedState::Down, rig.now));
    assert_eq!(rig.read(stranger), []);
    rig.send(client, &unsubscribe(Channel::Quote));
    rig.read(client);
    rig.feed(FeedState::Live);
    assert_eq!(rig.read(client), [], "it is concerned no more");
}

#[test]
fn a_silent_client_is_pinged_once_in_a_while_and_closed_in_the_end() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.read(client);
    let mut pings = Vec::new();
    for tenth in 1..=460 {
        rig.now += SECOND / 10;
        rig.engine.tick(rig.now);
        for frame in rig.read_frames(client) {
            match frame.opcode {
                PING => pings.push(tenth / 10),
                CLOSE => {
                    assert_eq!(
                        (u16::from_be_bytes([frame.payload[0], frame.payload[1]]), tenth),
                        (4410, 451)
                    );
                }
                _ => {}
            }
        }
    }
    assert_eq!(pings, [15, 30]);
}

#[test]
fn an_answered_ping_keeps_the_session() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    for _ in 0..200 {
        rig.now += SECOND;
        rig.engine.tick(rig.now);
        if rig.read_frames(client).iter().any(|frame| frame.opcode == PING) {
            rig.engine.on_pong(client.key, b"", rig.now);
        }
    }
    assert_eq!(rig.engine.closing(client.key), None);
}

#[test]
fn draining_closes_one_after_another_over_the_window() {
    let mut rig = Rig::new(limits());
    let clients: Vec<_> = (0..4).map(|_| rig.open(Encoding::Proto)).collect();
    rig.engine.drain(8 * SECOND, rig.now);
    let mut waits = Vec::new();
    for client in &clients {
        let notice = rig
            .read(*client)
            .into_iter()
            .find_map(|m| if let Message::Notice(n) = m { Some(n) } else { None });
        let notice = notice.expect("a notice");
        assert_eq!(notice.code, "draining");
        waits.push(notice.retry_after_ms);
    }
    waits.sort_unstable();
    assert_eq!(waits, [0, 2_000, 4_000, 6_000]);
    for closed in 1..=4 {
        rig.engine.tick(rig.now);
        let closing = clients.iter().filter(|client| rig.engine.closing(client.key).is_some()).count();
        assert_eq!(closing, closed);
        rig.now += 2 * SECOND;
    }
    let late = rig.open(Encoding::Proto);
    let frames = rig.read_frames(late);
    assert!(matches!(frames[0].messages(Encoding::Proto)[0], Message::Hello(_)));
    assert_eq!(frames[1].payload[..2], 1001_u16.to_be_bytes());
}

#[test]
fn quotes_before_the_first_heartbeat_are_not_lost_by_ticks() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.publish(0, 1, quote(1));
    rig.now += 5 * SECOND;
    rig.engine.tick(rig.now);
    let messages = rig.read(client);
    assert!(
        matches!(messages.as_slice(), [Message::Heartbeat(_), Message::Record(_), Message::Sent(_)]),
        "{messages:?}"
    );
}

/// Lets the clock look once. Returns how many sessions it looks at the next time, whatever is due.
fn look(rig: &mut Rig) -> usize {
    rig.now += SECOND / 20;
    rig.engine.tick(rig.now);
    rig.engine.watched()
}

#[test]
fn a_session_that_waits_for_the_clock_alone_is_looked_at_when_something_is_due() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    assert_eq!(rig.engine.watched(), 1, "it was just opened");
    assert_eq!(look(&mut rig), 0);
    rig.engine.take_ready(&mut Vec::new());
    let (mut came, mut looked) = (0, 0);
    for _ in 0..200 {
        looked += look(&mut rig);
        let mut ready = Vec::new();
        rig.engine.take_ready(&mut ready);
        if !ready.is_empty() {
            came += heartbeats(rig.read(client)).len();
        }
    }
    assert_eq!((came, looked), (10, 10), "one heartbeat each second, and it was written to as often");
    assert_eq!(look(&mut rig), 0);
    rig.publish(0, 1, trade(1));
    rig.read(client);
    assert_eq!(rig.engine.watched(), 1, "it was written to");
    assert_eq!(look(&mut rig), 0);
    rig.engine.unsent(client.key, 10, rig.now);
    for _ in 0..10 {
        assert_eq!(look(&mut rig), 1, "its socket is blocked");
    }
}

#[test]
fn a_session_that_owes_a_receipt_is_looked_at_at_each_tick() {
    let mut rig = Rig::new(EngineLimits { freshness_ns: SECOND / 5, ..limits() });
    let client = rig.open(Encoding::Proto);
    rig.read(client);
    for _ in 0..3 {
        assert_eq!(look(&mut rig), 1, "the probe behind the greeting has no answer");
    }
}

#[test]
fn a_session_gets_the_heartbeats_that_it_asked_for() {
    // Nobody is pinged or closed for its silence here.
    let mut rig = Rig::new(EngineLimits { ping_after_ns: 1_000 * SECOND, ..limits() });
    for (asked, granted) in [(0, 1_000), (250, 250), (5_000, 5_000), (60_000, 60_000), (1, 250)] {
        let client = rig.open_with_heartbeat(Encoding::Json, asked);
        let first = rig.read(client);
        let Some(Message::Hello(hello)) = first.first() else { panic!("{first:?}") };
        assert_eq!(hello.heartbeat_ms, granted);
        for _ in 0..2 {
            assert_eq!(tick(&mut rig, client, u64::from(granted) - 1), []);
            assert_eq!(tick(&mut rig, client, 1).len(), 1);
        }
        rig.engine.ended(client.key, rig.now);
    }
}

#[test]
fn a_heartbeat_interval_is_granted_within_the_limits() {
    let bounds =
        |heartbeat_ms_min, heartbeat_ms_max| EngineLimits { heartbeat_ms_min, heartbeat_ms_max, ..limits() };
    let cases = [(0, 1_000), (250, 2_000), (2_000, 2_000), (5_000, 5_000), (9_000, 9_000), (60_000, 9_000)];
    for (asked, granted) in cases {
        let mut rig = Rig::new(bounds(2_000, 9_000));
        let client = rig.open_with_heartbeat(Encoding::Proto, asked);
        let first = rig.read(client);
        let Some(Message::Hello(hello)) = first.first() else { panic!("{first:?}") };
        assert_eq!(hello.heartbeat_ms, granted, "{asked} ms were asked for");
    }
}

/// The time between two looks at the clock, in milliseconds.
const TICK_MS: u64 = 50;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever a client asks for, and whenever records come: silence is no longer than it was promised, and no heartbeat comes
    /// before its time.
    #[test]
    fn heartbeats_are_no_farther_apart_than_promised(
        asked in prop_oneof![Just(0), 250_u32..=2_000, 2_000_u32..=60_000],
        pauses in prop::collection::vec(1_u64..60, 1..60),
        busy in any::<bool>(),
    ) {
        let mut rig = Rig::new(EngineLimits { ping_after_ns: 1_000_000 * SECOND, ..limits() });
        let client = rig.open_with_heartbeat(Encoding::MsgPack, asked);
        let first = rig.read(client);
        let Some(Message::Hello(hello)) = first.first() else { panic!("{first:?}") };
        let promised = u64::from(hello.heartbeat_ms);
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
        let (mut silent, mut heartbeats, mut number) = (0, 0, 0);
        // At least three heartbeats come without records.
        let quiet = [3 * promised / TICK_MS + 6];
        for pause in pauses.iter().chain(&quiet) {
            if busy {
                number += 1;
                rig.publish(0, number, trade(1));
                prop_assert!(!rig.read(client).is_empty());
                silent = 0;
            }
            for _ in 0..*pause {
                rig.now += TICK_MS * 1_000_000;
                rig.engine.tick(rig.now);
                silent += TICK_MS;
                if !rig.read(client).is_empty() {
                    prop_assert!(silent >= promised, "a heartbeat after {} ms", silent);
                    (silent, heartbeats) = (0, heartbeats + 1);
                }
                prop_assert!(silent < promised + TICK_MS, "{} ms of silence, {} were promised", silent, promised);
            }
        }
        prop_assert!(heartbeats >= 3);
    }
}
