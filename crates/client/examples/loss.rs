//! Knows what it did not get: gaps as they happen, and the gateway's ledger, which the client compares with what came.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo`), then run
//! `cargo run -p tickwire-client --example loss`. Another gateway's URL may follow behind `--`. End the demo and start it
//! again to see gaps.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::Duration;

use tickwire_client::wire::Channel;
use tickwire_client::{Client, CommandError, Event, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url)
        .subscribe(Channel::Trade, ["sim:BTC-USD"])
        .subscribe(Channel::Book, ["sim:BTC-USD"])
        .connect()
        .await?;

    // Responses arrive while `next` is called, so a handle is used in a task of its own.
    let handle = client.handle();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            match handle.ledger().await {
                Ok(_) | Err(CommandError::Disconnected) => {} // It is an event as well, in order with the records.
                Err(error) => return println!("no ledger: {error}"),
            }
        }
    });

    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                // On `trade` each number comes once or is in a gap. On `book` a gap is followed by a snapshot.
                Event::Gap(gap) => println!("{gap}: {}", gap.explanation()),
                Event::Ledger(ledger) => {
                    for entry in ledger.entries {
                        println!(
                            "{} {}: {} published = {} delivered + {} conflated + {} dropped + {} filtered",
                            entry.channel().name(),
                            entry.symbol,
                            entry.published,
                            entry.delivered,
                            entry.conflated,
                            entry.dropped,
                            entry.filtered,
                        );
                    }
                    println!("the client says: {:?}", client.counters());
                }
                // A fault of the gateway or of the client: please report it.
                Event::LedgerMismatch(mismatch) => println!("the ledger is wrong: {mismatch}"),
                Event::State(State::Disconnected { reason, .. }) => println!("{reason}"),
                _ => {}
            }
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}
