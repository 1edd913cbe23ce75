//! Runs of the real binary, and their reports.

use std::process::{Command, Output};

use serde_json::Value;

pub(super) const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

/// Settings that leave a run without bounds on how fast the machine is; a test that needs one sets it.
pub(super) const UNHURRIED: [&str; 5] = [
    "warm_up=300ms",
    "assert.latency.p50=10s",
    "assert.latency.p99=10s",
    "assert.first.p99=60s",
    "assert.delivered_share=0",
];

pub(super) fn run(arguments: &[&str]) -> Output {
    let unhurried = UNHURRIED.iter().flat_map(|setting| ["--set", setting]);
    let mut command = Command::new(LOADGEN);
    command.args(["run", "--json", "--allow-bottleneck"]).args(unhurried).args(arguments);
    command.output().expect("the generator starts")
}

#[track_caller]
pub(super) fn report(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"))
}

/// Checks that what was due and did not come was conflated, by the gateway's own account of the sessions: a busy machine has more
/// of that.
#[track_caller]
pub(super) fn assert_rest_was_conflated(report: &Value) {
    let flow = &report["flow"];
    let number = |value: &Value| value.as_u64().expect("a count");
    let (records, due) = (number(&flow["records"]), number(&flow["due"]));
    let conflated = number(&report["checks"]["accounts"]["conflated"]);
    assert_eq!(flow["delivered_share"], records as f64 / due as f64);
    assert!(0 < records && records <= due && due <= records + conflated, "{flow}, {conflated} conflated");
}
