//! The common parts of the Rust peers: where to listen, a topic map, updates from the publisher.
//!
//! The topic map is what many people write first: a lock around a map from symbol to the channels of its subscribers,
//! one bounded channel and one task for each connection. A connection whose channel is full misses the update.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use bytes::{Buf, Bytes, BytesMut};
use clap::Parser;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The bytes of an update: symbol (u64, little-endian), sequence number, intended time, payload.
pub const UPDATE_BYTES: usize = 40;

/// The number of updates that may wait for one connection; 1024 is what most examples take.
pub const CHANNEL_CAPACITY: usize = 1024;

/// The most updates that one flush takes.
pub const BATCH_MAX: usize = 64;

/// The addresses on which a peer listens.
#[derive(Parser)]
pub struct Addresses {
    /// The address for subscribers, by WebSocket.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The address for the publisher, by plain TCP.
    #[arg(long)]
    pub publish: SocketAddr,
}

/// The subscribers of each symbol.
#[derive(Clone, Default)]
pub struct Topics(Arc<RwLock<HashMap<u64, Vec<Sender<Bytes>>>>>);

impl Topics {
    /// Makes a channel that gets the updates of `symbols`, which are u32 one after another.
    pub fn subscribe(&self, symbols: &[u8]) -> Receiver<Bytes> {
        let (sender, receiver) = channel(CHANNEL_CAPACITY);
        let mut topics = self.0.write().expect("no panic under the lock");
        for symbol in symbols.chunks_exact(4) {
            let symbol = u32::from_le_bytes(symbol.try_into().expect("four bytes"));
            topics.entry(u64::from(symbol)).or_default().push(sender.clone());
        }
        receiver
    }

    fn publish(&self, symbol: u64, update: &Bytes) {
        let mut somebody_left = false;
        if let Some(subscribers) = self.0.read().expect("no panic under the lock").get(&symbol) {
            for subscriber in subscribers {
                // Where the channel is full, this one misses the update; where it is closed, nobody is there any more.
                somebody_left |= subscriber.try_send(update.clone()).is_err() && subscriber.is_closed();
            }
        }
        if somebody_left && let Some(subscribers) = self.0.write().expect("as above").get_mut(&symbol) {
            subscribers.retain(|subscriber| !subscriber.is_closed());
        }
    }

    /// Takes updates by plain TCP, for as long as this program runs.
    ///
    /// # Errors
    /// Returns an error when `address` cannot be listened on.
    pub async fn listen(self, address: SocketAddr) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let topics = self.clone();
                tokio::spawn(async move {
                    let mut bytes = BytesMut::with_capacity(64 << 10);
                    while matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
                        while bytes.len() >= UPDATE_BYTES {
                            let update = bytes.split_to(UPDATE_BYTES).freeze();
                            topics.publish(update.clone().get_u64_le(), &update);
                        }
                        bytes.reserve(64 << 10);
                    }
                });
            }
        });
        Ok(())
    }
}

/// Makes a listener with room for a few thousand clients that come at once; the standard library takes 128.
///
/// # Errors
/// Returns an error when `address` cannot be listened on.
pub fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Makes the same listener for the asynchronous servers.
///
/// # Errors
/// Returns an error when `address` cannot be listened on.
pub fn listen_async(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
