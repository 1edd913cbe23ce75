//! The settings of TLS, and the rule which addresses need it.

use std::path::PathBuf;
use std::time::Duration;

use tickwire_config::Layers;
use tickwire_gateway::{ClientAuth, GatewayConfig, ServerFiles, TlsConfig, WhichFile};

use super::settings::{ClientAuth as Asked, GatewayTls, Raw};

/// Makes the settings of TLS. Files are not looked at.
pub(super) fn tls(from: &GatewayTls, layers: &mut Layers) -> Option<TlsConfig> {
    let is_set = |text: &String| !text.is_empty();
    let client_auth = match from.client_auth {
        Asked::None => ClientAuth::None,
        Asked::Optional => ClientAuth::Optional,
        Asked::Required => ClientAuth::Required,
    };
    match (is_set(&from.cert_file), is_set(&from.key_file)) {
        (true, false) => {
            layers.wrong("gateway.tls.key_file", "is empty; it has to name the key of gateway.tls.cert_file");
        }
        (false, true) => layers.wrong(
            "gateway.tls.cert_file",
            "is empty; it has to name the certificate of gateway.tls.key_file",
        ),
        (false, false) => {
            let given = [
                ("client_auth", client_auth != ClientAuth::None),
                ("client_ca_file", is_set(&from.client_ca_file)),
                ("admin", from.admin),
            ];
            for (name, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                let problem = "has no meaning without TLS; set gateway.tls.cert_file and gateway.tls.key_file, or leave it away";
                layers.wrong(&format!("gateway.tls.{name}"), problem);
            }
            return None;
        }
        (true, true) => {}
    }
    if client_auth == ClientAuth::None && is_set(&from.client_ca_file) {
        let problem = "is named, and clients are not asked for certificates; set gateway.tls.client_auth to optional or required";
        layers.wrong("gateway.tls.client_ca_file", problem);
    }
    if client_auth != ClientAuth::None && !is_set(&from.client_ca_file) {
        let problem = "is empty; it has to name the authorities that sign clients' certificates";
        layers.wrong("gateway.tls.client_ca_file", problem);
    }
    Some(TlsConfig {
        files: ServerFiles {
            cert: PathBuf::from(&from.cert_file),
            key: PathBuf::from(&from.key_file),
            client_ca: is_set(&from.client_ca_file).then(|| PathBuf::from(&from.client_ca_file)),
            client_auth,
        },
        reload_every: Duration::from_millis(from.reload_ms),
        admin: from.admin,
    })
}

/// Checks what matters only where a gateway is started: its files, and whether it may listen where it is told to.
pub(super) fn check(raw: &Raw, gateway: &GatewayConfig, layers: &mut Layers) {
    let listen = gateway.listen;
    match &gateway.tls {
        None if !listen.ip().to_canonical().is_loopback() && !raw.gateway.insecure => layers.wrong(
            "gateway.listen",
            format_args!(
                "{listen} can be reached from elsewhere, so it needs TLS: set gateway.tls.cert_file and gateway.tls.key_file; \
                 or listen on 127.0.0.1; or, where something else ends TLS (a proxy) or nobody else can reach it, say --insecure \
                 (gateway.insecure = true)"
            ),
        ),
        Some(tls) => {
            // Without the file of the authorities, the error was told already.
            let is_complete = tls.files.client_auth == ClientAuth::None || tls.files.client_ca.is_some();
            if let Some(error) = is_complete.then(|| tls.files.check().err()).flatten() {
                let setting = match error.which {
                    WhichFile::Cert => "gateway.tls.cert_file",
                    WhichFile::Key => "gateway.tls.key_file",
                    WhichFile::ClientCa => "gateway.tls.client_ca_file",
                };
                layers.wrong(setting, error);
            }
        }
        None => {}
    }
}
