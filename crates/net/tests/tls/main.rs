//! TLS over readiness against TLS over tokio, in memory, and what is said when it fails.

mod server;

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, ServerConfig, ServerConnection};
use tickwire_net::tls::{Brought, ClientTls, Secured, Settings, Trust, TrustError, explain};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

const SETTINGS: Settings =
    Settings { authorities: "tls.ca", insecure: Some("tls.any"), server_name: "tls.name" };
/// Small, so that records come in pieces and writes are taken in part.
const PIPE_BYTES: usize = 1000;
const ROOM: usize = 100 << 10;

/// One end of a pipe as a socket that does not block.
struct Socket(DuplexStream);

impl Socket {
    fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
        match polled {
            Poll::Ready(done) => done,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        let polled = Pin::new(&mut self.0).poll_read(&mut Context::from_waker(Waker::noop()), &mut into);
        Self::now(polled).map(|()| into.filled().len())
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::now(Pin::new(&mut self.0).poll_write(&mut Context::from_waker(Waker::noop()), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a server for this name, and its own authority.
fn server(name: &str) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let signing_key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), certificate.der().clone())
}

fn client(trust: &Trust) -> ClientTls {
    ClientTls::new(trust, "feed.example:443", &SETTINGS).unwrap().without_resumption()
}

fn trusting(authority: CertificateDer<'static>) -> Trust {
    Trust { authorities: vec![authority], ..Trust::default() }
}

/// Reads once, and writes what TLS itself has to say. What came is appended; `false` at the end.
fn step(stream: &mut Secured<Socket>, came: &mut Vec<u8>) -> io::Result<bool> {
    let (mut plain, mut sealed) = (vec![0; ROOM], vec![0; PIPE_BYTES]);
    let brought = match stream.read(&mut plain, usize::MAX, &mut sealed) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Brought { sealed: 1, plain: 0 },
        brought => brought?,
    };
    came.extend_from_slice(&plain[..brought.plain]);
    if stream.wants_write() {
        stream.write(&[])?;
    }
    Ok(brought.sealed > 0)
}

#[tokio::test]
async fn everything_passes_between_readiness_and_tokio() {
    let (config, authority) = server("feed.example");
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let mut stream = Secured::new(Socket(near), ServerConnection::new(config).unwrap());
    let sent: Vec<u8> = (0..300_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let expected = sent.clone();
    let their = tokio::spawn(async move {
        let mut theirs = client(&trusting(authority)).connect(far).await.unwrap();
        theirs.write_all(&expected).await.unwrap();
        theirs.flush().await.unwrap();
        let mut back = Vec::new();
        theirs.read_to_end(&mut back).await.unwrap();
        assert!(back == expected, "{} bytes came back, and not those that were sent", back.len());
    });
    assert!(stream.is_handshaking());
    let mut came = Vec::new();
    while came.len() < sent.len() {
        assert!(step(&mut stream, &mut came).unwrap(), "it ended after {} bytes", came.len());
        tokio::task::yield_now().await;
    }
    assert!(came == sent && !stream.is_handshaking());
    let mut taken = 0;
    while taken < sent.len() {
        taken += stream.write(&sent[taken..]).unwrap();
        tokio::task::yield_now().await;
    }
    stream.close().unwrap();
    while stream.wants_write() {
        stream.write(&[]).unwrap();
        tokio::task::yield_now().await;
    }
    while step(&mut stream, &mut came).unwrap() {
        tokio::task::yield_now().await;
    }
    their.await.unwrap();
}

/// Lets two sides over readiness shake hands; returns how the client's handshake ended.
fn shaken(trust: &Trust, name: &str) -> io::Result<()> {
    let (config, _) = server(name);
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let mut theirs = Secured::new(Socket(near), ServerConnection::new(config).unwrap());
    let mut ours = Secured::new(Socket(far), client(trust).connection().unwrap());
    ours.write(&[])?;
    while ours.is_handshaking() || theirs.is_handshaking() {
        step(&mut ours, &mut Vec::new())?;
        step(&mut theirs, &mut Vec::new())?;
    }
    Ok(())
}

#[test]
fn whom_a_client_trusts() {
    let anybody = Trust { insecure: true, ..Trust::default() };
    shaken(&anybody, "elsewhere.example").unwrap();
    let stranger = trusting(server("feed.example").1);
    let error = shaken(&stranger, "feed.example").unwrap_err();
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>()).expect("an error of TLS");
    let said = explain(of_tls, "feed.example:443", true, &SETTINGS);
    assert!(said.starts_with("the certificate of feed.example:443 is not trusted: "), "{said}");
    // The host's name is what the certificate has to be for, unless another one is named.
    let named = Trust { server_name: Some("no name".to_owned()), ..stranger };
    let error = ClientTls::new(&named, "feed.example:443", &SETTINGS).unwrap_err();
    assert!(matches!(error, TrustError::Name { .. }) && error.to_string().contains("`tls.name`"), "{error}");
}

#[track_caller]
fn check(error: impl Into<Error>, parts: &[&str]) {
    let text = explain(&error.into(), "h:443", true, &SETTINGS);
    for part in parts {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!text.contains("Error") && !text.contains("Context") && !text.contains("DnsName"), "{text}");
}

#[test]
fn the_usual_reasons_are_plain_words_with_a_remedy() {
    use CertificateError as E;
    let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    check(E::UnknownIssuer, &["certificate of h:443", "no known authority", "`tls.ca`"]);
    let name = E::NotValidForNameContext {
        expected: ServerName::try_from("a.example").unwrap(),
        presented: vec!["DnsName(\"b.example\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()],
    };
    check(name, &["it is for b.example, 127.0.0.1, and a.example was asked for; `tls.name`"]);
    let expired = E::ExpiredContext { time: time(1_800_000_000), not_after: time(1_767_623_400) };
    check(expired, &["expired at 2026-01-05T14:30:00Z", "new one"]);
    let early = E::NotValidYetContext { time: time(0), not_before: time(1_767_623_400) };
    check(early, &["valid from 2026-01-05T14:30:00Z on", "clocks"]);
    check(E::Revoked, &["revoked", "new one"]);
    check(E::InvalidPurpose, &["not meant for servers"]);
    check(E::ApplicationVerificationFailure, &["`tls.any` = true"]);
    check(Error::AlertReceived(AlertDescription::CertificateRequired), &["certificate of its clients"]);
}
