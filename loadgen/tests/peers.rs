//! The generator against real peers: each of `benches/peers` delivers what it was sent, and the report says so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tickwire_testkit::Program;

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peers/servers")
}

fn free_address() -> String {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("an address").to_string()
}

/// Checks a peer with ten sessions of 5 of 20 symbols each, 1,000 updates per second for a second: 2,500 deliveries.
#[track_caller]
fn check(kind: &str, path: &str, publish: &str, binary: &Path, arguments: &[&str]) {
    let (listen, inlet) = (free_address(), free_address());
    let own = ["--listen", &listen, "--publish", &inlet];
    let peer = Program::start(binary, &[arguments, &own].concat());
    peer.line_with("ready");
    let (url, publish) = (format!("ws://{listen}{path}"), format!("{publish}://{inlet}"));
    let fields = ["source.symbols=20", "sessions.symbols_each=5", "warm_up=200ms", "settle=5s"];
    let mut command = Command::new(LOADGEN);
    command.args([
        "run",
        "--json",
        "--allow-bottleneck",
        "--for",
        "1s",
        "--sessions",
        "10",
        "--rate",
        "1000",
    ]);
    command.args(["--peer", kind, "--url", &url, "--publish", &publish]);
    for field in fields {
        command.args(["--set", field]);
    }
    let output = command.output().expect("the generator starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
    assert!(output.status.success(), "{stderr}\n{:#}", report["verdicts"]);
    assert_eq!(report["scenario"]["kind"], kind);
    assert_eq!(report["sessions"]["opened"], 10);
    assert_eq!(report["checks"]["lost"], 0);
    assert_eq!(report["checks"]["out_of_order"], 0);
    assert_eq!(report["checks"]["duplicates"], 0);
    // Each session's last values are what was published last, so nothing is missing at the end either.
    assert_eq!(report["checks"]["final_values"], 50);
    assert_eq!(report["checks"]["final_values_wrong"]["count"], 0);
    assert!(report["flow"]["records"].as_u64().is_some_and(|records| records > 0));
}

#[test]
fn nats_server() {
    check("nats-ws", "/", "nats", &servers().join("nats.sh"), &[]);
}

#[test]
#[ignore = "needs `npm ci` in benches/peers; scripts/test.sh does it"]
fn plain_ws() {
    let server = servers().join("ws.mjs");
    check("raw40", "/", "tcp", Path::new("node"), &[server.to_str().expect("a plain path")]);
}

#[test]
#[ignore = "needs `npm ci` in benches/peers; scripts/test.sh does it"]
fn socket_io() {
    let server = servers().join("socket_io.mjs");
    let path = "/socket.io/?EIO=4&transport=websocket";
    check("socket.io", path, "tcp", Path::new("node"), &[server.to_str().expect("a plain path")]);
}
