//! The kernel's account of a connection: bytes that the peer's kernel has not acknowledged.
//!
//! `SIOCOUTQ` would say it in one number, but no library that is kept well offers it without unsafe code. `TCP_INFO` says
//! the same in parts, and more: see `linux/tcp.h`, `struct tcp_info`, whose beginning never changes.

use std::io;
use std::os::fd::AsFd;

/// Returns how many bytes were written to a socket and not acknowledged by the peer's kernel, unsent ones included.
///
/// # Errors
/// When the socket has no connection, and where the system is not Linux.
#[cfg(target_os = "linux")]
pub(super) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let info = nix::sys::socket::getsockopt(socket, linux::Info)?;
    // `bytes_sent` counts bytes that were sent again, too.
    let first_sent = info.bytes_sent.saturating_sub(info.bytes_retrans);
    let under_way = first_sent.saturating_sub(info.bytes_acked);
    Ok(under_way as usize + info.notsent_bytes as usize)
}

/// Fails, because this system does not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn unacknowledged(_: &impl AsFd) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use nix::{getsockopt_impl, sockopt_impl};

    /// The beginning of `struct tcp_info` up to what Linux has had since 4.19, with the fields that are read by name.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    #[allow(unreachable_pub, reason = "the option below is public within this module")]
    pub struct TcpInfo {
        /// States, options, timers, round-trip times, pacing: eight bytes of flags, 24 words of 32 bits, two of 64.
        _before_acked: [u64; 15],
        pub(super) bytes_acked: u64,
        _bytes_received: u64,
        _segments: [u32; 2],
        pub(super) notsent_bytes: u32,
        _min_rtt: u32,
        _data_segments: [u32; 2],
        _rate_and_times: [u64; 4],
        _delivered: [u32; 2],
        pub(super) bytes_sent: u64,
        pub(super) bytes_retrans: u64,
    }

    sockopt_impl!(
        /// `TCP_INFO`.
        Info,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        TcpInfo
    );
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// Waits until the kernels have settled on a number.
    #[track_caller]
    fn settles(socket: &TcpStream, is_it: impl Fn(usize) -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !is_it(unacknowledged(socket).unwrap()) {
            assert!(Instant::now() < until, "stays at {}", unacknowledged(socket).unwrap());
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_the_peer_has_not_acknowledged_is_counted() {
        let (mut near, mut far) = pair();
        settles(&near, |bytes| bytes == 0);
        near.set_nonblocking(true).unwrap();
        let mut written = 0;
        loop {
            match near.write(&[7; 16 << 10]) {
                Ok(taken) => written += taken,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        // What the peer's kernel took is acknowledged, though nobody read it; the rest is not, to the byte.
        let held = unacknowledged(&near).unwrap();
        assert!(held > 16 << 10 && held < written, "{held} of {written}");
        let mut read = vec![0; written];
        far.read_exact(&mut read).unwrap();
        settles(&near, |bytes| bytes == 0);
    }

    #[test]
    fn a_socket_that_is_none_is_an_error() {
        assert!(unacknowledged(&std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap()).is_err());
    }
}
