//! Revocations over a bus in memory, and how gateways that start later learn of them.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tickwire_auth::{
    ApiKeys, AuthSettings, Authenticator, Claims, Denied, Grant, Revocation, RevocationMessage, Rights,
    Tokens, Watcher, hash_of, key_of,
};
use tickwire_bus::{Backplane, MemoryBus, Subject};
use tickwire_client::wire::{Identity, Secret};
use tickwire_client::{Client, ConnectError, Disconnect, Event, State};
use tickwire_gateway::{Admission, Gateway, GatewayConfig, NoPages};

/// Verifies nothing: a token is `sub.jti.iat`.
#[derive(Debug)]
struct Trusting;

impl Tokens for Trusting {
    fn verify(&self, token: &str) -> Result<Claims, Denied> {
        let parts: Vec<_> = token.split('.').collect();
        Ok(Claims {
            subject: parts[0].to_owned(),
            id: Some(parts[1].to_owned()),
            issued: parts[2].parse().map_err(|_| Denied::Malformed)?,
            begins: None,
            ends: Some(now_s() as f64 + 600.0),
            rights: Some(Rights { grants: vec![Grant::default()], ..Rights::default() }),
            key: None,
        })
    }

    fn count(&self) -> usize {
        1
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn gateway(bus: &MemoryBus, file: Option<&Path>) -> Gateway {
    start(bus, file, Duration::from_secs(1)).await
}

async fn start(bus: &MemoryBus, file: Option<&Path>, revocations_wait: Duration) -> Gateway {
    let authenticator = Authenticator::new(AuthSettings::default()).with_tokens(Arc::new(Trusting));
    start_with(bus, file, revocations_wait, authenticator).await
}

async fn start_with(
    bus: &MemoryBus,
    file: Option<&Path>,
    revocations_wait: Duration,
    authenticator: Authenticator,
) -> Gateway {
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig {
        listen: free,
        admin_listen: free,
        drain_window: Duration::ZERO,
        shards: 2,
        revocations_file: file.map(Path::to_owned),
        revocations_wait,
        ..GatewayConfig::default()
    };
    let bus: Arc<dyn Backplane> = Arc::new(bus.clone());
    Gateway::start_with(config, Arc::new(authenticator), bus, Arc::new(NoPages)).await.unwrap()
}

async fn connect(gateway: &Gateway, token: &str) -> Result<Client, ConnectError> {
    let url = format!("ws://{}/v1/stream", gateway.listen_address());
    loop {
        match Client::builder(&url).token(Secret::new(token)).connect().await {
            // The hub of a gateway that just started looks at its bus first.
            Err(ConnectError::Status { status: 503, .. }) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}

fn revoke(bus: &MemoryBus, revocation: Revocation) {
    let message = RevocationMessage { revocations: vec![revocation], ..RevocationMessage::default() };
    bus.publish(&Subject::revocations(), Bytes::from(message.encode())).unwrap();
}

async fn is_revoked(client: Client) -> bool {
    let mut client = client;
    while client.next().await.is_some() {}
    matches!(client.end(), Some(Disconnect::Closed { code: Some(4504), .. }))
}

async fn is_refused(gateway: &Gateway, token: &str) -> bool {
    matches!(connect(gateway, token).await, Err(ConnectError::Status { status: 401, .. }))
}

#[tokio::test]
async fn a_revocation_reaches_all_gateways_and_those_that_start_later() {
    let bus = MemoryBus::default();
    let (first, second) = (gateway(&bus, None).await, gateway(&bus, None).await);
    let before = now_s() - 50;
    let old = [connect(&first, "desk.t1.0").await.unwrap(), connect(&second, "desk.t2.0").await.unwrap()];
    let rotated = connect(&first, &format!("desk.t3.{}", before + 1)).await.unwrap();
    let other = connect(&second, "other.t4.0").await.unwrap();
    revoke(&bus, Revocation::Subject { sub: "desk".to_owned(), not_before: before });
    for client in old {
        assert!(is_revoked(client).await);
    }
    assert!(is_refused(&first, "desk.t1.0").await && is_refused(&second, "desk.t9.0").await);
    assert!(connect(&second, &format!("desk.t3.{before}")).await.is_ok(), "a rotation kicks nobody");
    // Before it knows what the others know, it takes nobody.
    let third = gateway(&bus, None).await;
    assert!(is_refused(&third, "desk.t1.0").await);
    revoke(&bus, Revocation::Token { jti: "t3".to_owned(), at: now_s() });
    assert!(is_revoked(rotated).await);
    assert!(other.is_connected());
    // Nonsense on the subject harms nobody.
    bus.publish(&Subject::revocations(), Bytes::from_static(b"{")).unwrap();
    revoke(&bus, Revocation::Token { jti: "t4".to_owned(), at: now_s() });
    assert!(is_revoked(other).await);
    for gateway in [first, second, third] {
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_file_keeps_revocations_while_no_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations.json");
    let bus = MemoryBus::default();
    let first = gateway(&bus, Some(&file)).await;
    let client = connect(&first, "desk.t1.0").await.unwrap();
    revoke(&bus, Revocation::Token { jti: "t1".to_owned(), at: now_s() });
    assert!(is_revoked(client).await);
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.drain().await;
    // Another bus, on which nobody knows anything.
    let bus = MemoryBus::default();
    let second = gateway(&bus, Some(&file)).await;
    assert!(is_refused(&second, "desk.t1.0").await);
    assert!(connect(&second, "desk.t2.0").await.is_ok());
    second.drain().await;
    std::fs::write(&file, "nonsense").unwrap();
    let config = GatewayConfig {
        auth: AuthSettings::anonymous(),
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        revocations_file: Some(file),
        ..GatewayConfig::default()
    };
    let bus: Arc<dyn Backplane> = Arc::new(bus);
    let told = Gateway::start(config, bus, Arc::new(NoPages)).await.unwrap_err().to_string();
    assert!(told.contains("cannot read gateway.auth.revocations_file"), "{told}");
}

/// Returns the body of `/readyz`.
async fn readiness(gateway: &Gateway) -> serde_json::Value {
    let (_, body) = tickwire_net::http::get(&gateway.admin_address().to_string(), "/readyz").await.unwrap();
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_gateway_that_starts_takes_nobody_before_it_knows_what_was_revoked() {
    let bus = MemoryBus::default();
    let hour = Duration::from_hours(1);
    // Two that start at the same time tell each other nothing: each may lack what a third one knows.
    let (first, second) = (start(&bus, None, hour).await, start(&bus, None, hour).await);
    for gateway in [&first, &second] {
        let told = readiness(gateway).await;
        assert_eq!((&told["ready"], &told["revocations"]), (&false.into(), &"waiting".into()), "{told}");
        let url = format!("ws://{}/v1/stream", gateway.listen_address());
        let refused = Client::builder(url).token(Secret::new("desk.t1.0")).connect().await;
        assert!(matches!(refused, Err(ConnectError::Status { status: 503, .. })));
    }
    let whole = RevocationMessage {
        revocations: vec![Revocation::Token { jti: "t1".to_owned(), at: now_s() }],
        is_whole: true,
        ..RevocationMessage::default()
    };
    bus.publish(&Subject::revocations(), Bytes::from(whole.encode())).unwrap();
    // One that does not know when to stop waiting learns it from them.
    let third = start(&bus, None, hour).await;
    for gateway in [&first, &second, &third] {
        assert!(is_refused(gateway, "desk.t1.0").await);
        assert!(connect(gateway, "desk.t2.0").await.is_ok());
        assert_eq!(readiness(gateway).await["revocations"], "known");
    }
    // Where there is nobody, the wait is over at some time; and one that takes no tokens waits for nothing.
    let alone = start(&MemoryBus::default(), None, Duration::from_millis(20)).await;
    assert!(connect(&alone, "desk.t1.0").await.is_ok());
    let config = GatewayConfig {
        auth: AuthSettings::anonymous(),
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        revocations_wait: hour,
        ..GatewayConfig::default()
    };
    let bus: Arc<dyn Backplane> = Arc::new(bus);
    let open = Gateway::start(config, bus, Arc::new(NoPages)).await.unwrap();
    assert_eq!(readiness(&open).await["revocations"], "known");
    for gateway in [first, second, third, alone, open] {
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_revoked_api_key_stays_revoked_however_old_it_is_and_whoever_starts() {
    let keys = [11, 12, 13].map(|byte| key_of([byte; 32]));
    let hashes = keys.each_ref().map(|key| hash_of(key).unwrap());
    let authenticator = || {
        let entry = |(name, hash): (&str, &String)| {
            format!("[[key]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nissued = 1000\ngrants = [{{}}]\n")
        };
        let file: String = ["desk", "bot", "bot"].into_iter().zip(&hashes).map(entry).collect();
        Authenticator::new(AuthSettings::default()).with_api_keys(ApiKeys::parse(&file).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations.json");
    let (bus, second_long) = (MemoryBus::default(), Duration::from_secs(1));
    let first = start_with(&bus, Some(&file), second_long, authenticator()).await;
    let mut clients = Vec::new();
    for key in &keys {
        clients.push(connect(&first, key.expose()).await.unwrap());
    }
    let [stays, goes, owned] = [clients.pop(), clients.pop(), clients.pop()].map(Option::unwrap);
    // No token of then could count any more, but the keys have no end.
    let long_ago = 2_000;
    revoke(&bus, Revocation::Subject { sub: "desk".to_owned(), not_before: long_ago });
    revoke(&bus, Revocation::Token { jti: format!("twk_{}", &hashes[1][..16]), at: long_ago });
    assert!(is_revoked(owned).await && is_revoked(goes).await && stays.is_connected());
    let refused = async |gateway: &Gateway| {
        let mut refused = Vec::new();
        for key in &keys {
            refused.push(is_refused(gateway, key.expose()).await);
        }
        refused
    };
    // One that starts later learns it from the first, and one without these keys tells it on.
    let keyless = start(&bus, None, second_long).await;
    let second = start_with(&bus, None, second_long, authenticator()).await;
    assert_eq!(refused(&second).await, [true, true, false]);
    first.drain().await;
    second.drain().await;
    let third = start_with(&bus, None, second_long, authenticator()).await;
    assert_eq!(refused(&third).await, [true, true, false]);
    keyless.drain().await;
    third.drain().await;
    // All were away, and the file knows it.
    let again = start_with(&MemoryBus::default(), Some(&file), second_long, authenticator()).await;
    assert_eq!(refused(&again).await, [true, true, false]);
    again.drain().await;
}

/// Verifies as [`Trusting`] does, with a key that another one may be put in the place of.
#[derive(Debug, Default)]
struct Rotating {
    key: AtomicU64,
    watcher: OnceLock<Watcher>,
}

impl Tokens for Rotating {
    fn verify(&self, token: &str) -> Result<Claims, Denied> {
        Ok(Claims { key: Some(self.key.load(Ordering::SeqCst)), ..Trusting.verify(token)? })
    }

    fn has_key(&self, key: u64) -> bool {
        self.key.load(Ordering::SeqCst) == key
    }

    fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn count(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn sessions_end_with_the_key_that_their_tokens_were_verified_with() {
    let (bus, tokens, api_key) = (MemoryBus::default(), Arc::<Rotating>::default(), key_of([14; 32]));
    let hash = hash_of(&api_key).unwrap();
    let file = format!("[[key]]\nname = \"bot\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n");
    let authenticator = Authenticator::new(AuthSettings::default())
        .with_tokens(Arc::clone(&tokens) as Arc<dyn Tokens>)
        .with_api_keys(ApiKeys::parse(&file).unwrap());
    let gateway = start_with(&bus, None, Duration::from_secs(1), authenticator).await;
    let goes = connect(&gateway, "desk.t1.0").await.unwrap();
    let by_api_key = connect(&gateway, api_key.expose()).await.unwrap();
    // This one hands in a token of the next key in time.
    let mut renewed = connect(&gateway, "other.t2.0").await.unwrap();
    let handle = renewed.handle();
    let reading = tokio::spawn(async move {
        while renewed.next().await.is_some() {}
        renewed
    });
    tokens.key.store(1, Ordering::SeqCst);
    handle.token(Secret::new("other.t3.0")).await.unwrap();
    tokens.watcher.get().expect("the gateway watches").tell();
    assert!(is_revoked(goes).await);
    handle.ledger().await.expect("it goes on");
    assert!(by_api_key.is_connected() && !reading.is_finished());
    gateway.drain().await;
}

#[tokio::test]
async fn a_removed_api_key_ends_its_sessions_and_no_others() {
    let (kept, removed) = (key_of([1; 32]), key_of([2; 32]));
    let file = |keys: &[&Secret]| {
        let entry = |key: &&Secret| {
            let hash = hash_of(key).unwrap();
            format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n")
        };
        ApiKeys::parse(&keys.iter().map(entry).collect::<String>()).unwrap()
    };
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig { listen: free, admin_listen: free, shards: 2, ..GatewayConfig::default() };
    let authenticator = Authenticator::new(AuthSettings::default()).with_tokens(Arc::new(Trusting));
    let authenticator = Arc::new(authenticator.with_api_keys(file(&[&kept, &removed])));
    let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
    let gateway =
        Gateway::start_with(config, Arc::clone(&authenticator), bus, Arc::new(NoPages)).await.unwrap();
    // All have the same name, and one has a token whose id looks like that of a key.
    let stays = connect(&gateway, kept.expose()).await.unwrap();
    let goes = connect(&gateway, removed.expose()).await.unwrap();
    let by_token = connect(&gateway, "desk.twk_0011223344556677.0").await.unwrap();
    // Nothing changes for those whose keys are still there.
    authenticator.set_api_keys(file(&[&removed, &kept]));
    let again = connect(&gateway, removed.expose()).await.unwrap();
    authenticator.set_api_keys(file(&[&kept]));
    assert!(is_revoked(goes).await && is_revoked(again).await);
    assert!(is_refused(&gateway, removed.expose()).await);
    // One that is given back lets in again: it was taken away, not revoked.
    authenticator.set_api_keys(file(&[&kept, &removed]));
    assert!(connect(&gateway, removed.expose()).await.is_ok());
    assert!(stays.is_connected() && by_token.is_connected());
    gateway.drain().await;
}

/// Reads until a session is told what it may see from now on.
async fn told(client: &mut Client) -> Identity {
    loop {
        for event in client.next().await.expect("it goes on") {
            if let Event::Identity(identity) = event {
                return identity;
            }
        }
    }
}

#[tokio::test]
async fn what_an_api_key_grants_now_counts_for_its_open_sessions() {
    let key = key_of([3; 32]);
    let file = |name: &str, subscriptions: u32| {
        let hash = hash_of(&key).unwrap();
        let text = format!(
            "[[key]]\nname = \"{name}\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\nsubscriptions = {subscriptions}\n"
        );
        ApiKeys::parse(&text).unwrap()
    };
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig { listen: free, admin_listen: free, shards: 2, ..GatewayConfig::default() };
    let authenticator = Authenticator::new(AuthSettings::default()).with_api_keys(file("desk", 5));
    let authenticator = Arc::new(authenticator);
    let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
    let gateway =
        Gateway::start_with(config, Arc::clone(&authenticator), bus, Arc::new(NoPages)).await.unwrap();
    let mut clients =
        [connect(&gateway, key.expose()).await.unwrap(), connect(&gateway, key.expose()).await.unwrap()];
    // Nothing is told where nothing changes: the next that each hears of is the change after that.
    authenticator.set_api_keys(file("desk", 5));
    authenticator.set_api_keys(file("desk", 7));
    for client in &mut clients {
        let Identity { id, name, limits, .. } = told(client).await;
        assert_eq!((id, name.as_str(), limits.unwrap().subscriptions), (0, "desk", 7));
    }
    authenticator.set_api_keys(file("desk", 3));
    for client in &mut clients {
        assert_eq!(told(client).await.limits.unwrap().subscriptions, 3, "less, too");
    }
    // With another name it is another session: it ends, and the key opens the next.
    authenticator.set_api_keys(file("other", 3));
    for client in &mut clients {
        let mut was_ended = false;
        while !(was_ended && client.is_connected()) {
            for event in client.next().await.expect("it comes back") {
                was_ended |= matches!(event, Event::State(State::Disconnected { .. }));
            }
        }
        assert_eq!(client.counters().connects, 2);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn sessions_of_a_user_are_limited_by_the_gateway_too() {
    let free = ([127, 0, 0, 1], 0).into();
    let admission = Admission { user_sessions: 2, ..Admission::default() };
    let config = GatewayConfig { listen: free, admin_listen: free, admission, ..GatewayConfig::default() };
    let authenticator = Authenticator::new(AuthSettings::default()).with_tokens(Arc::new(Trusting));
    let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
    let gateway = Gateway::start_with(config, Arc::new(authenticator), bus, Arc::new(NoPages)).await.unwrap();
    let first = connect(&gateway, "desk.t1.0").await.unwrap();
    let _second = connect(&gateway, "desk.t2.0").await.unwrap();
    let Err(ConnectError::Status { status, body, .. }) = connect(&gateway, "desk.t3.0").await else {
        panic!("it was let in");
    };
    assert_eq!((status, body.contains("may have 2 sessions")), (429, true), "{body}");
    let mut other = connect(&gateway, "other.t4.0").await.unwrap();
    // A token of somebody else is refused within a session, and counted as one at the handshake is.
    let handle = other.handle();
    let reading = tokio::spawn(async move { while other.next().await.is_some() {} });
    assert!(handle.token(Secret::new("desk.t5.0")).await.is_err());
    reading.abort();
    let (_, metrics) =
        tickwire_net::http::get(&gateway.admin_address().to_string(), "/metrics").await.unwrap();
    assert!(metrics.contains("tickwire_handshakes_refused_total{reason=\"user_full\"} 1\n"), "{metrics}");
    assert!(metrics.contains("tickwire_auth_refused_total{reason=\"subject\"} 1\n"), "{metrics}");
    first.close().await;
    while connect(&gateway, "desk.t3.0").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.drain().await;
}
