//! Two ingesters of one feed with a lease: one publishes, and the other takes over when that one dies, stands still or stops.

use tickwire_testkit::{NatsServer, NatsServerConfig, Program};

use crate::world::{Gateway, TICKWIRE, until};

fn ingester(nats: &NatsServer) -> Program {
    let bus = nats.url();
    let arguments = ["ingest", "sim", "--lease", "sim", "--instruments", "3", "--rate", "300", "--bus", &bus];
    Program::start(TICKWIRE, &arguments)
}

/// Waits until this ingester holds the lease, as its log tells.
async fn holds(ingester: &Program) {
    let holds = || async { ingester.output().contains("holding the lease") };
    assert!(until(holds).await, "{}", ingester.output());
}

async fn takeovers(gateway: &Gateway) -> u64 {
    let (_, metrics) = gateway.get("/metrics").await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with("tickwire_feed_takeovers_total"));
    let line = line.unwrap_or_else(|| panic!("{metrics}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

async fn is_live(gateway: &Gateway) -> bool {
    let live =
        || async { gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#)) };
    until(live).await
}

/// Returns the lines of a tap that say a trade or a gap of trades.
fn trades(tap: &Program) -> Vec<serde_json::Value> {
    let lines: Vec<serde_json::Value> =
        tap.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.into_iter().filter(|line| line["channel"] == "trade" || line["type"] == "trade").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_that_stands_by_takes_over() {
    let nats = NatsServer::start(NatsServerConfig { jetstream: true, ..NatsServerConfig::default() });
    let gateway = Gateway::start(&nats.url()).await;
    let mut first = ingester(&nats);
    holds(&first).await;
    let second = ingester(&nats);
    assert!(until(|| async { second.output().contains("standing by") }).await, "{}", second.output());
    assert!(is_live(&gateway).await, "{}", first.output());
    let url = gateway.url();
    let tap = Program::start(
        TICKWIRE,
        &["tap", "--wait", "--url", &url, "--json", "--channel", "trade", "sim:BTC-USD"],
    );
    let tap_ref = &tap;
    let has = |count: usize| {
        move || async move { trades(tap_ref).iter().filter(|line| line["type"] == "trade").count() >= count }
    };
    assert!(until(has(5)).await, "{}", tap.output());
    let (_, ready) = gateway.get("/readyz").await.unwrap();
    assert!(ready.contains(r#""contested":{}"#), "who stands by says nothing: {ready}");
    assert_eq!(takeovers(&gateway).await, 0);

    // The holder is killed: the other one goes on, under another epoch, which is announced once.
    let before = trades(&tap).len();
    first.kill();
    holds(&second).await;
    assert!(until(has(before + 5)).await, "{}\n{}", tap.output(), second.output());
    assert_eq!(takeovers(&gateway).await, 1);
    let lines = trades(&tap);
    let gaps: Vec<_> = lines[before..].iter().filter(|line| line["type"] == "gap").collect();
    let changes = gaps.iter().filter(|gap| gap["last_sequence"].is_null()).count();
    assert_eq!(changes, 1, "{gaps:#?}");
    // A trade on its way before the gateway knows the instruments of the new run is announced as missing, too.
    let begins = |gap: &&&serde_json::Value| gap["last_sequence"].is_null() || gap["first_sequence"] == 1;
    assert_eq!(gaps.iter().filter(begins).count(), gaps.len(), "{gaps:#?}");

    // The holder stands still for longer than its lease, and goes on: it publishes nothing, stands by, and takes over again.
    let mut third = ingester(&nats);
    assert!(until(|| async { third.output().contains("standing by") }).await, "{}", third.output());
    second.pause();
    holds(&third).await;
    let taken = || async { takeovers(&gateway).await == 2 };
    assert!(until(taken).await, "{}", gateway.program.output());
    second.resume();
    let lost = || async { second.output().contains("the lease is lost") };
    assert!(until(lost).await, "{}", second.output());
    let before = trades(&tap).len();
    assert!(until(has(before + 5)).await, "{}", tap.output());
    assert_eq!(takeovers(&gateway).await, 2, "{}", gateway.program.output());
    let (_, ready) = gateway.get("/readyz").await.unwrap();
    assert!(ready.contains(r#""contested":{}"#), "{ready}");

    // The holder is stopped in good order, and gives the lease back.
    third.terminate();
    assert!(third.ended().success(), "{}", third.output());
    assert!(third.output().contains("the lease is given back"), "{}", third.output());
    let again = || async { second.output().matches("holding the lease").count() == 2 };
    assert!(until(again).await, "{}", second.output());
    assert!(is_live(&gateway).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_are_not_played_by_a_lease() {
    let mut program = Program::start(TICKWIRE, &["ingest", "replay", "x.dbn", "--lease", "a"]);
    assert_eq!(program.ended().code(), Some(2));
    assert!(program.output().contains("recordings are played by one process"), "{}", program.output());
    let mut program = Program::start(TICKWIRE, &["ingest", "sim", "--lease", "a b"]);
    assert_eq!(program.ended().code(), Some(2));
    assert!(program.output().contains("`a b` cannot name a lease"), "{}", program.output());
}
