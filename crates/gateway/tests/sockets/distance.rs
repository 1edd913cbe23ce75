//! A session over a long way, and one through a bottleneck, beside plain sockets on the same way.

use std::net::SocketAddr;
use std::time::Duration;

use tickwire_testkit::{DelayProxy, Link, Pace, age_at, in_ms};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::server::{Plan, Server, client};

/// Returns the bytes per second of a plain socket through the link, whose sender always has something.
async fn plain(link: Link, time: Duration) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = DelayProxy::start(listener.local_addr().unwrap(), link).await.unwrap();
    let sending = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let bytes = vec![0; 16 << 10];
        while stream.write_all(&bytes).await.is_ok() {}
    });
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut read_for = async |time: Duration| {
        let (started, mut bytes) = (Instant::now(), 0);
        while started.elapsed() < time {
            bytes += stream.read(&mut buffer).await.unwrap();
        }
        bytes as f64 / started.elapsed().as_secs_f64()
    };
    read_for(Duration::from_secs(2)).await;
    let rate = read_for(time).await;
    sending.abort();
    rate
}

/// Returns the bytes per second and ages of a session on all quotes.
async fn session(
    server: &Server,
    address: SocketAddr,
    time: Duration,
) -> (f64, tickwire_testkit::StockClient) {
    let mut client = client(&address.to_string(), server.plan.instruments, Pace::Prompt).await;
    client.read_for(Pace::Prompt, Duration::from_secs(3)).await.unwrap();
    client.seen.take_ages();
    let (started, before) = (Instant::now(), client.seen.bytes);
    client.read_for(Pace::Prompt, time).await.unwrap();
    let rate = (client.seen.bytes - before) as f64 / started.elapsed().as_secs_f64();
    (rate, client)
}

#[tokio::test]
#[ignore = "a minute, in a release build: scripts/test-sockets.sh"]
async fn through_a_bottleneck_it_is_as_fast_as_a_plain_socket() {
    let time = Duration::from_secs(20);
    let server = Server::start(Plan::default()).await;
    let link = Link::round_trip(Duration::from_millis(80)).limited(200_000, 64 << 10);
    let plain = plain(link, time).await;
    let proxy = DelayProxy::start(server.socket_address(), link).await.unwrap();
    let (rate, mut client) = session(&server, proxy.address(), time).await;
    let ages = client.seen.take_ages();
    println!("80 ms, 200 KB/s: plain socket {:.1} KB/s, session {:.1} KB/s", plain / 1e3, rate / 1e3);
    println!("80 ms, 200 KB/s: {}", in_ms(&ages));
    client.ask_ledger(Pace::Prompt, Duration::from_secs(60)).await.unwrap();
    assert_eq!(client.seen.violations, [""; 0]);
    assert!(client.seen.conflating_notices > 0, "it was not told that it is conflated");
    assert!(rate >= 0.9 * plain, "{:.1} % of a plain socket's throughput", 100.0 * rate / plain);
    // The bottleneck's own queue holds 0.33 s. A sender's buffer without a window holds seconds.
    assert!(age_at(&ages, 0.5) <= Duration::from_secs(1), "median {:?}", age_at(&ages, 0.5));
}

#[tokio::test]
async fn over_a_long_way_it_gets_everything() {
    let time = Duration::from_secs(5);
    let server = Server::start(Plan { instruments: 100, ..Plan::default() }).await;
    let link = Link::round_trip(Duration::from_millis(50));
    let proxy = DelayProxy::start(server.socket_address(), link).await.unwrap();
    let ((near, mut near_client), (far, mut far_client)) = tokio::join!(
        session(&server, server.socket_address(), time),
        session(&server, proxy.address(), time)
    );
    println!("50 ms: {:.1} KB/s; without the way {:.1} KB/s", far / 1e3, near / 1e3);
    println!("50 ms: {}", in_ms(&far_client.seen.take_ages()));
    println!("without the way: {}", in_ms(&near_client.seen.take_ages()));
    far_client.ask_ledger(Pace::Prompt, Duration::from_secs(20)).await.unwrap();
    assert_eq!(far_client.seen.violations, [""; 0]);
    let records = far_client.seen.records;
    let published: u64 = far_client.seen.ledger.unwrap().entries.iter().map(|entry| entry.published).sum();
    println!("50 ms: {records} records delivered of {published} published");
    // On a machine that stands still for a moment, something is conflated; a window that starves has a fifth left.
    assert!(far >= 0.9 * near, "it is starved");
    assert!(records as f64 >= 0.5 * published as f64, "it is conflated without need");
}
