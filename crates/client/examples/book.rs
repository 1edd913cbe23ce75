//! Keeps an order book: after each batch the client's book is right, or says that it is not.
//!
//! Start the demo (`cargo run --release --bin tickwire -- demo`), then run
//! `cargo run -p tickwire-client --example book`. Another gateway's URL may follow behind `--`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::Duration;

use tickwire_client::wire::Channel;
use tickwire_client::{BookView, Client, Event, State, price_text, size_text};

const SYMBOL: &str = "sim:BTC-USD";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url).subscribe(Channel::Book, [SYMBOL]).connect().await?;
    let mut screen = tokio::time::interval(Duration::from_secs(1));

    loop {
        // `next` may be cancelled: nothing is lost when the other branch is taken.
        tokio::select! {
            batch = client.next() => {
                let Some(batch) = batch else { break };
                // Snapshots and changes are applied already. Only what happens to the book as a whole matters here.
                for event in batch {
                    match event {
                        Event::State(State::BookBroken { reason, .. }) => {
                            println!("the book is broken ({reason}); the client asks for a snapshot");
                        }
                        Event::State(State::BookRepaired { .. }) => println!("the book is right again"),
                        _ => {}
                    }
                }
            }
            _ = screen.tick() => match client.book(SYMBOL) {
                Some(book) if book.is_live() => print_book(&book),
                _ => println!("there is no book to be believed now"),
            },
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}

/// Prints three levels of each side around the spread, the best in the middle.
fn print_book(book: &BookView<'_>) {
    let scale = book.scale();
    println!("{} as of sequence number {}", scale.symbol, book.sequence());
    let mut asks: Vec<_> = book.asks().take(3).collect();
    asks.reverse();
    for level in asks {
        println!("{:>28} {:>14}", price_text(scale, level.price), size_text(scale, level.size));
    }
    for level in book.bids().take(3) {
        println!("{:>12} {:>14}", size_text(scale, level.size), price_text(scale, level.price));
    }
}
