//! Loses its connection every five seconds and misses no trade: after each reconnect the client says what it has, and the
//! gateway sends the rest, or announces as a gap what it does not keep any more.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo`), then run
//! `cargo run -p tickwire-client --example resume`. Another gateway's URL may follow behind `--`. End the demo and start
//! it again to see the other case: the market begins anew, so that what came meanwhile is a gap.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::io;
use std::time::Duration;

use tickwire_client::wire::Channel;
use tickwire_client::{Backoff, BoxTransport, Client, Event, State, Target};
use tokio::io::{copy_bidirectional, duplex};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url)
        .subscribe(Channel::Trade, ["sim:BTC-USD"])
        // Programs keep the default, which waits longer where a gateway is down for longer.
        .backoff(Backoff::new(Duration::from_secs(2), Duration::from_secs(2)))
        .connector(open_for_five_seconds)
        .start()?;

    let (mut first, mut newest, mut trades) = (None, 0, 0_u64);
    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                Event::Record(update) => {
                    newest = update.record.sequence;
                    first.get_or_insert(newest);
                    trades += 1;
                }
                Event::Gap(gap) => {
                    println!("{gap}: {}", gap.explanation());
                    (first, trades) = (None, 0); // A new count begins behind it.
                }
                Event::State(State::Disconnected { reason, retry_in }) => {
                    if let Some(first) = first {
                        let missing = newest + 1 - first - trades;
                        println!(
                            "{trades} trades with the numbers {first} to {newest}, {missing} are missing"
                        );
                    }
                    println!("{reason}; the next attempt is in {retry_in:?}");
                }
                Event::State(State::Connected { address, .. }) => println!("connected to {address}"),
                _ => {}
            }
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}

/// Opens a connection that breaks. A program of its own would use a connector for a proxy.
async fn open_for_five_seconds(target: Target) -> io::Result<BoxTransport> {
    let mut socket = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let (near, mut far) = duplex(64 << 10);
    tokio::spawn(async move {
        let copying = copy_bidirectional(&mut socket, &mut far);
        let _ = tokio::time::timeout(Duration::from_secs(5), copying).await;
    });
    Ok(Box::new(near))
}
