//! Traces of a real gateway, at a collector over loopback.

mod otlp;

use std::process::Command;

use tickwire_testkit::{NatsServer, NatsServerConfig, Program};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use otlp::{Collector, Span};

const TICKWIRE: &str = env!("CARGO_BIN_EXE_tickwire");

fn tickwire(arguments: &[&str]) -> String {
    let output = Command::new(TICKWIRE).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn address(line: &str) -> String {
    line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned()
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) -> bool {
    for _ in 0..3_000 {
        if condition().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    false
}

/// Opens a session with a token, and sends commands. Returns the connection when all of these texts came, and what came.
async fn session(listen: &str, token: &str, commands: &[&str], wanted: &[&str]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let request = format!(
        "GET /v1/stream HTTP/1.1\r\nHost: {listen}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    for command in commands {
        let mut frame = vec![0x81, 0x80 | u8::try_from(command.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(command.as_bytes());
        stream.write_all(&frame).await.unwrap();
    }
    let mut came = Vec::new();
    loop {
        let read = stream.read_buf(&mut came).await.unwrap();
        let told = String::from_utf8_lossy(&came).into_owned();
        if read == 0 || wanted.iter().all(|text| told.contains(text)) {
            return (stream, told);
        }
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_path_is_traced() {
    let collector = Collector::start().await;
    let nats = NatsServer::start(NatsServerConfig::default());
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("dev.secret").display().to_string();
    tickwire(&["token", "key", "--secret", &secret]);
    let token = tickwire(&["token", "--key", &secret, "--sub", "desk", "--grant", "*", "--jti", "t1"]);
    let bus = nats.url();
    let settings = [format!("traces.endpoint={}", collector.endpoint), format!("gateway.auth.keys={secret}")];
    let mut arguments =
        vec![TICKWIRE, "gateway", "--bus", &bus, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    // What is logged is the same as without traces.
    arguments.extend(["--log-level", "trace"]);
    let mut gateway = Program::start("setsid", &arguments);
    let market = ["ingest", "sim", "--instruments", "4", "--rate", "400", "--bus", &bus];
    let _ingester = Program::start(TICKWIRE, &market);
    let listen = address(&gateway.line_with("stream: ws://"));
    let admin = address(&gateway.line_with("admin: http://"));
    let is_fed = || async {
        let page = tickwire_net::http::get(&admin, "/readyz").await;
        page.is_ok_and(|(status, body)| status == 200 && body.contains(r#""sim":"live""#))
    };
    assert!(until(is_fed).await, "{}", gateway.output());

    let wrong = format!("{token}x");
    let (_, told) = session(&listen, &wrong, &[], &["HTTP/1.1 4"]).await;
    assert!(told.contains("401"), "{told}");
    let subscribe = r#"{"op":"subscribe","id":1,"channel":"book","symbols":["sim:BTC-USD","sim:ETH-USD"]}"#;
    let resume = r#"{"op":"resume","id":2,"positions":[]}"#;
    let receipt = r#"{"op":"receipt","sent_time":"1"}"#;
    let commands = [subscribe, resume, receipt, r#"{"op":"ledger","id":3}"#];
    let (mut stream, told) =
        session(&listen, &token, &commands, &[r#""granted""#, r#""type":"ledger""#]).await;
    assert!(told.contains(r#""granted""#), "{told}");
    // It is reported while the gateway runs.
    let is_told = || async { !named(&collector.spans(), "subscribe").is_empty() };
    assert!(until(is_told).await, "{}", gateway.output());
    gateway.hang_up();
    gateway.line_with("reload: done");
    tickwire(&["revoke", "--bus", &bus, "--jti", "t1"]);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    gateway.terminate();
    assert_eq!(gateway.ended().code(), Some(0), "{}", gateway.output());

    let spans = collector.spans();
    let names: std::collections::BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
    for name in
        ["handshake", "login", "subscribe", "resume", "ledger", "snapshot", "revocation", "reload", "drain"]
    {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    let of = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    let handshakes = named(&spans, "handshake");
    let [refused, taken] = handshakes[..] else { panic!("{handshakes:?}") };
    assert_eq!(of(refused, "refusal"), "unauthorized");
    assert!(of(taken, "peer").starts_with("127.0.0.1:") && of(taken, "refusal").is_empty(), "{taken:?}");
    let id = of(taken, "session");
    assert!(!id.is_empty());
    let logins = named(&spans, "login");
    assert_eq!(logins.len(), 2, "{logins:?}");
    assert_eq!((&logins[0].parent, of(logins[0], "denied")), (&refused.id, "signature".to_owned()));
    assert_eq!((&logins[1].parent, of(logins[1], "principal")), (&taken.id, "desk".to_owned()));
    assert_eq!(of(logins[1], "jti"), "t1");
    let subscribed = named(&spans, "subscribe")[0];
    assert_eq!((of(subscribed, "session"), of(subscribed, "symbols")), (id, "2".to_owned()));
    assert!(named(&spans, "receipt").is_empty(), "receipts come with the data");
    assert!(
        named(&spans, "snapshot")
            .iter()
            .any(|span| of(span, "topics") != "0" && of(span, "error").is_empty())
    );
    assert!(named(&spans, "snapshot").iter().all(|span| span.took_ns > 0));
    assert_eq!(of(named(&spans, "reload")[0], "files"), "1");
    assert_eq!(of(named(&spans, "revocation")[0], "count"), "1");
    // Neither spans nor lines have a part of a token, and lines have no spans.
    let part = &token[token.len() - 20..];
    for body in collector.bodies() {
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(!text.contains(part) && text.contains("tickwire"), "{text}");
    }
    let log = gateway.output();
    assert!(!log.contains(part) && !log.contains("handshake{"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_harms_nobody() {
    let nats = NatsServer::start(NatsServerConfig::default());
    let bus = nats.url();
    let arguments = [
        &["gateway", "--anonymous", "--bus", &bus, "--listen", "127.0.0.1:0", "--admin-listen"][..],
        &["127.0.0.1:0", "--set", "traces.endpoint=http://127.0.0.1:1/v1/traces"],
    ]
    .concat();
    let mut gateway = Program::start(TICKWIRE, &arguments);
    let listen = address(&gateway.line_with("stream: ws://"));
    let admin = address(&gateway.line_with("admin: http://"));
    let is_ready =
        || async { tickwire_net::http::get(&admin, "/readyz").await.is_ok_and(|(status, _)| status == 200) };
    assert!(until(is_ready).await, "{}", gateway.output());
    let (_stream, told) =
        session(&listen, "x", &[r#"{"op":"ledger","id":3}"#], &[r#""type":"ledger""#]).await;
    assert!(told.contains(r#""type":"ledger""#), "{told}");
    gateway.line_with("spans were not taken by the collector");
    gateway.terminate();
    assert_eq!(gateway.ended().code(), Some(0), "{}", gateway.output());
}

#[test]
fn endpoints_that_cannot_be_are_errors() {
    for (endpoint, part) in
        [("127.0.0.1:4318", "neither with http://"), ("http://a:b@c/v1/traces", "has credentials")]
    {
        let setting = format!("traces.endpoint={endpoint}");
        let output =
            Command::new(TICKWIRE).args(["gateway", "--anonymous", "--set", &setting]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(part) && !told.contains("a:b@"), "{told}");
    }
}
