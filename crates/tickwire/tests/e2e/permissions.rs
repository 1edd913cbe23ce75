//! The whole with users of the bus that have no more permissions than they need: `deploy/nats/users.conf`.

use tickwire_client::Client;
use tickwire_client::wire::Channel;
use tickwire_testkit::{NatsServer, NatsServerConfig, Program};

use crate::tls::records;
use crate::world::{Gateway, TICKWIRE, root, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingester_and_gateway_need_no_more_than_the_documented_permissions() {
    let users = std::fs::read_to_string(root().join("deploy/nats/users.conf")).unwrap();
    let text = format!("INGEST_PASSWORD: one\nGATEWAY_PASSWORD: two\n{users}");
    let nats = NatsServer::start(NatsServerConfig { text, jetstream: true, ..NatsServerConfig::default() });
    let history = ["--set", "bus.history.enabled=true"];
    let market = ["ingest", "sim", "--instruments", "4", "--rate", "400", "--bus", &nats.url()];
    let user = ["--set", "bus.user=ingest", "--set", "bus.password=one"];
    let _ingester = Program::start(TICKWIRE, &[&market[..], &history, &user].concat());
    let user = ["--set", "bus.user=gateway", "--set", "bus.password=two"];
    let gateway = Gateway::start_with(&nats.url(), &[&history[..], &user].concat()).await;
    let is_whole = || async {
        let (_, body) = gateway.get("/readyz").await.unwrap_or_default();
        body.contains(r#""sim":"live""#) && body.contains(r#""history":"ready""#)
    };
    assert!(
        until(is_whole).await,
        "{:?}\n{}\n{}",
        gateway.get("/readyz").await,
        gateway.program.output(),
        nats.log()
    );
    let builder = Client::builder(gateway.url()).subscribe(Channel::Quote, ["sim:*"]);
    let builder = builder.subscribe(Channel::Book, ["sim:*"]).subscribe(Channel::Trade, ["sim:*"]);
    let mut client = builder.connect().await.unwrap();
    records(&mut client, 500).await;
    let revoke = ["revoke", "--jti", "t1", "--bus", &nats.url()];
    let mut revoking = Program::start(TICKWIRE, &[&revoke[..], &history, &user].concat());
    assert!(revoking.ended().success(), "{}\n{}", revoking.output(), nats.log());
    let is_heard = || async {
        let (_, body) = gateway.get("/metrics").await.unwrap_or_default();
        body.contains("tickwire_revocations_total 1\n")
    };
    assert!(until(is_heard).await, "{}\n{}", gateway.program.output(), nats.log());
    assert!(!nats.log().contains("Violation"), "{}", nats.log());
}
