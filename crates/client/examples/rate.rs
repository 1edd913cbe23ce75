//! Asks for two quotes a second, then for ten, then for all: the gateway holds back the others, and each one that comes is
//! the newest.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo`), then run
//! `cargo run -p tickwire-client --example rate`. Another gateway's URL may follow behind `--`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::Duration;

use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event, Options};
use tokio::time::{MissedTickBehavior, interval};

const SYMBOL: &str = "sim:BTC-USD";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url)
        .subscribe_with(Channel::Quote, [SYMBOL], Options::max_rate(2.0))
        // All symbols together come at most each 16 ms, as a screen can show them.
        .window(Duration::from_millis(16))
        .connect()
        .await?;

    let handle = client.handle();
    tokio::spawn(async move {
        for max_rate in [10.0, 0.0] {
            tokio::time::sleep(Duration::from_secs(4)).await;
            match handle.set_rate(Channel::Quote, [SYMBOL], max_rate).await {
                // A gateway may allow less than was asked for.
                Ok(outcome) => {
                    for granted in outcome.granted {
                        println!("{}: {} a second at most; 0 is no limit", granted.symbol, granted.max_rate);
                    }
                }
                Err(error) => println!("the rate was not set: {error}"),
            }
        }
    });

    let mut quotes = 0;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            batch = client.next() => {
                let Some(batch) = batch else { break };
                quotes += batch.iter().filter(|event| matches!(event, Event::Record(_))).count();
            }
            _ = seconds.tick() => {
                println!("{quotes} quotes in the last second");
                quotes = 0;
            }
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}
