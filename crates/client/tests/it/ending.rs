//! Instruments that end, and come again under other numbers.

use std::time::Duration;

use tickwire_client::wire::{
    Body, Channel, Command, Ledger, LedgerEntry, Message, Refused, Subscribed, Trade,
};
use tickwire_client::{Client, Event, LedgerFault};

use crate::fake_gateway::{FakeGateway, ID, SYMBOL, Session, granted, heartbeat, quote, record_of, trade};
use crate::transcript::{during, next, take, until};

fn ended(channel: Channel, symbol: &str, may_retry: bool) -> Refused {
    let (symbol, code, message) = (symbol.to_owned(), "ended".to_owned(), "it expired".to_owned());
    Refused { channel: channel.into(), symbol, code, message, may_retry }
}

/// Builds the gateway's messages about subscriptions that are over, with their counts: published and delivered.
fn end(endings: &[(Refused, [u64; 2])]) -> [Message; 2] {
    let refused = endings.iter().map(|(refused, _)| refused.clone()).collect();
    let entry = |(refused, [published, delivered]): &(Refused, [u64; 2])| LedgerEntry {
        instrument: ID,
        channel: refused.channel,
        symbol: refused.symbol.clone(),
        published: *published,
        delivered: *delivered,
        conflated: published - delivered,
        ..LedgerEntry::default()
    };
    let entries = endings.iter().map(entry).collect();
    let subscribed = Subscribed { id: 0, granted: Vec::new(), refused };
    [Message::Subscribed(subscribed), Message::Ledger(Ledger { id: 0, entries })]
}

/// Returns a client with quotes and trades of one symbol, and one record of each.
async fn served(gateway: &mut FakeGateway, symbol: &str) -> (Client, Session) {
    let builder = gateway.client().subscribe(Channel::Quote, [symbol]).subscribe(Channel::Trade, [symbol]);
    let (mut client, mut session) = gateway.session(builder).await;
    for channel in [Channel::Quote, Channel::Trade] {
        let Command::Subscribe(command) = session.command().await else { panic!("no subscribe") };
        let granted = vec![granted(channel, SYMBOL)];
        session
            .send(&[Message::Subscribed(Subscribed { id: command.id, granted, refused: Vec::new() })])
            .await;
    }
    session.send(&[quote(1), trade(1)]).await;
    until(&mut client, "trade 1").await;
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn what_ended_is_told_and_never_shown_as_live() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, SYMBOL).await;
    assert!(client.quote(SYMBOL).unwrap().is_live() && client.is_live(SYMBOL));
    let quotes = (ended(Channel::Quote, SYMBOL, false), [1, 1]);
    let trades = (ended(Channel::Trade, SYMBOL, false), [1, 1]);
    session.send(&end(&[quotes, trades])).await;
    let lines = take(&mut client, 3).await;
    let over = |channel| format!("ended {channel} {SYMBOL} for good (it expired)");
    assert_eq!(lines, [over("quote"), over("trade"), "ledger of 2".to_owned()]);
    assert!(client.quote(SYMBOL).is_none() && !client.is_live(SYMBOL));
    assert_eq!(client.symbols().count(), 0);
    // Its number means nothing any more, and nothing is asked for again.
    session.send(&[quote(2), trade(2)]).await;
    let (said, lines) = during(&mut client, session.commands_within(Duration::from_mins(5))).await;
    assert_eq!((said, lines), (Vec::new(), Vec::<String>::new()));
    assert_eq!((client.counters().ignored, client.counters().ledger_faults), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_final_account_is_checked_for_exactly_what_ended() {
    for (counts, lists_trades, expected) in [
        ([1, 1], true, None),
        ([3, 2], true, Some(LedgerFault::Delivered { stated: 2, counted: 1 })),
        ([1, 1], false, Some(LedgerFault::Missing)),
    ] {
        let mut gateway = FakeGateway::new();
        let (mut client, mut session) = served(&mut gateway, SYMBOL).await;
        let [subscribed, mut ledger] = end(&[(ended(Channel::Trade, SYMBOL, false), counts)]);
        if let (Message::Ledger(ledger), false) = (&mut ledger, lists_trades) {
            ledger.entries.clear();
        }
        session.send(&[subscribed, ledger, quote(2)]).await;
        let mut found = None;
        'reading: loop {
            for event in client.next().await.unwrap() {
                match event {
                    Event::LedgerMismatch(mismatch) => {
                        assert_eq!((mismatch.channel, mismatch.symbol.as_str()), (Channel::Trade, SYMBOL));
                        assert_eq!(found.replace(mismatch.fault), None);
                    }
                    Event::Record(_) => break 'reading,
                    _ => {}
                }
            }
        }
        assert_eq!(found, expected);
        assert!(client.is_live(SYMBOL), "the quotes go on");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_defined_anew_is_subscribed_again_under_its_new_number() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, SYMBOL).await;
    session.send(&end(&[(ended(Channel::Trade, SYMBOL, true), [1, 1])])).await;
    let (command, lines) = during(&mut client, session.command()).await;
    assert_eq!(lines[0], format!("ended trade {SYMBOL} and comes again (it expired)"));
    let Command::Subscribe(command) = command else { panic!("{command:?}, where nothing is to be resumed") };
    assert_eq!((command.channel.as_str(), command.symbols), ("trade", vec![SYMBOL.to_owned()]));
    let mut anew = granted(Channel::Trade, SYMBOL);
    (anew.instrument, anew.epoch) = (ID + 1, 9);
    let granted = vec![anew];
    session.send(&[Message::Subscribed(Subscribed { id: command.id, granted, refused: Vec::new() })]).await;
    let trade_anew = record_of(ID + 1, 1, Body::Trade(Trade { price: 7, size: 1, ..Trade::default() }));
    // The quotes of the first definition have not ended yet, and keep its number.
    session.send(&[trade(2), trade_anew, quote(2)]).await;
    let lines = until(&mut client, "quote 2").await;
    assert_eq!(lines.last_chunk(), Some(&["trade 1".to_owned(), "quote 2".to_owned()]), "{lines:?}");
    assert_eq!((client.counters().violations, client.counters().ignored), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_stays_and_the_gateway_grants_what_comes() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, "sim:*").await;
    session.send(&end(&[(ended(Channel::Quote, SYMBOL, false), [1, 1])])).await;
    until(&mut client, "ledger").await;
    // The number passes to another symbol.
    let mut other = granted(Channel::Quote, "sim:NEW");
    other.instrument = ID;
    let granted = vec![other];
    let trades = end(&[(ended(Channel::Trade, SYMBOL, true), [1, 1])]);
    session.send(&trades).await;
    session.send(&[Message::Subscribed(Subscribed { id: 0, granted, refused: Vec::new() }), quote(1)]).await;
    until(&mut client, "quote 1").await;
    assert!(client.quote("sim:NEW").unwrap().is_live() && client.quote(SYMBOL).is_none());
    let (said, _) = during(&mut client, session.commands_within(Duration::from_mins(1))).await;
    assert_eq!(said, [], "nobody asks");
}

/// The end comes behind everything that was owed; what did not come by then is a loss.
#[tokio::test(start_paused = true)]
async fn what_was_owed_at_the_end_is_missing() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, SYMBOL).await;
    let live = tickwire_client::wire::FeedState::Live;
    session.send(&[heartbeat(live, &[(Channel::Trade, 3)])]).await;
    session.send(&end(&[(ended(Channel::Trade, SYMBOL, false), [3, 1])])).await;
    let lines = until(&mut client, "ended").await;
    let missing = "gap trade sim:BTC-USD from 2 to 3, cause unknown by Client in epoch 1";
    let at = lines.iter().position(|line| line.starts_with("ended")).unwrap();
    assert_eq!(lines[at - 1], missing);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_in_use_is_not_believed_for_another_symbol() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, "sim:*").await;
    let mut other = granted(Channel::Quote, "sim:OTHER");
    other.instrument = ID;
    let granted = vec![other];
    session.send(&[Message::Subscribed(Subscribed { id: 0, granted, refused: Vec::new() }), quote(2)]).await;
    let lines = next(&mut client).await;
    let reason = format!("broke the protocol: grants number {ID} to sim:OTHER, while {SYMBOL} has it");
    assert!(lines[0].contains("disconnected for now") && lines[0].contains(&reason), "{lines:?}");
    assert_eq!(client.counters().violations, 1);
    assert!(!client.is_live(SYMBOL) && client.quote("sim:OTHER").is_none());
}

/// A gateway that ends and defines anew without pause is not asked without pause.
#[tokio::test(start_paused = true)]
async fn an_instrument_that_ends_again_and_again_costs_little() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = served(&mut gateway, SYMBOL).await;
    let start = tokio::time::Instant::now();
    let serving = async {
        for _ in 0..6 {
            session.send(&end(&[(ended(Channel::Trade, SYMBOL, true), [0, 0])])[..1]).await;
            let Command::Subscribe(command) = session.command().await else { panic!("no subscribe") };
            let granted = vec![granted(Channel::Trade, SYMBOL)];
            let subscribed = Subscribed { id: command.id, granted, refused: Vec::new() };
            session.send(&[Message::Subscribed(subscribed)]).await;
        }
    };
    during(&mut client, serving).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}
