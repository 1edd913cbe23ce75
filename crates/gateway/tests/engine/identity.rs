//! Tokens within a session: waiting for one, renewing, expiry, revocation. `matrix.rs` has what each may see.

use std::sync::Arc;

use tickwire_core::engine::{Credential, Entitlement, Pattern, Principal, TokenRefused};
use tickwire_wire::{Channel, CloseCode, Command, Encoding, Message, Token};

use super::delayed::define;
use super::rig::{
    CLOSE, Client, Rig, SECOND, brief, limits, parse_frames, quote, records, response, subscribe, trade,
};

pub(super) fn named(name: &str, entitlements: Vec<Entitlement>) -> Principal {
    Principal { name: name.to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

fn is(symbol: &str, channels: &[Channel]) -> Entitlement {
    Entitlement {
        venues: Pattern::Is("sim".to_owned()),
        symbols: Pattern::Is(symbol.to_owned()),
        channels: Some(channels.to_vec()),
        ..Entitlement::ALL
    }
}

fn token(id: u64) -> Command {
    Command::Token(Token { id, token: "not looked at here".to_owned() })
}

/// Hands in a token, and tells the engine whose it is.
pub(super) fn renew(rig: &mut Rig, client: Client, principal: Principal) -> Vec<Message> {
    rig.send(client, &token(9));
    let handed_in: Vec<_> = rig.engine.take_tokens().collect();
    assert_eq!(handed_in.len(), 1);
    let (session, id) = (handed_in[0].session, handed_in[0].id);
    assert_eq!((session, id, handed_in[0].token.expose()), (client.key, 9, "not looked at here"));
    rig.engine.identify(session, id, Ok(Arc::new(principal)), rig.now);
    rig.grant_interests();
    rig.read(client)
}

fn error(messages: &[Message]) -> Option<(u64, &str)> {
    messages.iter().find_map(|message| match message {
        Message::Error(error) => Some((error.id, error.code.as_str())),
        _ => None,
    })
}

fn close_code(rig: &mut Rig, client: Client) -> Option<u16> {
    let (bytes, _) = rig.fill(client);
    let frames = parse_frames(&bytes);
    let close = frames.iter().find(|frame| frame.opcode == CLOSE)?;
    Some(u16::from_be_bytes([close.payload[0], close.payload[1]]))
}

#[test]
fn a_session_without_an_identity_takes_a_token_and_nothing_else() {
    let mut rig = Rig::new(limits());
    let until = rig.now + 5 * SECOND;
    let client = rig.open_as(Principal::awaited(until));
    let messages = rig.read(client);
    let Message::Hello(hello) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!((hello.token_within_ms, hello.token_expires), (5_000, 0));
    rig.send(client, &subscribe(1, "quote", &["sim:A"]));
    assert_eq!(error(&rig.read(client)), Some((1, "token_required")));
    assert_eq!(rig.engine.take_interests().count(), 0);
    // A token whose key is not there yet may be tried again.
    rig.send(client, &token(2));
    let busy = TokenRefused { code: "token_busy", message: "x".to_owned(), closes: None };
    assert_eq!(rig.engine.take_tokens().count(), 1);
    rig.engine.identify(client.key, 2, Err(busy), rig.now);
    assert_eq!(error(&rig.read(client)), Some((2, "token_busy")));
    let messages = renew(&mut rig, client, named("desk", vec![is("A", &[Channel::Quote])]));
    let Message::Identity(identity) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!((identity.id, identity.name.as_str(), identity.limits.is_some()), (9, "desk", true));
    assert_eq!(response(&rig.subscribe(client, Channel::Quote, &["sim:A"])).granted.len(), 1);
    // The time for the first token is no limit any more.
    rig.now = until + SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.closing(client.key), None);
}

#[test]
fn a_session_that_no_token_comes_for_is_closed() {
    for is_wrong in [false, true] {
        let mut rig = Rig::new(limits());
        let client = rig.open_as(Principal::awaited(rig.now + 5 * SECOND));
        rig.read(client);
        if is_wrong {
            rig.send(client, &token(1));
            rig.engine.take_tokens();
            let refused = TokenRefused {
                code: "token_refused",
                message: "no".to_owned(),
                closes: Some(CloseCode::Unauthorized),
            };
            rig.engine.identify(client.key, 1, Err(refused), rig.now);
        } else {
            rig.now += 5 * SECOND - 1;
            rig.engine.tick(rig.now);
            assert_eq!(rig.engine.closing(client.key), None);
            rig.now += 1;
            rig.engine.tick(rig.now);
        }
        assert_eq!(close_code(&mut rig, client), Some(4503), "{is_wrong}");
    }
}

#[test]
fn a_token_that_ends_is_warned_of_and_then_ends_the_session() {
    let mut rig = Rig::new(limits());
    let expires = rig.now + 600 * SECOND;
    let credential = Credential::of_token(None, 0, expires, rig.now, 60 * SECOND, 10 * SECOND);
    let one = Principal { credential, ..named("desk", vec![Entitlement::ALL]) };
    let client = rig.open_as(one.clone());
    let messages = rig.read(client);
    assert!(matches!(&messages[0], Message::Hello(hello) if hello.token_expires == expires), "{messages:?}");
    let step = |rig: &mut Rig, at: u64| {
        // The client is there, and its clock and ours are looked at in between.
        while rig.now < at {
            rig.now = at.min(rig.now + SECOND);
            rig.engine.on_pong(client.key, b"", rig.now);
            rig.engine.tick(rig.now);
        }
        let is_notice =
            |message: &Message| matches!(message, Message::Notice(n) if n.code == "token_expiring");
        rig.read(client).iter().filter(|message| is_notice(message)).count()
    };
    assert_eq!(step(&mut rig, expires - 61 * SECOND), 0);
    assert_eq!(step(&mut rig, expires - 60 * SECOND), 1);
    assert_eq!(step(&mut rig, expires - 20 * SECOND), 0, "it is told once");
    let next = Credential::of_token(None, 0, expires + 600 * SECOND, rig.now, 60 * SECOND, 10 * SECOND);
    let messages = renew(&mut rig, client, Principal { credential: next, ..one });
    assert!(matches!(&messages[0], Message::Identity(i) if i.token_expires == expires + 600 * SECOND));
    assert_eq!(step(&mut rig, expires + 539 * SECOND), 0);
    assert_eq!(step(&mut rig, expires + 609 * SECOND), 1);
    assert_eq!(rig.engine.closing(client.key), None, "it has a grace");
    rig.now = expires + 610 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(close_code(&mut rig, client), Some(4401));
}

#[test]
fn a_new_token_ends_what_it_does_not_grant_and_nothing_else() {
    let mut rig = Rig::new(limits());
    let all = [Channel::Quote, Channel::Trade, Channel::Book];
    let client = rig.open_as(named("desk", vec![is("A", &all), is("B", &all), is("C", &all)]));
    for channel in all {
        rig.subscribe(client, channel, &["sim:A", "sim:B"]);
    }
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    for (instrument, price) in [(0, 1), (1, 2)] {
        rig.publish(instrument, 1, trade(price));
    }
    // Of what waits, too, nothing comes that is not granted any more.
    let slower = Principal { rate_max: 5.0, subscriptions_max: 50, ..named("desk", vec![is("A", &all)]) };
    let messages = renew(&mut rig, client, slower);
    let subscribed = response(&messages);
    let mut ended: Vec<_> = subscribed
        .refused
        .iter()
        .map(|one| (one.symbol.as_str(), one.channel(), one.code.as_str()))
        .collect();
    ended.sort_unstable();
    let expected = [
        ("sim:B", Channel::Quote, "ended"),
        ("sim:B", Channel::Trade, "ended"),
        ("sim:B", Channel::Book, "ended"),
        ("sim:C", Channel::Quote, "ended"),
    ];
    assert_eq!(ended, expected);
    assert!(subscribed.refused[0].message.contains("the new token"), "{}", subscribed.refused[0].message);
    let ledger =
        messages.iter().find_map(|m| if let Message::Ledger(ledger) = m { Some(ledger) } else { None });
    assert_eq!(ledger.unwrap().entries.len(), 4);
    assert_eq!(brief(&records(messages)), ["trade 1"]);
    let limits = rig.engine.principal(client.key).unwrap();
    assert_eq!((limits.rate_max, limits.subscriptions_max), (5.0, 50));
    for instrument in [0, 1, 2] {
        rig.publish(instrument, 1, quote(3));
    }
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
    rig.publish(0, 2, quote(4));
    assert_eq!(brief(&rig.records(client)), [""; 0], "its rate is the new one");
    // `sim:*` brings what appears and is granted, and that is nothing.
    rig.instrument("D");
    assert_eq!(rig.engine.take_interests().count(), 0);
}

#[test]
fn a_session_stays_with_its_owner() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(named("desk", vec![is("A", &[Channel::Quote])]));
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    let messages = renew(&mut rig, client, named("other", vec![Entitlement::ALL]));
    assert_eq!(error(&messages), Some((9, "token_refused")));
    assert_eq!(rig.engine.principal(client.key).unwrap().name, "desk");
    rig.publish(0, 1, quote(1));
    assert_eq!(brief(&rig.records(client)), ["quote 1"], "it goes on as it was");
    let binary = Principal { encodings: Some(vec![Encoding::Json]), ..named("desk", vec![Entitlement::ALL]) };
    assert_eq!(error(&renew(&mut rig, client, binary)), Some((9, "token_refused")));
}

#[test]
fn a_session_whose_api_key_grants_something_else_is_told_and_goes_on() {
    let mut rig = Rig::new(limits());
    let both = [Channel::Quote, Channel::Trade];
    let client = rig.open_as(named("desk", vec![is("A", &both)]));
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.subscribe(client, Channel::Trade, &["sim:*"]);
    rig.engine.regrant(client.key, Arc::new(named("desk", vec![is("B", &both)])), rig.now);
    rig.grant_interests();
    let messages = rig.read(client);
    let Message::Identity(identity) = &messages[0] else { panic!("{messages:?}") };
    assert_eq!((identity.id, identity.name.as_str()), (0, "desk"), "nobody asked");
    let ended = response(&messages).refused.iter();
    let ended: Vec<_> = ended.map(|one| (one.symbol.as_str(), one.channel(), one.code.as_str())).collect();
    assert_eq!(ended, [("sim:A", Channel::Quote, "ended"), ("sim:A", Channel::Trade, "ended")]);
    for instrument in [0, 1] {
        rig.publish(instrument, 1, trade(1));
        rig.publish(instrument, 1, quote(1));
    }
    assert_eq!(brief(&rig.records(client)), ["trade 1"], "`sim:*` stands for something else now");
    // Its name and its encoding are those of the session: with others it begins anew.
    let binary = Principal { encodings: Some(vec![Encoding::Json]), ..named("desk", vec![Entitlement::ALL]) };
    for other in [named("other", vec![Entitlement::ALL]), binary] {
        let client = rig.open_as(named("desk", vec![Entitlement::ALL]));
        rig.engine.regrant(client.key, Arc::new(other), rig.now);
        assert_eq!(close_code(&mut rig, client), Some(4401));
    }
}

#[test]
fn what_a_token_costs_does_not_tell_a_delayed_session_what_is_listed_now() {
    let mut rig = Rig::new(limits());
    rig.now += 100 * SECOND;
    let late = Entitlement { delay_ns: 10 * SECOND, ..Entitlement::ALL };
    let client = rig.open_as(named("desk", vec![late]));
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    let price = |rig: &mut Rig| {
        rig.send(client, &token(9));
        rig.engine.take_tokens();
        rig.engine.price()
    };
    let before = price(&mut rig);
    define(&mut rig, 3, "D", 0);
    assert_eq!(price(&mut rig), before);
    rig.pass(10);
    assert_eq!(price(&mut rig), before + 1);
}

#[test]
fn revoked_sessions_close_and_others_do_not() {
    let mut rig = Rig::new(limits());
    let [one, two] = ["desk", "other"].map(|name| rig.open_as(named(name, vec![Entitlement::ALL])));
    for client in [one, two] {
        rig.subscribe(client, Channel::Quote, &["sim:A"]);
    }
    assert_eq!(rig.engine.revoke(&|principal| principal.name == "desk", rig.now), 1);
    rig.publish(0, 1, quote(1));
    assert_eq!(brief(&rig.records(two)), ["quote 1"]);
    let (bytes, filled) = rig.fill(one);
    assert!(filled.closed);
    let frames = parse_frames(&bytes);
    let messages: Vec<_> = frames.iter().flat_map(|frame| frame.messages(Encoding::Proto)).collect();
    assert!(records(messages).is_empty(), "nothing of what came after");
    assert_eq!(frames.last().unwrap().payload[..2], 4504_u16.to_be_bytes());
    assert_eq!(rig.engine.revoke(&|principal| principal.name == "desk", rig.now), 0, "once");
}

#[test]
fn a_name_that_is_not_granted_is_refused_alike_whether_it_exists_or_not() {
    let mut rig = Rig::new(limits());
    rig.instrument("SECRET");
    let client = rig.open_as(named("desk", vec![is("A", &[Channel::Quote])]));
    rig.read(client);
    let told = |rig: &mut Rig, symbol: &str| {
        rig.send(client, &subscribe(1, "quote", &[symbol]));
        let messages = rig.read(client);
        let refused = &response(&messages).refused[0];
        (refused.code.clone(), refused.message.replace(symbol, "X"), refused.may_retry)
    };
    let known = told(&mut rig, "sim:SECRET");
    assert_eq!(known.0, "not_entitled");
    for symbol in ["sim:NOTHING", "sim:secret", "sim:a", "elsewhere:SECRET", "elsewhere:*"] {
        assert_eq!(told(&mut rig, symbol), known, "{symbol}");
    }
    // What it may see it is told of, and nothing else.
    let other = Entitlement { symbols: Pattern::Begins("S".to_owned()), ..is("x", &[Channel::Quote]) };
    let client = rig.open_as(named("desk", vec![other]));
    rig.read(client);
    for (symbol, hint) in [("sim:SeCRET", "did you mean `sim:SECRET`?"), ("sim:S", "to see what there is")] {
        rig.send(client, &subscribe(1, "quote", &[symbol]));
        let messages = rig.read(client);
        let refused = &response(&messages).refused[0];
        assert_eq!(refused.code, "unknown_symbol");
        assert!(refused.message.contains(hint), "{}", refused.message);
    }
}
