//! Gateways that break a promise fail a scenario, each for the right reason.
//!
//! The gateway is real; between it and the sessions stands a proxy that damages what passes. It reads frames and records
//! with the codec and writes them anew.

mod proxy;

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use proxy::{Damage, Proxy};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

/// Runs a scenario through a proxy that does such damage; returns its exit status and report.
fn run(damage: Damage, arguments: &[&str]) -> (Option<i32>, Value) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(free, damage);
    let (listen, url) = (format!("gateway.listen={free}"), format!("ws://{}/v1/stream", proxy.address()));
    let always =
        ["run", "--json", "--allow-bottleneck", "--url", &url, "--set", &listen, "--set", "warm_up=200ms"];
    let lasting = if arguments.contains(&"--for") { &[][..] } else { &["--for", "3s"] };
    let output = Command::new(LOADGEN)
        .args(always)
        .args(arguments)
        .args(lasting)
        .output()
        .expect("the generator starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
    (output.status.code(), report)
}

/// Returns the names of the assertions that do not hold.
fn broken(report: &Value) -> Vec<&str> {
    let verdicts = report["verdicts"].as_array().expect("there are verdicts");
    verdicts
        .iter()
        .filter(|verdict| verdict["held"] == false)
        .map(|verdict| verdict["name"].as_str().unwrap())
        .collect()
}

#[track_caller]
fn check(damage: Damage, arguments: &[&str], expected: &[&str]) -> Value {
    let (status, report) = run(damage, arguments);
    let (names, noted) = (broken(&report), &report["checks"]["broken"]);
    assert_eq!(names, expected, "{damage:?}: {noted:#}\n{:#}", report["sessions"]);
    assert_eq!(status, Some(i32::from(!expected.is_empty())), "{damage:?}");
    report
}

const BUSY: [&str; 6] = ["--sessions", "10", "--rate", "1000", "--set", "source.symbols=20"];

#[test]
fn a_gateway_in_order_passes_through_the_proxy() {
    let report = check(Damage::None, &BUSY, &[]);
    assert_eq!(report["checks"]["final_values"], 200);
}

#[test]
fn what_stands_behind_the_last_ledger_is_beyond_the_account() {
    let report = check(Damage::GoesOn, &BUSY, &[]);
    assert_eq!(report["checks"]["ledgers"], 10);
}

/// A jump in the sequence numbers of a conflated channel may be conflation: the ledger shows that it was none.
#[test]
fn one_quote_of_ten_thousand_that_is_missing_is_found() {
    check(Damage::Drops { one_in: 10_000 }, &BUSY, &["broken.ledger"]);
}

#[test]
fn one_trade_of_ten_thousand_that_is_missing_is_found_at_once() {
    let trades = ["--set", "source.trades=1", "--channels", "trade"];
    let report = check(
        Damage::Drops { one_in: 10_000 },
        &[&BUSY[..], &trades].concat(),
        &["broken.lost", "broken.ledger"],
    );
    assert!(report["checks"]["lost"].as_u64().unwrap() >= 1);
}

#[test]
fn records_in_the_wrong_order_are_found() {
    let damage = Damage::Swaps { one_in: 1000 };
    let (status, report) = run(damage, &BUSY);
    // The last two quotes of a symbol may be among those that changed places: then the last value is wrong, too.
    let names: Vec<_> = broken(&report).into_iter().filter(|name| *name != "broken.final").collect();
    assert_eq!((names, status), (vec!["broken.order", "broken.ledger"], Some(1)), "{report:#}");
    assert!(report["checks"]["out_of_order"].as_u64().unwrap() >= 1);
}

/// Each quote has the number of the newest, and says what the one before it said.
#[test]
fn quotes_that_are_always_one_behind_are_found() {
    check(Damage::Stale, &BUSY, &["broken.final"]);
}

#[test]
fn a_leak_is_found() {
    let pid = std::process::id().to_string();
    let bound = ["--server-pid", &pid, "--set", "assert.growth_kib_per_second=4000", "--for", "5s"];
    check(Damage::Leaks { bytes: 1 << 20 }, &[&BUSY[..], &bound].concat(), &["growth_kib_per_second"]);
}

/// 200 ms in 10 s: one record in fifty waits, 100 ms on average; so that is what p99 says.
#[test]
fn a_stall_of_200_ms_each_10_s_is_found() {
    let stall = Damage::Stalls { after: Duration::from_secs(5), lasting: Duration::from_millis(200) };
    let bound = [
        "--set",
        "assert.latency.p99=60ms",
        "--for",
        "10s",
        "--set",
        "source.trades=1",
        "--channels",
        "trade",
    ];
    let report = check(stall, &[&BUSY[..], &bound].concat(), &["latency.p99"]);
    let series = report["series"].as_array().unwrap();
    let worst = series.iter().map(|second| second["max_ns"].as_u64().unwrap()).max().unwrap();
    assert!(worst >= 190_000_000, "{worst} ns");
}

/// Coordinated omission. A second of five is frozen: a fifth of the records waits, evenly from nothing to a second. So the
/// slowest tenth of a percent of all waited for 0.995 s, the slowest percent for 0.95 s, the slowest tenth for 0.5 s. A
/// generator that waits for answers would have seen one slow answer for each session.
#[test]
fn a_frozen_second_shows_in_full() {
    let freeze = Damage::Stalls { after: Duration::from_secs(2), lasting: Duration::from_secs(1) };
    let trades = ["--for", "5s", "--set", "source.trades=1", "--channels", "trade"];
    let report = check(freeze, &[&BUSY[..], &trades].concat(), &[]);
    let latency = &report["latency"];
    let seconds = |name: &str| latency[name].as_u64().unwrap() as f64 / 1e9;
    let count = latency["count"].as_u64().unwrap();
    assert!(count.abs_diff(50_000) <= 10, "1000 a second for 5 seconds to 10 sessions, not {count}");
    assert!(seconds("max_ns") >= 0.98, "{latency}");
    assert!(seconds("p999_ns") >= 0.96, "{latency}");
    assert!((0.9..1.3).contains(&seconds("p99_ns")), "{latency}");
    assert!((0.45..0.8).contains(&seconds("p90_ns")), "{latency}");
    assert!(seconds("p50_ns") < 0.25, "{latency}");
}
