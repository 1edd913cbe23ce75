//! The checks that matter where a gateway is started: of its TLS files, and of whether it may listen where it is told to.

use tickwire_config::Layers;
use tickwire_gateway::{ClientAuth, GatewayConfig, WhichFile};

use super::settings::Raw;

/// Checks what matters only where a gateway is started: its files, and whether it may listen where it is told to.
pub(super) fn check(raw: &Raw, gateway: &GatewayConfig, layers: &mut Layers) {
    check_traces(&raw.traces.endpoint, layers);
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

#[cfg(feature = "otel")]
fn check_traces(endpoint: &str, layers: &mut Layers) {
    if let Some(why) = (!endpoint.is_empty()).then(|| crate::traces::address(endpoint).err()).flatten() {
        layers.wrong("traces.endpoint", why);
    }
}

#[cfg(not(feature = "otel"))]
fn check_traces(endpoint: &str, layers: &mut Layers) {
    if !endpoint.is_empty() {
        let problem =
            "is set, and this program has no traces: build it with `--features otel`, or leave it away";
        layers.wrong("traces.endpoint", problem);
    }
}
