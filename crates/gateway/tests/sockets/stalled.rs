//! A reader that stops for half a minute, and goes on.

use std::time::Duration;

use tickwire_testkit::{Account, MessageSeen, Pace, StockClient, unix_now};

use super::server::{Plan, Server};
use super::slow::SLOW;

const STALL: Duration = Duration::from_secs(30);

/// The messages that came after the stall.
struct Resumed {
    /// The bytes that were sent before it ended, and read after.
    in_flight_bytes: usize,
    /// The first message with data that was sent later.
    first: MessageSeen,
}

impl Resumed {
    fn of(seen: &Account, resumed: u64) -> Self {
        let log = seen.log.as_ref().unwrap();
        let after: Vec<_> = log.iter().filter(|message| message.read >= resumed).collect();
        let in_flight = after.iter().filter(|message| message.sent < resumed);
        let first = after.iter().find(|message| message.sent >= resumed && message.oldest.is_some());
        Self {
            in_flight_bytes: in_flight.map(|message| message.bytes).sum(),
            first: **first.expect("data after the stall"),
        }
    }

    /// Returns the age of the oldest record in it, when it was read.
    fn age(&self) -> Duration {
        Duration::from_nanos(self.first.read - self.first.oldest.unwrap())
    }
}

async fn settle(client: &mut StockClient, pace: Pace) {
    client.read_for(pace, Duration::from_secs(10)).await.unwrap();
    client.seen.log = Some(Vec::new());
}

/// Reads until something came that was sent after the stall, and some time on.
async fn resume(client: &mut StockClient, pace: Pace, resumed: u64) {
    let came = |seen: &Account| {
        seen.log.as_ref().unwrap().last().is_some_and(|m| m.sent >= resumed && m.oldest.is_some())
    };
    assert!(client.read_until(pace, Duration::from_secs(120), came).await.unwrap(), "nothing new comes");
    client.read_for(pace, Duration::from_secs(2)).await.unwrap();
    client.ask_ledger(pace, Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
#[ignore = "a minute, in a release build: scripts/test-sockets.sh"]
async fn comes_back_to_what_is_new() {
    let plan = Plan { no_progress_ms: Some(60_000), ..Plan::default() };
    let server = Server::start(plan).await;
    let (mut prompt, mut slow) = (server.client(plan.instruments).await, server.client_at(SLOW).await);
    tokio::join!(settle(&mut prompt, Pace::Prompt), settle(&mut slow, SLOW));
    let memory_before = server.resident_mib();
    tokio::time::sleep(STALL).await;
    let memory = server.resident_mib();
    let resumed = unix_now();
    tokio::join!(resume(&mut prompt, Pace::Prompt, resumed), resume(&mut slow, SLOW, resumed));
    println!("server memory: {memory_before:.1} MiB before the stall, {memory:.1} MiB at its end");
    for (name, client, in_flight_max) in
        [("prompt until then", &prompt, 256 << 10), ("10 KB/s", &slow, 8 << 10)]
    {
        let back = Resumed::of(&client.seen, resumed);
        let age = back.age();
        println!(
            "{name}: {} bytes were in flight; the first quote after them was {age:?} old",
            back.in_flight_bytes
        );
        println!("{name}: it was sent {:?} after the stall", Duration::from_nanos(back.first.sent - resumed));
        assert_eq!(client.seen.violations, [""; 0], "{name}");
        assert!(client.seen.conflating_notices > 0, "{name}: it was not told that it is conflated");
        assert!(back.in_flight_bytes <= in_flight_max, "{name}: too much in flight");
        // What waited for it would be as old as the stall. A tighter bound would be one of the machine.
        assert!(age < STALL / 6, "{name}: old");
    }
    assert!(memory - memory_before < 8.0, "memory is not flat");
}
