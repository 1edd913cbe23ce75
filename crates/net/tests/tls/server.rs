//! The server's side: what is read, held and ended over readiness, and files that change.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConnection, SupportedProtocolVersion};
use tickwire_net::tls::{
    ClientAuth, Received, Reload, Secured, ServerFiles, ServerTls, ServerTlsError, WhichFile,
};
use tickwire_testkit::{Authority, Certified, Validity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{PIPE_BYTES, Socket};

fn files(certified: &Certified) -> ServerFiles {
    ServerFiles { cert: certified.cert.clone(), key: certified.key.clone(), ..ServerFiles::default() }
}

/// Connects a client that speaks this version, over a pipe that holds so many bytes.
async fn connected(
    authority: &Authority,
    server: &ServerTls,
    version: &'static SupportedProtocolVersion,
    pipe_bytes: usize,
) -> (Secured<Socket>, TlsStream<DuplexStream>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(pipe_bytes);
    let mut ours = Secured::new(Socket(near), ServerConnection::new(server.config()).unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = tokio::spawn(TlsConnector::from(Arc::new(config)).connect(name, far));
    while ours.is_handshaking() {
        let received = ours.receive(&mut [0; 100]).unwrap();
        assert!(matches!(received, Received::Nothing | Received::Bytes { count: 0, .. }), "{received:?}");
        ours.flush().unwrap();
        tokio::task::yield_now().await;
    }
    while ours.held() > 0 {
        ours.flush().unwrap();
        tokio::task::yield_now().await;
    }
    (ours, connecting.await.unwrap().unwrap())
}

#[tokio::test]
async fn all_that_comes_is_received_whatever_room_there_is() {
    let authority = Authority::new("the authority");
    let server = ServerTls::load(files(&authority.sign("server"))).unwrap();
    let sent: Vec<u8> = (0..100_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    for (version, room) in [(&TLS12, 100), (&TLS12, 100_000), (&TLS13, 100), (&TLS13, 100_000)] {
        let (mut ours, mut theirs) = connected(&authority, &server, version, PIPE_BYTES).await;
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            theirs.write_all(&expected).await.unwrap();
            theirs.shutdown().await.unwrap();
        });
        let (mut came, mut to) = (Vec::new(), vec![0; room]);
        loop {
            match ours.receive(&mut to).unwrap() {
                Received::Bytes { count, .. } => came.extend_from_slice(&to[..count]),
                Received::Nothing => tokio::task::yield_now().await,
                Received::End => break,
            }
        }
        assert!(came == sent, "{version:?}, {room}: {} bytes came", came.len());
        sending.await.unwrap();
    }
}

/// Whoever is told that this was all waits for the next change of the socket, so it has to be true.
#[tokio::test]
async fn all_means_that_nothing_is_left() {
    let authority = Authority::new("the authority");
    let server = ServerTls::load(files(&authority.sign("server"))).unwrap();
    let (mut ours, mut theirs) = connected(&authority, &server, &TLS13, 1 << 20).await;
    let mut to = vec![0; 64 << 10];
    for bytes in [1, 100, 4_000, 5_000, 16_000, 40_000] {
        theirs.write_all(&vec![7; bytes]).await.unwrap();
        theirs.flush().await.unwrap();
        let (mut came, mut is_all) = (0, false);
        while !is_all {
            match ours.receive(&mut to).unwrap() {
                Received::Bytes { count, is_all: all } => (came, is_all) = (came + count, all),
                Received::Nothing => is_all = true,
                Received::End => panic!("it ended"),
            }
        }
        assert_eq!(came, bytes);
        assert_eq!(ours.receive(&mut to).unwrap(), Received::Nothing);
    }
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_held() {
    let authority = Authority::new("the authority");
    let server = ServerTls::load(files(&authority.sign("server"))).unwrap();
    for version in [&TLS12, &TLS13] {
        let (mut ours, mut theirs) = connected(&authority, &server, version, PIPE_BYTES).await;
        assert_eq!(ours.held(), 0);
        assert_eq!(ours.write(&vec![7; 20_000]).unwrap(), 20_000);
        let held = ours.held();
        assert!((20_000 - PIPE_BYTES..21_000).contains(&held), "{held}");
        // Beyond its buffer it takes nothing more.
        let taken = ours.write(&vec![7; 200_000]).unwrap();
        assert!((1..70_000).contains(&taken), "{taken}");
        assert_eq!(ours.write(&[7; 10]).unwrap(), 0);
        let total = 20_000 + taken;
        let reading = tokio::spawn(async move {
            let mut came = vec![0; total];
            theirs.read_exact(&mut came).await.unwrap();
            assert!(came.iter().all(|byte| *byte == 7));
            theirs
        });
        while ours.held() > 0 {
            ours.flush().unwrap();
            tokio::task::yield_now().await;
        }
        let mut theirs = reading.await.unwrap();
        ours.close().unwrap();
        assert_eq!(theirs.read(&mut [0; 10]).await.unwrap(), 0, "the end is said");
    }
}

#[tokio::test]
async fn a_cut_is_an_end_and_garbage_is_an_error_that_the_peer_is_told() {
    let authority = Authority::new("the authority");
    let server = ServerTls::load(files(&authority.sign("server"))).unwrap();
    let (mut ours, mut theirs) = connected(&authority, &server, &TLS13, 1 << 16).await;
    theirs.write_all(b"half").await.unwrap();
    theirs.flush().await.unwrap();
    // The pipe goes without a word of TLS.
    drop(theirs.into_inner());
    let mut to = [0; 100];
    assert!(matches!(ours.receive(&mut to).unwrap(), Received::Bytes { count: 4, .. }));
    assert_eq!(ours.receive(&mut to).unwrap(), Received::End);

    let (mut ours, theirs) = connected(&authority, &server, &TLS13, 1 << 16).await;
    let (mut pipe, _) = theirs.into_inner();
    let mut before = vec![0; 4096];
    let tickets = tokio::time::timeout(std::time::Duration::from_millis(1), pipe.read(&mut before)).await;
    drop(tickets);
    pipe.write_all(&[0x17, 3, 3, 0, 32]).await.unwrap();
    pipe.write_all(&[9; 32]).await.unwrap();
    assert_eq!(ours.receive(&mut to).unwrap_err().kind(), ErrorKind::InvalidData);
    let mut alert = [0; 5];
    pipe.read_exact(&mut alert).await.unwrap();
    assert_eq!(alert[0], 0x17, "an alert, sealed as everything is");
}

#[track_caller]
fn check_kept(server: &ServerTls, which: WhichFile, part: &str) {
    let Reload::Kept { error: ServerTlsError::Files(error), is_known } = server.reload() else {
        panic!("it was taken");
    };
    assert!(error.which == which && error.to_string().contains(part), "{error}");
    assert!(!is_known);
    assert!(matches!(server.reload(), Reload::Kept { is_known: true, .. }));
}

/// Returns the certificate that a handshake shows.
async fn shown(server: &ServerTls, authority: &Authority) -> CertificateDer<'static> {
    let (_, theirs) = connected(authority, server, &TLS13, PIPE_BYTES).await;
    theirs.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn copy(from: &Certified, to: &Certified) {
    fs::copy(&from.cert, &to.cert).unwrap();
    fs::copy(&from.key, &to.key).unwrap();
}

#[tokio::test]
async fn only_good_files_take_the_place_of_others() {
    let authority = Authority::new("the authority");
    let (first, second) = (authority.sign("first"), authority.sign("second"));
    let folder = tempfile::tempdir().unwrap();
    let used = Certified { cert: folder.path().join("cert"), key: folder.path().join("key") };
    copy(&first, &used);
    let server = ServerTls::load(files(&used)).unwrap();
    assert!(matches!(server.reload(), Reload::Same));
    let before = shown(&server, &authority).await;
    let expires = server.expires();

    fs::copy(&second.key, &used.key).unwrap();
    check_kept(&server, WhichFile::Key, "is not the key of the first certificate in");
    copy(&authority.sign_for("past", Validity::Past), &used);
    check_kept(&server, WhichFile::Cert, "certificate 1 of 1 expired at 2002-01-01T00:00:00Z");
    copy(&authority.sign_for("future", Validity::Future), &used);
    check_kept(&server, WhichFile::Cert, "is valid from 2101-01-01T00:00:00Z on");
    fs::write(&used.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    check_kept(&server, WhichFile::Cert, "certificate 1 of 1 cannot be read");
    fs::write(&used.cert, "").unwrap();
    check_kept(&server, WhichFile::Cert, "holds no certificate");
    fs::copy(&second.cert, &used.cert).unwrap();
    fs::write(
        &used.key,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    check_kept(&server, WhichFile::Key, "is encrypted with a passphrase");
    fs::remove_file(&used.key).unwrap();
    check_kept(&server, WhichFile::Key, "cannot be read");
    // A chain whose links do not follow each other.
    let stranger = Authority::new("a stranger");
    let chain = fs::read_to_string(&second.cert).unwrap() + &stranger.ca_pem();
    fs::write(&used.cert, chain).unwrap();
    fs::copy(&second.key, &used.key).unwrap();
    check_kept(&server, WhichFile::Cert, "certificate 2 of 2 has not signed the one before it");
    assert_eq!(shown(&server, &authority).await, before, "what was in use still is");
    assert_eq!(server.expires(), expires);

    copy(&first, &used);
    assert!(matches!(server.reload(), Reload::Same));
    let chain = fs::read_to_string(&second.cert).unwrap() + &authority.ca_pem();
    fs::write(&used.cert, chain).unwrap();
    fs::copy(&second.key, &used.key).unwrap();
    assert!(matches!(server.reload(), Reload::Replaced));
    assert!(matches!(server.reload(), Reload::Same));
    assert_ne!(shown(&server, &authority).await, before);
}

#[test]
fn files_are_checked_at_the_start() {
    let authority = Authority::new("the authority");
    let good = authority.sign("good");
    let told = |files: ServerFiles| files.check().unwrap_err().to_string();
    assert_eq!(files(&good).check(), Ok(()));
    assert!(told(files(&authority.sign_for("past", Validity::Past))).contains("expired"));
    let missing = ServerFiles { cert: Path::new("/nowhere").to_owned(), ..files(&good) };
    assert!(told(missing).contains("/nowhere cannot be read"));
    let asks = ServerFiles { client_auth: ClientAuth::Required, ..files(&good) };
    assert!(told(asks.clone()).contains("has to name the authorities"));
    let trusting = |client_ca| ServerFiles { client_ca: Some(client_ca), ..asks.clone() };
    assert_eq!(trusting(authority.ca_file()).check(), Ok(()));
    assert!(told(trusting(good.key)).contains("holds no certificate"));
}
