//! Entitlements: a session sees what its principal may see.

use proptest::prelude::*;
use tickwire_core::engine::{Entitlement, Pattern, Principal, SessionQuery};
use tickwire_core::vocabulary::{TopicId, TopicInterest};
use tickwire_wire::{Body, Channel, Command, Message, Refused, SetRate, Unsubscribe};

use super::rig::{
    Client, Rig, brief, limits, quote, records, response, status, subscribe, subscribe_at, trade,
};

fn principal(entitlements: Vec<Entitlement>) -> Principal {
    Principal { name: "desk".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

fn only(symbols: Pattern, channels: &[Channel]) -> Entitlement {
    let venues = Pattern::Is("sim".to_owned());
    Entitlement { venues, symbols, channels: Some(channels.to_vec()), ..Entitlement::ALL }
}

fn is(symbol: &str) -> Pattern {
    Pattern::Is(symbol.to_owned())
}

fn wants(rig: &mut Rig) -> Vec<TopicId> {
    let want = |interest| if let TopicInterest::Want(topic) = interest { Some(topic) } else { None };
    rig.engine.take_interests().filter_map(want).collect()
}

fn granted(messages: &[Message]) -> Vec<String> {
    response(messages).granted.iter().map(|granted| granted.symbol.clone()).collect()
}

fn refusals(messages: &[Message]) -> Vec<(String, String)> {
    let brief = |refused: &Refused| (refused.symbol.clone(), refused.code.clone());
    response(messages).refused.iter().map(brief).collect()
}

fn not_entitled(symbol: &str) -> (String, String) {
    (symbol.to_owned(), "not_entitled".to_owned())
}

#[test]
fn what_may_not_be_seen_is_refused_and_not_followed() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(principal(vec![only(is("A"), &[Channel::Quote])]));
    rig.send(client, &subscribe(1, "quote", &["sim:A", "sim:B"]));
    assert_eq!(wants(&mut rig), [TopicId::new(0, Channel::Quote)]);
    rig.state(TopicId::new(0, Channel::Quote), 0, Vec::new());
    let messages = rig.read(client);
    assert_eq!(granted(&messages), ["sim:A"]);
    assert_eq!(refusals(&messages), [not_entitled("sim:B")]);
    let refusal = &response(&messages).refused[0];
    assert_eq!((refusal.channel(), refusal.may_retry), (Channel::Quote, false));
    assert!(refusal.message.contains("`sim:B` on channel `quote`"), "{}", refusal.message);
    let messages = rig.subscribe(client, Channel::Trade, &["sim:A"]);
    assert_eq!(refusals(&messages), [not_entitled("sim:A")]);
    // A name that nobody has is refused as one that it may not see.
    let messages = rig.subscribe(client, Channel::Quote, &["sim:NONE"]);
    assert_eq!(refusals(&messages), [not_entitled("sim:NONE")]);
    let page = rig.engine.session_page(&SessionQuery { limit: 9, ..SessionQuery::default() });
    assert_eq!(page.rows[0].principal, "desk");
    rig.publish(0, 1, quote(1));
    rig.publish(1, 1, quote(1));
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
}

#[test]
fn all_of_a_venue_is_what_may_be_seen_of_it() {
    let mut rig = Rig::new(limits());
    let entitlements = vec![
        only(Pattern::Begins("B".to_owned()), &[Channel::Quote, Channel::Status]),
        only(is("LATER"), &[Channel::Trade]),
    ];
    let client = rig.open_as(principal(entitlements));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:*"]);
    assert_eq!((granted(&messages), refusals(&messages)), (vec!["sim:B".to_owned()], Vec::new()));
    // Of a channel of which nothing may ever be seen, and of one of which something may appear.
    let messages = rig.subscribe(client, Channel::Book, &["sim:*"]);
    assert_eq!(refusals(&messages), [not_entitled("sim:*")]);
    let messages = rig.subscribe(client, Channel::Trade, &["sim:*"]);
    assert_eq!((granted(&messages), refusals(&messages)), (Vec::new(), Vec::new()));

    rig.instrument("D");
    assert_eq!(wants(&mut rig), []);
    assert_eq!(rig.read(client), [], "nothing is said of what it may not see");
    rig.instrument("BB");
    rig.grant_interests();
    assert_eq!(granted(&rig.read(client)), ["sim:BB"]);
    rig.instrument("LATER");
    assert_eq!(wants(&mut rig), [TopicId::new(5, Channel::Trade)]);
    rig.state(TopicId::new(5, Channel::Trade), 0, Vec::new());
    assert_eq!(granted(&rig.read(client)), ["sim:LATER"]);

    let symbols = vec!["sim:*".to_owned()];
    let rate = SetRate { id: 4, channel: "quote".to_owned(), symbols: symbols.clone(), max_rate: 5.0 };
    rig.send(client, &Command::SetRate(rate));
    assert_eq!(granted(&rig.read(client)), ["sim:B", "sim:BB"]);
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 5, channel: "quote".to_owned(), symbols }));
    assert!(matches!(&rig.read(client)[0], Message::Ledger(ledger) if ledger.entries.len() == 2));
    rig.instrument("BBB");
    assert_eq!(wants(&mut rig), []);
}

#[test]
fn whoever_must_not_see_live_data_sees_none() {
    let mut rig = Rig::new(limits());
    let delayed = Entitlement { delay_ns: 900_000_000_000, ..Entitlement::ALL };
    let client = rig.open_as(principal(vec![delayed, only(is("C"), &[Channel::Quote])]));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:A", "sim:C"]);
    let delays: Vec<_> =
        response(&messages).granted.iter().map(|g| (g.symbol.as_str(), g.delay_ms)).collect();
    assert_eq!(delays, [("sim:C", 0), ("sim:A", 900_000)]);
    rig.publish(0, 1, quote(1));
    rig.publish(2, 1, quote(1));
    assert_eq!(rig.records(client).iter().map(|record| record.instrument).collect::<Vec<_>>(), [102]);
}

#[test]
fn its_limits_are_in_force_and_said() {
    let mut rig = Rig::new(limits());
    let one = Principal { subscriptions_max: 2, rate_max: 5.0, ..principal(vec![Entitlement::ALL]) };
    let client = rig.open_as(one);
    let messages = rig.read(client);
    let Message::Hello(hello) = &messages[0] else { panic!("{messages:?}") };
    let told = hello.limits.as_ref().unwrap();
    assert_eq!((told.subscriptions, told.max_rate), (2, 5.0));
    rig.send(client, &subscribe_at(1, "quote", &["sim:A", "sim:B", "sim:C"], 50.0));
    rig.grant_interests();
    let messages = rig.read(client);
    let rates: Vec<_> = response(&messages).granted.iter().map(|granted| granted.max_rate).collect();
    assert_eq!(rates, [5.0, 5.0]);
    assert_eq!(refusals(&messages), [("sim:C".to_owned(), "limit".to_owned())]);
    // Where the gateway allows less, that is in force.
    let one = Principal { subscriptions_max: 1 << 20, rate_max: 1e9, ..principal(vec![Entitlement::ALL]) };
    let client = rig.open_as(one);
    let messages = rig.read(client);
    let Message::Hello(hello) = &messages[0] else { panic!("{messages:?}") };
    let told = hello.limits.as_ref().unwrap();
    assert_eq!((told.subscriptions, told.max_rate), (100, 1000.0));
}

const SYMBOLS: [&str; 4] = ["A", "B", "C", "BB"];
const CHANNELS: [Channel; 3] = [Channel::Quote, Channel::Trade, Channel::Status];

fn body(channel: Channel, number: u64) -> Body {
    match channel {
        Channel::Quote => quote(number as i64),
        Channel::Trade => trade(number as i64),
        _ => status(tickwire_wire::TradingState::Open),
    }
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    let symbols = prop_oneof![
        Just(Pattern::All),
        (0..SYMBOLS.len()).prop_map(|at| is(SYMBOLS[at])),
        (0..SYMBOLS.len()).prop_map(|at| Pattern::Begins(SYMBOLS[at][..1].to_owned())),
    ];
    let channels = proptest::sample::subsequence(CHANNELS.to_vec(), 0..=CHANNELS.len());
    (symbols, channels, prop_oneof![3 => Just(0), 1 => Just(7_u64)])
        .prop_map(|(symbols, channels, delay_ns)| Entitlement { delay_ns, ..only(symbols, &channels) })
}

#[derive(Clone, Debug)]
enum Op {
    Subscribe { channel: usize, symbol: usize },
    SubscribeAll { channel: usize },
    Unsubscribe { channel: usize, symbol: usize },
    Appear,
    Publish,
}

fn op() -> impl Strategy<Value = Op> {
    let (channel, symbol) = (0..CHANNELS.len(), 0..SYMBOLS.len());
    prop_oneof![
        (channel.clone(), symbol.clone()).prop_map(|(channel, symbol)| Op::Subscribe { channel, symbol }),
        channel.clone().prop_map(|channel| Op::SubscribeAll { channel }),
        (channel, symbol).prop_map(|(channel, symbol)| Op::Unsubscribe { channel, symbol }),
        Just(Op::Appear),
        Just(Op::Publish),
    ]
}

/// Publishes once of every instrument on every channel; returns symbol and channel of what a client got of it.
fn publish_all(rig: &mut Rig, client: Client, number: u64) -> Vec<(String, Channel)> {
    for index in 0..rig.infos.len() as u32 {
        for channel in CHANNELS {
            rig.publish(index, number, body(channel, number));
        }
    }
    let got = records(rig.read(client));
    let named = |instrument: u32| rig.infos[instrument as usize - 100].name.symbol.clone();
    got.iter().map(|record| (named(record.instrument), record.channel())).collect()
}

proptest! {
    /// Whatever a session asks for, and whenever instruments appear: it gets exactly what somebody who sees everything gets
    /// for the same commands, as far as it is entitled to it.
    #[test]
    fn a_session_gets_what_it_asked_for_and_may_see(
        entitlements in proptest::collection::vec(entitlement(), 0..4),
        ops in proptest::collection::vec(op(), 1..25),
    ) {
        let mut rig = Rig::new(limits());
        let one = principal(entitlements);
        let [sees, all] = [one.clone(), principal(vec![Entitlement::ALL])].map(|who| rig.open_as(who));
        let mut published = 0;
        for op in ops {
            match op {
                Op::Appear if rig.infos.len() < SYMBOLS.len() => drop(rig.instrument(SYMBOLS[3])),
                Op::Appear => {}
                Op::Publish => {
                    published += 1;
                    let mut expected = publish_all(&mut rig, all, published);
                    let is_live = |name: &str, channel| {
                        let name = tickwire_wire::SymbolName { venue: "sim".to_owned(), symbol: name.to_owned() };
                        one.permit(&name, channel) == tickwire_core::engine::Permit::Live
                    };
                    expected.retain(|(name, channel)| is_live(name, *channel));
                    // Both were published to before either was read: the second reads what the first did.
                    let got = records(rig.read(sees));
                    let named = |instrument: u32| rig.infos[instrument as usize - 100].name.symbol.clone();
                    let mut got: Vec<_> = got.iter().map(|r| (named(r.instrument), r.channel())).collect();
                    expected.sort_unstable();
                    got.sort_unstable();
                    prop_assert_eq!(got, expected);
                }
                Op::Subscribe { .. } | Op::SubscribeAll { .. } | Op::Unsubscribe { .. } => {
                    for client in [sees, all] {
                        rig.send(client, &command(&op));
                    }
                }
            }
            rig.grant_interests();
        }
    }
}

fn command(op: &Op) -> Command {
    let (channel, symbol) = match op {
        Op::Subscribe { channel, symbol } | Op::Unsubscribe { channel, symbol } => {
            (channel, SYMBOLS[*symbol])
        }
        Op::SubscribeAll { channel } => (channel, "*"),
        _ => unreachable!("is no command"),
    };
    let (name, symbol) = (CHANNELS[*channel].name(), format!("sim:{symbol}"));
    match op {
        Op::Unsubscribe { .. } => {
            Command::Unsubscribe(Unsubscribe { id: 2, channel: name.to_owned(), symbols: vec![symbol] })
        }
        _ => subscribe(1, name, &[&symbol]),
    }
}
