//! TLS towards clients: what a server shows, and how it is replaced while sessions go on.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{Contents, FilesError, ServerFiles};

/// The reason why a server cannot speak TLS.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// One of the files cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The library refuses its configuration.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] Error),
}

/// The outcome of a look at the files.
#[derive(Clone, Debug)]
pub enum Reload {
    /// They hold what is in use.
    Same,
    /// They hold something else, which is in use from now on.
    Replaced,
    /// They hold something that cannot be used, so what was in use still is.
    Kept {
        /// The fault that was found.
        error: ServerTlsError,
        /// Whether the look before found the same.
        is_known: bool,
    },
}

/// The part that all connections of a server share: TLS 1.2 and 1.3, HTTP/1.1, resumption by tickets, no early data.
///
/// Sessions are resumed by tickets whose keys change each six hours and with each new certificate; nothing is kept for a
/// session that ended.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    expires: SystemTime,
    digest: u64,
    /// The fault of what the last look found, where that could not be used.
    refused: Option<String>,
}

impl ServerTls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// When one of them cannot be used: it cannot be read, key and chain do not fit, or a certificate is out of date.
    pub fn load(files: ServerFiles) -> Result<Self, ServerTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = current(&files.read()?, &files, &provider)?;
        Ok(Self { files, provider, current: RwLock::new(current) })
    }

    /// Reads the files again and, where they changed and are good, uses them for handshakes from now on.
    pub fn reload(&self) -> Reload {
        let contents = match self.files.read() {
            Ok(contents) => contents,
            Err(error) => return self.kept(error.into()),
        };
        if contents.digest() == self.with(|current| current.digest) {
            self.change(|current| current.refused = None);
            return Reload::Same;
        }
        match current(&contents, &self.files, &self.provider) {
            Ok(new) => {
                self.change(|current| *current = new);
                Reload::Replaced
            }
            Err(error) => self.kept(error),
        }
    }

    fn kept(&self, error: ServerTlsError) -> Reload {
        let told = error.to_string();
        let before = self.change(|current| current.refused.replace(told.clone()));
        Reload::Kept { error, is_known: before == Some(told) }
    }

    /// Returns when the certificate in use expires.
    pub fn expires(&self) -> SystemTime {
        self.with(|current| current.expires)
    }

    /// Agrees on keys with a client. Where they do not agree, the client has been told why, and it returns when the client has gone:
    /// to close while its bytes come would take the reason from it.
    ///
    /// # Errors
    /// Those of the stream, and of TLS, with a [`rustls::Error`] inside.
    ///
    /// # Cancel safety
    /// Dropping it drops the stream.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        match TlsAcceptor::from(self.config()).accept(stream).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, mut stream)) => {
                let _ = stream.shutdown().await;
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                Err(error)
            }
        }
    }

    /// Returns what a handshake that begins now is made with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.with(|current| Arc::clone(&current.config))
    }

    fn with<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Current) -> T) -> T {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn current(
    contents: &Contents,
    files: &ServerFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Current, ServerTlsError> {
    let loaded = contents.load(files, provider, SystemTime::now())?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = match loaded.client_verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.key)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket vouches for the client's certificate of its first handshake, so it must not outlive the authorities that it
    // was checked by: each load has keys of its own.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Current {
        config: Arc::new(config),
        expires: loaded.expires,
        digest: contents.digest(),
        refused: None,
    })
}
