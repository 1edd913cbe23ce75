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

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |chunk: &[u8]| {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        (0..=chunk.len())
            .map(move |at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Makes a JWT as NATS wants it, for `subject`, signed by `issuer`.
fn jwt(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: &str) -> String {
    let head = base64url(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let (iss, sub) = (issuer.public_key(), subject.public_key());
    let claims = format!(
        r#"{{"jti":"test","iat":1700000000,"iss":"{iss}","sub":"{sub}","name":"test","nats":{{{nats},"version":2}}}}"#
    );
    let signed = format!("{head}.{}", base64url(claims.as_bytes()));
    let signature = base64url(&issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn credentials_file() {
    let operator = nkeys::KeyPair::new_operator();
    let account = nkeys::KeyPair::new_account();
    let user = nkeys::KeyPair::new_user();
    let unlimited = r#""limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"conn":-1,"leaf":-1,"wildcards":true}"#;
    let server = server(&format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        jwt(&operator, &operator, r#""type":"operator""#),
        account.public_key(),
        jwt(&operator, &account, &format!(r#""type":"account",{unlimited}"#)),
    ));
    let credentials = |name: &str, seed: &nkeys::KeyPair| {
        let jwt = jwt(&account, &user, r#""type":"user","subs":-1,"data":-1,"payload":-1"#);
        let seed = seed.seed().unwrap();
        let path = server.dir().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    works(NatsConfig { credentials_file: credentials("good", &user), ..nats_config(&server) }).await;
    let stolen = credentials("bad", &nkeys::KeyPair::new_user());
    fails_with(NatsConfig { credentials_file: stolen, ..nats_config(&server) }, "authorization violation")
        .await;
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
