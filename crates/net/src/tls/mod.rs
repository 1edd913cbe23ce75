//! TLS on both sides. Towards servers: whom a client trusts ([`Trust`]), and what is said when it fails ([`explain`]). Towards
//! clients: certificates and keys in files, which may change ([`ServerTls`]). The stream is over readiness ([`Secured`]) or over
//! tokio ([`ClientTls::connect`], [`ServerTls::accept`]).

mod certificate;
mod explain;
mod files;
mod server;
mod stream;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// The library, for its certificates and errors.
pub use rustls;
pub use tokio_rustls::client::TlsStream;
pub use tokio_rustls::server::TlsStream as ServerTlsStream;

pub use self::certificate::CertificateFacts;
pub use self::explain::{Settings, explain};
pub use self::files::{ClientAuth, FilesError, ServerFiles, WhichFile, certificates, key};
pub use self::server::{Reload, ServerTls, ServerTlsError};
pub use self::stream::{Brought, Received, Secured};

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates of authorities beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Any certificate is taken. Signatures of the handshake are checked all the same.
    pub insecure: bool,
    /// The name that the server's certificate has to be for; none: the host of the URL.
    pub server_name: Option<String>,
    /// The certificate for servers that ask their clients for one.
    pub identity: Option<Identity>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The own certificate, and those that lead from it to an authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the own certificate.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// The reason why a client cannot speak TLS at all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustError {
    /// The host's name is none that a certificate can have.
    #[error("no certificate can be for `{host}`; set `{setting}`")]
    Name {
        /// The name.
        host: String,
        /// The setting that names another one.
        setting: &'static str,
    },
    /// One of the authorities is no certificate.
    #[error("`{setting}`: a certificate in there cannot be read: {source}")]
    Authority {
        /// The setting that names it.
        setting: &'static str,
        /// The fault that the library found.
        source: Error,
    },
    /// The client's own certificate and key cannot be used.
    #[error("the client's own certificate and key cannot be used: {0}")]
    Identity(Error),
    /// There is nobody to trust.
    #[error("this system has no certificates of authorities; name a file with some in `{setting}`")]
    Nobody {
        /// The setting that names them.
        setting: &'static str,
    },
    /// The library refuses its configuration.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] Error),
}

/// The part that all connections to one server share.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Whether the name was set, and is not that of the server's address.
    is_named: bool,
}

impl ClientTls {
    /// Prepares connections to a server at `host:port`. `settings` are named in errors.
    ///
    /// # Errors
    /// When there is nobody to trust, or the host's name is none that a certificate can have.
    pub fn new(trust: &Trust, address: &str, settings: &Settings) -> Result<Self, TrustError> {
        let name = name_of(trust.server_name.as_deref(), address, settings)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = if trust.insecure {
            let anybody = Arc::new(Anybody(algorithms));
            builder.dangerous().with_custom_certificate_verifier(anybody)
        } else {
            builder.with_root_certificates(roots(trust, settings)?)
        };
        let mut config = match trust.identity.clone() {
            None => config.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                config.with_client_auth_cert(chain, key).map_err(TrustError::Identity)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name, is_named: trust.server_name.is_some() })
    }

    /// Prepares connections to another server, with the same trust and the same memory of sessions.
    ///
    /// # Errors
    /// When the host's name is none that a certificate can have.
    pub fn towards(&self, address: &str, settings: &Settings) -> Result<Self, TrustError> {
        let name = if self.is_named { self.name.clone() } else { name_of(None, address, settings)? };
        Ok(Self { config: Arc::clone(&self.config), name, is_named: self.is_named })
    }

    /// Each connection pays for a whole handshake, as clients do that know nothing of each other.
    #[must_use]
    pub fn without_resumption(mut self) -> Self {
        Arc::make_mut(&mut self.config).resumption = Resumption::disabled();
        self
    }

    /// Returns a connection that has not begun, for [`Secured`].
    ///
    /// # Errors
    /// When the configuration does not allow one.
    pub fn connection(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// Agrees on keys over a stream of tokio.
    ///
    /// # Errors
    /// Those of the stream, and of TLS, with a [`rustls::Error`] inside.
    ///
    /// # Cancel safety
    /// Dropping it drops the stream.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }
}

fn name_of(
    named: Option<&str>,
    address: &str,
    settings: &Settings,
) -> Result<ServerName<'static>, TrustError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = named.unwrap_or(host.trim_matches(['[', ']']));
    ServerName::try_from(host.to_owned())
        .map_err(|_| TrustError::Name { host: host.to_owned(), setting: settings.server_name })
}

/// Returns the system's authorities, and those that were named.
fn roots(trust: &Trust, settings: &Settings) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in &trust.authorities {
        roots
            .add(authority.clone())
            .map_err(|source| TrustError::Authority { setting: settings.authorities, source })?;
    }
    if roots.is_empty() {
        return Err(TrustError::Nobody { setting: settings.authorities });
    }
    Ok(roots)
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
