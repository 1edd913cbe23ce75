//! Pages of the web from which a browser may open sessions (RFC 6455, section 10.2).
//!
//! A browser sends the page's origin with the handshake, and lets no page change it. Programs that are no browsers send none, or
//! whatever they like: this protects those who use a browser, not the gateway.

use hyper::header::{HOST, ORIGIN};
use hyper::http::uri::{Authority, Scheme};
use hyper::{HeaderMap, Uri};

/// The word that stands for all origins in a list.
const ANY: &str = "*";

/// Returns whether a request may open a session: it names no origin, or the one that it is sent to, or one of the list.
pub(crate) fn is_allowed(headers: &HeaderMap, listed: &[String]) -> bool {
    let mut lines = headers.get_all(ORIGIN).into_iter();
    let Some(origin) = lines.next() else { return true };
    if listed.iter().any(|origin| origin == ANY) {
        return true;
    }
    let Some(origin) = origin.to_str().ok().filter(|_| lines.next().is_none()) else { return false };
    listed.iter().any(|known| known.eq_ignore_ascii_case(origin)) || is_own(origin, headers)
}

/// Returns whether a text can be an origin: `*`, `null`, or a scheme and a host, with a port where it is not the usual one.
pub fn is_origin(text: &str) -> bool {
    let bare = |uri: Uri| {
        uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/" && uri.query().is_none()
    };
    text == ANY || text == "null" || (!text.ends_with('/') && text.parse::<Uri>().is_ok_and(bare))
}

/// Returns whether the origin is that of the host which is asked. The scheme does not matter: a proxy may end TLS before.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let usual = if origin.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
    match (origin.authority(), host) {
        (Some(origin), Some(host)) => {
            origin.host().eq_ignore_ascii_case(host.host()) && port(origin) == port(&host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, origins: &[&str], listed: &[&str], expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        let listed: Vec<_> = listed.iter().map(|origin| (*origin).to_owned()).collect();
        assert_eq!(is_allowed(&headers, &listed), expected, "{host} {origins:?} {listed:?}");
    }

    #[test]
    fn the_own_site_programs_and_the_list() {
        check("127.0.0.1:7400", &[], &[], true);
        check("127.0.0.1:7400", &["http://127.0.0.1:7400"], &[], true);
        check("Feed.example", &["https://feed.EXAMPLE"], &[], true);
        check("feed.example", &["https://feed.example:443"], &[], true);
        check("feed.example:443", &["https://feed.example"], &[], true);
        check("feed.example:8443", &["https://feed.example"], &[], false);
        check("feed.example", &["http://evil.example"], &[], false);
        check("feed.example", &["http://feed.example.evil.example"], &[], false);
        check("feed.example", &["null"], &[], false);
        check("feed.example", &[""], &[], false);
        check("feed.example", &["null"], &["null"], true);
        check("feed.example", &["https://app.example"], &["https://app.example"], true);
        check("feed.example", &["http://app.example"], &["https://app.example"], false);
        check("feed.example", &["https://app.example:444"], &["https://app.example"], false);
        check("feed.example", &["https://evil.example"], &["*"], true);
        check("feed.example", &["https://feed.example", "https://evil.example"], &[], false);
        check("feed.example", &["https://evil.example", "https://feed.example"], &[], false);
    }

    #[test]
    fn what_can_be_listed() {
        for good in ["*", "null", "https://app.example", "http://127.0.0.1:8080", "http://[::1]:3000"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "app.example", "https://app.example/", "https://app.example/page", "https://*.x y"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
