//! This measures a write without a gateway: plain, by rustls alone, and by [`Secured`], which a gateway has for each session. It prints a line for
//! each size: bytes, then nanoseconds for a write of each kind, and for sealing without a socket.
//!
//! One thread writes and another reads, as on two machines. The writer does not wait for the reader.
#![allow(clippy::print_stdout)] // It prints results for those who run it.

use std::io::{self, ErrorKind, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tickwire_net::tls::{Received, Secured, ServerFiles, ServerTls};
use tickwire_testkit::Authority;

const SIZES: [usize; 5] = [50, 150, 500, 2_000, 8_000];
const WRITES: u32 = 20_000;
/// The best of so many rounds counts: others use the machine, too.
const ROUNDS: usize = 5;

/// Returns a connection, and the thread that reads its other end until it is closed.
fn pair() -> io::Result<(TcpStream, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    let reader = spawn(move || {
        let mut into = vec![0; 256 << 10];
        while far.read(&mut into).is_ok_and(|count| count > 0) {}
    });
    Ok((near, reader))
}

/// Returns the keys of a server that agreed on them with a client, in memory.
fn agreed(server: &ServerTls, client: &Arc<ClientConfig>) -> ServerConnection {
    let mut ours = ServerConnection::new(server.config()).expect("a server");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut theirs = ClientConnection::new(Arc::clone(client), name).expect("a client");
    while ours.is_handshaking() || theirs.is_handshaking() || ours.wants_write() {
        let mut wire = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut wire).expect("memory takes all");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            ours.read_tls(&mut rest).expect("memory");
            ours.process_new_packets().expect("a handshake");
        }
        let mut wire = Vec::new();
        while ours.wants_write() {
            ours.write_tls(&mut wire).expect("memory takes all");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            theirs.read_tls(&mut rest).expect("memory");
            theirs.process_new_packets().expect("a handshake");
        }
    }
    ours
}

/// Returns the nanoseconds of one of many calls, in the best round.
fn best(mut call: impl FnMut() -> io::Result<()>) -> io::Result<u128> {
    let mut best = u128::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..WRITES {
            call()?;
        }
        best = best.min(begun.elapsed().as_nanos() / u128::from(WRITES));
    }
    Ok(best)
}

/// A socket that is written to by a stream that may not wait.
struct Waits(TcpStream);

impl io::Read for Waits {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Waits {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let authority = Authority::new("the authority");
    let certified = authority.sign("server");
    let files = ServerFiles { cert: certified.cert, key: certified.key, ..ServerFiles::default() };
    let server = ServerTls::load(files).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    for size in SIZES {
        let bytes = vec![7; size];
        let (mut socket, reader) = pair()?;
        let plain = best(|| socket.write_all(&bytes))?;
        drop(socket);
        reader.join().expect("a reader");

        let (mut socket, reader) = pair()?;
        let mut connection = agreed(&server, &client);
        let raw = best(|| {
            connection.writer().write_all(&bytes)?;
            while connection.wants_write() {
                connection.write_tls(&mut socket)?;
            }
            Ok(())
        })?;
        drop(socket);
        reader.join().expect("a reader");

        let (socket, reader) = pair()?;
        let mut secured = Secured::new(Waits(socket), agreed(&server, &client));
        assert_eq!(secured.receive(&mut [0; 1])?, Received::Nothing);
        let ours = best(|| secured.write(&bytes).map(drop))?;
        drop(secured);
        reader.join().expect("a reader");

        let mut connection = agreed(&server, &client);
        let mut sealed = Vec::with_capacity(2 * size + 1024);
        let sealing = best(|| {
            sealed.clear();
            connection.writer().write_all(&bytes)?;
            while connection.wants_write() {
                connection.write_tls(&mut sealed)?;
            }
            Ok(())
        })?;
        println!("{size} {plain} {raw} {ours} {sealing}");
    }
    Ok(())
}
