//! Runs of the real binary, and their reports.

use std::process::{Command, Output};

use serde_json::Value;

pub(super) const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

pub(super) fn run(arguments: &[&str]) -> Output {
    let always =
        ["--json", "--allow-bottleneck", "--set", "warm_up=300ms", "--set", "assert.latency.p99=10s"];
    Command::new(LOADGEN).arg("run").args(arguments).args(always).output().expect("the generator starts")
}

#[track_caller]
pub(super) fn report(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"))
}
