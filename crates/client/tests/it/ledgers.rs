//! Ledgers that are right, and ledgers that are not.

use tickwire_client::wire::{Channel, Command, GapCause, Ledger, LedgerEntry, Message};
use tickwire_client::{Client, Event, LedgerFault, State};

use crate::fake_gateway::{FakeGateway, ID, SYMBOL, Session, bar, gap, quote, trade};
use crate::transcript::{next, until};

fn entry(channel: Channel, [published, delivered, conflated, dropped, filtered]: [u64; 5]) -> LedgerEntry {
    let (channel, symbol) = (channel.into(), SYMBOL.to_owned());
    LedgerEntry { instrument: ID, channel, symbol, published, delivered, conflated, dropped, filtered }
}

/// Returns a client that got three quotes of ten, two trades, and a gap of three.
async fn served(gateway: &mut FakeGateway) -> (Client, Session) {
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]).subscribe(Channel::Trade, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 4).await;
    session.grant(1, 0).await;
    // The state after the grant, which does not count, comes first.
    session.send(&[quote(4), quote(5), quote(9), quote(14)]).await;
    session.send(&[trade(1), gap(Channel::Trade, GapCause::Shed, 2, 4, 1), trade(5)]).await;
    until(&mut client, "trade 5").await;
    (client, session)
}

fn right() -> [LedgerEntry; 2] {
    [entry(Channel::Quote, [10, 3, 6, 0, 1]), entry(Channel::Trade, [5, 2, 0, 3, 0])]
}

async fn faults(entries: Vec<LedgerEntry>) -> Vec<(Channel, LedgerFault)> {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway).await;
    session.send(&[Message::Ledger(Ledger { id: 0, entries })]).await;
    session.close(1001, "drain").await;
    let mut faults = Vec::new();
    loop {
        for event in client.next().await.unwrap() {
            match event {
                Event::LedgerMismatch(mismatch) => {
                    assert_eq!(mismatch.symbol, SYMBOL);
                    faults.push((mismatch.channel, mismatch.fault));
                }
                Event::Ledger(_) => {}
                Event::State(State::Disconnected { .. }) => {
                    assert_eq!(client.counters().ledger_faults, faults.len() as u64);
                    return faults;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Returns the faults of such entries in a ledger that was asked for.
async fn faults_when_asked(entries: Vec<LedgerEntry>) -> Vec<(Channel, LedgerFault)> {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway).await;
    let handle = client.handle();
    let asked = tokio::spawn(async move { handle.ledger().await });
    let responding = async {
        let Command::Ledger(command) = session.command().await else { panic!("no ledger") };
        session.send(&[Message::Ledger(Ledger { id: command.id, entries })]).await;
    };
    let reading = async {
        let faults = client.next().await.unwrap().into_iter().filter_map(|event| match event {
            Event::LedgerMismatch(mismatch) => Some((mismatch.channel, mismatch.fault)),
            _ => None,
        });
        faults.collect()
    };
    let ((), faults) = tokio::join!(responding, reading);
    asked.await.unwrap().unwrap();
    faults
}

#[tokio::test(start_paused = true)]
async fn a_right_ledger_raises_nothing() {
    assert_eq!(faults(right().to_vec()).await, []);
}

#[tokio::test(start_paused = true)]
async fn each_wrong_figure_is_found() {
    use Channel::{Quote, Trade};
    let [quotes, trades] = right();
    let delivered = LedgerFault::Delivered { stated: 4, counted: 3 };
    let wrong = vec![entry(Quote, [10, 4, 5, 0, 1]), trades.clone()];
    assert_eq!(faults(wrong).await, [(Quote, delivered)]);
    let sum = LedgerFault::Sum { published: 11, parts: 10 };
    assert_eq!(faults(vec![entry(Quote, [11, 3, 6, 0, 1]), trades]).await, [(Quote, sum)]);
    let dropped = LedgerFault::Dropped { stated: 2, counted: 3 };
    let wrong = vec![quotes.clone(), entry(Trade, [5, 2, 1, 2, 0])];
    assert_eq!(faults(wrong).await, [(Trade, dropped)]);
    assert_eq!(faults(vec![quotes.clone()]).await, [(Trade, LedgerFault::Missing)]);
    assert_eq!(faults_when_asked(vec![quotes.clone()]).await, [(Trade, LedgerFault::Missing)]);
    assert_eq!(faults_when_asked(right().to_vec()).await, []);
    let unknown = entry(Channel::Stat, [0; 5]);
    let entries = [right().to_vec(), vec![unknown]].concat();
    assert_eq!(faults(entries).await, [(Channel::Stat, LedgerFault::Unknown)]);
}

/// A ledger that nobody asked for has every subscription only where the close comes directly behind it.
#[tokio::test(start_paused = true)]
async fn a_ledger_in_mid_session_may_have_a_part() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway).await;
    let [quotes, _] = right();
    session.send(&[Message::Ledger(Ledger { id: 0, entries: vec![quotes] })]).await;
    session.send(&[trade(6)]).await;
    session.close(1001, "drain").await;
    let lines = until(&mut client, "disconnected").await;
    assert_eq!((lines[0].as_str(), lines[1].as_str()), ("ledger of 1", "trade 6"));
    assert_eq!(client.counters().ledger_faults, 0);
}

#[tokio::test(start_paused = true)]
async fn the_sum_of_what_was_unsubscribed_is_checked_too() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway).await;
    let handle = client.handle();
    let asked = tokio::spawn(async move { handle.unsubscribe(Channel::Trade, [SYMBOL]).await });
    let responding = async {
        let Command::Unsubscribe(command) = session.command().await else { panic!("no unsubscribe") };
        let entries = vec![entry(Channel::Trade, [5, 2, 0, 2, 0])];
        session.send(&[Message::Ledger(Ledger { id: command.id, entries })]).await;
    };
    let reading = async {
        let lines = next(&mut client).await;
        assert_eq!(lines.len(), 2, "the sum, and the ledger: {lines:?}");
        assert!(lines[0].contains("Sum { published: 5, parts: 4 }"), "{lines:?}");
    };
    tokio::join!(responding, reading);
    asked.await.unwrap().unwrap();
}

/// Corrections are a key of their own, so a state may say the running bar again with a number below theirs. It is told, no
/// numbers are missing for it, and it counts as the gateway counts it.
#[tokio::test(start_paused = true)]
async fn a_bar_with_a_number_below_the_newest_is_told_and_not_counted() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = gateway.session(gateway.client().subscribe(Channel::Bar, [SYMBOL])).await;
    session.grant(1, 4).await;
    // The states after the grant do not come by their numbers.
    session.send(&[bar(4, true), bar(2, false), bar(5, false)]).await;
    session.send(&[gap(Channel::Bar, GapCause::Bus, 6, 7, 1), bar(8, true), bar(7, false)]).await;
    session.send(&[bar(11, false), bar(10, true), bar(12, false)]).await;
    let lines = until(&mut client, "bar 12").await;
    let gap = "gap bar sim:BTC-USD from 6 to 7, cause bus by Gateway in epoch 1";
    let expected = ["bar 4", "bar 2", "bar 5", gap, "bar 8", "bar 7", "bar 11", "bar 10", "bar 12"];
    let told = lines.iter().map(String::as_str).skip_while(|line| !line.starts_with("bar"));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let counters = client.counters();
    assert_eq!((counters.violations, counters.duplicates, counters.ignored), (0, 0, 0));
    // Numbers 5 to 12: 5, 8, 11 and 12 are new, 6 and 7 were announced, 9 and 10 were superseded by 11.
    session
        .send(&[Message::Ledger(Ledger { id: 0, entries: vec![entry(Channel::Bar, [8, 4, 2, 2, 0])] })])
        .await;
    session.close(1001, "drain").await;
    let lines = until(&mut client, "disconnected").await;
    assert_eq!(client.counters().ledger_faults, 0, "{lines:?}");
}
