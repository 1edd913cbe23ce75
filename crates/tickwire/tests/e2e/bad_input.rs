//! Wrong input of every kind: a clear message with a remedy, and nothing else harmed.

use std::io::Write as _;
use std::path::Path;

use tickwire_testkit::{NatsServer, NatsServerConfig, Program};

use crate::world::{Gateway, TICKWIRE, nats};

/// Runs a command that must fail with this status and tell all of this.
#[track_caller]
fn check(arguments: &[&str], status: i32, told: &[&str]) {
    let mut program = Program::start(TICKWIRE, arguments);
    let ended = program.ended();
    let output = program.output();
    assert_eq!(ended.code(), Some(status), "{arguments:?}:\n{output}");
    for part in told {
        assert!(output.contains(part), "{arguments:?}: `{part}` is missing in:\n{output}");
    }
    assert!(!output.contains("panicked"), "{output}");
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn unreadable_recordings() {
    let nats = nats();
    let bus = nats.url();
    let folder = tempfile::tempdir().unwrap();
    check(
        &["ingest", "replay", "/nonexistent/x.gz", "--bus", &bus],
        1,
        &["/nonexistent/x.gz", "check the name"],
    );
    let text = write(folder.path(), "notes.txt", b"these are\nnot ticks\n");
    check(
        &["ingest", "replay", &text, "--bus", &bus],
        1,
        &["notes.txt", "is in no format that is known here", "--format"],
    );
    let empty = write(folder.path(), "empty", b"");
    check(&["ingest", "replay", &empty, "--bus", &bus], 1, &["empty"]);
}

#[test]
fn a_truncated_recording_gives_everything_before_the_cut() {
    let nats = nats();
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Enough lines that the cut is in the middle of them.
    for at in 0..3000_u64 {
        let line = format!(
            "{} {{\"stream\":\"abcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{},\"s\":\"ABCUSDT\",\"t\":{},\"p\":\"100.{:02}\",\"q\":\"0.5\",\"T\":{},\"m\":true,\"M\":true}}}}\n",
            1_723_161_254_000_000_000 + at * 1_000_000,
            1_723_161_254_000 + at,
            at + 1,
            at * 7919 % 100,
            1_723_161_254_000 + at,
        );
        encoder.write_all(line.as_bytes()).unwrap();
    }
    let whole = encoder.finish().unwrap();
    let cut = write(folder.path(), "cut.gz", &whole[..whole.len() / 2]);
    let arguments = ["ingest", "replay", &cut, "--speed", "0", "--bus", &nats.url()];
    let mut program = Program::start(TICKWIRE, &arguments);
    assert_eq!(program.ended().code(), Some(3), "{}", program.output());
    let output = program.output();
    assert!(output.contains("1 damaged parts of the recordings could not be read"), "{output}");
    let line = program.line_with("records of 1 instruments");
    let trades: u64 = line.split("trade ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((1000..3000).contains(&trades), "{output}");
    assert!(output.contains("cut.gz"), "the damage is not named:\n{output}");
}

/// Plays a recording to its end; status, summary and all that was said.
fn replayed(nats: &NatsServer, file: &str) -> (Option<i32>, serde_json::Value, String) {
    let arguments = ["ingest", "replay", file, "--speed", "0", "--json", "--bus", &nats.url()];
    let mut program = Program::start(TICKWIRE, &arguments);
    let status = program.ended().code();
    let summary = serde_json::from_str(&program.line_with("\"records\"")).unwrap();
    (status, summary, program.output())
}

#[test]
fn a_recording_of_which_nothing_can_be_shown_is_no_success() {
    let nats = nats();
    let folder = tempfile::tempdir().unwrap();
    let change = |n: u64| {
        let time = 1_700_000_000_000 + n * 200;
        format!(
            "{time} {{\"e\":\"depthUpdate\",\"E\":{time},\"s\":\"ABUSDT\",\"U\":{n},\"u\":{n},\"b\":[],\"a\":[]}}\n"
        )
    };
    let changes = (0..12).map(change).collect::<Vec<_>>().concat();
    let path = write(folder.path(), "changes.txt", changes.as_bytes());
    let (status, summary, output) = replayed(&nats, &path);
    assert_eq!(status, Some(3), "{output}");
    assert_eq!(summary["channels"]["status"], 1);
    assert_eq!(summary["recordings"]["unused_changes"], 12);
    assert_eq!(summary["recordings"]["waiting_books"], serde_json::json!(["ABUSDT"]));
    assert!(output.contains("ABUSDT: the book waits for a snapshot that its changes continue"), "{output}");
    assert!(output.contains("nothing of ABUSDT could be used"), "{output}");
}

#[test]
fn one_line_that_cannot_be_used_costs_one_line() {
    let nats = nats();
    let folder = tempfile::tempdir().unwrap();
    let trade = |n: u64, price: &str| {
        let time = 1_700_000_000_000_u64 + n * 100;
        format!("{time} {{\"s\":\"ABUSDT\",\"t\":{n},\"p\":{price},\"q\":\"1\",\"T\":{time},\"m\":true}}\n")
    };
    let prices = ["1.25", "\"0.30000000000000004\"", "\"125e-2\"", "\"1O\"", "\"1.5\""];
    let text = prices.iter().zip(1..).map(|(price, n)| trade(n, price)).collect::<Vec<_>>().concat();
    let path = write(folder.path(), "odd.txt", text.as_bytes());
    let (status, summary, output) = replayed(&nats, &path);
    assert_eq!(status, Some(0), "{output}");
    assert_eq!((&summary["channels"]["trade"], &summary["faults"]), (&3.into(), &2.into()), "{output}");
    assert!(
        output.contains("odd.txt, line 2: price: `0.30000000000000004` has more than 2 decimals"),
        "{output}"
    );
    assert!(output.contains("odd.txt, line 4: price: `1O` is not a decimal number"), "{output}");
}

#[test]
fn a_pipe_is_played() {
    let nats = nats();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let line =
        "1700000000 {\"s\":\"ABUSDT\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000,\"m\":true}\n";
    let writing = {
        let path = path.clone();
        std::thread::spawn(move || std::fs::write(path, line).unwrap())
    };
    let (status, summary, output) = replayed(&nats, path.to_str().unwrap());
    writing.join().unwrap();
    assert_eq!((status, &summary["channels"]["trade"]), (Some(0), &1.into()), "{output}");
}

#[test]
fn half_written_and_wrong_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let half = write(folder.path(), "half.toml", b"[gateway]\nlisten = \"127.0.0.1:0\"\nadmin_lis");
    check(&["gateway", "--config", &half], 2, &["half.toml, line 3", "cut off", "--print-default"]);
    let wrong =
        b"[gateway]\nlisten = \"nowhere\"\nshards = 1000\n[bus]\nservers = [\"ftp://x\"]\nuser = \"u\"\n";
    let wrong = write(folder.path(), "wrong.toml", wrong);
    let told = [
        "4 errors",
        "wrong.toml, line 2, column 1: `gateway.listen`",
        "gateway.shards",
        "bus.servers[0]",
        "bus.password",
    ];
    check(&["gateway", "--config", &wrong], 2, &told);
    check(&["gateway", "--set", "gateway.lissten=1"], 2, &["did you mean `gateway.listen`"]);
    check(&["gateway", "--config", "/nonexistent.toml"], 2, &["/nonexistent.toml", "check the path"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let arguments = [
        "gateway",
        "--anonymous",
        "--bus",
        &nats.url(),
        "--listen",
        &gateway.listen,
        "--admin-listen",
        "127.0.0.1:0",
    ];
    check(&arguments, 1, &[&gateway.listen, "--listen", "another process has this port"]);
    assert_eq!(gateway.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_named_and_waited_for() {
    let text = "authorization { user: desk, password: right }".to_owned();
    let nats = NatsServer::start(NatsServerConfig { text, ..NatsServerConfig::default() });
    let bus = format!("nats://desk:wrong@127.0.0.1:{}", nats.port());
    let arguments =
        ["gateway", "--anonymous", "--bus", &bus, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let program = Program::start(TICKWIRE, &arguments);
    let admin = program.line_with("admin: http://");
    let admin = admin.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let told = crate::world::until(|| async {
        let response = crate::world::get(&admin, "/readyz").await;
        response.is_some_and(|(status, body)| status == 503 && body.to_lowercase().contains("credentials"))
    });
    assert!(told.await, "{:?}\n{}", crate::world::get(&admin, "/readyz").await, program.output());
    program.line_with("credentials");
    assert!(!program.output().contains("wrong"), "the password was told:\n{}", program.output());
}

#[cfg(not(feature = "otel"))]
#[test]
fn traces_need_a_build_that_has_them() {
    let arguments = ["gateway", "--anonymous", "--set", "traces.endpoint=http://127.0.0.1:4318/v1/traces"];
    let output = std::process::Command::new(TICKWIRE).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("`--features otel`"), "{told}");
}
