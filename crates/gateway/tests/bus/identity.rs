//! Revocations over a bus in memory, and how gateways that start later learn of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tickwire_auth::{
    AuthSettings, Authenticator, Claims, Denied, Grant, Revocation, RevocationMessage, Rights, Tokens,
};
use tickwire_bus::{Backplane, MemoryBus, Subject};
use tickwire_client::wire::Secret;
use tickwire_client::{Client, ConnectError, Disconnect};
use tickwire_gateway::{Gateway, GatewayConfig, NoPages};

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
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig {
        listen: free,
        admin_listen: free,
        drain_window: Duration::ZERO,
        shards: 2,
        revocations_file: file.map(Path::to_owned),
        ..GatewayConfig::default()
    };
    let authenticator = Authenticator::new(AuthSettings::default()).with_tokens(Arc::new(Trusting));
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
    let message = RevocationMessage { revocations: vec![revocation], asks: false };
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

/// Waits until a gateway refuses a token: it learns of revocations by messages.
async fn refuses(gateway: &Gateway, token: &str) {
    while !is_refused(gateway, token).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
    let third = gateway(&bus, None).await;
    refuses(&third, "desk.t1.0").await;
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
