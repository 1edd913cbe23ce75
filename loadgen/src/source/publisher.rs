//! The own source for peers: updates of 40 bytes, on the wire that the peer takes them from.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::schedule::Schedule;
use super::wait::Alarm;
use super::{Orders, Published, Turns};
use crate::clock::now;
use crate::handshake;
use crate::peer::Update;
use crate::scenario::{Publish, Scenario};
use crate::ws::{self, Opcode};

/// Updates of one write.
const UPDATES_MAX: usize = 512;
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Publishes until the orders' sender is gone.
///
/// # Errors
/// When the peer does not take updates.
///
/// # Cancel safety
/// Not cancel-safe: an update may be cut in its middle, and the connection goes with it.
pub(crate) async fn run(
    scenario: &Scenario,
    publish: &Publish,
    mut orders: watch::Receiver<Orders>,
    published: Arc<Mutex<Published>>,
) -> anyhow::Result<()> {
    let lock = || published.lock().unwrap_or_else(PoisonError::into_inner);
    *lock() = Published::new(scenario.source.symbols);
    let (reading, mut writing) = tokio::time::timeout(CONNECT_WAIT, connect(publish))
        .await
        .context("the peer takes no publisher")??;
    let answers = tokio::spawn(answer(reading));
    let alarm = Alarm::new()?;
    let mut schedule = Schedule::new(scenario.source.shape.clone());
    let mut turns = Turns::new(scenario.source.symbols, scenario.source.skew, scenario.seed);
    let (began, mut in_force) = (now(), Orders::default());
    let (mut updates, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let wait = schedule.pause(now().saturating_sub(began)).filter(|_| !in_force.is_stopped);
        let is_told = match wait {
            Some(0) => orders.has_changed().unwrap_or(true),
            Some(ns) => tokio::select! {
                rung = alarm.sleep(Duration::from_nanos(ns)) => { rung?; false }
                _ = orders.changed() => true,
            },
            None => {
                let _ = orders.changed().await;
                true
            }
        };
        if is_told {
            if orders.has_changed().is_err() {
                break;
            }
            let told = *orders.borrow_and_update();
            if let Some(rate) = told.rate.filter(|_| told.rate != in_force.rate) {
                schedule.set_rate(rate, now().saturating_sub(began));
            }
            if told.window != in_force.window {
                lock().count_anew();
            }
            in_force = told;
            continue;
        }
        {
            let (now, mut published) = (now(), lock());
            for _ in 0..UPDATES_MAX {
                let Some(due) = schedule.due().map(|due| began + due).filter(|due| *due <= now) else {
                    break;
                };
                schedule.advance();
                let symbol = turns.next();
                let sequence = published.add(symbol, false, due, now, in_force.window);
                updates.push(Update { symbol, sequence, intended_time: due });
            }
        }
        encode(publish, &updates, &mut bytes);
        updates.clear();
        writing.write_all(&bytes).await.context("the peer ended the publisher's connection")?;
        bytes.clear();
        tokio::task::yield_now().await;
    }
    answers.abort();
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
            let key = handshake::key(u64::MAX);
            stream.write_all(handshake::request(address, path, &key, None, "").as_bytes()).await?;
            let mut head = Vec::new();
            let response = loop {
                if let Some((response, _)) = handshake::read_response(&head)? {
                    break response;
                }
                head.push(stream.read_u8().await.context("it ended the connection before it answered")?);
            };
            handshake::verify(&response, "", &key, None)?;
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
            ws::put(out, Opcode::Binary, &payload);
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

/// Empties what the peer says to its publisher, so that it never waits for this side to read.
async fn answer(mut reading: OwnedReadHalf) {
    let mut bytes = [0; 4096];
    while reading.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_as_each_peer_takes_them() {
        let updates = [Update { symbol: 3, sequence: 1, intended_time: 9 }; 2];
        let encoded = |publish: &Publish| {
            let mut out = Vec::new();
            encode(publish, &updates, &mut out);
            out
        };
        assert_eq!(encoded(&Publish::Tcp(String::new())).len(), 80);
        let nats = encoded(&Publish::Nats(String::new()));
        assert!(nats.starts_with(b"PUB u.3 40\r\n\x03"));
        assert_eq!(nats.len(), 2 * (12 + 40 + 2));
    }
}
