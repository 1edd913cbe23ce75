//! `tickwire tap` as a user meets it: the program itself against a running demo.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tickwire");

/// A demo with a simulated market, ended when it is dropped.
struct Demo {
    child: Child,
    /// A program whose standard output is closed ends.
    _output: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(PROGRAM);
        command.args([
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--instruments",
            "5",
        ]);
        command.args(["--rate", "2000", "--log-level", "error"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let rest = line.strip_prefix("stream: ")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        Self { child, _output: lines, url: url.expect("the demo says where its stream is") }
    }

    /// Waits for the demo, which takes no sessions before its bus is up.
    fn tap(&self, line: &str) -> Output {
        tap(&format!("--wait --url {} {line}", self.url))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tap(line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("tap").args(line.split_whitespace()).env_remove("TICKWIRE_URL");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the lines but those about the connection: a file has another address.
fn lines(output: &Output) -> Vec<String> {
    let others = [r#"{"type":"connected""#, r#"{"type":"disconnected""#, "connection,"];
    let is_data = |line: &&str| !others.iter().any(|start| line.starts_with(start));
    text(&output.stdout).lines().filter(is_data).map(str::to_owned).collect()
}

#[track_caller]
fn check_ok(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

#[test]
fn what_is_recorded_is_what_was_shown() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    for form in ["--json", "--csv"] {
        let file = folder.path().join(form);
        let file = file.to_str().unwrap();
        let live =
            demo.tap(&format!("sim:* --channel quote,trade,book,status --count 300 {form} --record {file}"));
        check_ok(&live);
        let read = tap(&format!("--read {file} {form}"));
        check_ok(&read);
        assert_eq!(lines(&read), lines(&live));
        assert!(lines(&live).len() > 300);
    }
}

#[test]
fn the_ledger_adds_up_in_every_encoding() {
    let demo = Demo::start();
    for encoding in ["proto", "msgpack", "json"] {
        let channels = "quote,trade,book,bar,stat,status,instrument";
        let output = demo
            .tap(&format!("sim:* --channel {channels} --count 1000 --json --ledger --encoding {encoding}"));
        check_ok(&output);
        let last = lines(&output).pop().unwrap();
        let ledger: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(ledger["type"], "ledger");
        let delivered = |entry: &serde_json::Value| entry["delivered"].as_u64().unwrap();
        let all: u64 = ledger["entries"].as_array().unwrap().iter().map(delivered).sum();
        assert!(all > 500, "{last}");
    }
}

#[test]
fn a_bad_symbol_does_not_spoil_the_others() {
    let demo = Demo::start();
    let output = demo.tap("sim:NOPE nope sim:BTC-USD --json --count 3");
    check_ok(&output);
    let errors = text(&output.stderr);
    assert!(errors.contains("refused: quote sim:NOPE: unknown_symbol: "), "{errors}");
    assert!(errors.contains("refused: quote nope: bad_symbol: "), "{errors}");
    let output = demo.tap("sim:NOPE nope --json");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error: all subscriptions were refused"));
}

#[test]
fn without_a_gateway_it_says_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = tap(&format!("--url ws://127.0.0.1:{port} sim:BTC-USD"));
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("nothing listens at") && errors.contains("--wait"), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_foreign_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "not a recording").unwrap();
    let output = tap(&format!("--read {} --json", file.display()));
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("notes.txt, byte 0: not a recording"), "{errors}");
}
