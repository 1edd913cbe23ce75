//! Where servers are: how a scenario writes it.

use super::{Publish, Url};

pub(super) fn parse_url(url: &str) -> Result<Url, String> {
    // What is behind the path may be secret.
    let shown = url.split('?').next().unwrap_or_default();
    let wrong = || format!("{shown}: write ws://HOST:PORT/v1/stream, or wss://");
    let (rest, is_tls) = match url.strip_prefix("wss://") {
        Some(rest) => (rest, true),
        None => (url.strip_prefix("ws://").ok_or_else(wrong)?, false),
    };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let name = port.map_or(host, |port| &host[..host.len() - port.len() - 1]);
    if name.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let address = match port {
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => host.to_owned(),
        Some(port) => return Err(format!("{shown}: `{port}` is no port")),
        None => format!("{host}:{}", if is_tls { 443 } else { 7400 }),
    };
    Ok(Url { address, path: path.to_owned(), is_tls })
}

pub(super) fn parse_publish(text: &str) -> Result<Publish, String> {
    match text.split_once("://") {
        Some(("tcp", address)) if address.contains(':') => Ok(Publish::Tcp(address.to_owned())),
        Some(("ws", _)) => parse_url(text).map(Publish::WebSocket),
        Some(("nats", address)) if address.contains(':') => Ok(Publish::Nats(address.to_owned())),
        _ => Err("has to be tcp://HOST:PORT, ws://HOST:PORT/publish or nats://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(url: &str, address: &str, path: &str) {
        let is_tls = url.starts_with("wss");
        assert_eq!(parse_url(url), Ok(Url { address: address.to_owned(), path: path.to_owned(), is_tls }));
    }

    #[test]
    fn urls() {
        check_url("ws://127.0.0.1:7400/v1/stream", "127.0.0.1:7400", "/v1/stream");
        check_url("ws://gateway", "gateway:7400", "");
        check_url("ws://gateway/x?y=1", "gateway:7400", "/x?y=1");
        check_url("ws://[::1]:80", "[::1]:80", "");
        check_url("ws://[::1]", "[::1]:7400", "");
        check_url("wss://gateway/x", "gateway:443", "/x");
        check_url("wss://gateway:7400", "gateway:7400", "");
        for (url, expected) in [
            ("http://a:1/", "HOST:PORT"),
            ("ws://:7400/", "HOST:PORT"),
            ("ws://a:b/", "no port"),
            ("ws://a:0/", "no port"),
        ] {
            assert!(parse_url(url).unwrap_err().contains(expected), "{url}");
        }
    }
}
