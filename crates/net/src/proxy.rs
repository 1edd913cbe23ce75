//! A proxy says whom it speaks for: the header of the PROXY protocol, version 2, and `X-Forwarded-For`. No I/O, and no belief:
//! the caller knows which proxies it trusts.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ppp::v2::{Addresses, Command, Header};

/// The fixed part of a header of the PROXY protocol, version 2, in bytes.
pub const FIXED_BYTES: usize = 16;
/// The longest header that is taken, in bytes: addresses, and what proxies put behind them.
pub const HEADER_BYTES_MAX: usize = 2048;
/// The header of HTTP in which proxies tell for whom they ask, each behind those before it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the length in bytes of a header that begins with these [`FIXED_BYTES`]; `None` where it is none, or too long.
pub fn header_bytes(fixed: &[u8]) -> Option<usize> {
    let (prefix, length) = fixed.get(..FIXED_BYTES)?.split_at_checked(FIXED_BYTES - 2)?;
    let is_header = prefix.starts_with(ppp::v2::PROTOCOL_PREFIX);
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes(*length.first_chunk()?));
    (is_header && length <= HEADER_BYTES_MAX).then_some(length)
}

/// Returns the source that a header tells: the peer itself where it tells none, as a proxy's own health check does. `None`: it is no
/// header, or not whole.
pub fn read_header(bytes: &[u8], peer: SocketAddr) -> Option<SocketAddr> {
    let header = Header::try_from(bytes.get(..header_bytes(bytes)?)?).ok()?;
    Some(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(told)) => (told.source_address, told.source_port).into(),
        (Command::Proxy, Addresses::IPv6(told)) => (told.source_address, told.source_port).into(),
        _ => peer,
    })
}

/// Returns the client's address: the source, or, where that is a trusted proxy, the last one in the request's head that is none.
pub fn client(source: SocketAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> SocketAddr {
    let lines = headers.get_all(FORWARDED_FOR).into_iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
    let mut told = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut client = source;
    while is_trusted(client.ip()) {
        let Some(before) = told.next().and_then(|text| address(text.trim())) else { break };
        client = before;
    }
    client
}

/// Reads an address, which may have a port.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = || bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 0));
    text.parse().ok().or_else(without_port)
}
