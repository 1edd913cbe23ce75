//! TLS with the real programs: whom they trust, certificates that change under open sessions, stock clients.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tickwire_client::wire::{Channel, Encoding};
use tickwire_client::{BoxTransport, Builder, Client, ConnectError, Event, State};
use tickwire_testkit::{Authority, Certified, NatsServer, Program, Validity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Gateway, TICKWIRE, nats, root, until};

/// A market, and a gateway with a certificate.
struct World {
    authority: Authority,
    gateway: Gateway,
    _ingester: Program,
    _nats: NatsServer,
}

impl World {
    async fn start(more: &[&str]) -> Self {
        let authority = Authority::new("the authority");
        let certified = authority.sign("gateway");
        Self::with(authority, &certified, more).await
    }

    async fn with(authority: Authority, certified: &Certified, more: &[&str]) -> Self {
        let nats = nats();
        let (cert, key) = (text(&certified.cert), text(&certified.key));
        let tls = ["--tls-cert", &cert, "--tls-key", &key, "--set", "gateway.tls.reload_ms=100"];
        let gateway = Gateway::start_with(&nats.url(), &[&tls[..], more].concat()).await;
        let market = ["ingest", "sim", "--instruments", "4", "--rate", "400", "--bus", &nats.url()];
        let ingester = Program::start(TICKWIRE, &market);
        let is_fed = || async {
            gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
        };
        assert!(until(is_fed).await, "the feed is not live");
        Self { authority, gateway, _ingester: ingester, _nats: nats }
    }

    fn builder(&self) -> Builder {
        Client::builder(self.gateway.url()).subscribe(Channel::Quote, ["sim:*"])
    }

    async fn metric(&self, name: &str) -> i64 {
        let (_, body) = self.gateway.get("/metrics").await.unwrap();
        let line = body.lines().find_map(|line| line.strip_prefix(name));
        let value: f64 = line.unwrap_or_else(|| panic!("{name} is not in\n{body}")).trim().parse().unwrap();
        value as i64
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Returns when the client has so many records more.
pub(crate) async fn records(client: &mut Client, mut count: usize) {
    while count > 0 {
        let batch = tokio::time::timeout(Duration::from_secs(60), client.next()).await.expect("records come");
        let batch = batch.unwrap_or_else(|| panic!("the client ended: {:?}", client.end()));
        for event in batch {
            match event {
                Event::Record(_) => count = count.saturating_sub(1),
                Event::State(State::Disconnected { reason, .. }) => panic!("the session ended: {reason}"),
                _ => {}
            }
        }
    }
}

#[track_caller]
fn check(error: &ConnectError, parts: &[&str]) {
    let told = error.to_string();
    for part in parts {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_every_encoding_pass_through_tls() {
    let world = World::start(&[]).await;
    assert!(world.gateway.url().starts_with("wss://"));
    for encoding in Encoding::ALL {
        let builder = world.builder().encoding(encoding).ca_file(world.authority.ca_file());
        let mut client = builder.subscribe(Channel::Book, ["sim:*"]).connect().await.unwrap();
        records(&mut client, 500).await;
        let handle = client.handle();
        let ledger = tokio::spawn(async move { handle.ledger().await });
        records(&mut client, 50).await;
        ledger.await.unwrap().unwrap();
        assert_eq!(client.counters().ledger_faults, 0);
        client.close().await;
    }
    let ca = text(&world.authority.ca_file());
    let tap = [
        "tap",
        "--url",
        &world.gateway.url(),
        "--ca-file",
        &ca,
        "--count",
        "50",
        "--csv",
        "--ledger",
        "sim:*",
    ];
    let output = Command::new(TICKWIRE).args(tap).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(world.metric("tickwire_tls_handshakes_total{kind=\"full\"}").await >= 4);
    let left = world.metric("tickwire_tls_certificate_expiry_seconds").await;
    assert!(left > 86_400, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_trusted_is_told_with_the_remedy() {
    let world = World::start(&[]).await;
    let error = world.builder().connect().await.err().expect("nobody vouches for the gateway");
    check(
        &error,
        &[&world.gateway.listen, "is not trusted: no known authority has signed it", "`Builder::ca_file`"],
    );
    let stranger = Authority::new("a stranger");
    let error = world.builder().ca_file(stranger.ca_file()).connect().await.err().unwrap();
    check(&error, &["is not trusted"]);
    let other = world.builder().ca_file(world.authority.ca_file()).server_name("elsewhere.example");
    check(&other.connect().await.err().unwrap(), &["and elsewhere.example was asked for"]);
    let missing = world.builder().ca_file("/nowhere/ca.pem").connect().await.err().unwrap();
    check(&missing, &["/nowhere/ca.pem cannot be read"]);
    assert!(!missing.may_retry());
    // Each of the two schemes at the other's port.
    let plain = Client::builder(format!("ws://{}", world.gateway.listen)).connect().await.err().unwrap();
    check(&plain, &["HTTP status 400", "speaks TLS: connect with wss://"]);
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let sealed = Client::builder(format!("wss://{}", gateway.listen)).ca_file(world.authority.ca_file());
    check(&sealed.connect().await.err().unwrap(), &["speaks no TLS; for a plain server write ws://"]);
    assert!(world.metric("tickwire_tls_handshake_failures_total").await >= 3);
    let tap = Command::new(TICKWIRE).args(["tap", "--url", &world.gateway.url(), "sim:*"]).output().unwrap();
    let told = String::from_utf8_lossy(&tap.stderr).into_owned();
    assert!(
        tap.status.code() == Some(1) && told.contains("is not trusted") && told.contains("--ca-file"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_where_they_have_to() {
    let clients = Authority::new("the authority of clients");
    let ca = text(&clients.ca_file());
    let required =
        ["--set", &format!("gateway.tls.client_ca_file={ca}"), "--set", "gateway.tls.client_auth=required"];
    let world = World::start(&required).await;
    let trusting = || world.builder().ca_file(world.authority.ca_file());
    check(&trusting().connect().await.err().unwrap(), &["asks for a certificate of its clients"]);
    let known = clients.sign("known");
    let mut client = trusting().client_certificate(&known.cert, &known.key).connect().await.unwrap();
    records(&mut client, 20).await;
    let unknown = Authority::new("a stranger").sign("unknown");
    let refused = trusting().client_certificate(&unknown.cert, &unknown.key).connect().await;
    assert!(
        matches!(refused, Err(ConnectError::Tls { .. } | ConnectError::TlsSetup { .. })),
        "{:?}",
        refused.err()
    );
    let swapped = trusting().client_certificate(&known.cert, &unknown.key).connect().await.err();
    assert!(matches!(swapped, Some(ConnectError::TlsSetup { .. })), "{swapped:?}");
}

/// Puts a link in place of another one in a single step, as orchestrators do.
fn point(link: &Path, at: &Path) {
    let next = link.parent().unwrap().join("..next");
    std::os::unix::fs::symlink(at, &next).unwrap();
    std::fs::rename(&next, link).unwrap();
}

/// Puts a certificate and its key into a folder, as a secret is mounted.
fn mount(folder: &Path, certified: &Certified) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(&certified.cert, folder.join("tls.crt")).unwrap();
    std::fs::copy(&certified.key, folder.join("tls.key")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_takes_over_and_sessions_go_on() {
    let (first, second) = (Authority::new("the first"), Authority::new("the second"));
    let secret = tempfile::tempdir().unwrap();
    let (data, old, new) =
        (secret.path().join("..data"), secret.path().join("..1"), secret.path().join("..2"));
    mount(&old, &first.sign("gateway"));
    mount(&new, &second.sign("gateway"));
    std::os::unix::fs::symlink(&old, &data).unwrap();
    let certified = Certified { cert: data.join("tls.crt"), key: data.join("tls.key") };
    let world = World::with(first, &certified, &[]).await;
    let trusting = |authority: &Authority| world.builder().ca_file(authority.ca_file());
    let mut client = trusting(&world.authority).connect().await.unwrap();
    records(&mut client, 20).await;

    // What cannot be used is told, and changes nothing.
    let bad = secret.path().join("..bad");
    mount(&bad, &second.sign_for("expired", Validity::Past));
    point(&data, &bad);
    told(&world, "expired at 2002-01-01").await;
    std::fs::copy(second.sign("another").key, bad.join("tls.key")).unwrap();
    std::fs::copy(old.join("tls.crt"), bad.join("tls.crt")).unwrap();
    told(&world, "is not the key of the first certificate").await;
    std::fs::write(bad.join("tls.crt"), "no certificate").unwrap();
    told(&world, "holds no certificate").await;
    std::fs::remove_file(bad.join("tls.key")).unwrap();
    told(&world, "cannot be read").await;
    assert!(world.metric("tickwire_tls_reload_failures_total").await >= 4);
    assert_eq!(world.metric("tickwire_tls_reloads_total").await, 0);
    trusting(&world.authority).connect().await.unwrap();

    point(&data, &new);
    let is_new = || async { trusting(&second).connect().await.is_ok() };
    assert!(until(is_new).await, "{}", world.gateway.program.output());
    assert!(trusting(&world.authority).connect().await.is_err(), "the old certificate is shown to nobody");
    assert_eq!(world.metric("tickwire_tls_reloads_total").await, 1);
    let (status, body) = world.gateway.get("/readyz").await.unwrap();
    assert!(status == 200 && body.contains(r#""reload_error":null"#), "{body}");
    // The session from before has the same connection still.
    records(&mut client, 200).await;
}

async fn told(world: &World, part: &str) {
    let is_told = || async {
        let (status, body) = world.gateway.get("/readyz").await.unwrap();
        status == 200 && body.contains("reload_error") && body.contains(part)
    };
    assert!(until(is_told).await, "{part} is not told: {:?}", world.gateway.get("/readyz").await);
}

/// A client that comes back does not pay for a whole handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_client_resumes_its_tls_session() {
    let world = World::start(&[]).await;
    let cut = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::new(AtomicU64::new(0));
    let (cuts, opens) = (Arc::clone(&cut), Arc::clone(&opened));
    let builder = world.builder().ca_file(world.authority.ca_file()).connector(move |target| {
        let (cut, opened) = (Arc::clone(&cuts), Arc::clone(&opens));
        async move {
            let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
            let (near, mut far) = tokio::io::duplex(64 << 10);
            opened.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::select! {
                    () = cut.notified() => {}
                    _ = tokio::io::copy_bidirectional(&mut stream, &mut far) => {}
                }
            });
            Ok(Box::new(near) as BoxTransport)
        }
    });
    let mut client = builder.connect().await.unwrap();
    records(&mut client, 20).await;
    cut.notify_one();
    let mut is_back = false;
    while !is_back {
        let batch = client.next().await.expect("it comes back");
        is_back = batch.into_iter().any(|event| matches!(event, Event::State(State::Connected { .. })))
            && opened.load(Ordering::Relaxed) > 1;
    }
    records(&mut client, 20).await;
    assert_eq!(world.metric("tickwire_tls_handshakes_total{kind=\"full\"}").await, 1);
    assert_eq!(world.metric("tickwire_tls_handshakes_total{kind=\"resumed\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_speaks_tls_where_it_is_told_to() {
    let authority = Authority::new("the authority");
    let certified = authority.sign("gateway");
    let (cert, key) = (text(&certified.cert), text(&certified.key));
    let nats = nats();
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--set", "gateway.tls.admin=true"];
    let listen =
        ["gateway", "--bus", &nats.url(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let program = Program::start(TICKWIRE, &[&listen[..], &["--anonymous"], &tls].concat());
    let line = program.line_with("admin: https://");
    let address = line.split("//").nth(1).unwrap().split('/').next().unwrap();
    let (status, body) = crate::world::get(address, "/healthz").await.unwrap();
    assert!(status == 400 && body.contains("speaks TLS"), "{status} {body}");
    let url = format!("https://{address}/healthz");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--cacert"]).arg(authority.ca_file()).arg(&url);
    let output = curl.output().expect("curl is there");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ok\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Connections that never finish a handshake go when their time is over, and keep nobody else out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_has_the_deadline_of_a_request() {
    let world = World::start(&["--set", "gateway.handshake_ms=300"]).await;
    let mut silent = TcpStream::connect(&world.gateway.listen).await.unwrap();
    let mut half = TcpStream::connect(&world.gateway.listen).await.unwrap();
    // The beginning of a record that says it is longer.
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let mut client = world.builder().ca_file(world.authority.ca_file()).connect().await.unwrap();
    records(&mut client, 20).await;
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the gateway keeps a connection without a handshake");
    }
    records(&mut client, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_python_client_connects_with_wss() {
    let world = World::start(&[]).await;
    let root = root();
    let python =
        std::env::var("TICKWIRE_PYTHON").map_or_else(|_| root.join(".cache/venv/bin/python"), Into::into);
    assert!(python.is_file(), "{} is not there: run scripts/setup-tests.sh", python.display());
    let mut probe = Command::new(&python);
    probe.arg(root.join("tests/python/tickwire_probe.py")).args([&world.gateway.url(), "--seconds", "3"]);
    probe.args(["--channels", "quote", "trade", "book"]).env("SSL_CERT_FILE", world.authority.ca_file());
    let output = tokio::task::spawn_blocking(move || probe.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_address_for_everybody_needs_tls() {
    let run = |more: &[&str]| {
        let listen = [
            "gateway",
            "--anonymous",
            "--listen",
            "0.0.0.0:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--bus",
            "nats://127.0.0.1:1",
        ];
        let mut program = Program::start(TICKWIRE, &[&listen[..], more].concat());
        if more.contains(&"--insecure") {
            program.line_with("stream: ws://0.0.0.0:");
            program.kill();
            return (None, program.output());
        }
        (program.ended().code(), program.output())
    };
    let (status, told) = run(&[]);
    assert_eq!(status, Some(2), "{told}");
    for part in
        ["`gateway.listen`: 0.0.0.0:0 can be reached from elsewhere", "gateway.tls.cert_file", "--insecure"]
    {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    run(&["--insecure"]);
    let (status, told) = run(&["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"]);
    assert!(
        status == Some(2)
            && told.contains("--tls-cert: `gateway.tls.cert_file`: /nowhere/cert.pem cannot be read"),
        "{told}"
    );
}
