//! What a report says of a run is so: shares of one, processors, pressure, ledgers.

use std::process::{Command, Output};

use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

fn run(arguments: &[&str]) -> Output {
    let always =
        ["--json", "--allow-bottleneck", "--set", "warm_up=300ms", "--set", "assert.latency.p99=10s"];
    Command::new(LOADGEN).arg("run").args(arguments).args(always).output().expect("the generator starts")
}

#[track_caller]
fn report(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"))
}

fn set(fields: &[&'static str]) -> Vec<&'static str> {
    fields.iter().flat_map(|field| ["--set", field]).collect()
}

#[test]
fn popular_symbols_and_trades_that_nobody_asked_for_leave_the_share_whole() {
    let fields = set(&[
        "source.skew=1.5",
        "source.trades=0.3",
        "source.symbols=50",
        "sessions.skew=1.5",
        "sessions.symbols_each=5",
    ]);
    let report = report(&run(&[&["--sessions", "9", "--for", "2s", "--rate", "300"], &fields[..]].concat()));
    let flow = &report["flow"];
    let share = flow["delivered_share"].as_f64().unwrap();
    // Conflation may take some away on a busy machine.
    assert!((0.9..=1.0).contains(&share), "{flow}");
    assert!(flow["records"].as_u64() <= flow["due"].as_u64(), "{flow}");
}

#[test]
fn a_storm_cuts_exactly_its_share_and_those_connections_ledgers_are_told_as_missing() {
    let fields =
        set(&["churn.storms[0].at=500ms", "churn.storms[0].share=0.3", "churn.storms[0].within=200ms"]);
    let report = report(&run(&[&["--sessions", "21", "--for", "2s"], &fields[..]].concat()));
    assert_eq!(report["events"][0]["text"], "6 of 21 sessions lose their connection");
    assert_eq!(report["sessions"]["reconnects"], 6);
    let checks = &report["checks"];
    assert_eq!((&checks["ledgers"], &checks["ledgers_missing"]), (&21.into(), &6.into()), "{checks}");
    assert_eq!(checks["accounts"]["checked"], 21 * 100);
}
