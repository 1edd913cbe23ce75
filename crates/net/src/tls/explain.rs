//! Plain words for what went wrong with TLS, and the remedy.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The names of a program's settings, for the remedies.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Names certificates of authorities.
    pub authorities: &'static str,
    /// Takes any certificate, where the program has such a setting.
    pub insecure: Option<&'static str>,
    /// Names the server.
    pub server_name: &'static str,
}

/// Says what went wrong with a server at `host:port`, and the remedy. `is_shaking`: the handshake was not over.
pub fn explain(error: &Error, address: &str, is_shaking: bool, settings: &Settings) -> String {
    let Settings { server_name, .. } = settings;
    match error {
        Error::InvalidCertificate(reason) => {
            let (why, remedy) = distrust(reason, settings);
            format!("the certificate of {address} is not trusted: {why}; {remedy}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!(
                "{address} asks for a certificate of its clients, and this one has none or another one than it trusts"
            )
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => format!(
            "{address} knows no server of the name that was asked for; `{server_name}` sets that name"
        ),
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!("TLS with {address} failed, for it speaks no TLS 1.2 or 1.3 as this side does ({error})")
        }
        Error::InvalidMessage(_) if is_shaking => {
            format!("{address} speaks no TLS; for a plain server write ws://")
        }
        error => format!("TLS with {address} failed: {error}"),
    }
}

/// Why a certificate is not trusted, and the remedy.
fn distrust(reason: &CertificateError, settings: &Settings) -> (String, String) {
    use CertificateError as E;
    let Settings { authorities, insecure, server_name } = settings;
    let name = || format!("`{server_name}` sets the name that is asked for");
    let renew = || "give the server a new one".to_owned();
    let clocks = || "look at the clocks of both machines".to_owned();
    match reason {
        E::UnknownIssuer => (
            "no known authority has signed it".to_owned(),
            format!("name the file of its authority in `{authorities}`"),
        ),
        E::NotValidForName => ("it is for another name".to_owned(), name()),
        E::NotValidForNameContext { expected, presented } => {
            let asked = expected.to_str();
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            (format!("it is for {names}, and {asked} was asked for"), name())
        }
        E::Expired => ("it has expired".to_owned(), renew()),
        E::ExpiredContext { not_after, .. } => (format!("it expired at {}", at(*not_after)), renew()),
        E::NotValidYet => ("it is not valid yet".to_owned(), clocks()),
        E::NotValidYetContext { not_before, .. } => {
            (format!("it is valid from {} on, and not before", at(*not_before)), clocks())
        }
        E::Revoked => ("its authority has revoked it".to_owned(), renew()),
        E::BadSignature => (
            "its signature is not of the authority that it names".to_owned(),
            format!("`{authorities}` may hold an authority of the same name and another key"),
        ),
        E::BadEncoding => ("it cannot be read".to_owned(), renew()),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            ("it is not meant for servers (extended key usage)".to_owned(), renew())
        }
        // The verifier has no variant for it; the text is its name.
        E::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => (
            "it is an authority's own certificate (CA:TRUE), as `openssl req -x509` makes them, and a server has to have one \
             that an authority signed"
                .to_owned(),
            format!(
                "make the server's with -addext basicConstraints=critical,CA:FALSE, or sign one with that authority and name \
                 the authority in `{authorities}`{}",
                insecure.map_or(String::new(), |insecure| format!(
                    "; or, for a test that is not about trust, set `{insecure}` = true"
                ))
            ),
        ),
        other => (
            other.to_string(),
            insecure.map_or_else(renew, |insecure| {
                format!("for a test that is not about trust, `{insecure}` = true takes any certificate")
            }),
        ),
    }
}

/// Returns the name of `DnsName("feed.example")` and the like, as the verifier writes names, without what is around it.
fn plain(name: &str) -> String {
    let within = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    within.unwrap_or(name).trim_matches('"').to_owned()
}

fn at(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let moment = OffsetDateTime::from_unix_timestamp(seconds as i64).ok();
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}
