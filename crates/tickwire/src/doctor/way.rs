//! The way to a gateway: its name, its addresses, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use tickwire_client::Target;
use tickwire_net::tls::rustls::{self, ProtocolVersion};
use tickwire_net::tls::{self, CertificateFacts, ClientTls, TlsStream, Trust};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::command::DoctorCommand;
use super::report::Report;
use crate::trust::SETTINGS;

/// The longest wait for a step of the way.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that expires sooner is warned of.
const EXPIRY_DAYS: u64 = 14;
const DAY_S: u64 = 86_400;

pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// A stream to a gateway, sealed or not.
pub(super) type Stream = Box<dyn Carrier>;

/// Goes the way up to where HTTP begins.
pub(super) async fn open(command: &DoctorCommand, target: &Target, report: &mut Report) -> Option<Stream> {
    let addresses = look_up(target, report).await?;
    let socket = connect(target, &addresses, report).await?;
    if target.is_tls {
        return secure(command, target, socket, report).await;
    }
    let address = socket.peer_addr().ok()?;
    if address.ip().to_canonical().is_loopback() {
        report.skipped("tls", "the URL is plain (ws://), and the address is this machine's own");
    } else {
        report.warning(
            "tls",
            "the URL is plain (ws://): everybody on the way can read and change what passes",
            "give the gateway a certificate (gateway.tls), or let a proxy end TLS, and use wss://",
        );
    }
    Some(Box::new(socket))
}

async fn look_up(target: &Target, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let Target { host, port, .. } = target;
    let remedy = "check the name in the URL, and this machine's resolver: getent hosts NAME";
    if host.parse::<IpAddr>().is_ok() {
        report.skipped("dns", format_args!("{host} is an address; no name is looked up"));
        return Some(tokio::net::lookup_host((host.as_str(), *port)).await.ok()?.collect());
    }
    let found = match timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), *port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            report.failure("dns", format_args!("the name {host} is not found: {error}"), remedy);
            return None;
        }
        Err(_) => {
            report.failure("dns", format_args!("the name {host} is not found within {PATIENCE:?}"), remedy);
            return None;
        }
    };
    if found.is_empty() {
        report.failure("dns", format_args!("the name {host} has no address"), remedy);
        return None;
    }
    let listed: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    report.fact("addresses", listed.clone());
    report.ok("dns", format_args!("{host} is {}", listed.join(", ")));
    Some(found)
}

/// Connects to the first address that takes a connection, and says which do not.
async fn connect(target: &Target, addresses: &[SocketAddr], report: &mut Report) -> Option<TcpStream> {
    let (mut first, mut failed) = (None, Vec::new());
    for address in addresses {
        let error = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                first = first.or(Some(stream));
                continue;
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no response within {PATIENCE:?}"),
        };
        failed.push(format!("{address}: {error}"));
    }
    let Some(stream) = first else {
        let is_refused = failed.iter().any(|failure| failure.contains("nothing listens"));
        let remedy = if is_refused {
            "start the gateway, or mend the port; a gateway that listens on 127.0.0.1 (its default) is not reached from elsewhere"
        } else {
            "a firewall or a security group may drop packets to that port, or the machine is off"
        };
        report.failure("tcp", failed.join("; "), remedy);
        return None;
    };
    let _ = stream.set_nodelay(true);
    if failed.is_empty() {
        report.ok("tcp", format_args!("{} takes connections", target.address()));
    } else {
        let remedy = "clients that get these addresses wait or fail: take them out of DNS, or start what is missing there";
        report.warning(
            "tcp",
            format_args!("not all addresses take connections: {}", failed.join("; ")),
            remedy,
        );
    }
    Some(stream)
}

async fn secure(
    command: &DoctorCommand,
    target: &Target,
    socket: TcpStream,
    report: &mut Report,
) -> Option<Stream> {
    let address = target.address();
    let trust = match command.trust.trust() {
        Ok(trust) => trust,
        Err(reason) => {
            report.failure("tls", reason, "name files in PEM that this user may read");
            return None;
        }
    };
    let client = match ClientTls::new(&trust, &address, &SETTINGS) {
        Ok(client) => client,
        Err(error) => {
            report.failure("tls", error, "see --ca-file, --client-cert and --server-name");
            return None;
        }
    };
    let error = match timeout(PATIENCE, client.connect(socket)).await {
        Ok(Ok(stream)) => {
            describe(&stream, report);
            return Some(Box::new(stream));
        }
        Ok(Err(error)) => error,
        Err(_) => {
            let remedy = "is it TLS that listens there? for a plain gateway write ws://";
            report.failure(
                "tls",
                format_args!("{address} did not complete the handshake within {PATIENCE:?}"),
                remedy,
            );
            return None;
        }
    };
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(of_tls) = of_tls else {
        report.failure(
            "tls",
            format_args!("the connection broke in the handshake: {error}"),
            "look at the log of what listens there",
        );
        return None;
    };
    let told = tls::explain(of_tls, &address, true, &SETTINGS);
    let (said, remedy) = told.split_once("; ").unwrap_or((told.as_str(), "look at its log"));
    let shown = match of_tls {
        rustls::Error::InvalidCertificate(_) => shown(&trust, target).await,
        _ => None,
    };
    if let Some(facts) = &shown {
        note_certificate(facts, report);
        let said = format!("{said} (it shows a certificate {})", in_words(facts));
        report.failure("tls", said, remedy);
    } else {
        report.failure("tls", said, remedy);
    }
    None
}

/// Says what both ends agreed on, and how long the certificate is good.
fn describe(stream: &TlsStream<TcpStream>, report: &mut Report) {
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let chain = connection.peer_certificates().unwrap_or_default();
    report.fact("version", version);
    report.fact("chain_length", chain.len());
    let Some(facts) = chain.first().and_then(|own| CertificateFacts::read(own).ok()) else {
        report.ok("tls", version);
        return;
    };
    note_certificate(&facts, report);
    // A chain is as good as its shortest member.
    let all = chain.iter().filter_map(|certificate| CertificateFacts::read(certificate).ok());
    let ends = all.map(|facts| facts.not_after).min().unwrap_or(facts.not_after);
    let left = ends.duration_since(SystemTime::now()).unwrap_or_default().as_secs() / DAY_S;
    report.fact("days_left", left);
    let said = format!("{version}, a trusted certificate {}, good for {left} days", in_words(&facts));
    if left < EXPIRY_DAYS {
        report.warning("tls", said, "renew it now; the gateway takes a new one up without a restart");
    } else {
        report.ok("tls", said);
    }
}

fn note_certificate(facts: &CertificateFacts, report: &mut Report) {
    report.fact("names", facts.names.clone());
    report.fact("issuer", facts.issuer.clone());
    report.fact("expires", facts.not_after_text());
}

fn in_words(facts: &CertificateFacts) -> String {
    let names = if facts.names.is_empty() { "no name".to_owned() } else { facts.names.join(", ") };
    format!("for {names}, signed by {}, until {}", facts.issuer, facts.not_after_text())
}

/// Returns what a server shows that is not trusted. Nothing is sent to it.
async fn shown(trust: &Trust, target: &Target) -> Option<CertificateFacts> {
    let anybody = Trust { insecure: true, ..trust.clone() };
    let client = ClientTls::new(&anybody, &target.address(), &SETTINGS).ok()?;
    let socket =
        timeout(PATIENCE, TcpStream::connect((target.host.as_str(), target.port))).await.ok()?.ok()?;
    let stream = timeout(PATIENCE, client.connect(socket)).await.ok()?.ok()?;
    CertificateFacts::read(stream.get_ref().1.peer_certificates()?.first()?).ok()
}
