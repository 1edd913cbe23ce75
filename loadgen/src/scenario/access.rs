//! What sessions show of themselves and whom they trust: tokens and TLS.

use std::fmt::{self, Debug, Formatter, Write as _};
use std::fs;

use tickwire_net::tls::Settings;
pub(crate) use tickwire_net::tls::Trust;
use tickwire_net::tls::rustls::pki_types::CertificateDer;
use tickwire_net::tls::rustls::pki_types::pem::PemObject as _;

use super::Scenario;
use super::fields::Fields;

/// Field whose value no report shows.
pub(crate) const SECRET: &str = "sessions.token";
/// What stands there instead.
pub(crate) const REDACTED: &str = "<token>";
/// Names of parameters by which a token would come into reports.
const PARAMETERS: [&str; 3] = ["token", "access_token", "jwt"];
const TRUST: [&str; 3] = ["sessions.tls.ca", "sessions.tls.insecure", "sessions.tls.server_name"];

/// How whom sessions trust is set, for what is said of errors.
pub(crate) const TLS_SETTINGS: Settings =
    Settings { authorities: TRUST[0], insecure: TRUST[1], server_name: TRUST[2] };

/// Visible ASCII that only the server gets to see.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Debug for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Token {
    fn new(text: &str) -> Option<Self> {
        let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_visible.then(|| Self(text.to_owned()))
    }

    /// For a header.
    pub(crate) fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.0)
    }

    /// For a query (RFC 3986, section 2.3).
    pub(crate) fn escaped(&self) -> String {
        let mut text = String::new();
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(byte.into());
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    }

    /// What a server said, without the token that it may have repeated.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, REDACTED).replace(&self.escaped(), REDACTED)
    }
}

/// Tokens of all sessions, each the next one's in turn; empty: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) all: Vec<Token>,
    /// None: in a header.
    pub(crate) parameter: Option<String>,
}

impl Tokens {
    pub(crate) fn of(&self, session: usize) -> Option<&Token> {
        self.all.get(session % self.all.len().max(1))
    }
}

pub(super) fn trust(f: &mut Fields) -> Trust {
    let mut authorities = Vec::new();
    if let Some(file) = f.text(TRUST[0]) {
        match read_authorities(&file) {
            Ok(found) => authorities = found,
            Err(reason) => f.wrong(TRUST[0], reason),
        }
    }
    Trust { authorities, insecure: f.flag(TRUST[1]).unwrap_or(false), server_name: f.text(TRUST[2]) }
}

fn read_authorities(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{file} holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{file} is no file of certificates in PEM: {error}")),
    }
}

pub(super) fn tokens(f: &mut Fields) -> Tokens {
    let mut all = Vec::new();
    if let Some(text) = f.text(SECRET) {
        match Token::new(&text) {
            Some(token) => all.push(token),
            None => f.wrong(SECRET, "has to be visible ASCII without spaces"),
        }
    }
    if let Some(file) = f.text("sessions.tokens_file") {
        if !all.is_empty() {
            f.wrong("sessions.tokens_file", "stands beside `sessions.token`; take one of them out");
        }
        match read_tokens(&file) {
            Ok(found) => all.extend(found),
            Err(reason) => f.wrong("sessions.tokens_file", reason),
        }
    }
    let is_query = f.choice("sessions.token_in", &[("header", false), ("query", true)]);
    let name = f.text("sessions.token_parameter");
    let has_tokens = f.has(SECRET) || f.has("sessions.tokens_file");
    if is_query == Some(true) && !has_tokens {
        f.wrong("sessions.token_in", "there are no tokens: `sessions.token` or `sessions.tokens_file`");
    }
    if let Some(name) = &name {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_query != Some(true) {
            f.wrong("sessions.token_parameter", "is for `sessions.token_in` = \"query\"");
        } else if name.is_empty() || !name.bytes().all(is_plain) {
            f.wrong("sessions.token_parameter", "has to be a name of letters, digits, and -._~");
        }
    }
    let parameter = is_query.unwrap_or(false).then(|| name.unwrap_or_else(|| PARAMETERS[0].to_owned()));
    Tokens { all, parameter }
}

/// One a line; empty lines are none.
fn read_tokens(file: &str) -> Result<Vec<Token>, String> {
    let text = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let token = Token::new(line.trim());
        found.push(token.ok_or_else(|| {
            format!("{file}, line {}: a token has to be visible ASCII without spaces", at + 1)
        })?);
    }
    if found.is_empty() { Err(format!("{file} is empty; write one token a line")) } else { Ok(found) }
}

/// What a run with tokens does not show, because nobody looks at them.
pub(crate) fn unchecked(scenario: &Scenario) -> Option<String> {
    let is_own = scenario.has_gateway() && !scenario.sessions.tokens.all.is_empty();
    let who = match &scenario.target.url {
        Some(_) => "only what stands in front of it can refuse them",
        None => "whether a token lets anybody in was not tested; name a server that does in `target.url`",
    };
    is_own.then(|| format!("sessions showed tokens, and the gateway of this run looks at no tokens: {who}"))
}

/// Mistakes that show only beside the URL.
pub(super) fn check(f: &mut Fields, scenario: &Scenario) {
    let url = scenario.target.url.as_ref();
    if !url.is_some_and(|url| url.is_tls)
        && let Some(field) = TRUST
            .into_iter()
            .find(|field| f.has(field) && (*field != TRUST[1] || scenario.sessions.trust.insecure))
    {
        let what = match url {
            Some(_) => "is for TLS, and `target.url` is plain: write wss://, or take it out",
            None => {
                "is for TLS, and a gateway of its own has none: put a TLS proxy in front of it (`gateway.listen`) and name that in \
                 `target.url`, or take it out"
            }
        };
        f.wrong(field, what);
    }
    let query = url.and_then(|url| url.path.split_once('?')).map_or("", |(_, query)| query);
    let own = scenario.sessions.tokens.parameter.as_deref();
    let shows = query.split('&').filter_map(|part| part.split_once('=')).any(|(name, _)| {
        own == Some(name) || PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    if shows {
        f.wrong(
            "target.url",
            "has a token in its query, and reports would show it: put it into `sessions.token`, with `sessions.token_in` = \
             \"query\" and, where the parameter is not called token, `sessions.token_parameter`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layers;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    fn layers(text: &str) -> Layers {
        Layers { name: "x.toml".to_owned(), text: text.to_owned(), ..Layers::default() }
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = layers(text).read().expect_err("it is wrong").to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn mistakes_name_the_remedy_and_no_token() {
        check_refused(
            "[sessions.tls]\ninsecure = true",
            "x.toml, line 2: `sessions.tls.insecure`: is for TLS",
        );
        check_refused(
            "[sessions.tls]\nserver_name = \"x\"\n[target]\nurl = \"ws://h:1/\"\nbus = \"nats://h:1\"",
            "write wss://",
        );
        check_refused("[sessions.tls]\nca = \"/no/such/file\"", "cannot read /no/such/file: No such file");
        check_refused(
            "[sessions]\ntokens_file = \"/no/such/file\"",
            "cannot read /no/such/file: No such file",
        );
        check_refused("[sessions]\ntoken = \"SECRET SECRET\"", "visible ASCII");
        check_refused("[sessions]\ntoken_in = \"query\"", "there are no tokens");
        check_refused("[sessions]\ntoken = \"SECRET\"\ntoken_in = \"cookie\"", "one of header, query");
        check_refused(
            "[sessions]\ntoken = \"SECRET\"\ntoken_parameter = \"t\"",
            "`sessions.token_in` = \"query\"",
        );
        check_refused(
            "[target]\nurl = \"ws://h:1/?a=b&token=SECRET\"\nbus = \"nats://h:1\"",
            "sessions.token_in",
        );
        for (bytes, expected) in [
            (&b""[..], "is empty; write one token a line"),
            (b"good\r\n\nSECRET\xff\n", "line 3: a token has to be visible ASCII"),
            (b"SECRET SECRET\n", "line 1: a token"),
        ] {
            let file = file(bytes);
            check_refused(&format!("[sessions]\ntokens_file = {:?}", file.path()), expected);
        }
        let file = file(b"nothing of the kind");
        check_refused(&format!("[sessions.tls]\nca = {:?}", file.path()), "holds no certificate in PEM");
    }

    #[test]
    fn each_session_has_the_next_token() {
        let file = file(b"one\n two\t\r\n\nthree");
        let scenario = layers(&format!("[sessions]\ntokens_file = {:?}", file.path())).read().unwrap();
        let of = |session| scenario.sessions.tokens.of(session).unwrap().bearer();
        assert_eq!(of(0), "Authorization: Bearer one\r\n");
        assert_eq!((of(4), of(5)), (of(1), of(2)));
        assert_eq!(Tokens::default().of(7), None);
    }

    #[test]
    fn a_gateway_that_looks_at_no_tokens_is_named() {
        let said = |text: &str| unchecked(&layers(text).read().unwrap());
        let own = said("[sessions]\ntoken = \"SECRET\"").unwrap();
        assert!(own.contains("was not tested") && !own.contains("SECRET"), "{own}");
        let proxy = "[gateway]\nlisten = \"127.0.0.1:7400\"\n[target]\nurl = \"ws://h:1/\"\n[sessions]\ntoken = \"a\"";
        assert!(said(proxy).unwrap().contains("only what stands in front of it"));
        assert_eq!(said("[sessions]\ncount = 5"), None);
        let theirs = "[target]\nurl = \"ws://h:1/\"\nbus = \"nats://h:1\"\n[sessions]\ntoken = \"a\"";
        assert_eq!(said(theirs), None);
    }

    #[track_caller]
    fn check_hidden(text: &str, flags: &[(&str, &str)]) {
        let mut layers = layers(text);
        for (field, value) in flags {
            layers.flag("--set", field, value);
        }
        let scenario = layers.read().unwrap();
        assert_eq!(scenario.sessions.tokens.all.len(), 1);
        let (shown, all) = (&scenario.text, format!("{scenario:?}"));
        assert!(shown.contains(REDACTED) && !shown.contains("SE"), "{shown}");
        assert!(!all.contains("SECRET"), "{all}");
        assert!(shown.contains("count = 7"), "{shown}");
    }

    #[test]
    fn tokens_are_shown_to_nobody() {
        check_hidden("[sessions]\ntoken = \"SECRET\" # it\ncount = 7\n", &[]);
        check_hidden("sessions = { token = 'SECRET', count = 7 }\n", &[]);
        check_hidden("sessions.\"token\" = \"SE\\u0043RET\"\nsessions.count = 7\n", &[]);
        check_hidden("# count = 7\n[sessions]\ntoken = \"SECRET0\"\n", &[("sessions.token", "SECRET")]);
        let token = Token::new("SE/CRET+=").unwrap();
        assert_eq!(token.escaped(), "SE%2FCRET%2B%3D");
        assert_eq!(token.redact("no SE/CRET+= and SE%2FCRET%2B%3D"), "no <token> and <token>");
    }
}
