//! The own source for peers: updates of 40 bytes, on the wire that the peer takes them from.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use tickwire_feed::open_loop::{Orders, Pace};
use tickwire_machine::now;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::Published;
use crate::peer::Update;
use crate::scenario::{Publish, Scenario};
use crate::websocket::{self, Opcode};

const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Publishes until nobody gives orders any more.
///
/// # Errors
/// When the peer does not take updates.
///
/// # Cancel safety
/// Not cancel-safe: an update may be cut in its middle, and the connection goes with it.
pub(crate) async fn run(
    scenario: &Scenario,
    publish: &Publish,
    orders: watch::Receiver<Orders>,
    published: &Mutex<Published>,
) -> anyhow::Result<()> {
    let mut pace = Pace::new(&scenario.source.plan(scenario.seed), orders);
    let (reading, mut writing) = tokio::time::timeout(CONNECT_WAIT, connect(publish))
        .await
        .context("the peer takes no publisher")??;
    let emptied = tokio::spawn(empty(reading));
    let (mut updates, mut bytes) = (Vec::new(), Vec::new());
    while pace.wait().await {
        let time = now();
        pace.take(time, |due| {
            Published::of(published).add(due, time);
            let (symbol, sequence, intended_time) = (due.symbol, due.sequence, due.intended_time);
            updates.push(Update { symbol, sequence, intended_time });
        });
        encode(publish, &updates, &mut bytes);
        updates.clear();
        writing.write_all(&bytes).await.context("the peer ended the publisher's connection")?;
        bytes.clear();
        tokio::task::yield_now().await;
    }
    emptied.abort();
    Ok(())
}

async fn connect(publish: &Publish) -> anyhow::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let address = match publish {
        Publish::Tcp(address) | Publish::Nats(address) => address,
        Publish::WebSocket(url) => &url.address,
    };
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    match publish {
        Publish::Tcp(_) => {}
        Publish::Nats(_) => stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?,
        Publish::WebSocket(url) => {
            let path = if url.path.is_empty() { "/publish" } else { &url.path };
            let key = websocket::key(u64::MAX);
            stream.write_all(websocket::request(address, path, &key, None, "").as_bytes()).await?;
            let mut head = Vec::new();
            let response = loop {
                if let Some((response, _)) = websocket::read_response(&head)? {
                    break response;
                }
                head.push(stream.read_u8().await.context("it ended the connection before it answered")?);
            };
            websocket::verify(&response, "", &key, None)?;
        }
    }
    Ok(stream.into_split())
}

fn encode(publish: &Publish, updates: &[Update], out: &mut Vec<u8>) {
    match publish {
        Publish::Tcp(_) => updates.iter().for_each(|update| update.write(out)),
        Publish::WebSocket(_) => {
            let mut payload = Vec::new();
            for update in updates {
                update.write(&mut payload);
            }
            websocket::put(out, Opcode::Binary, &payload);
        }
        Publish::Nats(_) => {
            for update in updates {
                out.extend_from_slice(format!("PUB u.{} 40\r\n", update.symbol).as_bytes());
                update.write(out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Reads what the peer says to its publisher, so that it never waits for this side to read.
async fn empty(mut reading: OwnedReadHalf) {
    let mut bytes = [0; 4096];
    while reading.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
#[path = "../../tests/units/publisher.rs"]
mod tests;
