//! A program that takes 5 ms for each quote of a whole market: it gets fewer of them, and still new ones.
//!
//! The client tells the gateway by receipts what the program took. The gateway then sends the newest quote of each
//! symbol when there is room, in place of a queue that grows. The ledger calls those that were left out conflated.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo --rate 5000`), then run
//! `cargo run -p tickwire-client --example slow`. Another gateway's URL may follow behind `--`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url).subscribe(Channel::Quote, ["sim:*"]).connect().await?;
    let handle = client.handle();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if handle.ledger().await.is_err() {
                return;
            }
        }
    });

    let mut ages_ms = Vec::new();
    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                Event::Record(update) => {
                    tokio::time::sleep(Duration::from_millis(5)).await; // The work.
                    ages_ms.push(age_ms(update.record.event_time));
                }
                Event::Ledger(ledger) => {
                    let (published, delivered, conflated) =
                        ledger.entries.iter().fold((0, 0, 0), |sum, e| {
                            (sum.0 + e.published, sum.1 + e.delivered, sum.2 + e.conflated)
                        });
                    ages_ms.sort_unstable();
                    let median = ages_ms.get(ages_ms.len() / 2).copied().unwrap_or_default();
                    println!(
                        "{} quotes, {median} ms old at the median; since the start {published} were published, \
                         {delivered} delivered, {conflated} conflated",
                        ages_ms.len()
                    );
                    ages_ms.clear();
                }
                Event::Notice(notice) => println!("the gateway says: {}: {}", notice.code, notice.message),
                Event::Gap(gap) => println!("{gap}: {}", gap.explanation()),
                _ => {}
            }
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}

/// How long ago something happened at the venue, in milliseconds, by this machine's clock.
fn age_ms(event_time_ns: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64).saturating_sub(event_time_ns) / 1_000_000
}
