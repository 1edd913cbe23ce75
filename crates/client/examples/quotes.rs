//! Connects, prints quotes, and says when they must not be believed.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo`), then run
//! `cargo run -p tickwire-client --example quotes`. Another gateway's URL may follow behind `--`. Press *Freeze feed* on
//! the demo's page, or end the demo and start it again, to see what the client says of it.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;

use tickwire_client::wire::{Body, Channel, Level};
use tickwire_client::{Client, Event, State, Update};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client =
        Client::builder(url).subscribe(Channel::Quote, ["sim:BTC-USD", "sim:ETH-USD"]).connect().await?;

    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                Event::Record(update) => print_quote(&update),
                Event::Gap(gap) => println!("{gap}: {}", gap.explanation()),
                Event::State(State::Connected { address, .. }) => println!("connected to {address}"),
                Event::State(State::Disconnected { reason, retry_in }) => {
                    println!("{reason}; the next attempt is in {retry_in:?}");
                }
                // Unless it is live, the last quotes of this venue are dead prices.
                Event::State(State::Feed { venue, state, reason, .. }) => {
                    println!("the feed of {venue} is {state:?} {reason}");
                }
                Event::Subscribed(outcome) => {
                    for granted in outcome.granted {
                        println!("{} is subscribed", granted.symbol);
                    }
                    for refused in outcome.refused {
                        println!("{} is refused: {}", refused.symbol, refused.message);
                    }
                }
                other => println!("{other:?}"),
            }
        }
    }
    // There are reasons for which a client does not try again, as when the gateway speaks another version.
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}

/// Prices and sizes are integers; the update knows where their decimal points are.
fn print_quote(update: &Update) {
    let Body::Quote(quote) = &update.record.body else { return };
    let side = |level: Option<Level>| {
        level.map_or_else(
            || "nothing".to_owned(),
            |level| format!("{} x {}", update.price_text(level.price), update.size_text(level.size)),
        )
    };
    println!("{} {} | {}", update.symbol(), side(quote.bid), side(quote.ask));
}
