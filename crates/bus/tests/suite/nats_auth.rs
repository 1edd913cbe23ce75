//! Signing in and TLS.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tickwire_bus::{BusState, InboxLimits, NatsConfig, Secret, TlsConfig};
use tickwire_testkit::{NatsServer, NatsServerConfig};

use crate::fixture::{PATIENCE, connect, data, messages, nats_config, take, up, wait_state};

fn server(text: &str) -> NatsServer {
    NatsServer::start(NatsServerConfig { text: text.to_owned(), ..Default::default() })
}

async fn works(config: NatsConfig) {
    let bus = connect(&config);
    up(bus.as_ref()).await;
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    bus.publish(&data("A"), Bytes::from("x")).unwrap();
    assert_eq!(messages(&take(&mut inbox, 1).await), [(1, b"x".as_slice())]);
    bus.close().await;
}

async fn fails_with(config: NatsConfig, text: &str) {
    let bus = connect(&config);
    let state = wait_state(bus.as_ref(), |state| matches!(state, BusState::Down { .. })).await;
    let BusState::Down { reason } = state else { unreachable!() };
    assert!(reason.contains(text), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

const USERS: &str = "authorization { user: tick, password: \"hun ter@2\" }";

#[tokio::test]
async fn user_and_password_in_fields_or_in_the_address() {
    let server = server(USERS);
    let password = Some(Secret::new("hun ter@2"));
    works(NatsConfig { user: Some("tick".into()), password, ..nats_config(&server) }).await;
    let address = format!("nats://tick:hun%20ter%402@127.0.0.1:{}", server.port());
    works(NatsConfig { servers: vec![address], ..nats_config(&server) }).await;
}

#[tokio::test]
async fn wrong_credentials_are_told_and_tried_again() {
    let mut server = server(USERS);
    let address = format!("nats://tick:hunter2@127.0.0.1:{}", server.port());
    let config = NatsConfig { servers: vec![address], ..nats_config(&server) };
    fails_with(config.clone(), "authorization violation: check user and password").await;
    fails_with(nats_config(&server), "authorization violation").await;
    let bus = connect(&config);
    wait_state(bus.as_ref(), |state| matches!(state, BusState::Down { .. })).await;
    server.set_config("authorization { user: tick, password: hunter2 }");
    server.restart();
    up(bus.as_ref()).await;
}

#[tokio::test]
async fn token() {
    let server = server("authorization { token: hunter2 }");
    works(NatsConfig { token: Some(Secret::new("hunter2")), ..nats_config(&server) }).await;
    fails_with(NatsConfig { token: Some(Secret::new("other")), ..nats_config(&server) }, "authorization")
        .await;
}

#[tokio::test]
async fn nkey() {
    let user = nkeys::KeyPair::new_user();
    let server = server(&format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key()));
    let seed_of = |name: &str, pair: &nkeys::KeyPair| {
        let path = server.dir().join(name);
        std::fs::write(&path, format!("{}\n", pair.seed().unwrap())).unwrap();
        Some(path)
    };
    works(NatsConfig { nkey_seed_file: seed_of("good", &user), ..nats_config(&server) }).await;
    let stranger = nkeys::KeyPair::new_user();
    let config = NatsConfig { nkey_seed_file: seed_of("bad", &stranger), ..nats_config(&server) };
    fails_with(config, "authorization violation").await;
}

/// The permissions that the documentation asks for are enough.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let server = server(
        "authorization { user: tick, password: x, default_permissions: {
            publish: [\"tw.>\", \"_INBOX.>\"], subscribe: [\"tw.>\", \"_INBOX.>\"] } }",
    );
    let config =
        NatsConfig { user: Some("tick".into()), password: Some(Secret::new("x")), ..nats_config(&server) };
    let bus = connect(&config);
    up(bus.as_ref()).await;
    bus.flush(PATIENCE).await.unwrap();
    works(config).await;
}

struct Certificates {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

fn certificates(dir: &Path) -> Certificates {
    std::fs::create_dir_all(dir).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Certificates {
        ca: write("ca.pem", ca.pem()),
        cert: write("cert.pem", cert.pem()),
        key: write("key.pem", key.serialize_pem()),
    }
}

#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let ours = certificates(&dir.path().join("ours"));
    let strange = certificates(&dir.path().join("strange"));
    let server = server(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        ours.cert, ours.key, ours.ca
    ));
    let tls = |ca: &Certificates, own: Option<&Certificates>| TlsConfig {
        ca_file: Some(ca.ca.clone()),
        cert_file: own.map(|own| own.cert.clone()),
        key_file: own.map(|own| own.key.clone()),
        required: true,
    };
    works(NatsConfig { tls: tls(&ours, Some(&ours)), ..nats_config(&server) }).await;
    let servers = vec![format!("tls://127.0.0.1:{}", server.port())];
    works(NatsConfig { servers, tls: tls(&ours, Some(&ours)), ..nats_config(&server) }).await;
    let unknown_server = NatsConfig { tls: tls(&strange, Some(&ours)), ..nats_config(&server) };
    fails_with(unknown_server, "check tls.ca_file").await;
    let no_certificate = NatsConfig { tls: tls(&ours, None), ..nats_config(&server) };
    fails_with(no_certificate, "127.0.0.1").await;
}

#[tokio::test]
async fn required_tls_refuses_a_plain_server() {
    let server = server("");
    let tls = TlsConfig { required: true, ..TlsConfig::default() };
    fails_with(NatsConfig { tls, ..nats_config(&server) }, "127.0.0.1").await;
}
