//! The same server on fastwebsockets: a task and a bounded channel for each connection, plus one task that reads.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tickwire_bench_peers::{Addresses, BATCH_MAX, Topics, listen_async};
use tokio::net::TcpStream;

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
                tokio::spawn(async move { drop(accept(socket, topics).await) });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn accept(socket: TcpStream, topics: Topics) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let service = service_fn(move |mut request: Request<Incoming>| {
        let topics = topics.clone();
        async move {
            Ok::<_, Infallible>(match upgrade(&mut request) {
                Ok((response, upgraded)) => {
                    tokio::spawn(async move { drop(serve(upgraded, topics).await) });
                    response
                }
                Err(_) => Response::builder().status(400).body(Empty::<Bytes>::new()).expect("a response"),
            })
        }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades()
        .await?;
    Ok(())
}

async fn serve(upgraded: UpgradeFut, topics: Topics) -> Result<(), WebSocketError> {
    let (reader, mut writer) = upgraded.await?.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    // Responses to pings are left out: this naive server ends a connection when its reader ends.
    let mut no_responses = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
    let symbols = reader.read_frame(&mut no_responses).await?;
    let mut updates = topics.subscribe(&symbols.payload);
    writer.write_frame(Frame::text(Payload::Borrowed(b"ok"))).await?;
    let mut reading = tokio::spawn(async move {
        while let Ok(frame) = reader.read_frame(&mut |_| async { Ok::<(), WebSocketError>(()) }).await {
            if frame.opcode == OpCode::Close {
                break;
            }
        }
    });
    let mut batch: Vec<Bytes> = Vec::with_capacity(BATCH_MAX);
    loop {
        tokio::select! {
            taken = updates.recv_many(&mut batch, BATCH_MAX) => {
                if taken == 0 {
                    return Ok(());
                }
                for update in batch.drain(..) {
                    writer.write_frame(Frame::binary(Payload::Borrowed(&update))).await?;
                }
            }
            _ = &mut reading => return Ok(()),
        }
    }
}
