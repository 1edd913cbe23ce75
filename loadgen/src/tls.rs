//! TLS towards a server: one configuration for all sessions, and what is said when it fails.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use crate::scenario::access::Trust;

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
    for authority in &trust.authorities {
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
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "the certificate of {address} is not trusted: no known authority has signed it; name the file of its authority in \
             `sessions.tls.ca`"
        ),
        Error::InvalidCertificate(reason @ CertificateError::NotValidForNameContext { .. }) => format!(
            "the certificate of {address} is not trusted: {reason}; `sessions.tls.server_name` sets the name that is asked for"
        ),
        Error::InvalidCertificate(reason) => {
            format!(
                "the certificate of {address} is not trusted: {reason}; see `sessions.tls` in the scenario"
            )
        }
        Error::InvalidMessage(_) if is_shaking => {
            format!("{address} speaks no TLS; for a plain server write ws://")
        }
        error => format!("TLS with {address} failed: {error}"),
    }
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
