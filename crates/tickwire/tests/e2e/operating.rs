//! The means of operators: `tickwire top`, the token of the admin listener, the audit log, and limits of the log.

use serde_json::Value;
use tickwire_client::Client;
use tickwire_testkit::{Authority, Program, Validity};
use tickwire_wire::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Gateway, TICKWIRE, nats, until};

const TOKEN: &str = "b1946ac92492d2347c6235b4d2611184";

pub(crate) async fn status(address: &str, path: &str, header: &str) -> u16 {
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
    assert!(code == Some(1) && errors.contains("http://") && errors.contains("https://"), "{errors}");
    let short = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(short.path(), "short").unwrap();
    let setting = format!("gateway.admin_token_file={}", short.path().display());
    let mut refused = Program::start(TICKWIRE, &["gateway", "--set", &setting]);
    let status = refused.ended();
    assert_eq!(status.code(), Some(2), "{}", refused.output());
    assert!(refused.output().contains("gateway.admin_token_file"), "{}", refused.output());
}

/// Asks for a page as Prometheus does with `deploy/prometheus/prometheus-tls.yml`: https, an authority of one's own, and a token in
/// a file.
fn scrape(url: &str, ca: &str, token: Option<&str>) -> (String, String) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--output", "-", "--write-out", "\n%{http_code}", "--cacert", ca]);
    if let Some(token) = token {
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = curl.arg(url).output().expect("curl is there");
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_over_tls_is_for_top_doctor_and_prometheus_too() {
    let authority = Authority::new("the authority");
    let soon = authority.sign_for("soon", Validity::Soon);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let text = |path: &std::path::Path| path.display().to_string();
    let (file, ca) = (text(&file), text(&authority.ca_file()));
    let nats = nats();
    let (cert, key) = (text(&soon.cert), text(&soon.key));
    let program = Program::start(
        TICKWIRE,
        &[
            &["gateway", "--anonymous", "--bus", &nats.url(), "--listen", "127.0.0.1:0"][..],
            &["--admin-listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key],
            &["--set", "gateway.tls.admin=true", "--set", &format!("gateway.admin_token_file={file}")],
        ]
        .concat(),
    );
    let address = |line: String| line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let stream = format!("wss://{}/v1/stream", address(program.line_with("stream: wss://")));
    let admin = address(program.line_with("admin: https://"));
    let url = format!("https://{admin}");
    let good = [url.as_str(), "--token-file", &file, "--ca-file", &ca, "--every", "100ms"];
    let is_ready = || async { top(&[&good[..], &["--json"]].concat()).1.contains("\"ready\": true") };
    assert!(until(is_ready).await, "{:?}\n{}", top(&good), program.output());
    let (code, table, errors) = top(&[&good[..], &["--once"]].concat());
    assert!(code == Some(0) && table.contains("0 sessions"), "{table}{errors}");

    let once = ["--once", "--every", "100ms"];
    for (arguments, part) in [
        (vec![url.as_str(), "--token-file", &file], "is not trusted: no known authority has signed it"),
        (vec![&url, "--ca-file", &ca], "asks for a token"),
        (vec![&url, "--ca-file", &ca, "--token-file", &cert], "no header can have"),
        (
            vec![&url, "--ca-file", &ca, "--server-name", "elsewhere.example"],
            "and elsewhere.example was asked for",
        ),
        (
            vec![&format!("http://{admin}"), "--token-file", &file],
            "speaks TLS: connect with wss:// or https://",
        ),
        (vec!["https://me:secret@127.0.0.1:1"], "has credentials in it"),
    ] {
        let (code, _, errors) = top(&[&arguments[..], &once].concat());
        assert!(code == Some(1) && errors.contains(part), "{arguments:?}: {errors}");
        assert!(!errors.contains("secret@"), "{errors}");
    }

    let doctor = |more: &[&str]| {
        let all =
            [&["doctor", &stream, "--for", "1s", "--json", "--ca-file", &ca, "--admin", &url], more].concat();
        let output = std::process::Command::new(TICKWIRE).args(all).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |check: &str| {
            let all = told["checks"].as_array().unwrap();
            let found = all.iter().find(|one| one["check"] == check);
            found.map(|found| (found["status"].as_str().unwrap().to_owned(), found["said"].to_string()))
        };
        (output.status.code(), of("admin").unwrap(), of("metrics"))
    };
    let (code, admin_said, metrics) = doctor(&["--admin-token-file", &file]);
    assert_eq!((code, admin_said.0.as_str()), (Some(0), "warning"), "{admin_said:?}");
    assert!(admin_said.1.contains("its certificate is good until"), "{admin_said:?}");
    assert_eq!(metrics.unwrap().0, "ok");
    let (code, _, metrics) = doctor(&[]);
    let (status, said) = metrics.unwrap();
    assert!(code == Some(1) && status == "failure" && said.contains("--admin-token-file"), "{said}");

    let metrics = format!("{url}/metrics");
    assert_eq!(scrape(&metrics, &ca, None).0, "401");
    let (status, body) = scrape(&metrics, &ca, Some(TOKEN));
    assert!(status == "200" && body.contains("tickwire_ready 1\n"), "{status} {body}");
    let other = Authority::new("a stranger");
    assert_eq!(scrape(&metrics, &text(&other.ca_file()), Some(TOKEN)).0, "000");
}
