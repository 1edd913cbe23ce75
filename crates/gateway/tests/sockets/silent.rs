//! A client that reads everything and never answers a ping.

use std::time::Duration;

use tickwire_testkit::Pace;
use tickwire_wire::CloseCode;

use super::server::{Plan, Server};

#[tokio::test]
async fn gets_its_data_and_is_closed_after_the_time_out() {
    let server = Server::start(Plan { instruments: 20, ping_ms: Some(2_000), ..Plan::default() }).await;
    let mut silent = server.silent_client().await;
    let closed = silent.read_until(Pace::Prompt, Duration::from_secs(20), |seen| seen.closed.is_some());
    assert!(closed.await.unwrap(), "it is not closed");
    let (code, text) = silent.seen.closed.clone().unwrap();
    println!(
        "silent: closed with {code} `{text}` after {} records and {} pings",
        silent.seen.records, silent.seen.pings
    );
    assert_eq!((code, text.as_str()), (CloseCode::Silent.code(), CloseCode::Silent.text()));
    assert_eq!(silent.seen.violations, [""; 0]);
    // It waited for two of six seconds at 1,000 quotes a second, until its kernel's word was taken.
    assert!(silent.seen.records > 1_000, "{} records before it was closed", silent.seen.records);
    assert!(silent.seen.ledger.is_some(), "no account before the end");
}
