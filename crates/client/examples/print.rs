//! Prints a stream: `cargo run -p tickwire-client --example print -- quote sim:BTC-USD`

use std::error::Error;
use std::io::Write;

use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event};

const USAGE: &str =
    "usage: print CHANNEL SYMBOL...   (URL in TICKWIRE_URL, default ws://127.0.0.1:7400/v1/stream)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let channel = arguments.next().and_then(|name| Channel::from_name(&name)).ok_or(USAGE)?;
    let url = std::env::var("TICKWIRE_URL").unwrap_or_else(|_| "ws://127.0.0.1:7400/v1/stream".to_owned());
    let mut client = Client::builder(url).subscribe(channel, arguments).connect().await?;
    let mut out = std::io::stdout().lock();
    while let Some(batch) = client.next().await {
        for event in batch {
            match event {
                Event::Record(update) => writeln!(out, "{update}")?,
                Event::Gap(gap) => writeln!(out, "{gap}")?,
                other => writeln!(out, "{other:?}")?,
            }
        }
    }
    client.end().map_or(Ok(()), |end| Err(end.clone().into()))
}
