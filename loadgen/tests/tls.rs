//! TLS and tokens: the gateway of a run speaks TLS itself; or a proxy ends it in front of that, and looks at the handshakes.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::NamedTempFile;
use tickwire_testkit::{Authority, Certified};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

/// Runs until it is dropped.
struct Proxy {
    address: SocketAddr,
    /// It passes everything on to this address.
    gateway: SocketAddr,
    /// Its own authority, in PEM.
    certificate: NamedTempFile,
    handshakes: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

/// A proxy says this to handshakes.
#[derive(Clone, Copy)]
enum Manner {
    Pass,
    /// It refuses all of them, and repeats what it was told.
    Refuse,
}

impl Proxy {
    /// For a name; with TLS, or without.
    fn start(name: &str, has_tls: bool, manner: Manner) -> Self {
        Self::with(&CertificateParams::new([name.to_owned()]).unwrap(), has_tls, manner)
    }

    /// With such a certificate, which it signs itself.
    fn with(params: &CertificateParams, has_tls: bool, manner: Manner) -> Self {
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let certificate = NamedTempFile::new().unwrap();
        std::fs::write(&certificate, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = has_tls.then(|| TlsAcceptor::from(Arc::new(config)));
        let gateway = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&handshakes);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let _ = match acceptor {
                        Some(acceptor) => pass(acceptor.accept(client).await?, gateway, manner, &seen).await,
                        None => pass(client, gateway, manner, &seen).await,
                    };
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, gateway, certificate, handshakes, _runtime: runtime }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/v1/stream", self.address)
    }

    fn certificate(&self) -> String {
        format!("sessions.tls.ca={}", self.certificate.path().display())
    }

    fn handshakes(&self) -> Vec<String> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a short scenario with a gateway behind this proxy.
    fn run(&self, scheme: &str, arguments: &[&str]) -> Output {
        let listen = format!("gateway.listen={}", self.gateway);
        let always = ["run", "--json", "--allow-bottleneck", "--url", &self.url(scheme), "--set", &listen];
        let short = ["--for", "2s", "--sessions", "6", "--rate", "500", "--set", "source.symbols=20"];
        let waits = ["--set", "warm_up=200ms"];
        let command = [&always[..], &short, &waits, arguments].concat();
        Command::new(LOADGEN).args(command).output().expect("the generator starts")
    }

    #[track_caller]
    fn check_refused(&self, scheme: &str, arguments: &[&str], expected: &str) -> Output {
        let output = self.run(scheme, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{expected} is not in\n{said}");
        output
    }
}

async fn pass(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    gateway: SocketAddr,
    manner: Manner,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    if let Manner::Refuse = manner {
        let answer = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        client.write_all(answer.as_bytes()).await?;
        return client.flush().await;
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    let mut server = TcpStream::connect(gateway).await?;
    server.set_nodelay(true)?;
    server.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Runs a short scenario whose own gateway has a certificate.
fn run_sealed(certified: &Certified, arguments: &[&str]) -> Output {
    let set = |name: &str, path: &std::path::Path| format!("gateway.{name}={}", path.display());
    let (cert, key) = (set("tls.cert_file", &certified.cert), set("tls.key_file", &certified.key));
    let sealed = ["run", "--json", "--allow-bottleneck", "--set", &cert, "--set", &key];
    let short = ["--for", "2s", "--sessions", "6", "--rate", "500", "--set", "source.symbols=20"];
    let waits = ["--set", "warm_up=200ms"];
    let command = [&sealed[..], &short, &waits, arguments].concat();
    Command::new(LOADGEN).args(command).output().expect("the generator starts")
}

#[test]
fn the_own_gateway_speaks_tls() {
    let authority = Authority::new("the authority");
    let certified = authority.sign("gateway");
    let ca = format!("sessions.tls.ca={}", authority.ca_file().display());
    let readers = ["readers[0].kind=throttled", "readers[0].share=0.34", "readers[0].bytes_per_second=5000"];
    let readers = readers.iter().flat_map(|field| ["--set", field]);
    let arguments: Vec<_> = ["--set", &ca, "--channels", "quote,trade"].into_iter().chain(readers).collect();
    let report = passed(&run_sealed(&certified, &arguments));
    assert_eq!(report["scenario"]["is_unverified"], false);
    assert!(report["scenario"]["url"].as_str().unwrap().starts_with("wss://"), "{}", report["scenario"]);
    assert_eq!(
        (&report["sessions"]["opened"], &report["checks"]["final_values"]),
        (&6.into(), &(6 * 20).into())
    );
    let used = report["readers"][0]["used_share"].as_f64().unwrap();
    assert!(used < 1.5, "{used} of what its rate allows");

    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let stranger = run_sealed(&certified, &[]);
    assert!(
        told(&stranger).contains("is not trusted: no known authority has signed it"),
        "{}",
        told(&stranger)
    );
    let half = Command::new(LOADGEN).args(["run", "--set", "gateway.tls.cert_file=x.pem"]).output().unwrap();
    assert!(
        told(&half).contains("`gateway.tls.key_file`: is empty; it has to name the key"),
        "{}",
        told(&half)
    );
}

#[track_caller]
fn passed(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
    assert!(output.status.success(), "{}\n{:#}\n{stderr}", report["verdicts"], report["sessions"]);
    report
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn a_scenario_passes_through_tls() {
    let proxy = Proxy::start("127.0.0.1", true, Manner::Pass);
    let readers = ["readers[0].kind=throttled", "readers[0].share=0.34", "readers[0].bytes_per_second=5000"];
    let certificate = proxy.certificate();
    let readers = readers.iter().flat_map(|field| ["--set", field]);
    let arguments: Vec<_> =
        ["--set", &certificate, "--channels", "quote,trade"].into_iter().chain(readers).collect();
    let report = passed(&proxy.run("wss", &arguments));
    assert_eq!(report["scenario"]["url"], proxy.url("wss"));
    assert_eq!(report["scenario"]["is_unverified"], false);
    assert_eq!(
        (&report["sessions"]["opened"], &report["checks"]["final_values"]),
        (&6.into(), &(6 * 20).into())
    );
    let throttled = &report["readers"][0];
    assert_eq!((&throttled["kind"], &throttled["sessions"]), (&"throttled".into(), &2.into()));
    assert!(count(&throttled["age"]["count"]) > 0, "{throttled}");
    let used = throttled["used_share"].as_f64().unwrap();
    assert!(used < 1.5, "{used} of what its rate allows");
    // Its handshake alone has more than a kilobyte: with one read each 100 ms it needs several.
    let opening = &report["sessions"]["open"]["max_ns"];
    assert!(count(opening) >= 200_000_000, "a throttled reader opened within {opening} ns");
}

#[test]
fn several_processes_and_whole_messages_pass_through_tls() {
    let proxy = Proxy::start("localhost", true, Manner::Pass);
    let certificate = proxy.certificate();
    let name = "sessions.tls.server_name=localhost";
    let busy = ["--set", "source.rate=20000", "--processes", "2", "--set", "source.symbols=2000"];
    let arguments = [&["--set", &certificate, "--set", name][..], &busy].concat();
    let report = passed(&proxy.run("wss", &arguments));
    assert_eq!(report["checks"]["final_values"], 6 * 2000);
}

#[test]
fn who_is_not_trusted_is_named_with_the_remedy() {
    let proxy = Proxy::start("elsewhere.example", true, Manner::Pass);
    let host = proxy.address.to_string();
    let output = proxy.check_refused("wss", &[], &format!("the certificate of {host} is not trusted"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`sessions.tls.ca`"));
    let certificate = proxy.certificate();
    let expected = "it is for elsewhere.example, and 127.0.0.1 was asked for; `sessions.tls.server_name`";
    proxy.check_refused("wss", &["--set", &certificate], expected);
    let report = passed(&proxy.run("wss", &["--set", "sessions.tls.insecure=true"]));
    assert_eq!(report["scenario"]["is_unverified"], true);
}

#[test]
fn a_certificate_that_no_server_may_have_is_said_in_plain_words() {
    let params = || CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let mut authority = params();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut old = params();
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    for (params, expected) in [
        (authority, "it is an authority's own certificate (CA:TRUE)"),
        (old, "it expired at 2002-01-01T00:00:00Z; give the server a new one"),
    ] {
        let proxy = Proxy::with(&params, true, Manner::Pass);
        let output = proxy.check_refused("wss", &["--set", &proxy.certificate()], expected);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("CaUsed") && !said.contains("Other("), "{said}");
    }
}

#[test]
fn a_wrong_scheme_is_named() {
    Proxy::start("127.0.0.1", true, Manner::Pass).check_refused("ws", &[], "write wss://");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut &client, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Until the client is gone: a reset would take the response away.
            let _ = std::io::copy(&mut &client, &mut std::io::sink());
        }
    });
    let proxy = Proxy { address: plain, ..Proxy::start("127.0.0.1", false, Manner::Pass) };
    proxy.check_refused("wss", &[], "speaks no TLS; for a plain server write ws://");
}

/// Returns the tokens that the proxy saw, sorted.
fn seen(proxy: &Proxy, before: &str, after: &str) -> Vec<String> {
    let handshakes = proxy.handshakes();
    let found = handshakes.iter().map(|head| {
        let (_, rest) = head.split_once(before).unwrap_or_else(|| panic!("{before} is not in {head}"));
        rest.split_once(after).expect("it ends").0.to_owned()
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

#[test]
fn each_session_has_a_token_and_no_report_has() {
    let tokens = NamedTempFile::new().unwrap();
    std::fs::write(&tokens, "SECRET/1\nSECRET/2\nSECRET/3\nSECRET/4\n").unwrap();
    let file = format!("sessions.tokens_file={}", tokens.path().display());

    let proxy = Proxy::start("127.0.0.1", true, Manner::Pass);
    let certificate = proxy.certificate();
    let output = proxy.run("wss", &["--set", &certificate, "--set", &file]);
    let doubts = passed(&output)["generator"]["doubts"].to_string();
    assert!(doubts.contains("gateway of this run looks at no tokens"), "{doubts}");
    let expected = ["SECRET/1", "SECRET/1", "SECRET/2", "SECRET/2", "SECRET/3", "SECRET/4"];
    assert_eq!(seen(&proxy, "Authorization: Bearer ", "\r\n"), expected);
    check_secret(&output);

    // Browsers cannot set headers.
    let proxy = Proxy::start("127.0.0.1", false, Manner::Pass);
    let fields = ["sessions.token=SECRET/9", "sessions.token_in=query", "sessions.token_parameter=t"];
    let fields: Vec<_> = fields.iter().flat_map(|field| ["--set", field]).collect();
    let output = proxy.run("ws", &[&fields[..], &["--set", "sessions.window=16ms"]].concat());
    passed(&output);
    assert_eq!(seen(&proxy, "/v1/stream?window_ms=16&t=", " HTTP"), ["SECRET%2F9"; 6]);
    check_secret(&output);
}

/// Runs a short scenario with a gateway of its own, which has this API key.
fn run_with_key(arguments: &[&str]) -> Output {
    const HASH: &str = "9a98ada268c40af583e387dac7762494b7fdbac162bbe1ca1fe03c117b0a6255";
    let keys = NamedTempFile::new().unwrap();
    let entry = format!("[[key]]\nname = \"load\"\nsha256 = \"{HASH}\"\ngrants = [{{}}]\n");
    std::fs::write(&keys, entry).unwrap();
    let keys = format!("gateway.auth.api_keys_file={}", keys.path().display());
    let always = ["run", "--json", "--allow-bottleneck", "--set", &keys, "--set", "warm_up=200ms"];
    let short = ["--for", "2s", "--sessions", "6", "--rate", "500", "--set", "source.symbols=20"];
    Command::new(LOADGEN)
        .args([&always[..], &short, arguments].concat())
        .output()
        .expect("the generator starts")
}

#[test]
fn the_own_gateway_looks_at_tokens_where_keys_are_named() {
    let key = format!("sessions.token=twk_{}", "BwcH".repeat(10) + "Bwc");
    let output = run_with_key(&["--set", &key]);
    let report = passed(&output);
    assert!(!report["generator"]["doubts"].to_string().contains("tokens"), "{}", report["generator"]);
    for said in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(said).contains("BwcHBwcH"), "a part of the key is shown");
    }
    let query = ["--set", "sessions.token_in=query", "--set", "gateway.auth.token_in_url=true"];
    passed(&run_with_key(&[&["--set", &key], &query[..]].concat()));
    // Whoever shows nothing, or something else, does not come in.
    for arguments in [&[][..], &["--set", "sessions.token=SECRET/9"]] {
        let output = run_with_key(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("HTTP 401"), "{said}");
        check_secret(&output);
    }
    passed(&run_with_key(&["--set", "gateway.auth.anonymous=true"]));
}

#[test]
fn a_refused_token_is_named_by_its_status_alone() {
    let proxy = Proxy::start("127.0.0.1", false, Manner::Refuse);
    let fields = ["--set", "sessions.token=SECRET/9"];
    let output = proxy.check_refused("ws", &fields, "it refuses the handshake with HTTP 401");
    check_secret(&output);
    let output =
        proxy.check_refused("ws", &[&fields[..], &["--set", "sessions.token_in=query"]].concat(), "HTTP 401");
    check_secret(&output);
}

#[track_caller]
fn check_secret(output: &Output) {
    for said in [&output.stdout, &output.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains("SECRET"), "{said}");
    }
}
