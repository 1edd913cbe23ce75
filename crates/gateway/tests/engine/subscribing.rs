//! Hello, grants, refusals, `venue:*`, time-outs, and what is let go.

use std::sync::Arc;

use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::{Event, TopicId, TopicInterest};
use tickwire_wire::{
    Channel, Command, Encoding, FeedState, GapCause, Granted, LedgerRequest, Message, PROTOCOL_VERSION,
    Resume, ResumePosition, SCHEMA, SetRate, TradingState, Unsubscribe,
};

use super::rig::{
    Client, EPOCH, Rig, SECOND, brief, limits, quote, records, response, status, subscribe, trade,
};

#[test]
fn hello_comes_first_and_states_the_limits() {
    for encoding in Encoding::ALL {
        let mut rig = Rig::new(limits());
        let client = rig.open(encoding);
        let messages = rig.read(client);
        let [Message::Hello(hello), Message::Sent(sent)] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!((hello.session.as_str(), hello.server.as_str()), ("s1", "tickwire/test"));
        assert_eq!((hello.protocol_version, hello.schema.as_str()), (PROTOCOL_VERSION, SCHEMA));
        assert_eq!((hello.heartbeat_ms, *sent), (1_000, rig.now));
        let stated = hello.limits.expect("limits");
        let stated = (stated.subscriptions, stated.command_bytes, stated.commands_per_second);
        assert_eq!(stated, (100, 4096, 10));
    }
}

/// Checks what became of each symbol: `granted`, or the refusal's code with `+` where a retry may help.
#[track_caller]
fn check(rig: &mut Rig, client: Client, channel: &str, symbols: &[&str], expected: &[(&str, &str)]) {
    rig.send(client, &subscribe(42, channel, symbols));
    rig.grant_interests();
    let messages = rig.read(client);
    let response = response(&messages);
    assert_eq!(response.id, 42);
    let granted = response.granted.iter().map(|g| (g.symbol.as_str(), "granted".to_owned()));
    let refused = response.refused.iter().map(|r| {
        assert!(!r.message.is_empty(), "{r:?} says nothing");
        (r.symbol.as_str(), format!("{}{}", r.code, if r.may_retry { "+" } else { "" }))
    });
    let mut got: Vec<_> = granted.chain(refused).collect();
    got.sort();
    let got: Vec<_> = got.iter().map(|(symbol, code)| (*symbol, code.as_str())).collect();
    assert_eq!(got, expected);
}

#[test]
fn each_symbol_has_its_response() {
    for encoding in Encoding::ALL {
        let mut limits = limits();
        limits.subscriptions_per_session = 3;
        let mut rig = Rig::new(limits);
        let client = rig.open(encoding);
        let rig = &mut rig;
        check(rig, client, "quotes", &["sim:A"], &[("sim:A", "unknown_channel")]);
        let asked = ["sim:A", "A", "none:A", "sim:X", "sim:a", "sim:A", "sim:"];
        check(
            rig,
            client,
            "quote",
            &asked,
            &[
                ("A", "bad_symbol"),
                ("none:A", "unknown_venue+"),
                ("sim:", "bad_symbol"),
                ("sim:A", "granted"),
                ("sim:X", "unknown_symbol"),
                ("sim:a", "unknown_symbol"),
            ],
        );
        check(
            rig,
            client,
            "quote",
            &["sim:A", "sim:B"],
            &[("sim:A", "already_subscribed"), ("sim:B", "granted")],
        );
        check(rig, client, "trade", &["sim:*"], &[("sim:*", "limit"), ("sim:A", "granted")]);
        check(rig, client, "trade", &["sim:B"], &[("sim:B", "limit")]);
        assert_eq!(rig.engine.topics(), 3, "what is over the limit is not asked for on the bus");
    }
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    let messages = rig.subscribe(client, Channel::Quote, &["sim:a", "sim:X", "nowhere:A"]);
    let texts: Vec<_> = response(&messages).refused.iter().map(|refused| refused.message.as_str()).collect();
    assert!(texts[0].contains("did you mean `sim:A`?"), "{texts:?}");
    assert!(texts[1].contains("subscribe to `sim:*` on channel `instrument`"), "{texts:?}");
    assert!(texts[2].contains("known: sim"), "{texts:?}");
}

#[test]
fn the_response_comes_before_the_data_and_names_the_number_that_it_follows() {
    for encoding in Encoding::ALL {
        let mut rig = Rig::new(limits());
        let client = rig.open(encoding);
        rig.send(client, &subscribe(1, "quote", &["sim:B"]));
        let interests: Vec<_> = rig.engine.take_interests().collect();
        let topic = TopicId::new(1, Channel::Quote);
        assert_eq!(interests, [TopicInterest::Want(topic)]);
        assert_eq!(rig.read(client).len(), 2, "no response before the state is known");
        let newest = rig.bus_update(1, EPOCH, 9, quote(77));
        rig.state(topic, 9, vec![newest]);
        rig.publish(1, 10, quote(78));
        let messages = rig.read(client);
        let expected = Granted {
            channel: Channel::Quote as i32,
            symbol: "sim:B".to_owned(),
            instrument: 101,
            price_decimals: 2,
            size_decimals: 3,
            max_rate: 0.0,
            epoch: EPOCH,
            sequence: 9,
            delay_ms: 0,
            depth: 0,
        };
        assert!(matches!(messages[0], Message::Subscribed(_)), "{messages:?}");
        assert_eq!(response(&messages).granted, [expected]);
        assert_eq!(
            brief(&records(messages)),
            ["quote 10"],
            "the state was superseded before it could be sent"
        );
    }
}

#[test]
fn one_response_waits_for_all_its_topics() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    rig.state(TopicId::new(1, Channel::Quote), 0, Vec::new());
    assert!(!rig.read(client).iter().any(|m| matches!(m, Message::Subscribed(_))));
    rig.state(TopicId::new(0, Channel::Quote), 0, Vec::new());
    assert_eq!(response(&rig.read(client)).granted.len(), 2);
}

#[test]
fn a_topic_that_stays_silent_is_refused_after_the_time_out_and_let_go() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    rig.state(TopicId::new(0, Channel::Quote), 0, Vec::new());
    rig.read(client);
    rig.now += 5 * SECOND - 1;
    rig.engine.tick(rig.now);
    assert!(!rig.read(client).iter().any(|m| matches!(m, Message::Subscribed(_))));
    rig.now += 1;
    rig.engine.tick(rig.now);
    let messages = rig.read(client);
    let response = response(&messages);
    assert_eq!(response.granted[0].symbol, "sim:A");
    assert_eq!((response.refused[0].code.as_str(), response.refused[0].may_retry), ("unavailable", true));
    rig.engine.take_interests();
    rig.now += 10 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(
        rig.engine.take_interests().collect::<Vec<_>>(),
        [TopicInterest::Drop(TopicId::new(1, Channel::Quote))]
    );
    assert_eq!(rig.engine.topics(), 1);
}

#[test]
fn what_the_bus_side_cannot_have_is_refused_at_once() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    rig.engine.take_interests();
    let topic = TopicId::new(0, Channel::Quote);
    let reason = "no response".into();
    rig.event(Event::Unavailable { topic, reason, is_unknown: false });
    assert_eq!(rig.engine.take_interests().collect::<Vec<_>>(), [TopicInterest::Drop(topic)]);
    rig.state(TopicId::new(1, Channel::Quote), 0, Vec::new());
    let messages = rig.read(client);
    let response = response(&messages);
    assert_eq!((response.granted.len(), response.refused[0].code.as_str()), (1, "unavailable"));
}

#[test]
fn a_session_that_ends_while_it_waits_leaves_nothing_behind() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    rig.state(TopicId::new(0, Channel::Quote), 0, Vec::new());
    rig.engine.ended(client.key, rig.now).expect("it was open");
    assert!(rig.engine.ended(client.key, rig.now).is_none(), "a key that outlived its session");
    rig.now += 10 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!((rig.engine.topics(), rig.engine.sessions()), (0, 0));
}

#[test]
fn topics_linger_and_are_taken_up_again() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    unsubscribe(&mut rig, client, Channel::Quote, "sim:A");
    rig.now += 9 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.take_interests().count(), 0);
    rig.send(client, &subscribe(2, "quote", &["sim:A"]));
    assert_eq!(response(&rig.read(client)).granted.len(), 1, "without another request to the bus");
    rig.now += 20 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.take_interests().count(), 0);
    unsubscribe(&mut rig, client, Channel::Quote, "sim:A");
    rig.now += 10 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(
        rig.engine.take_interests().collect::<Vec<_>>(),
        [TopicInterest::Drop(TopicId::new(0, Channel::Quote))]
    );
}

fn unsubscribe(rig: &mut Rig, client: Client, channel: Channel, symbol: &str) -> Vec<Message> {
    let command = Unsubscribe { id: 8, channel: channel.name().to_owned(), symbols: vec![symbol.to_owned()] };
    rig.send(client, &Command::Unsubscribe(command));
    rig.read(client)
}

#[test]
fn all_of_a_venue_includes_what_appears_later() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    let messages = rig.subscribe(client, Channel::Trade, &["sim:*"]);
    assert_eq!(response(&messages).granted.len(), 3);
    let set_rate =
        SetRate { id: 2, channel: "trade".to_owned(), symbols: vec!["sim:*".to_owned()], max_rate: 3.0 };
    rig.send(client, &Command::SetRate(set_rate));
    assert_eq!(response(&rig.read(client)).granted.len(), 3, "asking for a rate is no unsubscribing");
    let index = rig.instrument("D");
    rig.grant_interests();
    rig.publish(index, 1, trade(5));
    let messages = rig.read(client);
    assert_eq!((response(&messages).id, response(&messages).granted[0].symbol.as_str()), (0, "sim:D"));
    assert_eq!(brief(&records(messages)), ["trade 1"]);

    let messages = unsubscribe(&mut rig, client, Channel::Trade, "sim:*");
    let Message::Ledger(ledger) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!((ledger.id, ledger.entries.len()), (8, 4));
    rig.instrument("E");
    assert_eq!(rig.engine.take_interests().count(), 0, "after it ended nothing is added any more");
}

#[test]
fn unsubscribing_ends_the_data_and_states_the_account() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A", "sim:B"]);
    rig.publish(0, 1, quote(1));
    rig.publish(0, 2, quote(2));
    rig.read(client);
    rig.publish(0, 3, quote(3));
    let messages = unsubscribe(&mut rig, client, Channel::Quote, "sim:A");
    let Message::Ledger(ledger) = &messages[0] else { panic!("{messages:?}") };
    let entry = &ledger.entries[0];
    assert_eq!(
        (entry.symbol.as_str(), entry.published, entry.delivered, entry.conflated),
        ("sim:A", 2, 1, 1)
    );
    rig.publish(0, 4, quote(4));
    rig.publish(1, 1, quote(5));
    let records = rig.records(client);
    assert_eq!((records.len(), records[0].instrument), (1, 101));
    let messages = unsubscribe(&mut rig, client, Channel::Quote, "sim:A");
    assert_eq!(response(&messages).refused[0].code, "not_subscribed");
}

#[test]
fn a_subscription_that_is_ended_before_it_was_granted_is_not_granted() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    rig.engine.take_interests();
    unsubscribe(&mut rig, client, Channel::Quote, "sim:A");
    rig.state(TopicId::new(1, Channel::Quote), 0, Vec::new());
    rig.now += 10 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(
        rig.engine.take_interests().collect::<Vec<_>>(),
        [TopicInterest::Drop(TopicId::new(0, Channel::Quote))]
    );
    let messages = rig.read(client);
    let response = response(&messages);
    assert_eq!((response.id, response.granted.len(), response.granted[0].symbol.as_str()), (1, 1, "sim:B"));
    assert_eq!(
        (response.refused[0].symbol.as_str(), response.refused[0].code.as_str()),
        ("sim:A", "not_subscribed")
    );
}

#[test]
fn a_new_client_learns_the_trading_state_at_once() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Status, &["sim:A"]);
    rig.publish(0, 1, status(TradingState::Open));
    rig.publish(0, 2, status(TradingState::Halted));
    let late = rig.open(Encoding::Proto);
    let messages = rig.subscribe(late, Channel::Status, &["sim:A"]);
    assert_eq!(response(&messages).granted[0].sequence, 2);
    assert_eq!(brief(&records(messages)), ["status 2"]);
    rig.publish(0, 3, status(TradingState::Open));
    assert_eq!(brief(&rig.records(late)), ["status 3"]);
}

#[track_caller]
fn check_resume(log_records: usize, position: (u64, u64), granted: u64, expected: &[&str]) {
    let mut limits = limits();
    limits.log_records_per_topic = log_records;
    let mut rig = Rig::new(limits);
    let other = rig.open(Encoding::Proto);
    rig.subscribe(other, Channel::Trade, &["sim:A"]);
    for number in 1..=6 {
        rig.publish(0, number, trade(number as i64));
    }
    let client = rig.open(Encoding::MsgPack);
    let (channel, symbol) = ("trade".to_owned(), "sim:A".to_owned());
    let position = ResumePosition { channel, symbol, epoch: position.0, sequence: position.1 };
    rig.send(client, &Command::Resume(Resume { id: 1, positions: vec![position] }));
    let messages = rig.subscribe(client, Channel::Trade, &["sim:A"]);
    assert_eq!(response(&messages).granted[0].sequence, granted);
    rig.publish(0, 7, trade(7));
    let got: Vec<_> = records(messages).into_iter().chain(rig.records(client)).collect();
    assert_eq!(brief(&got), expected);
    rig.send(client, &Command::Ledger(LedgerRequest { id: 2 }));
    let messages = rig.read(client);
    let Message::Ledger(ledger) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!((ledger.entries[0].published, ledger.entries[0].delivered), (7 - granted, 7 - granted));
}

#[test]
fn resuming_fills_from_the_log_and_announces_the_rest() {
    check_resume(100, (EPOCH, 3), 3, &["trade 4", "trade 5", "trade 6", "trade 7"]);
    check_resume(2, (EPOCH, 3), 4, &["trade gap resume 4-4", "trade 5", "trade 6", "trade 7"]);
    check_resume(2, (EPOCH, 6), 6, &["trade 7"]);
    check_resume(2, (EPOCH, 60), 6, &["trade 7"]);
    check_resume(2, (EPOCH, u64::MAX), 6, &["trade 7"]);
    let renumbered = ["trade gap resume 10-0", "trade gap resume 1-4", "trade 5", "trade 6", "trade 7"];
    check_resume(2, (EPOCH - 1, 9), 4, &renumbered);
    let from_end = format!("trade gap resume {}-0", u64::MAX);
    check_resume(2, (1, u64::MAX), 4, &[&from_end, "trade gap resume 1-4", "trade 5", "trade 6", "trade 7"]);
}

#[test]
fn hostile_commands_are_answered_and_cost_little() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Json);
    rig.read(client);
    for bytes in
        [&b"{"[..], b"", b"[]", b"\xff\xff", br#"{"op":"dance","id":1}"#, br#"{"op":"ledger","ID":1}"#]
    {
        rig.engine.on_message(client.key, bytes, rig.now);
        let messages = rig.read(client);
        let Message::Error(error) = &messages[0] else { panic!("{messages:?}") };
        assert_eq!(error.code, "bad_command");
        assert!(error.message.contains(r#"write {"op":"subscribe""#), "{error:?}");
    }
    rig.send(client, &subscribe(1, "quote", &["sim:*"; 300]));
    rig.grant_interests();
    assert_eq!(response(&rig.read(client)).granted.len(), 3);
    rig.send(client, &subscribe(1, &"x".repeat(2_000), &["sim:A"]));
    assert!(response(&rig.read(client)).refused[0].message.len() < 200);
    rig.engine.on_flood(client.key, b"");
    assert!(matches!(&rig.read(client)[0], Message::Error(error) if error.code == "rate_limit"));
}

#[test]
fn a_vector_may_come_in_parts() {
    let mut rig = Rig::new(EngineLimits { subscriptions_per_session: 2, ..limits() });
    let other = rig.open(Encoding::Proto);
    rig.subscribe(other, Channel::Trade, &["sim:A", "sim:B"]);
    for instrument in 0..2 {
        for sequence in 1..=4 {
            rig.publish(instrument, sequence, trade(1));
        }
    }
    let client = rig.open(Encoding::Proto);
    let resume = |rig: &mut Rig, symbol: &str, sequence| {
        let (channel, symbol) = ("trade".to_owned(), symbol.to_owned());
        let position = ResumePosition { channel, symbol, epoch: EPOCH, sequence };
        rig.send(client, &Command::Resume(Resume { id: 9, positions: vec![position] }));
        rig.read(client)
    };
    let is_refused = |messages: &[Message]| messages.iter().any(|m| matches!(m, Message::Error(_)));
    for (symbol, sequence) in [("sim:A", 1), ("sim:B", 3), ("sim:A", 2)] {
        assert!(!is_refused(&resume(&mut rig, symbol, sequence)));
    }
    assert!(is_refused(&resume(&mut rig, "sim:C", 1)), "no more than a session may subscribe to");
    let records = records(rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B"]));
    assert_eq!(brief(&records), ["trade 3", "trade 4", "trade 4"]);
}

#[test]
fn a_name_is_wrong_for_good_only_while_the_feed_is_live() {
    for (feed, may_retry) in [(FeedState::Live, false), (FeedState::Stale, true), (FeedState::Down, true)] {
        let mut rig = Rig::new(limits());
        rig.feed(feed);
        let client = rig.open(Encoding::Proto);
        let messages = rig.subscribe(client, Channel::Quote, &["sim:LATER"]);
        let refused = &response(&messages).refused[0];
        assert_eq!((refused.code.as_str(), refused.may_retry), ("unknown_symbol", may_retry), "{feed:?}");
    }
}

#[test]
fn resuming_in_the_middle_of_a_gap_announces_the_rest_of_it() {
    let mut rig = Rig::new(limits());
    let before = rig.open(Encoding::Proto);
    rig.subscribe(before, Channel::Trade, &["sim:A"]);
    rig.gap(0, Channel::Trade, GapCause::Bus, 1, 9, EPOCH);
    let client = rig.open(Encoding::Proto);
    let (channel, symbol) = ("trade".to_owned(), "sim:A".to_owned());
    let position = ResumePosition { channel, symbol, epoch: EPOCH, sequence: 4 };
    rig.send(client, &Command::Resume(Resume { id: 1, positions: vec![position] }));
    let got = records(rig.subscribe(client, Channel::Trade, &["sim:A"]));
    assert_eq!(brief(&got), ["trade gap bus 5-9"]);
}

#[test]
fn a_state_that_says_nothing_new_is_not_delivered_again() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    let update = rig.publish(0, 1, quote(3));
    let topic = TopicId::new(0, Channel::Quote);
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
    rig.state(topic, 1, vec![Arc::clone(&update)]);
    assert!(rig.records(client).is_empty(), "the same record twice");
    rig.gap(0, Channel::Quote, GapCause::Bus, 2, 2, EPOCH);
    rig.state(topic, 2, vec![update]);
    assert_eq!(brief(&rig.records(client)), ["quote gap bus 2-2", "quote 1"], "what was lost is said anew");
}
