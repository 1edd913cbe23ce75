//! A naive broadcast server on tokio-tungstenite: a task and a bounded channel for each connection.

use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use tickwire_bench_peers::{Addresses, BATCH_MAX, Topics, listen_async};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addresses = Addresses::parse();
    let topics = Topics::default();
    topics.clone().listen(addresses.publish).await?;
    let listener = listen_async(addresses.listen)?;
    println!("ready");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let topics = topics.clone();
                tokio::spawn(async move { drop(serve(socket, topics).await) });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, topics: Topics) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let (mut sink, mut stream) = tokio_tungstenite::accept_async(socket).await?.split();
    let Some(Message::Binary(symbols)) = stream.next().await.transpose()? else { return Ok(()) };
    let mut updates = topics.subscribe(&symbols);
    sink.send("ok".into()).await?;
    // A task of its own reads: inside one select, each update would poll the socket's other direction, too.
    let mut reading = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    let mut batch: Vec<Bytes> = Vec::with_capacity(BATCH_MAX);
    loop {
        tokio::select! {
            taken = updates.recv_many(&mut batch, BATCH_MAX) => {
                if taken == 0 {
                    return Ok(());
                }
                for update in batch.drain(..) {
                    sink.feed(Message::Binary(update)).await?;
                }
                sink.flush().await?;
            }
            _ = &mut reading => return Ok(()),
        }
    }
}
