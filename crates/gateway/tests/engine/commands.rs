//! Commands: their cost, what they leave behind, and whose they are when they are wrong.

use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::TopicInterest;
use tickwire_wire::{
    Channel, Command, Encoding, GapCause, LedgerRequest, Message, Resume, ResumePosition, SetRate,
    Unsubscribe, encode_command,
};

use super::rig::{Client, EPOCH, Rig, SECOND, brief, limits, quote, records, response, subscribe, trade};

fn unsubscribe(channel: &str, symbols: &[&str]) -> Command {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    Command::Unsubscribe(Unsubscribe { id: 2, channel: channel.to_owned(), symbols })
}

fn position(symbol: &str, sequence: u64) -> ResumePosition {
    ResumePosition { channel: "trade".to_owned(), symbol: symbol.to_owned(), epoch: EPOCH, sequence }
}

#[track_caller]
fn check_price(rig: &mut Rig, client: Client, command: &Command, price: u32) {
    rig.send(client, command);
    assert_eq!(rig.engine.price(), price, "{command:?}");
    rig.grant_interests();
    rig.read(client);
}

#[test]
fn a_command_costs_the_names_that_it_stands_for() {
    let mut rig = Rig::new(limits());
    for index in 0..97 {
        rig.instrument(&format!("N{index}"));
    }
    let client = rig.open(Encoding::Proto);
    check_price(&mut rig, client, &subscribe(1, "quote", &["sim:A", "sim:B", "sim:A"]), 2);
    check_price(&mut rig, client, &subscribe(1, "quote", &["sim:NONE", "nobody:X", "junk"]), 3);
    check_price(&mut rig, client, &subscribe(1, "quote", &["sim:*"]), 101);
    check_price(&mut rig, client, &unsubscribe("quote", &["sim:A"]), 1);
    check_price(&mut rig, client, &subscribe(1, "dance", &["sim:A", "sim:B"]), 2);
    check_price(&mut rig, client, &Command::Ledger(LedgerRequest { id: 3 }), 50);
    let rate =
        SetRate { id: 4, channel: "quote".to_owned(), symbols: vec!["sim:*".to_owned()], max_rate: 5.0 };
    check_price(&mut rig, client, &Command::SetRate(rate), 101);
    let positions = (0..9).map(|at| position(&format!("sim:N{at}"), 1)).collect();
    check_price(&mut rig, client, &Command::Resume(Resume { id: 5, positions }), 9);
    check_price(&mut rig, client, &unsubscribe("quote", &["sim:*"]), 101);
    // Bytes are paid for where there is nothing else in them.
    rig.engine.on_message(client.key, &[0; 3_200], rig.now);
    assert_eq!(rig.engine.price(), 100);
}

#[test]
fn what_sessions_asked_for_leaves_nothing_behind() {
    let mut rig = Rig::new(limits());
    let stays = rig.open(Encoding::Proto);
    rig.subscribe(stays, Channel::Quote, &["sim:A"]);
    for turn in 0..200 {
        let client = rig.open(Encoding::Json);
        rig.send(client, &Command::Resume(Resume { id: 5, positions: vec![position("sim:A", turn)] }));
        // One subscription is granted, one waits for its topic, and one wants all of a venue.
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
        rig.send(client, &subscribe(1, "stat", &["sim:B"]));
        rig.send(client, &subscribe(1, "bar", &["sim:*"]));
        match turn % 3 {
            0 => rig.send(client, &unsubscribe("stat", &["sim:B"])),
            1 => rig.send(client, &unsubscribe("bar", &["sim:*"])),
            _ => {}
        }
        if turn % 2 == 0 {
            rig.engine.close(client.key, tickwire_wire::CloseCode::Internal);
            rig.read(client);
        }
        rig.engine.ended(client.key, rig.now);
        rig.grant_interests();
    }
    assert_eq!((rig.engine.sessions(), rig.engine.subscriptions()), (1, 1));
    assert_eq!(rig.engine.private_bytes(), 0);
    rig.now += limits().linger_ns;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.topics(), 1, "what nobody wants is let go");
    // Nothing is known of those that ended: what happens concerns the one that is there.
    rig.read(stays);
    let mut ready = Vec::new();
    rig.engine.take_ready(&mut ready);
    ready.clear();
    rig.feed(tickwire_wire::FeedState::Stale);
    rig.instrument("LATER");
    rig.grant_interests();
    rig.engine.take_ready(&mut ready);
    assert_eq!(ready, [stays.key]);
}

#[test]
fn a_topic_that_comes_and_goes_is_let_go_once_and_in_time() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    for _ in 0..100 {
        rig.subscribe(client, Channel::Quote, &["sim:A"]);
        rig.now += SECOND / 20;
        rig.send(client, &unsubscribe("quote", &["sim:A"]));
        rig.read(client);
        rig.engine.tick(rig.now);
    }
    rig.now += limits().linger_ns - 1;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.topics(), 1, "not before its time");
    rig.now += 1;
    rig.engine.tick(rig.now);
    let drops =
        rig.engine.take_interests().filter(|interest| matches!(interest, TopicInterest::Drop(_))).count();
    assert_eq!((rig.engine.topics(), drops), (0, 1));
}

#[test]
fn two_subscribes_that_wait_for_one_topic_are_both_answered() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    for id in [7, 8] {
        rig.send(client, &subscribe(id, "quote", &["sim:A", "sim:B"]));
    }
    rig.send(client, &unsubscribe("quote", &["sim:B"]));
    rig.grant_interests();
    let messages = rig.read(client);
    let responses: Vec<_> = messages
        .iter()
        .filter_map(|message| if let Message::Subscribed(response) = message { Some(response) } else { None })
        .filter(|response| response.id != 2)
        .map(|response| (response.id, response.granted.len(), response.refused.len()))
        .collect();
    assert_eq!(responses, [(7, 1, 1), (8, 0, 2)], "{messages:?}");
    assert_eq!(rig.engine.subscriptions(), 1);
}

#[test]
fn an_encoding_that_nobody_takes_any_more_is_not_made_any_more() {
    let mut rig = Rig::new(limits());
    let [proto, first, second] = [Encoding::Proto, Encoding::Json, Encoding::Json].map(|e| rig.open(e));
    for client in [proto, first, second] {
        rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B"]);
    }
    let encoded_logs = |rig: &Rig| Encoding::ALL.map(|encoding| rig.engine.encoded_logs(encoding));
    assert_eq!(encoded_logs(&rig), [2, 0, 2]);
    rig.send(first, &unsubscribe("trade", &["sim:A"]));
    assert_eq!(encoded_logs(&rig), [2, 0, 2], "one more takes it");
    rig.engine.ended(second.key, rig.now);
    assert_eq!(encoded_logs(&rig), [2, 0, 1], "of one the last one has gone");
    rig.publish(0, 1, trade(1));
    // It begins anew where somebody takes it again, and nothing is lost or doubled.
    rig.subscribe(first, Channel::Trade, &["sim:A"]);
    for number in 2..=12 {
        rig.publish(0, number, trade(1));
    }
    let expected: Vec<_> = (2..=12).map(|number| format!("trade {number}")).collect();
    assert_eq!(brief(&rig.records(first)), expected);
    rig.engine.ended(first.key, rig.now);
    assert_eq!(encoded_logs(&rig), [2, 0, 0]);
    assert_eq!(rig.records(proto).len(), 12);
}

#[test]
fn restarts_of_an_ingester_do_not_pile_up() {
    let mut rig = Rig::new(limits());
    let [prompt, behind] = [rig.open(Encoding::Proto), rig.open(Encoding::Proto)];
    for client in [prompt, behind] {
        rig.subscribe(client, Channel::Quote, &["sim:A"]);
    }
    rig.engine.unsent(behind.key, 1, rig.now);
    let mut kept = 0;
    for epoch in 1..=500 {
        rig.gap(0, Channel::Quote, GapCause::Ingest, 2, 0, EPOCH + epoch);
        let update = rig.bus_update(0, EPOCH + epoch, 1, quote(epoch as i64));
        rig.event(tickwire_core::vocabulary::Event::Update(update));
        assert_eq!(rig.records(prompt).len(), 2, "a gap and a quote each time");
        if epoch == 10 {
            kept = rig.engine.log_bytes();
        }
    }
    assert_eq!(rig.engine.log_bytes(), kept, "as many as after ten");
    rig.engine.unsent(behind.key, 0, rig.now);
    let got = rig.records(behind);
    let last = got.last().unwrap();
    assert_eq!((last.sequence, got.len() <= 10), (1, true), "{:?}", brief(&got));
    let account = rig.engine.totals();
    assert_eq!(account.published, account.delivered + account.conflated + account.dropped + account.filtered);
}

#[test]
fn an_error_says_whose_it_is_where_that_can_be_read() {
    let mut rig = Rig::new(limits());
    let id_of = |rig: &mut Rig, client: Client| match &rig.read(client)[..] {
        [Message::Hello(_), Message::Error(error), ..] | [Message::Error(error), ..] => error.id,
        other => panic!("{other:?}"),
    };
    for (text, id) in [
        (&br#"{"op":"dance","id":7}"#[..], 7),
        (br#"{"id":8,"op":"subscribe","channel":"quote","symbols":"sim:A"}"#, 8),
        (br#"{"op":"subscribe","channel":"quote","symbols":["sim:A"],"max_rate":-1,"id":9}"#, 9),
        (br#"{"op":"subscribe","id":10,"symbols":[}"#, 10),
        (br#"{"op":"ledger","id":11} {"#, 11),
        (br#"{"op":"subscribe","nested":{"id":12},"id":13}"#, 13),
        (br#"{"op":"ledger","id":"14"}"#, 0),
        (br#"{"op":"ledger","id":-1}"#, 0),
        (br#"["id",15]"#, 0),
        (b"", 0),
    ] {
        let client = rig.open(Encoding::Json);
        rig.engine.on_message(client.key, text, rig.now);
        assert_eq!(id_of(&mut rig, client), id, "{}", String::from_utf8_lossy(text));
        rig.engine.on_flood(client.key, text);
        assert_eq!(id_of(&mut rig, client), id, "{}", String::from_utf8_lossy(text));
    }
    for encoding in [Encoding::Proto, Encoding::MsgPack] {
        let rate =
            SetRate { id: 300, channel: "quote".into(), symbols: vec!["sim:A".into()], max_rate: -1.0 };
        let mut whole = Vec::new();
        encode_command(encoding, &Command::SetRate(rate), &mut whole);
        // It is wrong as it is, and cut off anywhere behind its id, and with something behind it.
        for bytes in [&whole[..], &whole[..whole.len() - 5], &whole[..8], &[&whole[..], &[0xc1]].concat()] {
            let client = rig.open(encoding);
            rig.engine.on_message(client.key, bytes, rig.now);
            assert_eq!(id_of(&mut rig, client), 300, "{encoding}: {bytes:?}");
        }
        let client = rig.open(encoding);
        rig.engine.on_message(client.key, &[0xff, 1, 2], rig.now);
        assert_eq!(id_of(&mut rig, client), 0);
    }
}

#[test]
fn a_channel_that_does_not_exist_is_named() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    let rate = SetRate { id: 3, channel: "quotes".into(), symbols: vec!["sim:A".into()], max_rate: 1.0 };
    for command in
        [subscribe(1, "quotes", &["sim:A"]), unsubscribe("quotes", &["sim:A"]), Command::SetRate(rate)]
    {
        rig.send(client, &command);
        let messages = rig.read(client);
        let refused = &response(&messages).refused[0];
        assert_eq!((refused.code.as_str(), refused.symbol.as_str()), ("unknown_channel", "sim:A"));
        assert!(refused.message.contains("`quotes`") && refused.message.contains("quote,"), "{refused:?}");
    }
}

#[test]
fn a_subscription_that_ends_makes_room_for_another_ones_history() {
    let mut rig = Rig::new(EngineLimits { log_records_per_topic: 1, ..limits() });
    let history = tickwire_core::engine::BackfillLimits { records_max: 100, timeout_ns: 3 * SECOND };
    rig.engine.set_backfill(history);
    for index in 0..5 {
        rig.instrument(&format!("N{index}"));
    }
    let other = rig.open(Encoding::Proto);
    rig.subscribe(other, Channel::Trade, &["sim:*"]);
    for instrument in 0..8 {
        for number in 1..=5 {
            rig.publish(instrument, number, trade(1));
        }
    }
    let client = rig.open(Encoding::Proto);
    let symbols: Vec<_> = rig.infos.iter().map(|info| info.name.to_string()).collect();
    let positions = symbols.iter().map(|symbol| position(symbol, 1)).collect();
    rig.send(client, &Command::Resume(Resume { id: 1, positions }));
    rig.send(client, &subscribe(1, "trade", &["sim:*"]));
    let asked = |rig: &mut Rig| {
        rig.engine.take_interests().filter(|interest| matches!(interest, TopicInterest::Backfill(_))).count()
    };
    assert_eq!(asked(&mut rig), 4);
    let ended: Vec<_> = symbols[..3].iter().map(String::as_str).collect();
    rig.send(client, &unsubscribe("trade", &ended));
    assert_eq!(asked(&mut rig), 3, "three were under way");
    rig.now += 3 * SECOND;
    rig.engine.tick(rig.now);
    let got = records(rig.read(client));
    assert!(got.iter().filter(|record| record.channel() == Channel::Trade).count() >= 4, "{:?}", brief(&got));
    assert!(asked(&mut rig) <= 1);
}
