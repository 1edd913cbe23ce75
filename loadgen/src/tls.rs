//! TLS towards a server: one configuration for all sessions, and what is said when it fails.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    RootCertStore, SignatureScheme,
};

use crate::html::moment;
use crate::scenario::Trust;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// For a server at `host:port`.
    ///
    /// # Errors
    /// When there is nobody to trust, or the host's name is none that a certificate can have.
    pub(crate) fn new(trust: &Trust, address: &str) -> anyhow::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = trust.server_name.as_deref().unwrap_or(host.trim_matches(['[', ']']));
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("no certificate can be for `{host}`; set `sessions.tls.server_name`"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = if trust.insecure {
            let anybody = Arc::new(Anybody(algorithms));
            builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(trust)?).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Sessions stand for clients that know nothing of each other: each handshake costs the server its whole price.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    /// # Errors
    /// When the configuration does not allow one.
    pub(crate) fn connection(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }
}

/// The system's authorities, and those of the scenario.
fn roots(trust: &Trust) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in trust.authorities.iter() {
        roots.add(authority.clone()).context("`sessions.tls.ca`: a certificate in there cannot be read")?;
    }
    ensure!(
        !roots.is_empty(),
        "this system has no certificates of authorities; name a file with some in `sessions.tls.ca`"
    );
    Ok(roots)
}

/// What went wrong with a server at `host:port`, and the remedy.
pub(crate) fn explain(error: &Error, address: &str, is_shaking: bool) -> String {
    match error {
        Error::InvalidCertificate(reason) => {
            let (why, remedy) = distrust(reason);
            format!("the certificate of {address} is not trusted: {why}; {remedy}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!(
                "{address} asks for a certificate of its clients, and sessions have none; load it without, or through a proxy"
            )
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => format!(
            "{address} knows no server of the name that was asked for; `sessions.tls.server_name` sets that name"
        ),
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!(
                "TLS with {address} failed, for it speaks no TLS 1.2 or 1.3 that sessions speak too ({error})"
            )
        }
        Error::InvalidMessage(_) if is_shaking => {
            format!("{address} speaks no TLS; for a plain server write ws://")
        }
        error => format!("TLS with {address} failed: {error}"),
    }
}

/// Why a certificate is not trusted, and the remedy.
fn distrust(reason: &CertificateError) -> (String, &'static str) {
    use CertificateError as E;
    const ANYBODY: &str =
        "for a test that is not about trust, `sessions.tls.insecure` = true takes any certificate";
    const AUTHORITY: &str = "name the file of its authority in `sessions.tls.ca`";
    const NAME: &str = "`sessions.tls.server_name` sets the name that is asked for";
    const RENEW: &str = "give the server a new one";
    match reason {
        E::UnknownIssuer => ("no known authority has signed it".to_owned(), AUTHORITY),
        E::NotValidForName => ("it is for another name".to_owned(), NAME),
        E::NotValidForNameContext { expected, presented } => {
            let asked = expected.to_str();
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            (format!("it is for {names}, and {asked} was asked for"), NAME)
        }
        E::Expired => ("it has expired".to_owned(), RENEW),
        E::ExpiredContext { not_after, .. } => (format!("it expired at {}", at(*not_after)), RENEW),
        E::NotValidYet => ("it is not valid yet".to_owned(), "look at the clocks of both machines"),
        E::NotValidYetContext { not_before, .. } => {
            let text = format!("it is valid from {} on, and not before", at(*not_before));
            (text, "look at the clocks of both machines")
        }
        E::Revoked => ("its authority has revoked it".to_owned(), RENEW),
        E::BadSignature => (
            "its signature is not of the authority that it names".to_owned(),
            "`sessions.tls.ca` may hold an authority of the same name and another key",
        ),
        E::BadEncoding => ("it cannot be read".to_owned(), RENEW),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            ("it is not meant for servers (extended key usage)".to_owned(), RENEW)
        }
        // The verifier has no variant for it; the text is its name.
        E::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => (
            "it is an authority's own certificate (CA:TRUE), as `openssl req -x509` makes them, and a server has to have one \
             that an authority signed"
                .to_owned(),
            "make the server's with -addext basicConstraints=critical,CA:FALSE, or sign one with that authority and name the \
             authority in `sessions.tls.ca`; or, for a test that is not about trust, set `sessions.tls.insecure` = true",
        ),
        other => (other.to_string(), ANYBODY),
    }
}

/// `DnsName("feed.example")` and the like, as the verifier writes names, without what is around them.
fn plain(name: &str) -> String {
    let within = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    within.unwrap_or(name).trim_matches('"').to_owned()
}

fn at(time: UnixTime) -> String {
    moment(time.as_secs().saturating_mul(1_000_000_000))
}

/// Takes every certificate. Signatures of the handshake are checked all the same.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(error: impl Into<Error>, parts: &[&str]) {
        let text = explain(&error.into(), "h:443", true);
        for part in parts {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(!text.contains("Error") && !text.contains("Context") && !text.contains("DnsName"), "{text}");
    }

    #[test]
    fn the_usual_reasons_are_plain_words_with_a_remedy() {
        use CertificateError as E;
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        check(E::UnknownIssuer, &["certificate of h:443", "no known authority", "`sessions.tls.ca`"]);
        let name = E::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: vec!["DnsName(\"b.example\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()],
        };
        check(
            name,
            &["it is for b.example, 127.0.0.1, and a.example was asked for; `sessions.tls.server_name`"],
        );
        let expired = E::ExpiredContext { time: time(1_800_000_000), not_after: time(1_767_623_400) };
        check(expired, &["expired at 2026-01-05T14:30:00Z", "new one"]);
        let early = E::NotValidYetContext { time: time(0), not_before: time(1_767_623_400) };
        check(early, &["valid from 2026-01-05T14:30:00Z on", "clocks"]);
        check(E::Revoked, &["revoked", "new one"]);
        check(E::InvalidPurpose, &["not meant for servers"]);
        check(Error::AlertReceived(AlertDescription::CertificateRequired), &["certificate of its clients"]);
    }
}
