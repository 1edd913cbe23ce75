//! The end of an instrument: what is owed comes first, then the word, then the account; and nothing stands for it afterwards.

use std::sync::Arc;

use tickwire_core::vocabulary::{Ended, Event, InstrumentInfo, TopicId, TopicInterest};
use tickwire_wire::{Channel, Command, Encoding, Ledger, Message, Scale, Subscribed, Unsubscribe};

use super::rig::{Client, Rig, SECOND, brief, limits, quote, records, response, subscribe, trade};

fn end(rig: &mut Rig, instrument: u32, may_retry: bool) {
    let ended = Ended { instrument, reason: "it expired".into(), may_retry };
    rig.event(Event::Ended(Arc::new(ended)));
}

/// Finds the word that something ended, and the account behind it.
#[track_caller]
fn farewell(messages: &[Message]) -> (&Subscribed, &Ledger) {
    let is_word = |message: &Message| matches!(message, Message::Subscribed(s) if !s.refused.is_empty());
    let at = messages.iter().position(is_word);
    let at = at.unwrap_or_else(|| panic!("no word of an end: {messages:?}"));
    let (Message::Subscribed(told), Some(Message::Ledger(ledger))) = (&messages[at], messages.get(at + 1))
    else {
        panic!("no account behind it: {messages:?}")
    };
    (told, ledger)
}

#[test]
fn what_is_owed_comes_first_then_the_word_then_the_account() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B"]);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.read(client);
    for number in 1..=3 {
        rig.publish(0, number, trade(number as i64));
    }
    rig.publish(0, 1, quote(5));
    end(&mut rig, 0, false);
    let messages = rig.read(client);
    let (told, ledger) = farewell(&messages);
    let mut refused: Vec<_> = told
        .refused
        .iter()
        .map(|r| (r.channel(), r.symbol.as_str(), r.code.as_str(), r.message.as_str(), r.may_retry))
        .collect();
    refused.sort_by_key(|(channel, ..)| *channel as i32);
    let expected = |channel| (channel, "sim:A", "ended", "`sim:A` ended: it expired", false);
    assert_eq!(refused, [expected(Channel::Quote), expected(Channel::Trade)]);
    let mut accounts: Vec<_> =
        ledger.entries.iter().map(|e| (e.channel(), e.published, e.delivered)).collect();
    accounts.sort_by_key(|(channel, ..)| *channel as i32);
    assert_eq!((ledger.id, accounts), (0, vec![(Channel::Quote, 1, 1), (Channel::Trade, 3, 3)]));
    let is_record = |message: &Message| matches!(message, Message::Record(_));
    let last = messages.iter().rposition(is_record).unwrap();
    assert!(messages[last..].iter().any(|message| matches!(message, Message::Subscribed(s) if s.id == 0)));
    assert_eq!(brief(&records(messages)), ["trade 1", "trade 2", "trade 3", "quote 1"]);
    // The other one goes on; the index is free.
    rig.publish(1, 1, trade(1));
    assert_eq!(brief(&rig.records(client)), ["trade 1"]);
    assert!(rig.engine.take_interests().any(|interest| interest == TopicInterest::LetGo(0)));
}

#[test]
fn a_session_that_takes_nothing_keeps_the_instrument_until_it_goes() {
    let mut rig = Rig::new(limits());
    let (slow, prompt) = (rig.open(Encoding::Proto), rig.open(Encoding::Json));
    for client in [slow, prompt] {
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
        rig.read(client);
    }
    rig.engine.unsent(slow.key, 100, rig.now);
    rig.publish(0, 1, trade(1));
    end(&mut rig, 0, false);
    assert_eq!(farewell(&rig.read(prompt)).1.entries.len(), 1);
    assert!(
        !rig.engine.take_interests().any(|interest| interest == TopicInterest::LetGo(0)),
        "somebody still has it"
    );
    rig.engine.unsent(slow.key, 0, rig.now);
    let messages = rig.read(slow);
    farewell(&messages);
    assert_eq!(brief(&records(messages)), ["trade 1"]);
    assert!(rig.engine.take_interests().any(|interest| interest == TopicInterest::LetGo(0)));
    assert_eq!(rig.engine.topics(), 0);
}

#[test]
fn nobody_gets_it_any_more() {
    let mut rig = Rig::new(limits());
    let waiting = rig.open(Encoding::Proto);
    rig.send(waiting, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    end(&mut rig, 0, false);
    rig.state(TopicId::new(1, Channel::Quote), 0, Vec::new());
    let messages = rig.read(waiting);
    let told = response(&messages);
    assert_eq!((told.granted.len(), told.refused.len()), (1, 1));
    assert_eq!((told.refused[0].code.as_str(), told.refused[0].may_retry), ("unknown_symbol", false));
    let late = rig.open(Encoding::Proto);
    let messages = rig.subscribe(late, Channel::Quote, &["sim:A"]);
    assert_eq!(response(&messages).refused[0].code, "unknown_symbol");
}

#[test]
fn who_waits_for_another_topic_is_not_granted_what_ended_meanwhile() {
    let mut rig = Rig::new(limits());
    let (first, waiting) = (rig.open(Encoding::Proto), rig.open(Encoding::Proto));
    rig.subscribe(first, Channel::Quote, &["sim:A"]);
    rig.send(waiting, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    end(&mut rig, 0, true);
    rig.read(first);
    assert!(
        rig.engine.take_interests().any(|interest| interest == TopicInterest::LetGo(0)),
        "who waits holds nothing back"
    );
    // Its index stands for another one before the response.
    let name = tickwire_wire::SymbolName { venue: "sim".to_owned(), symbol: "Z".to_owned() };
    let scale = Scale { symbol: name.to_string(), ..rig.infos[0].scale.clone() };
    let new = Arc::new(InstrumentInfo { id: 900, name, scale, ..(*rig.infos[0]).clone() });
    rig.infos[0] = Arc::clone(&new);
    rig.event(Event::Instrument(new));
    rig.state(TopicId::new(1, Channel::Quote), 0, Vec::new());
    let messages = rig.read(waiting);
    let told = response(&messages);
    assert_eq!(told.granted.iter().map(|granted| granted.symbol.as_str()).collect::<Vec<_>>(), ["sim:B"]);
    let refused = &told.refused[0];
    assert_eq!(
        (refused.symbol.as_str(), refused.code.as_str(), refused.may_retry),
        ("sim:A", "unknown_symbol", true)
    );
}

/// Makes a rig in which `sim:A` ended, and one trade of it is still owed to a session that subscribes to all.
fn ended_with_a_trade_owed() -> (Rig, Client) {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:*"]);
    rig.read(client);
    rig.publish(0, 1, trade(1));
    rig.engine.unsent(client.key, 100, rig.now);
    end(&mut rig, 0, true);
    (rig, client)
}

#[test]
fn what_ended_can_be_unsubscribed_while_something_is_owed() {
    for symbols in [&["sim:A"][..], &["sim:*"]] {
        let (mut rig, client) = ended_with_a_trade_owed();
        let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 5, channel: "trade".to_owned(), symbols }));
        rig.engine.unsent(client.key, 0, rig.now);
        let messages = rig.read(client);
        let ledger = messages.iter().find_map(|message| match message {
            Message::Ledger(ledger) if ledger.id == 5 => Some(ledger),
            _ => None,
        });
        let entries = &ledger.expect("an account").entries;
        let of_ended =
            entries.iter().find(|entry| entry.symbol == "sim:A").expect("an account of what ended");
        assert_eq!(
            (of_ended.published, of_ended.delivered),
            (0, 0),
            "the account goes as far as was delivered"
        );
        assert_eq!(records(messages), [], "nothing comes after it");
        assert!(rig.engine.take_interests().any(|interest| interest == TopicInterest::LetGo(0)));
    }
}

#[test]
fn a_name_that_is_there_anew_is_granted_beside_what_is_still_owed_of_the_old() {
    let (mut rig, client) = ended_with_a_trade_owed();
    let old = &rig.infos[0];
    let scale = Scale { price_decimals: 4, ..old.scale.clone() };
    let new = Arc::new(InstrumentInfo { index: 3, id: 103, scale, ..(**old).clone() });
    rig.infos.push(Arc::clone(&new));
    rig.event(Event::Instrument(new));
    rig.state(TopicId::new(3, Channel::Trade), 0, Vec::new());
    rig.publish(3, 1, trade(9));
    rig.engine.unsent(client.key, 0, rig.now);
    let messages = rig.read(client);
    let granted = messages.iter().find_map(|message| match message {
        Message::Subscribed(told) => told.granted.first(),
        _ => None,
    });
    assert_eq!(granted.map(|g| (g.instrument, g.price_decimals)), Some((103, 4)));
    assert!(farewell(&messages).0.refused[0].may_retry);
    let numbers: Vec<_> = records(messages).iter().map(|record| record.instrument).collect();
    assert_eq!(numbers, [100, 103]);
}

#[test]
fn an_index_that_is_used_again_has_nothing_of_the_one_before() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.publish(0, 7, quote(5));
    rig.read(client);
    end(&mut rig, 0, false);
    rig.read(client);
    rig.engine.take_interests();
    let name = tickwire_wire::SymbolName { venue: "sim".to_owned(), symbol: "Z".to_owned() };
    let scale = Scale { symbol: name.to_string(), ..rig.infos[0].scale.clone() };
    let new = Arc::new(InstrumentInfo { id: 100, name, scale, ..(*rig.infos[0]).clone() });
    rig.infos[0] = Arc::clone(&new);
    rig.event(Event::Instrument(new));
    rig.send(client, &subscribe(1, "quote", &["sim:Z", "sim:A"]));
    rig.state(TopicId::new(0, Channel::Quote), 0, Vec::new());
    let messages = rig.read(client);
    let told = response(&messages);
    assert_eq!((told.granted[0].symbol.as_str(), told.granted[0].sequence), ("sim:Z", 0));
    assert_eq!(told.refused[0].code, "unknown_symbol");
    assert_eq!(records(messages), []);
    // The old one that lingered does not end the new one.
    rig.now += 12 * SECOND;
    rig.engine.tick(rig.now);
    rig.publish(0, 1, quote(9));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["quote 1"]);
}
