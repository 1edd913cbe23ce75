//! The things that a request shows of its client: a token in a header, in a subprotocol or, where that is allowed, in the URL.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tickwire_auth::{AuthSettings, Denied};
use tickwire_net::handshake;
use tickwire_wire::Secret;

use crate::refusal::{Refusal, Refused};

/// The beginning of the subprotocol in which browsers show a token: they cannot send headers. It is never chosen, so it is never
/// echoed.
const SUBPROTOCOL: &str = "tickwire.token.";

/// The things that a request shows.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) token: Option<Secret>,
    /// The first message is to bring the token.
    pub(crate) comes_later: bool,
}

impl Shown {
    /// Finds it.
    pub(crate) fn of(headers: &HeaderMap, query: &str, settings: &AuthSettings) -> Result<Self, Denied> {
        let mut found = Vec::new();
        for value in headers.get_all(AUTHORIZATION) {
            found.push(bearer(value)?);
        }
        for name in handshake::offered_protocols(headers) {
            if let Some(encoded) = name.strip_prefix(SUBPROTOCOL) {
                let bytes =
                    URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| Denied::Malformed)?;
                found.push(Secret::new(String::from_utf8(bytes).map_err(|_| Denied::Malformed)?));
            }
        }
        let mut comes_later = false;
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("token", _)) if !settings.in_url => return Err(Denied::InUrl),
                // Tokens and keys have no character that is escaped in a URL.
                Some(("token", token)) => found.push(Secret::new(token)),
                Some(("auth", "message")) => comes_later = true,
                _ => {}
            }
        }
        if found.len() > 1 {
            return Err(Denied::Twice);
        }
        Ok(Self { token: found.pop(), comes_later })
    }
}

fn bearer(value: &HeaderValue) -> Result<Secret, Denied> {
    let text = value.to_str().map_err(|_| Denied::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Denied::Malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Denied::Malformed);
    }
    Ok(Secret::new(token))
}

/// Returns the refusal of a handshake, with what its client is told.
pub(crate) fn refused(denied: &Denied) -> Refused {
    let refusal = match denied.status() {
        403 => Refusal::Forbidden,
        429 => Refusal::UserFull,
        503 => Refusal::NotReady,
        _ => Refusal::Unauthorized,
    };
    let refused = Refused::new(refusal, denied.message());
    if !matches!(refusal, Refusal::Unauthorized | Refusal::Forbidden) {
        return refused;
    }
    refused.challenge(match denied.bearer_error() {
        Some(error) => {
            let message = denied.message();
            format!("Bearer realm=\"tickwire\", error=\"{error}\", error_description=\"{message}\"")
        }
        None => "Bearer realm=\"tickwire\"".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::WWW_AUTHENTICATE;

    use super::*;

    #[track_caller]
    fn check(
        headers: &[(&'static str, &str)],
        query: &str,
        in_url: bool,
        expected: Result<Option<&str>, Denied>,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let settings = AuthSettings { in_url, ..AuthSettings::default() };
        let shown = Shown::of(&map, query, &settings);
        let shown = shown.map(|shown| shown.token.map(|token| token.expose().to_owned()));
        assert_eq!(shown, expected.map(|token| token.map(str::to_owned)));
    }

    #[test]
    fn places_of_a_token() {
        const HEADER: (&str, &str) = ("authorization", "Bearer a.b.c");
        const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "tickwire.v1.json, tickwire.token.YS5iLmM");
        check(&[], "window_ms=16", false, Ok(None));
        check(&[HEADER], "", false, Ok(Some("a.b.c")));
        check(&[("authorization", "bearer  a.b.c ")], "", false, Ok(Some("a.b.c")));
        check(&[PROTOCOL], "", false, Ok(Some("a.b.c")));
        check(&[("sec-websocket-protocol", "tickwire.token.YS5iLmM=")], "", false, Ok(Some("a.b.c")));
        check(&[], "x=1&token=a.b.c", true, Ok(Some("a.b.c")));
        check(&[], "x=1&token=a.b.c", false, Err(Denied::InUrl));
        check(&[HEADER, PROTOCOL], "", false, Err(Denied::Twice));
        check(&[HEADER, HEADER], "", false, Err(Denied::Twice));
        check(&[("authorization", "Basic YTpi")], "", false, Err(Denied::Malformed));
        check(&[("authorization", "Bearer")], "", false, Err(Denied::Malformed));
        check(&[("authorization", "Bearer ")], "", false, Err(Denied::Malformed));
        check(&[("sec-websocket-protocol", "tickwire.token.!!")], "", false, Err(Denied::Malformed));
    }

    #[test]
    fn refusals_are_told_in_words() {
        let refuse = |why: &Denied| {
            let response = refused(why).response();
            assert_eq!(response.status(), why.status(), "{}", why.reason());
            let told = response.headers().get(WWW_AUTHENTICATE);
            (response.status().as_u16(), told.map(|told| told.to_str().unwrap().to_owned()))
        };
        assert_eq!(refuse(&Denied::Missing), (401, Some("Bearer realm=\"tickwire\"".to_owned())));
        let told = "Bearer realm=\"tickwire\", error=\"invalid_token\", error_description=\"the token ended 5 s ago; get a new one\"";
        assert_eq!(refuse(&Denied::Expired { since_s: 5 }), (401, Some(told.to_owned())));
        assert_eq!(refuse(&Denied::GrantsNothing).0, 403);
        assert_eq!(refuse(&Denied::Sessions { max: 2 }), (429, None));
    }
}
