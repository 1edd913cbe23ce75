//! The options of commands that connect to a gateway with TLS.

use std::path::PathBuf;

use clap::Args;
use tickwire_client::Builder;

/// Whom a command trusts, and who it is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TrustFlags {
    /// Authorities (PEM) that may vouch for a gateway at wss://, beside the system's
    #[arg(long, value_name = "FILE", env = "TICKWIRE_CA_FILE", help_heading = "TLS")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Own certificate (PEM), for gateways that ask for one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "TLS")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Key of the own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "TLS")]
    pub(crate) client_key: Option<PathBuf>,
    /// Name that the gateway's certificate has to be for, instead of the host of the URL
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub(crate) server_name: Option<String>,
}

impl TrustFlags {
    /// Returns the same client, with these.
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        let mut builder = builder.tls_names("--ca-file", "--server-name");
        if let Some(file) = &self.ca_file {
            builder = builder.ca_file(file);
        }
        if let Some((cert, key)) = self.client_cert.as_ref().zip(self.client_key.as_ref()) {
            builder = builder.client_certificate(cert, key);
        }
        match &self.server_name {
            Some(name) => builder.server_name(name),
            None => builder,
        }
    }
}
