//! SIGHUP: to a service it says that files have changed, and to a program of a terminal that the terminal closed.

use std::fmt::Write as _;
use std::path::Path;

use tickwire_client::wire::Secret;
use tickwire_client::{Client, ConnectError, Disconnect, Event, Handle, State};
use tickwire_testkit::{Authority, Certified, Program};

use crate::auth::{Keys, end};
use crate::operating::status;
use crate::world::{TICKWIRE, get, nats, until};

fn address(line: &str) -> String {
    line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned()
}

/// A session that is read, and must stay.
struct Kept {
    handle: Handle,
    reading: tokio::task::JoinHandle<()>,
}

impl Kept {
    fn of(mut client: Client) -> Self {
        let handle = client.handle();
        let reading = tokio::spawn(async move {
            while let Some(batch) = client.next().await {
                let is_broken = |event: &Event| matches!(event, Event::State(State::Disconnected { .. }));
                assert!(!batch.iter().any(is_broken), "{batch:?}");
            }
        });
        Self { handle, reading }
    }

    /// Checks that the gateway still answers in the same session.
    async fn is_there(&self) {
        self.handle.ledger().await.unwrap();
        assert!(!self.reading.is_finished());
    }
}

fn put(folder: &Path, certified: &Certified) {
    std::fs::copy(&certified.cert, folder.join("tls.crt")).unwrap();
    std::fs::copy(&certified.key, folder.join("tls.key")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_reads_its_files_again_and_says_what_came_of_it() {
    let (first, second) = (Authority::new("the first"), Authority::new("the second"));
    let (nats, keys) = (nats(), Keys::new());
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &first.sign("gateway"));
    let entry = |name: &str| {
        let made = keys.tickwire(&["token", "key", "--api", name, "--grant", "*", "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let hash = made["entry"]["sha256"].as_str().unwrap();
        let entry = format!("[[key]]\nname = \"{name}\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n");
        (entry, Secret::new(made["key"].as_str().unwrap()))
    };
    let ((kept, kept_key), (removed, removed_key)) = (entry("kept"), entry("removed"));
    let api = keys.path("api.toml");
    std::fs::write(&api, format!("{kept}{removed}")).unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let admin_file = file("admin.token");
    std::fs::write(&admin_file, "the-first-admin-token").unwrap();
    let settings = [
        format!("gateway.tls.cert_file={}", file("tls.crt")),
        format!("gateway.tls.key_file={}", file("tls.key")),
        // Nothing is found by looking now and then.
        "gateway.tls.reload_ms=3600000".to_owned(),
        format!("gateway.auth.api_keys_file={api}"),
        format!("gateway.auth.keys={}", keys.path("dev.secret")),
        format!("gateway.admin_token_file={admin_file}"),
    ];
    let bus = nats.url();
    // A terminal of whoever runs the tests is not this service's.
    let mut arguments =
        vec![TICKWIRE, "gateway", "--bus", &bus, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    let mut program = Program::start("setsid", &arguments);
    let listen = address(&program.line_with("stream: wss://"));
    let admin = address(&program.line_with("admin: http://"));
    let url = format!("wss://{listen}/v1/stream");
    let is_ready = || async { get(&admin, "/readyz").await.is_some_and(|(status, _)| status == 200) };
    assert!(until(is_ready).await, "{}", program.output());
    let connect = |authority: &Authority, key: &Secret| {
        Client::builder(&url).ca_file(authority.ca_file()).token(key.clone()).connect()
    };
    let stays = Kept::of(connect(&first, &kept_key).await.unwrap());
    let goes = connect(&first, &removed_key).await.unwrap();
    let asks = async |token: &str| {
        status(&admin, "/v1/sessions", &format!("Authorization: Bearer {token}\r\n")).await
    };

    program.hang_up();
    program.line_with("reload: done");
    let told = program.output();
    assert_eq!(told.matches("reload: it is the same as before").count(), 4, "{told}");
    assert!(told.contains("files=4 changed=0 failed=0"), "{told}");
    assert_eq!((asks("the-first-admin-token").await, asks("the-second-admin-token").await), (200, 401));

    put(folder.path(), &second.sign("gateway"));
    std::fs::write(&api, &kept).unwrap();
    std::fs::write(keys.path("dev.secret"), "short").unwrap();
    std::fs::write(&admin_file, "the-second-admin-token").unwrap();
    program.hang_up();
    program.line_with("files=4 changed=3 failed=1");
    assert_eq!((asks("the-first-admin-token").await, asks("the-second-admin-token").await), (401, 200));
    let told = program.output();
    for part in [
        "what=\"TLS certificate\"",
        "api.toml",
        "dev.secret",
        "cannot be used, the one before stays",
        "has 5 bytes",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // The key that was taken away ends its session, and the other one goes on, from before the certificate changed.
    let reason = end(goes).await;
    let is_final = matches!(
        &reason,
        Disconnect::Closed { code: Some(4504), .. } | Disconnect::Connect(ConnectError::Tls { .. })
    );
    assert!(is_final, "{reason}");
    stays.is_there().await;
    connect(&second, &kept_key).await.unwrap();
    assert!(connect(&first, &kept_key).await.is_err(), "the certificate from before is shown to nobody");
    let refused = connect(&second, &removed_key).await.err();
    assert!(matches!(refused, Some(ConnectError::Status { status: 401, .. })), "{refused:?}");

    // What a key grants counts for its open sessions, too; and what cannot be used changes nothing.
    std::fs::write(&api, format!("{kept}subscriptions = 9\n")).unwrap();
    std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
    std::fs::write(&admin_file, "short").unwrap();
    program.hang_up();
    program.line_with("files=4 changed=1 failed=3");
    program.line_with("session has other rights");
    assert_eq!(asks("the-second-admin-token").await, 200);
    connect(&second, &kept_key).await.unwrap();
    stays.is_there().await;
    let told = program.output();
    assert!(!told.contains("admin-token") && !told.contains(kept_key.expose()), "{told}");
    program.terminate();
    assert_eq!(program.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_terminal_closes_drains() {
    let nats = nats();
    let log = tempfile::NamedTempFile::new().unwrap();
    let command = format!(
        "exec {TICKWIRE} gateway --anonymous --bus {} --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 2> {}",
        nats.url(),
        log.path().display()
    );
    let mut terminal = Program::start("script", &["--quiet", "--flush", "--command", &command, "/dev/null"]);
    let listen = address(&terminal.line_with("stream: ws://"));
    let admin = address(&terminal.line_with("admin: http://"));
    let is_ready = || async { get(&admin, "/readyz").await.is_some_and(|(status, _)| status == 200) };
    assert!(until(is_ready).await, "{}", terminal.output());
    let mut client = Client::builder(format!("ws://{listen}/v1/stream")).connect().await.unwrap();
    terminal.kill();
    let mut told = String::new();
    while !told.contains("draining") {
        let batch = client.next().await.unwrap_or_else(|| panic!("{told} {:?}", client.end()));
        let _ = write!(told, "{:?}", batch.events());
    }
    let has_ended = || async { get(&admin, "/healthz").await.is_none() };
    assert!(until(has_ended).await, "{}", std::fs::read_to_string(log.path()).unwrap());
}
