//! A program with the SDK: it drains its socket at once, and works slowly.

use std::time::Duration;

use hdrhistogram::Histogram;
use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event};
use tickwire_testkit::{age_at, in_ms, unix_now};
use tokio::time::Instant;

use super::server::{Plan, Server};

const TIME: Duration = Duration::from_secs(30);
/// The time for which the SDK's estimates settle first.
const WARM_UP: Duration = Duration::from_secs(5);
const WORK_PER_RECORD: Duration = Duration::from_millis(1);

#[tokio::test]
#[ignore = "half a minute, in a release build: scripts/test-sockets.sh"]
async fn that_works_slowly_sees_what_is_new() {
    let server = Server::start(Plan::default()).await;
    let url = format!("ws://{}/v1/stream", server.address);
    let mut client = Client::builder(url).subscribe(Channel::Quote, ["sim:*"]).connect().await.unwrap();
    let handle = client.handle();
    let mut ages = Histogram::<u64>::new(2).unwrap();
    let mut when_sent = ages.clone();
    let (mut records, mut told, mut ledger) = (0_u64, 0, None);
    let started = Instant::now();
    let mut asked = None;
    while ledger.is_none() {
        let batch = client.next().await.expect("the session goes on");
        let is_measured = started.elapsed() > WARM_UP;
        let mut work = Duration::ZERO;
        for event in &batch {
            match event {
                Event::Record(update) => {
                    // This record's turn comes when those before it in the batch are done.
                    let age = unix_now().saturating_sub(update.record.event_time) + work.as_nanos() as u64;
                    work += WORK_PER_RECORD;
                    records += 1;
                    if is_measured && asked.is_none() {
                        ages.record(age).unwrap();
                        let sent = batch.sent_time().unwrap();
                        when_sent.record(sent.saturating_sub(update.record.event_time)).unwrap();
                    }
                }
                Event::Notice(notice) => told += u64::from(notice.code == "conflating"),
                Event::Ledger(came) => ledger = Some(came.clone()),
                _ => {}
            }
        }
        tokio::time::sleep(work).await;
        if asked.is_none() && started.elapsed() > TIME {
            let handle = handle.clone();
            asked = Some(tokio::spawn(async move { handle.ledger().await }));
        }
    }
    let rate = records as f64 / started.elapsed().as_secs_f64();
    println!("slow program: {}", in_ms(&ages));
    println!("slow program: when it was sent: {}", in_ms(&when_sent));
    println!("slow program: {rate:.0} records/s of {}", server.plan.instruments * server.plan.updates);
    println!("slow program: told {told} times that it is conflated");
    for entry in &ledger.unwrap().entries {
        assert_eq!(entry.published, entry.delivered + entry.conflated + entry.dropped + entry.filtered);
    }
    assert_eq!(client.counters().violations, 0);
    assert!(told > 0, "it was not told that it is conflated");
    assert!(rate > 500.0, "it is starved");
    // Without its receipts the gateway would send ten times what it works off: at the end that is half a minute. A tighter bound would be
    // one of the machine; the ages above are to be looked at.
    assert!(age_at(&ages, 0.99) <= TIME / 10, "p99 {:?}", age_at(&ages, 0.99));
}
