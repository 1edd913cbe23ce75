//! The means of operators: `tickwire top`, the token of the admin listener, the audit log, and limits of the log.

use serde_json::Value;
use tickwire_client::Client;
use tickwire_testkit::Program;
use tickwire_wire::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Gateway, TICKWIRE, nats, until};

const TOKEN: &str = "b1946ac92492d2347c6235b4d2611184";

async fn status(address: &str, path: &str, header: &str) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

fn top(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(TICKWIRE).arg("top").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_shown_to_who_has_the_token_and_audited() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.to_str().unwrap();
    let nats = nats();
    let token = format!("gateway.admin_token_file={file}");
    let gateway = Gateway::start_with(
        &nats.url(),
        &["--set", &token, "--set", "log.format=json", "--log-level", "info"],
    )
    .await;

    for (path, header, expected) in [
        ("/healthz", String::new(), 200),
        ("/readyz", String::new(), 200),
        ("/metrics", String::new(), 401),
        ("/v1/sessions", "Authorization: Bearer wrong\r\n".to_owned(), 401),
        ("/v1/sessions", format!("Authorization: Bearer {TOKEN}\r\n"), 200),
        ("/metrics", format!("Authorization: Bearer {TOKEN}\r\n"), 200),
    ] {
        assert_eq!(status(&gateway.admin, path, &header).await, expected, "{path} {header}");
    }

    let client = Client::builder(gateway.url()).subscribe(Channel::Quote, ["sim:A"]).connect().await.unwrap();
    let url = format!("http://{}", gateway.admin);
    let looks = || async {
        let (code, out, errors) = top(&[&url, "--token-file", file, "--json", "--every", "100ms"]);
        assert_eq!(code, Some(0), "{errors}");
        let told: Value = serde_json::from_str(&out).unwrap();
        told["session_count"] == 1 && told["sessions"][0]["state"] == "prompt"
    };
    assert!(until(looks).await);
    let (code, table, _) = top(&[&url, "--token-file", file, "--once", "--every", "100ms"]);
    assert_eq!(code, Some(0));
    assert!(table.contains("1 sessions") && table.contains("delivered/s"), "{table}");
    let (code, _, errors) = top(&[&url, "--once"]);
    assert!(code == Some(1) && errors.contains("--token-file"), "{errors}");

    client.close().await;
    let ended = || async { gateway.program.output().contains("session ended") };
    assert!(until(ended).await, "{}", gateway.program.output());
    let output = gateway.program.output();
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audit: Vec<_> = lines.filter(|line| line["target"] == "tickwire::audit").collect();
    let words: Vec<_> = audit.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect();
    assert_eq!(words, ["session opened", "session ended"], "{output}");
    let [opened, ended] = [&audit[0]["fields"], &audit[1]["fields"]];
    assert_eq!(opened["session"], ended["session"]);
    assert!(opened["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{opened}");
    assert_eq!((&ended["ended_by"], &ended["code"]), (&"client".into(), &1000.into()), "{ended}");
    assert!(!output.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_none_is_told() {
    let (code, _, errors) = top(&["http://127.0.0.1:1", "--once"]);
    assert!(code == Some(1) && errors.contains("cannot reach http://127.0.0.1:1"), "{errors}");
    let (code, _, errors) = top(&["ws://127.0.0.1:1", "--once"]);
    assert!(code == Some(1) && errors.contains("http://"), "{errors}");
    let short = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(short.path(), "short").unwrap();
    let setting = format!("gateway.admin_token_file={}", short.path().display());
    let mut refused = Program::start(TICKWIRE, &["gateway", "--set", &setting]);
    let status = refused.ended();
    assert_eq!(status.code(), Some(2), "{}", refused.output());
    assert!(refused.output().contains("gateway.admin_token_file"), "{}", refused.output());
}
