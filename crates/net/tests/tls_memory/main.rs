//! The memory that TLS takes for a session that is idle.
//!
//! This is a binary of its own with a single test, because it looks at the memory of its process: what the library of ciphers
//! allocates is in no allocator that could be asked.
#![allow(clippy::print_stdout)] // It prints results for those who run it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, SupportedProtocolVersion};
use tickwire_net::tls::{Received, Secured, ServerFiles, ServerTls};
use tickwire_testkit::Authority;

const SESSIONS: usize = 1_000;
/// The most bytes for a session. It has 2 to 3 KiB beside them, and 16 KiB is what it may have in all.
const BYTES_MAX: usize = 12 << 10;

/// One direction of a connection.
type Wire = Rc<RefCell<Vec<u8>>>;

struct Socket {
    from: Wire,
    to: Wire,
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut from = self.from.borrow_mut();
        let count = from.len().min(into.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        into[..count].copy_from_slice(&from[..count]);
        from.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a session that shook hands, and had a long message and a short one each way. Its client is gone.
fn session(server: &ServerTls, client: &Arc<ClientConfig>) -> Secured<Socket> {
    let (there, back) = (Wire::default(), Wire::default());
    let near = Socket { from: Rc::clone(&there), to: Rc::clone(&back) };
    let far = Socket { from: Rc::clone(&back), to: Rc::clone(&there) };
    let mut ours = Secured::new(near, ServerConnection::new(server.config()).unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let mut theirs = Secured::new(far, ClientConnection::new(Arc::clone(client), name).unwrap());
    let mut to = vec![0; 64 << 10];
    let mut pass = |from: &mut Secured<Socket>, into: &mut Secured<Socket>, bytes: usize| {
        from.write(&vec![7; bytes]).unwrap();
        let mut came = 0;
        while let Received::Bytes { count, is_all } = into.receive(&mut to).unwrap() {
            came += count;
            if is_all {
                break;
            }
        }
        came
    };
    while ours.is_handshaking() || theirs.is_handshaking() {
        pass(&mut theirs, &mut ours, 0);
        pass(&mut ours, &mut theirs, 0);
    }
    for bytes in [16_000, 100] {
        assert_eq!(pass(&mut theirs, &mut ours, bytes), bytes);
        assert_eq!(pass(&mut ours, &mut theirs, bytes), bytes);
    }
    for wire in [&there, &back] {
        *wire.borrow_mut() = Vec::new();
    }
    ours
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Opens sessions, which stay, and returns how many bytes each takes.
fn bytes_each(
    authority: &Authority,
    server: &ServerTls,
    version: &'static SupportedProtocolVersion,
    sessions: &mut Vec<Secured<Socket>>,
) -> usize {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    // The first ones pay for what all share, and use up what is free.
    sessions.extend((0..SESSIONS).map(|_| session(server, &config)));
    let before = resident_bytes();
    sessions.extend((0..SESSIONS).map(|_| session(server, &config)));
    (resident_bytes().saturating_sub(before)) / SESSIONS
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_session_takes_little_memory() {
    let authority = Authority::new("the authority");
    let certified = authority.sign("server");
    let files = ServerFiles { cert: certified.cert, key: certified.key, ..ServerFiles::default() };
    let server = ServerTls::load(files).unwrap();
    let mut sessions = Vec::with_capacity(4 * SESSIONS);
    for version in [&TLS13, &TLS12] {
        let each = bytes_each(&authority, &server, version, &mut sessions);
        println!("{each} bytes for an idle session of {:?}", version.version);
        assert!(each <= BYTES_MAX, "{each} bytes, {:?}", version.version);
    }
}
