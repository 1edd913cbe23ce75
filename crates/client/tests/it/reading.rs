//! Connect, subscribe, read: in all encodings, in order, and with a slow or an impatient program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastwebsockets::OpCode;
use tickwire_client::wire::{Channel, Command, Encoding, GapCause, Message, Notice, Record};
use tickwire_client::{Client, Event};
use tokio::time::Instant;

use crate::fake_gateway::{FakeGateway, PIPE_BYTES, SYMBOL, Said, Session, gap, quote, scale, trade};
use crate::transcript::{next, take, until};

/// A client may live in a task of its own.
const _: fn() = || {
    fn is_send<T: Send>(_: &T) {}
    let _ = |mut client: Client| {
        is_send(&client);
        is_send(&client.handle());
        is_send(&client.next());
    };
};

/// Returns a client that is subscribed to trades, from number 0 on.
async fn trades(gateway: &mut FakeGateway) -> (Client, Session) {
    let builder = gateway.client().subscribe(Channel::Trade, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    until(&mut client, "subscribed").await;
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn records_come_in_every_encoding() {
    for encoding in Encoding::ALL {
        let mut gateway = FakeGateway::new();
        let builder = gateway.client().encoding(encoding).subscribe(Channel::Quote, [SYMBOL]);
        let (mut client, mut session) = gateway.session(builder).await;
        assert_eq!(session.encoding, encoding);
        session.grant(1, 0).await;
        session.send(&[quote(1), quote(3)]).await;
        session.send(&[quote(4)]).await;
        let expected = ["connected", "subscribed [sim:BTC-USD] refused []", "quote 1", "quote 3", "quote 4"];
        assert_eq!(take(&mut client, 5).await, expected);
        let view = client.quote(SYMBOL).unwrap();
        assert!(view.is_live());
        assert_eq!((view.sequence(), view.quote().bid.unwrap().price), (4, 400));
        assert_eq!(client.counters().violations, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn events_keep_the_order_of_the_wire() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    let notice = Notice { code: "conflating".to_owned(), ..Notice::default() };
    session
        .send(&[trade(1), gap(Channel::Trade, GapCause::Shed, 2, 4, 1), Message::Notice(notice), trade(5)])
        .await;
    let batch = client.next().await.unwrap();
    assert_eq!(batch.sent_time(), Some(session.time));
    assert_eq!(batch.events().len(), 4);
    session.send(&[trade(6)]).await;
    assert_eq!(next(&mut client).await, ["trade 6"]);
}

#[tokio::test(start_paused = true)]
async fn updates_print_themselves_exactly() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    until(&mut client, "subscribed").await;
    session.send(&[quote(1)]).await;
    let batch = client.next().await.unwrap();
    let Event::Record(update) = &batch.events()[0] else { panic!("{batch:?}") };
    assert_eq!(update.to_string(), "quote sim:BTC-USD #1 1.00 x 1.500 | 1.01 x 1.500");
    assert_eq!((update.price_text(-5), update.size_text(7)), ("-0.05".to_owned(), "0.007".to_owned()));
    assert_eq!(*update.scale, scale());
}

#[tokio::test(start_paused = true)]
async fn a_long_message_is_cut_into_batches() {
    let mut gateway = FakeGateway::new();
    let builder =
        gateway.client().subscribe(Channel::Trade, [SYMBOL]).batch_events_max(10).receipt_interval(None);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    until(&mut client, "subscribed").await;
    let messages: Vec<_> = (1..=25).map(trade).collect();
    session.send(&messages).await;
    session.ping(b"behind").await;
    for expected in [10, 10, 5] {
        assert_eq!(session.said_within(Duration::from_secs(1)).await, None);
        let batch = client.next().await.unwrap();
        assert_eq!((batch.events().len(), batch.sent_time()), (expected, Some(session.time)));
    }
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    assert_eq!(session.said().await, Some(Said::Pong(b"behind".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_message_may_come_in_fragments() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    let mut bytes = Vec::new();
    tickwire_client::wire::encode_message(Encoding::Proto, &trade(1), &scale(), &mut bytes);
    let rest = bytes.split_off(3);
    session.fragment(false, OpCode::Binary, bytes).await;
    session.ping(b"between").await;
    session.fragment(true, OpCode::Continuation, rest).await;
    assert_eq!(next(&mut client).await, ["trade 1"]);
}

#[tokio::test(start_paused = true)]
async fn without_receipts_a_pong_says_that_the_program_took_what_came_before() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Trade, [SYMBOL]).receipt_interval(None);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    until(&mut client, "subscribed").await;
    session.send(&[trade(1)]).await;
    session.ping(b"a").await;
    session.send(&[trade(2)]).await;
    session.ping(b"b").await;
    let second = Duration::from_secs(1);
    assert_eq!(next(&mut client).await, ["trade 1"]);
    assert_eq!(session.said_within(second).await, None, "the program still holds trade 1");
    assert_eq!(next(&mut client).await, ["trade 2"]);
    let mut said = Vec::new();
    while let Some(what) = session.said_within(second).await {
        said.push(what);
    }
    assert!(
        said.contains(&Said::Pong(b"a".to_vec())) && !said.contains(&Said::Pong(b"b".to_vec())),
        "{said:?}"
    );
    assert!(tokio::time::timeout(second, client.next()).await.is_err());
    assert_eq!(session.said().await, Some(Said::Pong(b"b".to_vec())));
}

/// Sends a ping of the gateway, and returns its time.
async fn probe(session: &mut Session) -> u64 {
    let time = session.time + 1;
    session.ping(&time.to_le_bytes()).await;
    time
}

fn receipt(said: Option<Said>) -> (u64, u64) {
    match said {
        Some(Said::Command(Command::Receipt(receipt))) => (receipt.sent_time, receipt.reader_lag_ns),
        other => panic!("{other:?} is no receipt"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_at_once_and_gets_its_receipt_when_the_program_took_what_came_before() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    let second = Duration::from_secs(1);
    session.send(&[trade(1)]).await;
    let probed = probe(&mut session).await;
    assert_eq!(session.said().await, Some(Said::Pong(probed.to_le_bytes().to_vec())), "it was read");
    assert_eq!(session.said_within(second).await, None, "the program has not taken trade 1");
    assert_eq!(next(&mut client).await, ["trade 1"]);
    assert_eq!(session.said_within(second).await, None, "the program still holds trade 1");
    assert!(tokio::time::timeout(second, client.next()).await.is_err());
    let (time, lag) = receipt(session.said().await);
    assert_eq!((time, lag), (probed, 1_000_000_000));
    let quiet = probe(&mut session).await;
    assert!(quiet == probed, "the same time again");
    session.said().await;
    assert!(tokio::time::timeout(second, client.next()).await.is_err());
    assert_eq!(session.said_within(second).await, None, "what is confirmed is not confirmed again");
}

#[tokio::test(start_paused = true)]
async fn many_pings_get_a_receipt_each_10_ms_and_the_last_one_is_not_forgotten() {
    let mut gateway = FakeGateway::new();
    gateway.hello.limits.as_mut().unwrap().commands_per_second = 4;
    let (mut client, mut session) = trades(&mut gateway).await;
    let reading = tokio::spawn(async move { while client.next().await.is_some() {} });
    let (start, mut last) = (Instant::now(), 0);
    for number in 1..=1000 {
        session.send(&[trade(number)]).await;
        last = probe(&mut session).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let elapsed = start.elapsed();
    let mut receipts = Vec::new();
    while let Some(said) = session.said_within(Duration::from_secs(5)).await {
        if let Said::Command(_) = said {
            receipts.push(receipt(Some(said)).0);
        }
    }
    assert_eq!(receipts.last(), Some(&last));
    assert!(receipts.is_sorted_by(|a, b| a < b), "{receipts:?}");
    let most = elapsed.as_millis() as usize / 10 + 2;
    assert!((most / 2..=most).contains(&receipts.len()), "{} of at most {most}", receipts.len());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_somebody_else_says_nothing_about_the_program() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    session.ping(&[0xff; 8]).await;
    session.ping(b"proxy").await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    while let Some(said) = session.said_within(Duration::from_secs(1)).await {
        assert!(matches!(said, Said::Pong(_)), "{said:?}");
    }
    session.send(&[trade(1)]).await;
    next(&mut client).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    assert_eq!(receipt(session.said().await).0, session.time, "receipts go on");
}

/// Records that lie in this library are stale for the program: by default that is no more than a fraction of a second of a
/// stream of 100,000 records a second, whatever the program takes of it.
#[tokio::test(start_paused = true)]
async fn little_is_read_ahead_by_default() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    tokio::spawn(async move {
        for message in 0_u64.. {
            let records: Vec<_> = (1..=100).map(|n| trade(message * 100 + n)).collect();
            session.send(&records).await;
            counter.fetch_add(records.len(), Ordering::Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_hours(1)).await;
    let mut one = Vec::new();
    tickwire_client::wire::encode_message(Encoding::Proto, &trade(1), &scale(), &mut one);
    let in_pipe = PIPE_BYTES / one.len();
    let ahead = written.load(Ordering::Relaxed).saturating_sub(in_pipe);
    assert!(ahead <= 1000, "{ahead} records of {} bytes are held", one.len());
    assert!(client.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn receipts_say_what_was_read_and_how_late() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    session.send(&[trade(1)]).await;
    let first = session.time;
    // Let the message arrive and age before the program takes it.
    assert_eq!(session.said_within(Duration::from_millis(40)).await, None);
    next(&mut client).await;
    session.send(&[trade(2)]).await;
    next(&mut client).await;
    session.send(&[trade(3)]).await;
    let third = session.time;
    next(&mut client).await;
    // The program is busy with trade 3; it says that it took it by coming back.
    tokio::time::sleep(Duration::from_millis(250)).await;
    session.send(&[trade(4)]).await;
    next(&mut client).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    let receipts: Vec<_> = [session.said().await, session.said().await]
        .into_iter()
        .map(|said| match said {
            Some(Said::Command(Command::Receipt(receipt))) => receipt,
            other => panic!("{other:?} is no receipt"),
        })
        .collect();
    assert_eq!((receipts[0].sent_time, receipts[0].reader_lag_ns), (first, 40_000_000));
    assert_eq!((receipts[1].sent_time, receipts[1].reader_lag_ns), (third, 0));
    assert_eq!(session.said_within(Duration::from_secs(1)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_ping_brings_the_receipt_of_what_was_taken() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = trades(&mut gateway).await;
    for number in 1..=3 {
        session.send(&[trade(number)]).await;
        next(&mut client).await;
    }
    let last = session.time;
    session.ping(b"how far?").await;
    assert!(tokio::time::timeout(Duration::from_millis(100), client.next()).await.is_err());
    let mut said = Vec::new();
    while let Some(more) = session.said_within(Duration::from_secs(1)).await {
        said.push(more);
    }
    let mut receipts = said.iter().filter_map(|said| match said {
        Said::Command(Command::Receipt(receipt)) => Some(receipt.sent_time),
        _ => None,
    });
    // The others were too young to be told of by themselves.
    assert_eq!(receipts.next_back(), Some(last), "{said:?}");
    assert!(said.contains(&Said::Pong(b"how far?".to_vec())), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_program_costs_a_bounded_number_of_bytes() {
    const MESSAGES: usize = 2000;
    const RECORDS: u64 = 50;
    const BUFFER: usize = 64 << 10;
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Trade, [SYMBOL]).buffer_bytes(BUFFER);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    until(&mut client, "subscribed").await;
    let mut one = Vec::new();
    for sequence in 1..=RECORDS {
        tickwire_client::wire::encode_message(Encoding::Proto, &trade(sequence), &scale(), &mut one);
    }
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    tokio::spawn(async move {
        for message in 0..MESSAGES as u64 {
            let records: Vec<_> = (1..=RECORDS).map(|n| trade(message * RECORDS + n)).collect();
            session.send(&records).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
        // Keep the connection.
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(Duration::from_hours(1)).await;
    let bytes = written.load(Ordering::Relaxed) * one.len();
    let most = BUFFER + PIPE_BYTES + 4 * one.len();
    assert!((BUFFER / 2..most).contains(&bytes), "{bytes} bytes were taken, {most} at most are allowed");

    let mut expected = 1;
    while expected <= MESSAGES as u64 * RECORDS {
        for event in client.next().await.unwrap() {
            match event {
                Event::Record(update) => assert_eq!(update.record.sequence, expected),
                other => panic!("{other:?}: being slow is no fault"),
            }
            expected += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn next_in_a_select_loop_loses_nothing() {
    const RECORDS: u64 = 20_000;
    let mut gateway = FakeGateway::new();
    let mut client = gateway.client().subscribe(Channel::Trade, [SYMBOL]).start().unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut session = gateway.accept().await;
        session.grant(1, 0).await;
        let mut sequence = 0;
        while sequence < RECORDS {
            // The larger ones do not fit into the pipe at once, so that the client sees halves of them.
            let count = if sequence % 3 == 0 { 2000 } else { 7 };
            let records: Vec<_> = (sequence + 1..=sequence + count).map(trade).collect();
            sequence += count;
            session.send(&records).await;
            tokio::time::sleep(Duration::from_millis(sequence % 5)).await;
        }
        std::future::pending::<()>().await;
    });
    let (mut cancelled, mut last) = (0, 0);
    let start = Instant::now();
    while last < RECORDS {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_micros(900)) => cancelled += 1,
            batch = client.next() => for event in batch.expect("it has not ended") {
                if let Event::Record(update) = event {
                    let Record { sequence, .. } = update.record;
                    assert_eq!(sequence, last + 1);
                    last = sequence;
                }
            },
        }
        assert!(start.elapsed() < Duration::from_mins(1), "stuck at {last}");
    }
    assert!(cancelled > 50, "it was cancelled only {cancelled} times");
    assert_eq!(client.counters().gaps, 0);
}
