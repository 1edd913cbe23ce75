//! TLS over a stream to a gateway: whom the client trusts, and who it is.

#[cfg(feature = "tls")]
pub(crate) use sealed::{Pem, Tls, Trust};
#[cfg(not(feature = "tls"))]
pub(crate) use without::{Tls, Trust};

#[cfg(feature = "tls")]
mod sealed {
    use std::error::Error;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use tickwire_net::tls::{self, ClientTls, Identity, Settings, TrustError, rustls};

    use crate::error::ConnectError;
    use crate::handshake::BoxTransport;
    use crate::target::Target;

    /// Whom the client trusts, and who it is.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Trust {
        pub(crate) authorities: Vec<Pem>,
        /// The files of the client's own certificate and key.
        pub(crate) identity: Option<(PathBuf, PathBuf)>,
        pub(crate) server_name: Option<String>,
        /// The names of the settings in errors, where they are not the builder's.
        pub(crate) names: Option<(&'static str, &'static str)>,
    }

    impl Trust {
        fn settings(&self) -> Settings {
            let (authorities, server_name) =
                self.names.unwrap_or(("Builder::ca_file", "Builder::server_name"));
            Settings { authorities, insecure: None, server_name }
        }
    }

    /// Certificates in PEM.
    #[derive(Clone, Debug)]
    pub(crate) enum Pem {
        File(PathBuf),
        Text(Vec<u8>),
    }

    /// The part that all connections of a client share, so that sessions are resumed.
    #[derive(Clone, Debug)]
    pub(crate) struct Tls {
        /// `None`: no gateway is at `wss://`.
        shared: Option<ClientTls>,
        settings: Settings,
    }

    impl Tls {
        /// Reads the files, where one of the gateways is at `wss://`.
        ///
        /// # Errors
        /// Returns [`ConnectError::TlsSetup`] where something cannot be used.
        pub(crate) fn new(trust: &Trust, targets: &[Target]) -> Result<Self, ConnectError> {
            let settings = trust.settings();
            let Some(target) = targets.iter().find(|target| target.is_tls) else {
                return Ok(Self { shared: None, settings });
            };
            let setup = |reason: String| ConnectError::TlsSetup { reason };
            let mut authorities = Vec::new();
            for pem in &trust.authorities {
                let found = match pem {
                    Pem::File(path) => {
                        let text = read(path)?;
                        tls::certificates(&text).map_err(|problem| setup(told(path, &problem)))?
                    }
                    Pem::Text(text) => tls::certificates(text)
                        .map_err(|problem| setup(format!("the text of Builder::ca_pem {problem}")))?,
                };
                authorities.extend(found);
            }
            let identity = match &trust.identity {
                None => None,
                Some((cert, key)) => {
                    let chain =
                        tls::certificates(&read(cert)?).map_err(|problem| setup(told(cert, &problem)))?;
                    let key = tls::key(&read(key)?).map_err(|problem| setup(told(key, &problem)))?;
                    Some(Identity { chain, key })
                }
            };
            let trust =
                tls::Trust { authorities, insecure: false, server_name: trust.server_name.clone(), identity };
            let shared = ClientTls::new(&trust, &target.address(), &settings)
                .map_err(|error: TrustError| setup(error.to_string()))?;
            for target in targets.iter().filter(|target| target.is_tls) {
                shared.towards(&target.address(), &settings).map_err(|error| setup(error.to_string()))?;
            }
            Ok(Self { shared: Some(shared), settings })
        }

        /// Agrees on keys.
        ///
        /// # Errors
        /// Returns [`ConnectError::Tls`], with the reason and the remedy, or those of the stream.
        ///
        /// # Cancel safety
        /// Dropping it drops the stream.
        pub(crate) async fn secure(
            &self,
            stream: BoxTransport,
            target: &Target,
        ) -> Result<BoxTransport, ConnectError> {
            let address = target.address();
            let missing = || ConnectError::TlsSetup { reason: format!("{address} came without a setup") };
            let shared = self.shared.as_ref().ok_or_else(missing)?;
            let shared = shared
                .towards(&address, &self.settings)
                .map_err(|error| ConnectError::TlsSetup { reason: error.to_string() })?;
            match shared.connect(stream).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(self.failure(&address, &error).unwrap_or_else(|| match error.kind() {
                    io::ErrorKind::UnexpectedEof => ConnectError::Tls {
                        reason: format!("{address} closed the connection in the middle of the TLS handshake"),
                    },
                    _ => ConnectError::Unreachable { address, source: Arc::new(error) },
                })),
            }
        }

        /// Returns the error of TLS that is the cause of another one. With TLS 1.3 a server refuses a client's certificate when the
        /// client has done its part of the handshake already.
        pub(crate) fn failure(&self, address: &str, error: &(dyn Error + 'static)) -> Option<ConnectError> {
            let mut cause = Some(error);
            while let Some(error) = cause {
                let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
                if let Some(of_tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    let reason = tls::explain(of_tls, address, true, &self.settings);
                    return Some(ConnectError::Tls { reason });
                }
                cause = error.source();
            }
            None
        }
    }

    fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
        let problem = |error: io::Error| told(path, &format!("cannot be read: {error}"));
        std::fs::read(path).map_err(|error| ConnectError::TlsSetup { reason: problem(error) })
    }

    fn told(path: &Path, problem: &str) -> String {
        format!("{} {problem}", path.display())
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    use crate::error::ConnectError;
    use crate::handshake::BoxTransport;
    use crate::target::Target;

    /// Nobody is trusted without TLS.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Trust(());

    #[derive(Clone, Debug)]
    pub(crate) struct Tls;

    impl Tls {
        #[expect(clippy::unnecessary_wraps, reason = "with TLS it may fail")]
        pub(crate) fn new(_: &Trust, _: &[Target]) -> Result<Self, ConnectError> {
            Ok(Self)
        }

        #[expect(clippy::unused_async, reason = "with TLS it waits")]
        pub(crate) async fn secure(
            &self,
            _: BoxTransport,
            target: &Target,
        ) -> Result<BoxTransport, ConnectError> {
            Err(ConnectError::NoTls { url: target.to_string() })
        }

        #[expect(clippy::unused_self, reason = "with TLS it is needed")]
        pub(crate) fn failure(&self, _: &str, _: &(dyn std::error::Error + 'static)) -> Option<ConnectError> {
            None
        }
    }
}
