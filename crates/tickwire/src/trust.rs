//! The options of commands that connect to a gateway: whom they trust, who they are, and the tokens that they show.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use tickwire_client::Builder;
use tickwire_net::tls::{self, Identity, Settings, Trust, rustls};
use tickwire_wire::Secret;

/// The names of the options, for errors of TLS.
pub(crate) const SETTINGS: Settings =
    Settings { authorities: "--ca-file", insecure: None, server_name: "--server-name" };

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

    /// Reads the files.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub(crate) fn trust(&self) -> Result<Trust, String> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let told = |path: &Path| {
            let name = path.display().to_string();
            move |problem: String| format!("{name} {problem}")
        };
        let authorities = match &self.ca_file {
            Some(path) => tls::certificates(&read(path)?).map_err(told(path))?,
            None => Vec::new(),
        };
        let identity = match self.client_cert.as_ref().zip(self.client_key.as_ref()) {
            Some((cert, key)) => Some(Identity {
                chain: tls::certificates(&read(cert)?).map_err(told(cert))?,
                key: tls::key(&read(key)?).map_err(told(key))?,
            }),
            None => None,
        };
        Ok(Trust { authorities, insecure: false, server_name: self.server_name.clone(), identity })
    }
}

/// Reads a token from a file, which may have white space around it.
///
/// # Errors
/// Says what is wrong with the file. No part of it is shown.
pub(crate) fn read_token(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the token in {} cannot be read: {error}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{} has no token in it", path.display()));
    }
    Ok(Secret::new(token))
}

/// Returns the error of TLS that is the cause of another one.
pub(crate) fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(of_tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(of_tls);
        }
        cause = error.source();
    }
    None
}

/// Says why TLS with a server at `host:port` failed, and what to do.
pub(crate) fn explain(error: &(dyn Error + 'static), address: &str) -> String {
    match cause(error) {
        Some(of_tls) => tls::explain(of_tls, address, true, &SETTINGS),
        None => format!("the connection to {address} broke in the TLS handshake: {error}"),
    }
}
