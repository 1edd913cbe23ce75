//! Commands through a handle, responses for each symbol, and what happens when a gateway refuses.

use std::time::Duration;

use tickwire_client::wire::{
    Channel, Command, Error, Granted, Ledger, LedgerEntry, Message, Subscribe, Subscribed,
};
use tickwire_client::{Client, CommandError, Options};
use tokio::time::Instant;

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, granted, quote, refused};
use crate::transcript::{during, until};

fn respond(subscribe: &Subscribe, granted: Vec<Granted>, refused: Vec<(&str, &str, bool)>) -> Message {
    let channel = Channel::from_name(&subscribe.channel).unwrap();
    let refused = refused
        .into_iter()
        .map(|(symbol, code, may_retry)| self::refused(channel, symbol, code, may_retry))
        .collect();
    Message::Subscribed(Subscribed { id: subscribe.id, granted, refused })
}

async fn open(gateway: &mut FakeGateway) -> (Client, Session) {
    let (mut client, session) = gateway.session(gateway.client()).await;
    until(&mut client, "connected").await;
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn each_symbol_has_its_own_outcome() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = open(&mut gateway).await;
    let handle = client.handle();
    let asked = handle.subscribe(Channel::Quote, [SYMBOL, "sim:NO", "nothing"], Options::max_rate(10.0));
    let answered = async {
        let subscribe = session.subscribe().await;
        assert_eq!((subscribe.channel.as_str(), subscribe.max_rate), ("quote", 10.0));
        assert_eq!(subscribe.symbols, [SYMBOL, "sim:NO"], "what is no symbol at all stays here");
        let granted = Granted { max_rate: 5.0, ..granted(Channel::Quote, SYMBOL) };
        let response = respond(&subscribe, vec![granted], vec![("sim:NO", "unknown_symbol", false)]);
        session.send(&[response, quote(1)]).await;
    };
    let ((outcome, ()), lines) = during(&mut client, async { tokio::join!(asked, answered) }).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.granted[0].symbol.as_str(), outcome.granted[0].max_rate), (SYMBOL, 5.0));
    let refused: Vec<_> = outcome.refused.iter().map(|r| (r.symbol.as_str(), r.code.as_str())).collect();
    assert_eq!(refused, [("nothing", "bad_symbol"), ("sim:NO", "unknown_symbol")]);
    assert_eq!(lines.first().unwrap(), "subscribed [sim:BTC-USD] refused [sim:NO unknown_symbol]");
    if lines.len() < 2 {
        until(&mut client, "quote 1").await;
    }
    assert!(client.is_live(SYMBOL) && !client.is_live("sim:NO"));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_now_is_asked_for_again() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL, "sim:NO"]);
    let (mut client, mut session) = gateway.session(builder).await;
    let start = Instant::now();
    let script = async {
        let mut at = Vec::new();
        for attempt in 0..4 {
            let subscribe = session.subscribe().await;
            at.push(start.elapsed().as_secs_f64());
            let no = ("sim:NO", "unknown_symbol", false);
            let (granted, refused) = match attempt {
                0 => (vec![], vec![(SYMBOL, "unavailable", true), no]),
                3 => (vec![granted(Channel::Quote, SYMBOL)], vec![]),
                _ => (vec![], vec![(SYMBOL, "unavailable", true)]),
            };
            session.send(&[respond(&subscribe, granted, refused)]).await;
            assert!(attempt == 0 || subscribe.symbols == [SYMBOL], "what was refused for good is left alone");
        }
        at
    };
    let (at, _) = during(&mut client, script).await;
    for (wait, ceiling) in at.windows(2).map(|pair| pair[1] - pair[0]).zip([1.0, 2.0, 4.0]) {
        assert!((ceiling / 2.0..=ceiling + 0.01).contains(&wait), "{wait} s, {ceiling} at most");
    }
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_venue_that_was_refused_for_now_is_asked_for_with_all_of_it() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe_with(Channel::Quote, ["sim:*"], Options::max_rate(3.0));
    let (mut client, mut session) = gateway.session(builder).await;
    let script = async {
        let subscribe = session.subscribe().await;
        let refused = (0..50).map(|_| (SYMBOL, "unavailable", true)).collect();
        session.send(&[respond(&subscribe, vec![granted(Channel::Quote, "sim:A")], refused)]).await;
        let start = Instant::now();
        let again = session.subscribe().await;
        assert_eq!((again.symbols.as_slice(), again.max_rate), (["sim:*".to_owned()].as_slice(), 3.0));
        assert!(start.elapsed() <= Duration::from_millis(1001), "one refusal, however many symbols");
        session.send(&[respond(&again, vec![granted(Channel::Quote, SYMBOL)], vec![]), quote(1)]).await;
    };
    during(&mut client, script).await;
    until(&mut client, "quote 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_survives_the_connection() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = open(&mut gateway).await;
    let handle = client.handle();
    let asked = handle.subscribe(Channel::Quote, [SYMBOL], Options::default());
    let script = async {
        session.subscribe().await;
        session.close(1001, "").await;
        let mut session = gateway.accept().await;
        let symbols = session.grant(1, 0).await.symbols;
        (symbols, session)
    };
    let ((outcome, (symbols, _session)), _) =
        during(&mut client, async { tokio::join!(asked, script) }).await;
    assert_eq!(symbols, [SYMBOL], "it is asked for once, not once for the request and once for the want");
    assert_eq!(outcome.unwrap().granted[0].symbol, SYMBOL);
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_returns_the_account_and_stops_the_data() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    let handle = client.handle();
    let script = async {
        let Command::Unsubscribe(command) = session.command().await else { panic!("no unsubscribe") };
        let no = refused(Channel::Quote, "sim:NO", "not_subscribed", false);
        let no = Subscribed { id: command.id, granted: vec![], refused: vec![no] };
        session.send(&[quote(2), Message::Subscribed(no)]).await;
        let entry =
            LedgerEntry { symbol: SYMBOL.to_owned(), published: 2, delivered: 2, ..LedgerEntry::default() };
        session.send(&[Message::Ledger(Ledger { id: command.id, entries: vec![entry] })]).await;
    };
    let asked = handle.unsubscribe(Channel::Quote, [SYMBOL, "sim:NO"]);
    let ((ledger, ()), lines) = during(&mut client, async { tokio::join!(asked, script) }).await;
    assert_eq!(ledger.unwrap().entries[0].delivered, 2);
    assert_eq!(lines, ["ledger of 1"], "quote 2 crossed with the command");
    assert!(client.quote(SYMBOL).is_none() && client.symbols().next().is_none());
    assert_eq!(client.counters().ignored, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_changed_and_kept() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    let handle = client.handle();
    let script = async {
        let Command::SetRate(command) = session.command().await else { panic!("no set_rate") };
        assert_eq!((command.symbols.as_slice(), command.max_rate), ([SYMBOL.to_owned()].as_slice(), 2.0));
        let granted = Granted { max_rate: 2.0, sequence: 9, ..granted(Channel::Quote, SYMBOL) };
        let granted = vec![granted];
        session.send(&[Message::Subscribed(Subscribed { id: command.id, granted, refused: vec![] })]).await;
    };
    let asked = handle.set_rate(Channel::Quote, [SYMBOL], 2.0);
    let ((outcome, ()), _) = during(&mut client, async { tokio::join!(asked, script) }).await;
    assert_eq!(outcome.unwrap().granted[0].max_rate, 2.0);
    assert!(client.is_live(SYMBOL), "a new rate does not make the quote old");
    session.close(1001, "").await;
    let (again, _) = during(&mut client, async { gateway.accept().await.subscribe().await }).await;
    assert_eq!(again.max_rate, 2.0);
}

#[tokio::test(start_paused = true)]
async fn many_symbols_are_cut_into_commands_that_fit() {
    let mut gateway = FakeGateway::new();
    let limit = gateway.hello.limits.unwrap().command_bytes as usize;
    let symbols: Vec<_> = (0..1000).map(|n| format!("sim:SYMBOL-{n:04}")).collect();
    let (mut client, mut session) = open(&mut gateway).await;
    let handle = client.handle();
    let asked = handle.subscribe(Channel::Quote, symbols.clone(), Options::default());
    let script = async {
        let (mut seen, mut commands) = (Vec::new(), 0);
        while seen.len() < 1000 {
            let subscribe = session.grant(1, 0).await;
            let bytes: usize = subscribe.symbols.iter().map(|symbol| symbol.len() + 3).sum();
            assert!(bytes < limit, "{bytes} bytes");
            seen.extend(subscribe.symbols);
            commands += 1;
        }
        (seen, commands)
    };
    let ((outcome, (seen, commands)), _) = during(&mut client, async { tokio::join!(asked, script) }).await;
    assert_eq!(seen, symbols);
    assert!((5..20).contains(&commands), "{commands} commands");
    assert_eq!(outcome.unwrap().granted.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn commands_keep_the_pace_of_the_gateway() {
    let mut gateway = FakeGateway::new();
    gateway.hello.limits.as_mut().unwrap().commands_per_second = 10;
    let (mut client, mut session) = open(&mut gateway).await;
    let handle = client.handle();
    let asked = async {
        for n in 0..40 {
            let handle = handle.clone();
            tokio::spawn(async move {
                let symbol = format!("sim:{n}");
                handle.subscribe(Channel::Quote, [symbol], Options::default()).await
            });
        }
    };
    let script = async {
        let mut at = Vec::new();
        for _ in 0..40 {
            session.subscribe().await;
            at.push(Instant::now());
        }
        at
    };
    let (((), at), _) = during(&mut client, async { tokio::join!(asked, script) }).await;
    for window in at.windows(11) {
        assert!(window[10] - window[0] > Duration::from_millis(990), "more than ten in a second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_or_unanswered_command_is_an_error() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().command_timeout(Duration::from_secs(5));
    let (mut client, mut session) = gateway.session(builder).await;
    let handle = client.handle();
    let script = async {
        let id = session.subscribe().await.id;
        let (code, message) = ("bad_command".to_owned(), "no".to_owned());
        session.send(&[Message::Error(Error { id, code, message })]).await;
    };
    let asked = handle.subscribe(Channel::Quote, [SYMBOL], Options::default());
    let ((outcome, ()), _) = during(&mut client, async { tokio::join!(asked, script) }).await;
    let (code, message) = ("bad_command".to_owned(), "no".to_owned());
    assert_eq!(outcome, Err(CommandError::Rejected { code, message }));
    let (outcome, _) = during(&mut client, handle.ledger()).await;
    assert_eq!(outcome, Err(CommandError::TimedOut { waited: Duration::from_secs(5) }));
}

#[tokio::test(start_paused = true)]
async fn all_of_a_venue_includes_what_appears_later() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, ["sim:*"]);
    let (mut client, mut session) = gateway.session(builder).await;
    let subscribe = session.subscribe().await;
    assert_eq!(subscribe.symbols, ["sim:*"]);
    session.send(&[respond(&subscribe, vec![granted(Channel::Quote, "sim:A")], vec![])]).await;
    session.send(&[respond(&subscribe, vec![granted(Channel::Quote, SYMBOL)], vec![]), quote(1)]).await;
    until(&mut client, "quote 1").await;
    assert!(client.is_live("sim:A") && client.is_live(SYMBOL));
    let handle = client.handle();
    let (_, _) = during(&mut client, async {
        let script = async {
            let Command::Unsubscribe(command) = session.command().await else { panic!("no unsubscribe") };
            session.send(&[Message::Ledger(Ledger { id: command.id, ..Ledger::default() })]).await;
        };
        tokio::join!(handle.unsubscribe(Channel::Quote, ["sim:*"]), script)
    })
    .await;
    assert_eq!(client.symbols().count(), 0);
}
