//! Clients behind proxies: their addresses, as listed proxies tell them. What others tell is not believed.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;
use tickwire_net::proxy::{self, FIXED_BYTES, HEADER_BYTES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The listed proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their addresses and networks.
    pub networks: Vec<IpNet>,
    /// Each connection begins with a header of the PROXY protocol, version 2.
    pub with_header: bool,
}

/// The reason why a connection is not one of a proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// Its address is not listed.
    #[error("{0} is not in gateway.proxies")]
    Unlisted(IpAddr),
    /// It does not begin with a header.
    #[error("it does not begin with a header of the PROXY protocol, version 2")]
    NoHeader,
    /// It ended, or broke, within the header.
    #[error("it ended within its PROXY header: {0}")]
    Ended(#[from] io::Error),
}

impl Proxies {
    fn is_listed(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Returns the address from which a connection comes: that of the peer, or the one that the proxy's header tells. Not a byte
    /// behind the header is read.
    ///
    /// # Errors
    /// When there has to be a header and there is none, or the peer may not send one.
    ///
    /// # Cancel safety
    /// What was read is lost, so the connection has to end.
    pub async fn source(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        peer: SocketAddr,
    ) -> Result<SocketAddr, ProxyFault> {
        if !self.with_header {
            return Ok(peer);
        }
        if !self.is_listed(peer.ip()) {
            return Err(ProxyFault::Unlisted(peer.ip()));
        }
        let mut header = [0; HEADER_BYTES_MAX];
        stream.read_exact(&mut header[..FIXED_BYTES]).await?;
        let length = proxy::header_bytes(&header[..FIXED_BYTES]).ok_or(ProxyFault::NoHeader)?;
        stream.read_exact(&mut header[FIXED_BYTES..length]).await?;
        proxy::read_header(&header[..length], peer).ok_or(ProxyFault::NoHeader)
    }

    /// Returns the client's address: the source, or, where that is a listed proxy, the last one in the request's head that is none.
    pub fn client(&self, source: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        proxy::client(source, headers, |address| self.is_listed(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(with_header: bool) -> Proxies {
        let networks = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"];
        Proxies { networks: networks.map(|network| network.parse().unwrap()).into(), with_header }
    }

    #[track_caller]
    fn client(source: &str, lines: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let client = proxies(false).client(SocketAddr::new(source.parse().unwrap(), 9), &headers);
        assert_eq!(client.ip(), expected.parse::<IpAddr>().unwrap(), "{source} {lines:?}");
    }

    #[test]
    fn only_listed_proxies_are_believed() {
        client("198.51.100.1", &[], "198.51.100.1");
        client("198.51.100.1", &["203.0.113.5"], "198.51.100.1");
        client("10.1.2.3", &["203.0.113.5"], "203.0.113.5");
        client("::ffff:10.1.2.3", &["203.0.113.5"], "203.0.113.5");
        client("10.1.2.3", &["203.0.113.5:4711"], "203.0.113.5");
        client("2001:db8::1", &["[2001:470::9]:443"], "2001:470::9");
        client("2001:db8::1", &["[2001:470::9]"], "2001:470::9");
        // What the client itself wrote stands before what the first proxy wrote.
        client("10.1.2.3", &["1.1.1.1, 203.0.113.5"], "203.0.113.5");
        client("10.1.2.3", &["1.1.1.1", "203.0.113.5, 192.0.2.7"], "203.0.113.5");
        client("10.1.2.3", &["1.1.1.1, nonsense, 192.0.2.7"], "192.0.2.7");
        client("10.1.2.3", &["nonsense"], "10.1.2.3");
        client("10.1.2.3", &["10.0.0.1, 10.0.0.2"], "10.0.0.1");
    }

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((addresses.len() as u16).to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    async fn source(peer: &str, bytes: &[u8]) -> Result<(String, usize), String> {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut rest = bytes;
        let source = proxies(true).source(&mut rest, peer).await;
        source.map(|source| (source.to_string(), rest.len())).map_err(|fault| fault.to_string())
    }

    #[tokio::test]
    async fn headers_tell_the_source_and_nothing_behind_them_is_read() {
        const V4: [u8; 12] = [203, 0, 113, 5, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let good = header(1, 0x11, &V4);
        let behind = [&good[..], b"GET /"].concat();
        assert_eq!(source("10.0.0.1:5", &behind).await, Ok(("203.0.113.5:4711".to_owned(), 5)));
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 1]);
        v6[33] = 7;
        assert_eq!(source("10.0.0.1:5", &header(1, 0x21, &v6)).await, Ok(("[2001::]:7".to_owned(), 0)));
        // More may stand behind the addresses, and a proxy may ask for itself.
        let with_more = header(1, 0x11, &[&V4[..], &[4, 0, 1, 9]].concat());
        assert_eq!(source("10.0.0.1:5", &with_more).await, Ok(("203.0.113.5:4711".to_owned(), 0)));
        assert_eq!(source("10.0.0.1:5", &header(0, 0, &[])).await, Ok(("10.0.0.1:5".to_owned(), 0)));
        let none = "it does not begin with a header of the PROXY protocol, version 2";
        assert_eq!(source("10.0.0.1:5", b"GET /v1/stream HTTP/1.1\r\n").await, Err(none.to_owned()));
        assert_eq!(source("10.0.0.1:5", &header(1, 0x11, &V4[..8])).await, Err(none.to_owned()));
        assert_eq!(source("10.0.0.1:5", &header(1, 0x11, &[0; 3000])).await, Err(none.to_owned()));
        assert!(source("10.0.0.1:5", &good[..20]).await.unwrap_err().contains("ended"));
        assert!(source("203.0.113.9:5", &good).await.unwrap_err().contains("not in gateway.proxies"));
    }
}
