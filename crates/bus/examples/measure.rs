//! Measures the bus over a real nats-server on this machine: throughput, order, and what many subjects cost.
//!
//! `cargo run --release -p tickwire-bus --example measure`
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tickwire_bus::{
    Backplane, BusEvent, BusState, InboxLimits, MemoryBus, NatsBus, NatsConfig, PublishError, Subject,
};
use tickwire_machine::processes::Watched;
use tickwire_testkit::{NatsServer, NatsServerConfig};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = NatsServer::start(NatsServerConfig::default());
    let config = NatsConfig { servers: vec![server.url()], ..NatsConfig::default() };
    let subjects: Vec<_> =
        (0..10_000).map(|index| Subject::data("sim", "quote", &format!("S{index}")).unwrap()).collect();

    for bytes in [64, 2_048] {
        let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
        flow("memory", Arc::clone(&bus), bus, &subjects[..64], bytes).await;
        flow("nats", connect(&config).await, connect(&config).await, &subjects[..64], bytes).await;
    }
    many_subjects(connect(&config).await, &subjects).await;
    let bus = connect(&config).await;
    round_trip(bus.as_ref()).await;
}

async fn connect(config: &NatsConfig) -> Arc<dyn Backplane> {
    let bus = NatsBus::connect(config).unwrap();
    bus.state().wait_for(BusState::is_up).await.unwrap();
    Arc::new(bus)
}

/// Sends over 64 subjects from one publisher to one inbox, as fast as it goes.
async fn flow(
    kind: &str,
    publisher: Arc<dyn Backplane>,
    consumer: Arc<dyn Backplane>,
    subjects: &[Subject],
    bytes: usize,
) {
    const COUNT: usize = 500_000;
    let limits = InboxLimits { messages_max: COUNT, bytes_max: 4 << 30, ..InboxLimits::default() };
    let (interest, mut inbox) = consumer.inbox(limits);
    for (subject, token) in subjects.iter().zip(0..) {
        interest.subscribe(subject, token).unwrap();
    }
    consumer.flush(PATIENCE).await.unwrap();
    let subjects = subjects.to_vec();
    let started = Instant::now();
    let cpu = cpu_seconds();
    let publishing = std::thread::spawn(move || {
        let payload = Bytes::from(vec![0; bytes]);
        for index in 0..COUNT {
            let subject = &subjects[index % subjects.len()];
            while publisher.publish(subject, payload.clone()) == Err(PublishError::Full) {
                std::thread::yield_now();
            }
        }
        publisher
    });
    let mut events = Vec::new();
    let (mut got, mut batches, mut swaps) = (0, 0_u32, 0);
    while got < COUNT {
        events.clear();
        let received = tokio::time::timeout(Duration::from_secs(5), inbox.recv_batch(&mut events, 100_000));
        if received.await.is_err() {
            println!("  {} of {COUNT} lost on the way", COUNT - got);
            break;
        }
        batches += 1;
        for event in &events {
            if let BusEvent::Message { token, .. } = event {
                swaps += u32::from(*token != (got % 64) as u64);
                got += 1;
            }
        }
    }
    let took = started.elapsed();
    drop(publishing.join());
    println!(
        "{kind}: {bytes} bytes: {:.0} messages/s, {:.2} µs CPU of this process a message, {:.0} a batch, {swaps} out of order",
        got as f64 / took.as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / got as f64,
        got as f64 / f64::from(batches),
    );
}

/// Sets up 10,000 subjects in one inbox, lets them idle, and tears them down.
async fn many_subjects(bus: Arc<dyn Backplane>, subjects: &[Subject]) {
    let before = rss_kib();
    let (interest, inbox) = bus.inbox(InboxLimits::default());
    let started = Instant::now();
    for (subject, token) in subjects.iter().zip(0..) {
        interest.subscribe(subject, token).unwrap();
    }
    let called = started.elapsed();
    bus.flush(PATIENCE).await.unwrap();
    let in_force = started.elapsed();
    println!(
        "{} subjects: calls {called:?}, in force after {in_force:?}, {:.1} KiB RSS each",
        subjects.len(),
        (rss_kib() - before) as f64 / subjects.len() as f64
    );
    let cpu = cpu_seconds();
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("idle: {:.2} ms CPU a second", (cpu_seconds() - cpu) * 1e3 / 5.0);
    let started = Instant::now();
    drop(inbox);
    bus.flush(PATIENCE).await.unwrap();
    println!("dropped after {:?}", started.elapsed());
}

async fn round_trip(bus: &dyn Backplane) {
    let ask = Subject::request("sim", 7).unwrap();
    let mut requests = bus.serve(&ask).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let _ = request.reply(Bytes::from_static(b"response"));
        }
    });
    let started = Instant::now();
    for _ in 0..2_000 {
        bus.request(&ask, Bytes::new(), PATIENCE).await.unwrap();
    }
    println!("request and response: {:?}", started.elapsed() / 2_000);
}

fn rss_kib() -> u64 {
    Watched::myself().resident_bytes().unwrap_or(0) >> 10
}

/// Returns the CPU time of this process, user and system, in seconds; it comes in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    Watched::myself().cpu("").total
}
