//! A request for a session asks for an encoding, by its subprotocols, and for a delivery window and heartbeats, by its query.

use hyper::Request;
use tickwire_core::engine::{HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, WINDOW_MS_MAX};
use tickwire_net::handshake;
use tickwire_wire::Encoding;

/// Returns the encoding of the first known subprotocol in the client's list, and whether there was a list. Without a list
/// the encoding is JSON; `None`: none of the list is known.
pub(crate) fn choose<B>(request: &Request<B>) -> Option<(Encoding, bool)> {
    let mut names = handshake::offered_protocols(request.headers()).peekable();
    if names.peek().is_none() {
        return Some((Encoding::Json, false));
    }
    names.find_map(Encoding::from_subprotocol).map(|encoding| (encoding, true))
}

/// Returns the delivery window that a query asks for, in milliseconds; 0 where it asks for none.
pub(crate) fn window_ms(query: &str) -> Result<u16, String> {
    let Some(asked) = asked(query, "window_ms") else { return Ok(0) };
    asked.parse().ok().filter(|ms| *ms <= WINDOW_MS_MAX).ok_or_else(|| {
        format!(
            "window_ms is `{}`; it is milliseconds from 0 to {WINDOW_MS_MAX}: /v1/stream?window_ms=16",
            shown(asked)
        )
    })
}

/// Returns the longest silence that a query asks for, in milliseconds; 0 where it asks for none.
pub(crate) fn heartbeat_ms(query: &str) -> Result<u32, String> {
    let Some(asked) = asked(query, "heartbeat_ms") else { return Ok(0) };
    let range = HEARTBEAT_MS_MIN..=HEARTBEAT_MS_MAX;
    asked.parse().ok().filter(|ms| range.contains(ms)).ok_or_else(|| {
        format!(
            "heartbeat_ms is `{}`; it is milliseconds from {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}: \
             /v1/stream?heartbeat_ms=10000",
            shown(asked)
        )
    })
}

/// Returns the value of a name in a query.
fn asked<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Returns as much of a wrong value as is repeated in a message.
fn shown(value: &str) -> String {
    value.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<u16, &str>) {
        agree(query, window_ms(query).map(u32::from), expected.map(u32::from));
    }

    #[track_caller]
    fn agree(query: &str, got: Result<u32, String>, expected: Result<u32, &str>) {
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{query}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn heartbeats() {
        let check = |query, expected| agree(query, heartbeat_ms(query), expected);
        check("", Ok(0));
        check("window_ms=16&heartbeat_ms=250", Ok(250));
        check("heartbeat_ms=60000", Ok(60_000));
        check("heartbeat_ms=60001", Err("from 250 to 60000"));
        check("heartbeat_ms=249", Err("`249`"));
        check("heartbeat_ms=0", Err("`0`"));
        check("heartbeat_ms=1s", Err("`1s`"));
        check("heartbeat_msx=1", Ok(0));
    }

    #[test]
    fn delivery_windows() {
        check("", Ok(0));
        check("other=1", Ok(0));
        check("window_ms=16", Ok(16));
        check("a=b&window_ms=0&c", Ok(0));
        check("window_ms=1000", Ok(1000));
        check("window_ms=1001", Err("from 0 to 1000"));
        check("window_ms=70000", Err("`70000`"));
        check("window_ms=-1", Err("`-1`"));
        check("window_ms=", Err("``"));
        check("window_ms=16ms", Err("`16ms`"));
        check("xwindow_ms=5", Ok(0));
    }
}
