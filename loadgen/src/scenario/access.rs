//! Tokens that sessions show, and authorities that they trust.

use std::fmt::{self, Debug, Formatter};
use std::fs;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tickwire_config::Layers;
use tickwire_net::tls::Settings;
use tickwire_net::tls::rustls::pki_types::CertificateDer;
use tickwire_net::tls::rustls::pki_types::pem::PemObject as _;

use super::{Scenario, Sessions};

/// Setting whose value no report shows.
pub(crate) const SECRET: &str = "sessions.token";
/// This stands there instead.
pub(crate) const REDACTED: &str = "<token>";
/// Names of parameters by which a token would come into reports.
const PARAMETERS: [&str; 3] = ["token", "access_token", "jwt"];
const TRUST: [&str; 3] = ["sessions.tls.ca", "sessions.tls.insecure", "sessions.tls.server_name"];

/// The settings of trust, which errors of TLS name.
pub(crate) const TLS_SETTINGS: Settings =
    Settings { authorities: TRUST[0], insecure: Some(TRUST[1]), server_name: TRUST[2] };

/// Reads a file of authorities, which are trusted beside the system's.
pub(super) fn authorities<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<CertificateDer<'static>>, D::Error> {
    let file = String::deserialize(from)?;
    let bytes = fs::read(&file).map_err(|error| D::Error::custom(format!("cannot read {file}: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(D::Error::custom(format!("{file} holds no certificate in PEM"))),
        Ok(found) => Ok(found),
        Err(error) => Err(D::Error::custom(format!("{file} is no file of certificates in PEM: {error}"))),
    }
}

/// Visible ASCII that only the server gets to see.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub(crate) struct Token(String);

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_visible.then_some(Self(text)).ok_or("has to be visible ASCII without spaces")
    }
}

impl Debug for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Token {
    /// Returns the line of a header.
    pub(crate) fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.0)
    }

    /// Returns the token as it stands in a query.
    pub(crate) fn escaped(&self) -> String {
        in_query(&self.0)
    }

    /// Returns what a server said, without the token that it may have repeated.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, REDACTED).replace(&self.escaped(), REDACTED)
    }
}

/// Returns a text as it stands in a query (RFC 3986, section 2.3).
fn in_query(text: &str) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Tokens of all sessions, each the next one's in turn; empty: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) all: Vec<Token>,
    /// None: the token goes into a header.
    pub(crate) parameter: Option<String>,
}

impl Tokens {
    pub(crate) fn of(&self, session: usize) -> Option<&Token> {
        self.all.get(session % self.all.len().max(1))
    }
}

/// The place of a token in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenPlace {
    Header,
    Query,
}

pub(super) fn tokens(layers: &mut Layers, sessions: &Sessions) -> Tokens {
    let mut all: Vec<_> = sessions.token.clone().into_iter().collect();
    if let Some(file) = &sessions.tokens_file {
        if !all.is_empty() {
            layers.wrong("sessions.tokens_file", "stands beside `sessions.token`; take one of them out");
        }
        match read_tokens(file) {
            Ok(found) => all.extend(found),
            Err(reason) => layers.wrong("sessions.tokens_file", reason),
        }
    }
    let is_query = sessions.token_in == TokenPlace::Query;
    if is_query && !layers.has(SECRET) && sessions.tokens_file.is_none() {
        layers.wrong("sessions.token_in", "there are no tokens: `sessions.token` or `sessions.tokens_file`");
    }
    let name = sessions.token_parameter.as_deref();
    if name.is_some() && !is_query {
        layers.wrong("sessions.token_parameter", "is for `sessions.token_in` = \"query\"");
    } else if name.is_some_and(|name| in_query(name) != name) {
        layers.wrong("sessions.token_parameter", "has to be a name of letters, digits, and -._~");
    }
    Tokens { all, parameter: is_query.then(|| name.unwrap_or(PARAMETERS[0]).to_owned()) }
}

/// Reads one token from each line; empty lines are none.
fn read_tokens(file: &str) -> Result<Vec<Token>, String> {
    let text = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut found = Vec::new();
    for (at, line) in lines {
        let token = Token::try_from(line.trim().to_owned());
        found.push(token.map_err(|what| format!("{file}, line {}: a token {what}", at + 1))?);
    }
    if found.is_empty() { Err(format!("{file} is empty; write one token a line")) } else { Ok(found) }
}

/// Says what a run with tokens does not show where nobody looks at them: its own gateway has no keys.
pub(crate) fn unchecked(scenario: &Scenario) -> Option<String> {
    let looks = scenario.gateway_keys.are_named();
    let is_own = scenario.has_gateway() && !looks && !scenario.sessions.tokens.all.is_empty();
    let who = match &scenario.target.url {
        Some(_) => "only what stands in front of it can refuse them",
        None => {
            "whether a token lets anybody in was not tested; name its keys in `gateway.auth`, or another server in `target.url`"
        }
    };
    is_own.then(|| format!("sessions showed tokens, and the gateway of this run looks at no tokens: {who}"))
}

/// Notes errors that show only beside the URL.
pub(super) fn check(layers: &mut Layers, scenario: &Scenario) {
    let url = scenario.target.url.as_ref();
    let is_own_sealed = url.is_none() && !scenario.gateway.tls.cert_file.is_empty();
    if !is_own_sealed
        && !url.is_some_and(|url| url.is_tls)
        && let Some(field) = TRUST
            .into_iter()
            .find(|field| layers.has(field) && (*field != TRUST[1] || scenario.sessions.trust.insecure))
    {
        let what = match url {
            Some(_) => "is for TLS, and `target.url` is plain: write wss://, or take it out",
            None => {
                "is for TLS, and the gateway of this run has none: give it a certificate (`gateway.tls.cert_file`, `gateway.tls.key_file`), \
                 or take it out"
            }
        };
        layers.wrong(field, what);
    }
    let query = url.and_then(|url| url.path.split_once('?')).map_or("", |(_, query)| query);
    let own = scenario.sessions.tokens.parameter.as_deref();
    let shows = query.split('&').filter_map(|part| part.split_once('=')).any(|(name, _)| {
        own == Some(name) || PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    if shows {
        layers.wrong(
            "target.url",
            "has a token in its query, and reports would show it: put it into `sessions.token`, with `sessions.token_in` = \
             \"query\" and, where the parameter is not called token, `sessions.token_parameter`",
        );
    }
}
