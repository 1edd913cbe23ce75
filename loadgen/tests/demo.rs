//! The generator against a real `tickwire demo`, both as processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tickwire_testkit::Program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");
const PATIENCE: Duration = Duration::from_mins(1);

/// Returns what `LOADGEN_TICKWIRE` names, or the program beside the generator, where `cargo test --workspace` builds it before any
/// test runs.
fn tickwire() -> PathBuf {
    if let Some(path) = std::env::var_os("LOADGEN_TICKWIRE") {
        return PathBuf::from(path);
    }
    let path = Path::new(LOADGEN).with_file_name("tickwire");
    assert!(path.is_file(), "no {}: run `cargo build -p tickwire`, or set LOADGEN_TICKWIRE", path.display());
    path
}

fn demo() -> (Program, String) {
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--rate", "500"];
    let demo = Program::start(tickwire(), &arguments);
    let url = demo.line_with("stream: ws://").trim_start_matches("stream: ").to_owned();
    let admin = demo.line_with("admin: http://");
    let admin = admin.trim_start_matches("admin: http://").trim_end_matches("/metrics");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_ready = runtime.block_on(async { tokio::time::timeout(PATIENCE, readiness(admin)).await });
    assert!(is_ready.is_ok(), "not ready:\n{}", demo.output());
    (demo, url)
}

/// Returns when the gateway takes sessions and its feed is live.
async fn readiness(admin: &str) {
    loop {
        if let Ok(answer) = get(admin).await
            && answer.starts_with("HTTP/1.1 200")
            && answer.contains(r#""sim":"live""#)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(admin: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(LOADGEN).arg("run").args(arguments).output().expect("the generator starts")
}

#[track_caller]
fn report(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn every_encoding_and_channel_adds_up() {
    let (_demo, url) = demo();
    for encoding in ["proto", "msgpack", "json"] {
        let channels = "quote,trade,book,bar,stat,status,instrument";
        let arguments = ["--url", &url, "--sessions", "5", "--threads", "2", "--symbols", "sim:*"];
        let plan =
            ["--channels", channels, "--encoding", encoding, "--for", "2s", "--json", "--allow-bottleneck"];
        let output = run(&[&arguments[..], &plan[..]].concat());
        let report = report(&output);
        assert!(output.status.success(), "{encoding}: {report:#}");
        assert_eq!(report["passed"], true);
        assert_eq!(report["sessions"]["opened"], 5);
        assert_eq!(report["checks"]["broken"], serde_json::json!({}));
        assert_eq!(report["checks"]["refused"]["count"], 0, "{report:#}");
        // 24 instruments and 7 channels at each session.
        assert_eq!(report["checks"]["accounts"]["checked"], 5 * 24 * 7);
        for channel in ["quote", "trade", "book"] {
            assert!(count(&report["by_channel"][channel]["count"]) > 0, "{channel}: {report:#}");
        }
        let hops: Vec<_> = report["hops"].as_array().unwrap().iter().map(|hop| &hop["to"]).collect();
        assert_eq!(hops, ["ingester", "gateway_write", "read", "decoded"]);
        assert!(count(&report["flow"]["bytes"]) > count(&report["flow"]["records"]));
    }
}

#[test]
fn a_gateway_that_goes_away_fails_the_run() {
    let (demo, url) = demo();
    let arguments = ["run", "--url", &url, "--sessions", "2", "--symbols", "sim:*", "--for", "1m", "--json"];
    let mut loadgen = Program::start(LOADGEN, &arguments);
    loadgen.line_with("measuring");
    demo.terminate();
    let status = loadgen.ended();
    let output = loadgen.output();
    assert!(!status.success(), "{output}");
    assert!(output.contains("draining"), "{output}");
    assert!(output.contains("\"passed\": false"), "{output}");
}

#[test]
fn nothing_to_measure_is_said_and_not_reported() {
    let nowhere =
        ["--url", "ws://127.0.0.1:1/v1/stream", "--symbols", "sim:*", "--sessions", "1", "--for", "1s"];
    let output = run(&nowhere);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot connect"), "{said}");
    let (_demo, url) = demo();
    let output = run(&["--url", &url, "--sessions", "1", "--symbols", "sim:NOPE", "--for", "100ms"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing was granted"), "{said}");
}
