//! The freshness window in the engine: data that clients have not confirmed holds more back, where it stays
//! conflatable.

use tickwire_core::engine::EngineLimits;
use tickwire_wire::{Channel, CloseCode, Command, Encoding, Message, Receipt};

use super::rig::{Client, PING, Rig, SECOND, WsFrame, brief, limits, parse_frames, quote, trade};

const MS: u64 = 1_000_000;

fn fresh() -> EngineLimits {
    EngineLimits { freshness_ns: 200 * MS, window_first_bytes: 512, ..limits() }
}

/// Makes a session that was given more than its window takes and has confirmed nothing of it; returns the pings it was
/// sent, too.
fn with_full_window(channels: &[Channel]) -> (Rig, Client, Vec<WsFrame>) {
    let mut rig = Rig::new(fresh());
    let client = rig.open(Encoding::Proto);
    for channel in channels {
        rig.subscribe(client, *channel, &["sim:A", "sim:B"]);
    }
    let mut pings = Vec::new();
    for number in 1..=40 {
        rig.publish(0, number, quote(number as i64));
        pings.extend(take(&mut rig, client).into_iter().filter(|frame| frame.opcode == PING));
    }
    assert!(!pings.is_empty());
    assert!(take(&mut rig, client).is_empty(), "the window is full");
    (rig, client, pings)
}

/// Fills once, if the session is ready.
fn take(rig: &mut Rig, client: Client) -> Vec<WsFrame> {
    let mut ready = Vec::new();
    rig.engine.take_ready(&mut ready);
    if !ready.contains(&client.key) {
        return Vec::new();
    }
    let (bytes, _) = rig.fill(client);
    rig.engine.unsent(client.key, 0, rig.now);
    parse_frames(&bytes)
}

fn said(frames: &[WsFrame], client: Client) -> Vec<Message> {
    frames.iter().flat_map(|frame| frame.messages(client.encoding)).collect()
}

#[test]
fn a_probe_stands_behind_what_it_confirms() {
    let mut rig = Rig::new(fresh());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    let mut before = rig.engine.in_flight();
    let mut number = 0;
    loop {
        number += 1;
        rig.publish(0, number, quote(1));
        let frames = take(&mut rig, client);
        assert!(rig.engine.in_flight() > before, "nothing confirmed it");
        before = rig.engine.in_flight();
        if let Some(at) = frames.iter().position(|frame| frame.opcode == PING) {
            assert_eq!(at, frames.len() - 1);
            rig.engine.on_pong(client.key, &frames[at].payload, rig.now);
            assert_eq!(rig.engine.in_flight(), 0);
            return;
        }
        assert!(number < 100);
    }
}

#[test]
fn what_a_stalled_client_reads_first_is_the_newest() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    let under_way = rig.engine.in_flight();
    assert!(under_way < 512 + 100, "{under_way}");
    for number in 41..=9_000 {
        rig.now += MS;
        rig.publish(0, number, quote(number as i64));
        assert!(take(&mut rig, client).is_empty());
    }
    assert_eq!(rig.engine.in_flight(), under_way);
    rig.engine.on_pong(client.key, &pings.last().expect("a ping").payload, rig.now);
    let frames = take(&mut rig, client);
    assert_eq!(brief(&super::rig::records(said(&frames, client))), ["quote 9000"]);
}

#[test]
fn heartbeats_do_not_pile_up_before_a_stalled_client() {
    let (mut rig, client, mut pings) = with_full_window(&[Channel::Quote]);
    // It answers pings, until it stalls.
    rig.engine.on_pong(client.key, &pings[0].payload, rig.now);
    let mut number = 40;
    loop {
        number += 1;
        rig.publish(0, number, quote(number as i64));
        let frames = take(&mut rig, client);
        if frames.is_empty() {
            break;
        }
        pings.extend(frames.into_iter().filter(|frame| frame.opcode == PING));
    }
    let mut told = Vec::new();
    for _ in 0..10 {
        number += 1;
        rig.publish(0, number, quote(number as i64));
        rig.now += SECOND;
        rig.engine.tick(rig.now);
        let frames = take(&mut rig, client);
        told.extend(said(&frames, client).into_iter().filter_map(|message| match message {
            Message::Heartbeat(heartbeat) => Some(heartbeat.positions.len()),
            _ => None,
        }));
        pings.extend(frames.into_iter().filter(|frame| frame.opcode == PING));
    }
    assert!(told.len() >= 8 && told.iter().all(|positions| *positions == 0), "{told:?}");
    rig.engine.on_pong(client.key, &pings.last().expect("a ping").payload, rig.now);
    take(&mut rig, client);
    rig.now += SECOND;
    rig.engine.tick(rig.now);
    let after = said(&take(&mut rig, client), client);
    let is_whole = |message: &Message| matches!(message, Message::Heartbeat(heartbeat) if !heartbeat.positions.is_empty());
    assert!(after.iter().any(is_whole), "{after:?}");
}

#[test]
fn heartbeats_under_way_keep_no_data_back() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    let before = rig.engine.in_flight();
    let mut heartbeats = 0;
    for _ in 0..20 {
        rig.now += SECOND;
        // It is there; what it confirms is on its way.
        rig.engine.on_pong(client.key, b"", rig.now);
        rig.engine.tick(rig.now);
        heartbeats += said(&take(&mut rig, client), client).len();
    }
    assert!(heartbeats >= 20 && rig.engine.in_flight() > before + 512, "{heartbeats}");
    rig.publish(0, 41, quote(41));
    rig.engine.on_pong(client.key, &pings.last().expect("a ping").payload, rig.now);
    let records = super::rig::records(said(&take(&mut rig, client), client));
    assert_eq!(brief(&records), ["quote 41"]);
}

#[test]
fn the_receipt_of_the_last_message_of_a_write_confirms_all_of_it() {
    let mut rig = Rig::new(EngineLimits { window_first_bytes: 8 << 10, ..fresh() });
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    // These are more than the window takes: its end is probed.
    for number in 1..=400 {
        rig.publish(0, number, trade(number as i64));
    }
    let frames = take(&mut rig, client);
    let sent: Vec<u64> = said(&frames, client)
        .iter()
        .filter_map(|message| if let Message::Sent(time) = message { Some(*time) } else { None })
        .collect();
    assert!(sent.len() > 1 && sent.is_sorted_by(|a, b| a < b), "{sent:?}");
    let receipt = |sent_time| Command::Receipt(Receipt { sent_time, reader_lag_ns: 0 });
    let first = frames.iter().find(|frame| frame.opcode == PING).expect("a ping");
    rig.send(client, &receipt(time_of(first)));
    rig.send(client, &receipt(sent[0]));
    assert!(rig.engine.in_flight() > 0, "the first says nothing about the others");
    rig.send(client, &receipt(sent[sent.len() - 1]));
    assert_eq!(rig.engine.in_flight(), 0);
}

#[test]
fn responses_that_name_no_probe_confirm_nothing() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    let under_way = rig.engine.in_flight();
    for payload in [&b""[..], b"x", &u64::MAX.to_le_bytes(), &[0; 8], &[0; 9]] {
        rig.engine.on_pong(client.key, payload, rig.now);
        assert_eq!(rig.engine.in_flight(), under_way);
    }
    let first = &pings[0].payload;
    rig.engine.on_pong(client.key, first, rig.now);
    let confirmed = rig.engine.in_flight();
    assert!(confirmed < under_way);
    rig.engine.on_pong(client.key, first, rig.now);
    assert_eq!(rig.engine.in_flight(), confirmed, "nothing twice");
}

#[test]
fn control_leaves_though_the_window_is_full() {
    let (mut rig, client, _) = with_full_window(&[Channel::Quote]);
    rig.send(client, &Command::Ledger(tickwire_wire::LedgerRequest { id: 3 }));
    rig.engine.on_ping(client.key, b"x", rig.now);
    let frames = take(&mut rig, client);
    assert_eq!(frames[0].payload, b"x");
    let messages = said(&frames, client);
    assert!(matches!(messages.as_slice(), [Message::Ledger(_), Message::Sent(_)]), "{messages:?}");
    rig.engine.close(client.key, CloseCode::Draining);
    assert!(rig.fill(client).1.closed);
}

#[test]
fn a_late_client_is_told_that_it_conflates_and_is_closed_when_it_takes_nothing() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    rig.engine.on_pong(client.key, &pings[0].payload, rig.now);
    take(&mut rig, client);
    let mut notices = Vec::new();
    let mut waited = 0;
    while rig.engine.closing(client.key).is_none() {
        rig.now += 50 * MS;
        waited += 50;
        rig.publish(0, 50 + waited, quote(1));
        // It is there, and reads nothing.
        rig.engine.on_pong(client.key, b"", rig.now);
        rig.engine.tick(rig.now);
        let frames = take(&mut rig, client);
        notices.extend(said(&frames, client).into_iter().filter_map(|message| match message {
            Message::Notice(notice) => Some((waited, notice.code)),
            _ => None,
        }));
        assert!(waited < 60_000);
    }
    assert_eq!(rig.engine.closing(client.key), Some(CloseCode::SlowConsumer));
    let [(when, code)] = notices.as_slice() else { panic!("{notices:?}") };
    assert!(code == "conflating" && *when <= 1_500, "{notices:?}");
    assert!((30_000..32_500).contains(&waited), "30 s after it was found slow: {waited} ms");
}

/// Publishes until the window is full again; returns the pings that came.
fn refill(rig: &mut Rig, client: Client) -> Vec<WsFrame> {
    let mut pings = Vec::new();
    for number in 1_000..1_400 {
        rig.publish(0, number, quote(number as i64));
        pings.extend(take(rig, client).into_iter().filter(|frame| frame.opcode == PING));
    }
    assert!(!pings.is_empty() && take(rig, client).is_empty(), "the window is full");
    pings
}

/// Returns the time that a ping names.
fn time_of(ping: &WsFrame) -> u64 {
    u64::from_le_bytes(ping.payload[..].try_into().expect("eight bytes"))
}

#[test]
fn receipts_that_response_pings_count_and_pongs_do_not_any_more() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    let under_way = rig.engine.in_flight();
    rig.now += 10 * MS;
    rig.send(client, &Command::Receipt(Receipt { sent_time: 1, reader_lag_ns: 5 }));
    rig.send(client, &Command::Receipt(Receipt { sent_time: rig.now, reader_lag_ns: 5 }));
    assert_eq!(rig.engine.in_flight(), under_way, "these answer no ping");
    rig.send(client, &Command::Receipt(Receipt { sent_time: time_of(&pings[0]), reader_lag_ns: 5 }));
    assert!(rig.engine.in_flight() < under_way);
    let pings = refill(&mut rig, client);
    let under_way = rig.engine.in_flight();
    for ping in &pings {
        rig.engine.on_pong(client.key, &ping.payload, rig.now);
    }
    assert_eq!(rig.engine.in_flight(), under_way, "the socket was read, not the program's queue");
    rig.send(client, &Command::Receipt(Receipt { sent_time: rig.now + MS, reader_lag_ns: 5 }));
    assert!(rig.engine.in_flight() < under_way);
    assert!(!take(&mut rig, client).is_empty());
}

#[test]
fn a_receipt_behind_the_pong_of_the_same_ping_counts() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    // The SDK does the same: a pong when the ping is read, a receipt when the program comes to it.
    rig.engine.on_pong(client.key, &pings[0].payload, rig.now);
    let mut bytes = Vec::new();
    let receipt = Receipt { sent_time: time_of(&pings[0]), reader_lag_ns: 5 };
    tickwire_wire::encode_command(client.encoding, &Command::Receipt(receipt), &mut bytes);
    assert!(rig.engine.on_message(client.key, &bytes, rig.now), "it was asked for");
    let pings = refill(&mut rig, client);
    let under_way = rig.engine.in_flight();
    rig.engine.on_pong(client.key, &pings.last().expect("a ping").payload, rig.now);
    assert_eq!(rig.engine.in_flight(), under_way, "the program has not come to it");
}

#[test]
fn receipts_at_times_of_their_own_do_not_hold_a_window_shut() {
    let (mut rig, client, mut pings) = with_full_window(&[Channel::Quote]);
    for number in 100..400 {
        // The page does the same: pongs at once, a receipt each second.
        rig.now += 10 * MS;
        if number % 100 == 0 {
            rig.send(client, &Command::Receipt(Receipt { sent_time: rig.now - 5 * MS, reader_lag_ns: 5 }));
        }
        for ping in pings.drain(..) {
            rig.engine.on_pong(client.key, &ping.payload, rig.now);
        }
        rig.publish(0, number, quote(1));
        let frames = take(&mut rig, client);
        assert!(!frames.is_empty(), "{number} was held back");
        pings.extend(frames.into_iter().filter(|frame| frame.opcode == PING));
    }
}

#[test]
fn a_client_that_sends_one_receipt_and_then_none_is_not_held_for_ever() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    rig.send(client, &Command::Receipt(Receipt { sent_time: time_of(&pings[0]), reader_lag_ns: 5 }));
    let pings = refill(&mut rig, client);
    let under_way = rig.engine.in_flight();
    for ping in &pings {
        rig.engine.on_pong(client.key, &ping.payload, rig.now);
    }
    rig.now += SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.in_flight(), under_way, "a receipt may still come");
    rig.now += 2 * SECOND;
    rig.engine.tick(rig.now);
    assert!(rig.engine.in_flight() < under_way);
    assert!(!take(&mut rig, client).is_empty());
}

#[test]
fn for_a_client_without_pongs_the_kernel_speaks() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote]);
    let under_way = rig.engine.in_flight();
    let mut silent = Vec::new();
    rig.engine.wants_kernel_numbers(&mut silent);
    assert!(silent.is_empty());
    rig.now += 3 * SECOND;
    rig.engine.tick(rig.now);
    rig.engine.wants_kernel_numbers(&mut silent);
    assert_eq!(silent, [client.key]);
    assert!(!take(&mut rig, client).is_empty(), "more fits into its window now");
    rig.engine.kernel_unacknowledged(client.key, 100, rig.now);
    assert_eq!(rig.engine.in_flight(), 100);
    assert!(under_way > 100);
    rig.engine.on_pong(client.key, &pings[0].payload, rig.now);
    silent.clear();
    rig.engine.wants_kernel_numbers(&mut silent);
    assert!(silent.is_empty(), "it answers after all");
}

#[test]
fn trades_wait_in_order_for_the_window() {
    let (mut rig, client, pings) = with_full_window(&[Channel::Quote, Channel::Trade]);
    for number in 1..=300 {
        rig.publish(0, number, trade(1));
        assert!(take(&mut rig, client).is_empty());
    }
    let mut got = Vec::new();
    let mut responses: Vec<_> = pings.into_iter().map(|ping| ping.payload).collect();
    while let Some(response) = responses.pop() {
        rig.now += MS;
        rig.engine.on_pong(client.key, &response, rig.now);
        let frames = take(&mut rig, client);
        got.extend(brief(&super::rig::records(said(&frames, client))));
        responses.extend(frames.into_iter().filter(|frame| frame.opcode == PING).map(|frame| frame.payload));
    }
    let expected: Vec<_> = (1..=300).map(|number| format!("trade {number}")).collect();
    let trades: Vec<_> = got.into_iter().filter(|record| record.starts_with("trade")).collect();
    assert_eq!(trades, expected);
}
