//! A server's certificates and keys, read from files and checked before they are used.

use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// No file with certificates or a key is longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They are asked for one, and may have none. One that is not trusted ends the handshake.
    Optional,
    /// Those without a trusted one are refused.
    Required,
}

/// The files of a server, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's own certificate, and behind it those of the authorities that lead from it to a trusted one.
    pub cert: PathBuf,
    /// The key of the server's own certificate.
    pub key: PathBuf,
    /// The authorities that have signed clients' certificates. It has to be there where clients are asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
}

/// The one of a server's files that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichFile {
    /// [`ServerFiles::cert`].
    Cert,
    /// [`ServerFiles::key`].
    Key,
    /// [`ServerFiles::client_ca`].
    ClientCa,
}

/// The reason why a server's files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}", .path.display())]
pub struct FilesError {
    /// The file that is wrong.
    pub which: WhichFile,
    /// Its path.
    pub path: PathBuf,
    /// The fault, and the remedy.
    pub problem: String,
}

/// The contents of the files, checked.
pub(super) struct Loaded {
    pub(super) key: CertifiedKey,
    pub(super) client_verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) expires: SystemTime,
}

/// The contents of the files, before anything is looked at.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(..)")
    }
}

impl ServerFiles {
    /// Reads and checks the files as [`ServerTls::load`](super::ServerTls::load) does.
    ///
    /// # Errors
    /// The first fault that was found.
    pub fn check(&self) -> Result<(), FilesError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        self.read()?.load(self, &Arc::new(provider), SystemTime::now()).map(drop)
    }

    pub(super) fn read(&self) -> Result<Contents, FilesError> {
        let client_ca = match (self.client_auth, &self.client_ca) {
            (ClientAuth::None, _) => None,
            (_, Some(path)) => Some(read(WhichFile::ClientCa, path)?),
            (_, None) => {
                let problem = "clients are asked for certificates, so a file has to name the authorities that sign them";
                return Err(self.wrong(WhichFile::ClientCa, problem));
            }
        };
        let (cert, key) = (read(WhichFile::Cert, &self.cert)?, read(WhichFile::Key, &self.key)?);
        Ok(Contents { cert, key, client_ca })
    }

    fn wrong(&self, which: WhichFile, problem: impl Into<String>) -> FilesError {
        let path = match which {
            WhichFile::Cert => self.cert.clone(),
            WhichFile::Key => self.key.clone(),
            WhichFile::ClientCa => self.client_ca.clone().unwrap_or_default(),
        };
        FilesError { which, path, problem: problem.into() }
    }
}

impl Contents {
    /// Returns a number that tells these contents from others. It says nothing about a key.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for part in [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()] {
            hasher.write(part.map_or(&[][..], Vec::as_slice));
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// Checks that everything can be read, that key and chain fit, and that no certificate is out of date.
    pub(super) fn load(
        &self,
        files: &ServerFiles,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Loaded, FilesError> {
        let wrong_cert = |problem: String| files.wrong(WhichFile::Cert, problem);
        let chain = certificates(&self.cert).map_err(wrong_cert)?;
        let expires = check_chain(&chain, now).map_err(wrong_cert)?;
        let key = key(&self.key).map_err(|problem| files.wrong(WhichFile::Key, problem))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let problem = format!(
                    "is not the key of the first certificate in {}; both have to be of one pair",
                    files.cert.display()
                );
                files.wrong(WhichFile::Key, problem)
            }
            error => files.wrong(WhichFile::Key, format!("cannot be used as a key: {error}")),
        })?;
        let wrong_ca = |problem: String| files.wrong(WhichFile::ClientCa, problem);
        let client_verifier = match &self.client_ca {
            None => None,
            Some(pem) => Some(verifier(pem, files.client_auth, provider).map_err(wrong_ca)?),
        };
        Ok(Loaded { key, client_verifier, expires })
    }
}

fn read(which: WhichFile, path: &Path) -> Result<Vec<u8>, FilesError> {
    let wrong = |problem: String| FilesError { which, path: path.to_owned(), problem };
    let unreadable = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(wrong(format!(
            "has more than {FILE_BYTES_MAX} bytes, which no certificates or keys have"
        )));
    }
    std::fs::read(path).map_err(unreadable)
}

/// Returns the certificates in a text of PEM, at least one.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence that begins with its name.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err("holds no certificate; it has to be PEM, with -----BEGIN CERTIFICATE----- in it".to_owned())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

/// Returns when the first certificate of a chain expires.
fn check_chain(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<SystemTime, String> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut until = i64::MAX;
    let mut below: Option<X509Certificate<'_>> = None;
    for (at, der) in chain.iter().enumerate() {
        let which = format!("certificate {} of {}", at + 1, chain.len());
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("{which} cannot be read: {error}"))?;
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if seconds > not_after {
            return Err(format!("{which} expired at {}; get a new one", moment(not_after)));
        }
        if seconds < not_before {
            let from = moment(not_before);
            return Err(format!(
                "{which} is valid from {from} on, and not before; is this machine's clock right?"
            ));
        }
        if below.is_some_and(|below| below.issuer() != certificate.subject()) {
            return Err(format!(
                "{which} has not signed the one before it; the server's own certificate comes first, then the one \
                 that signed it, and so on"
            ));
        }
        until = until.min(not_after);
        below = Some(certificate);
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(until.max(0) as u64))
}

/// Returns the key in a text of PEM.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence that begins with its name.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if String::from_utf8_lossy(pem).contains("ENCRYPTED") {
            return "is encrypted with a passphrase, which nobody is there to type; write it without one: \
                    openssl pkey -in KEY -out NEW"
                .to_owned();
        }
        format!("holds no key; it has to be PEM, with -----BEGIN PRIVATE KEY----- in it ({error})")
    })
}

fn verifier(
    pem: &[u8],
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem)? {
        roots.add(authority).map_err(|error| format!("a certificate in there cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(|verifier| verifier as _).map_err(|error| format!("cannot be used: {error}"))
}

fn moment(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}
