//! Tokens at a real gateway: who comes in, what each sees, how tokens are renewed, end and are revoked.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tickwire_auth::jwt::{MintClaims, Minter};
use tickwire_auth::{Rights, parse_grant};
use tickwire_client::wire::{Channel, Secret};
use tickwire_client::{Client, ConnectError, Disconnect, Event, State};

use crate::session::fed;
use crate::world::{Gateway, TICKWIRE, nats, until};

const QUOTE: [&str; 2] = ["sim:BTC-USD", "sim:ETH-USD"];

/// A folder with a secret that `tickwire token key` made.
pub(crate) struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        keys.tickwire(&["token", "key", "--secret", &keys.path("dev.secret")]);
        keys
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn tickwire(&self, arguments: &[&str]) -> String {
        let output = Command::new(TICKWIRE).args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes an API key by the command line, as people do. Returns it and its entry for the file.
    fn api_key(name: &str, grant: &str) -> (Secret, String) {
        let command = ["token", "key", "--api", name, "--grant", grant];
        let output = Command::new(TICKWIRE).args(command).output().unwrap();
        let (entry, told) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let key = told.lines().find(|line| line.starts_with("twk_")).expect("it is shown once");
        assert!(!entry.contains(key), "the file has its hash only");
        (Secret::new(key), entry)
    }

    /// Makes a token by the command line.
    pub(crate) fn token(&self, sub: &str, grant: &str) -> Secret {
        let key = self.path("dev.secret");
        Secret::new(self.tickwire(&[
            "token",
            "--key",
            &key,
            "--sub",
            sub,
            "--grant",
            grant,
            "--jti",
            &format!("id-of-{sub}"),
        ]))
    }

    /// Makes a token that ends after some seconds.
    fn short(&self, sub: &str, ttl_s: u64) -> Secret {
        mint(Path::new(&self.path("dev.secret")), sub, ttl_s)
    }

    pub(crate) async fn gateway(&self, bus: &str, more: &[&str]) -> Gateway {
        let keys = format!("gateway.auth.keys={}", self.path("dev.secret"));
        Gateway::start_closed(bus, &[&["--set", &keys], more].concat()).await
    }
}

fn mint(key: &Path, sub: &str, ttl_s: u64) -> Secret {
    let now = now_s();
    let rights = Rights { grants: vec![parse_grant("sim:*").unwrap()], ..Rights::default() };
    let claims = MintClaims {
        sub: sub.to_owned(),
        iat: now,
        exp: Some(now + ttl_s),
        tickwire: Some(rights),
        ..MintClaims::default()
    };
    Minter::parse(None, &std::fs::read(key).unwrap()).unwrap().mint(&claims).unwrap()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Reads until the client ends; returns why.
pub(crate) async fn end(mut client: Client) -> Disconnect {
    while client.next().await.is_some() {}
    client.end().cloned().unwrap()
}

fn status(error: &ConnectError) -> Option<(u16, &str)> {
    if let ConnectError::Status { status, body, .. } = error { Some((*status, body)) } else { None }
}

async fn refused(builder: tickwire_client::Builder) -> (u16, String) {
    match builder.connect().await {
        Ok(_) => panic!("it was let in"),
        Err(error) => status(&error).map(|(status, body)| (status, body.to_owned())).expect("a status"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_and_grants() {
    let (nats, keys) = (nats(), Keys::new());
    let gateway = keys.gateway(&nats.url(), &[]).await;
    let _ingester = fed(&nats, &gateway).await;
    let builder = || Client::builder(gateway.url());
    assert_eq!(refused(builder()).await.0, 401);
    let (status, body) = refused(builder().token(Secret::new("a.b.c"))).await;
    assert_eq!((status, body.as_str()), (401, "what was shown is neither a JSON Web Token nor an API key"));

    let mut client = builder()
        .token(keys.token("desk", "sim:BTC* quote"))
        .subscribe(Channel::Quote, QUOTE)
        .connect()
        .await
        .unwrap();
    assert!(client.hello().unwrap().token_expires > 0);
    let (mut granted, mut not_entitled, mut quotes) = (Vec::new(), Vec::new(), 0);
    while quotes < 20 {
        for event in client.next().await.expect("it goes on") {
            match event {
                Event::Subscribed(outcome) => {
                    granted.extend(outcome.granted.into_iter().map(|one| one.symbol));
                    not_entitled.extend(outcome.refused.into_iter().map(|one| (one.symbol, one.code)));
                }
                Event::Record(update) => {
                    assert_eq!(update.scale.symbol, "sim:BTC-USD");
                    quotes += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(granted, ["sim:BTC-USD"]);
    assert_eq!(not_entitled, [("sim:ETH-USD".to_owned(), "not_entitled".to_owned())]);
    let (_, sessions) = gateway.get("/v1/sessions").await.unwrap();
    assert!(sessions.contains(r#""principal":"desk""#), "{sessions}");
    let (_, metrics) = gateway.get("/metrics").await.unwrap();
    for series in
        [r#"auth_refused_total{reason="missing"} 1"#, r#"handshakes_refused_total{reason="unauthorized"} 2"#]
    {
        assert!(metrics.contains(&format!("tickwire_{series}\n")), "{series}: {metrics}");
    }

    // By the first message: the same token lets in, and a wrong one is refused in the same words.
    let by_message = |token: Secret| builder().token(token).token_by_message();
    let mut client = by_message(keys.token("first", "sim:BTC* quote")).connect().await.unwrap();
    while client.identity().is_none() {
        client.next().await.expect("it goes on");
    }
    let identity = client.identity().unwrap();
    assert!(identity.name == "first" && identity.token_expires > 0, "{identity:?}");
    let error = by_message(Secret::new("a.b.c")).connect().await.err().expect("it is refused");
    let ConnectError::Closed { code: Some(4503), text, .. } = &error else { panic!("{error:?}") };
    assert_eq!(text, "what was shown is neither a JSON Web Token nor an API key");

    // An API key, by the file that the command line writes.
    let (other, other_entry) = Keys::api_key("other", "sim:BTC* quote,trade delay=5m");
    let (key, entry) = Keys::api_key("bot", "sim:*");
    let file = keys.path("api.toml");
    let entry = entry.replacen("[[key]]\n", "[[key]]\nsessions = 1\n", 1);
    std::fs::write(&file, format!("{other_entry}{entry}")).unwrap();
    let set = format!("gateway.auth.api_keys_file={file}");
    let second = Gateway::start_closed(&nats.url(), &["--set", &set]).await;
    let builder = || Client::builder(second.url());
    assert!(builder().token(other).connect().await.is_ok());
    let first = builder().token(key.clone()).connect().await.unwrap();
    assert_eq!(refused(builder().token(key.clone())).await.0, 429, "it may have one session");
    assert_eq!(
        refused(builder().token(keys.token("desk", "*"))).await.1,
        "this gateway has no keys for tokens; ask its operator for an API key"
    );
    first.close().await;
    let freed = until(|| async { builder().token(key.clone()).connect().await.is_ok() }).await;
    assert!(freed, "its place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_its_tokens_when_they_are_renewed() {
    let (nats, keys) = (nats(), Keys::new());
    let more = ["--set", "gateway.auth.leeway_s=0", "--set", "gateway.auth.grace_s=2"];
    let gateway = keys.gateway(&nats.url(), &more).await;
    let _ingester = fed(&nats, &gateway).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, key) = (Arc::clone(&asked), keys.path("dev.secret"));
    let mut client = Client::builder(gateway.url())
        .token_provider(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let token = mint(Path::new(&key), "desk", 4);
            async move { Ok(token) }
        })
        .subscribe(Channel::Trade, ["sim:BTC-USD"])
        .connect()
        .await
        .unwrap();
    while asked.load(Ordering::SeqCst) < 5 {
        for event in client.next().await.expect("it goes on") {
            assert!(!matches!(event, Event::State(State::Disconnected { .. }) | Event::Gap(_)), "{event:?}");
        }
    }
    assert_eq!(client.counters().connects, 1);

    // One that is not renewed ends its session, and is then not tried for ever.
    let client = Client::builder(gateway.url()).token(keys.short("desk", 2)).connect().await.unwrap();
    let Disconnect::Connect(error) = end(client).await else { panic!() };
    let (status, body) = status(&error).unwrap();
    assert!(status == 401 && body.contains("the token ended"), "{status} {body}");
    let (_, metrics) = gateway.get("/metrics").await.unwrap();
    assert!(metrics.contains(r#"tickwire_sessions_closed_total{code="token_expired"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_its_sessions_everywhere_and_does_not_come_back() {
    let (nats, keys) = (nats(), Keys::new());
    let first = keys.gateway(&nats.url(), &[]).await;
    let second = keys.gateway(&nats.url(), &[]).await;
    let connect =
        |gateway: &Gateway, token: &Secret| Client::builder(gateway.url()).token(token.clone()).connect();
    let token = keys.token("desk", "*");
    let other = keys.token("other", "*");
    let sessions = [connect(&first, &token).await.unwrap(), connect(&second, &token).await.unwrap()];
    let rest = connect(&first, &other).await.unwrap();
    // A rotation: what was issued before a time that is over. It kicks nobody who has a newer token.
    let before = (now_s() - 100).to_string();
    keys.tickwire(&["revoke", "--bus", &nats.url(), "--sub", "desk", "--not-before", &before]);
    keys.tickwire(&["revoke", "--bus", &nats.url(), "--jti", "id-of-desk"]);
    for client in sessions {
        let reason = end(client).await;
        assert!(matches!(reason, Disconnect::Closed { code: Some(4504), .. }), "{reason}");
    }
    assert!(rest.is_connected());
    assert_eq!(
        refused(Client::builder(first.url()).token(token.clone())).await,
        (401, "the token was revoked; sign in again".to_owned())
    );
    // A gateway that starts later knows it from the others before it takes anybody.
    let third = keys.gateway(&nats.url(), &[]).await;
    let (_, metrics) = third.get("/metrics").await.unwrap();
    assert!(metrics.contains("tickwire_revocations_kept 2\n"), "{metrics}");
    assert_eq!(refused(Client::builder(third.url()).token(token)).await.0, 401);
    // All tokens of a subject, until now.
    keys.tickwire(&["revoke", "--bus", &nats.url(), "--sub", "other"]);
    let reason = end(rest).await;
    assert!(matches!(reason, Disconnect::Closed { code: Some(4504), .. }), "{reason}");
    assert_eq!(refused(Client::builder(third.url()).token(other)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_nobody_could_enter_does_not_start() {
    let nats = nats();
    let run = |more: &[&str]| {
        let bus = nats.url();
        let mut arguments =
            vec!["gateway", "--bus", &bus, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        arguments.extend_from_slice(more);
        let output = Command::new(TICKWIRE).args(&arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run(&[]);
    assert!(
        code == Some(1) && told.contains("nobody could come in") && told.contains("--anonymous"),
        "{told}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let keys = format!("gateway.auth.keys={},/nonexistent.pem", file("short", "short"));
    let api =
        format!("gateway.auth.api_keys_file={}", file("api", "[[key]]\nname = \"a\"\nsha256 = \"1\"\n"));
    let (code, told) = run(&[
        "--set",
        &keys,
        "--set",
        &api,
        "--set",
        "gateway.auth.jwks_url=http://id.example/",
        "--set",
        "gateway.auth.anonymous_grants=sim",
    ]);
    assert_eq!(code, Some(2), "{told}");
    for part in [
        "`gateway.auth.keys[0]`: ",
        "has 5 bytes, and a secret for HS256 has to have 32 at least",
        "`gateway.auth.keys[1]`: /nonexistent.pem: No such file",
        "`gateway.auth.api_keys_file`: ",
        "`grants` is missing",
        "`sha256` has to be 64 hexadecimal digits",
        "`gateway.auth.jwks_url`: is http:// of another machine",
        "`gateway.auth.anonymous_grants[0]`: `sim` has no colon",
    ] {
        assert!(told.contains(part), "missing: {part}\nin: {told}");
    }
}
