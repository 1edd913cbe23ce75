//! The settings of who may open a session, how often, and from where.

use std::net::IpAddr;

use tickwire_config::Layers;
use tickwire_gateway::{Admission, IpNet, Proxies, is_origin};

use super::settings::Gateway;

/// Reads them, and tells `layers` what is wrong.
pub(super) fn read(from: &Gateway, layers: &mut Layers) -> Admission {
    for origin in from.origins.iter().filter(|origin| !is_origin(origin)) {
        let problem = format_args!(
            "`{origin}` is no origin: write https://app.example, without a path, or `*` for all"
        );
        layers.wrong("gateway.origins", problem);
    }
    let mut networks = Vec::new();
    for text in &from.proxies {
        match network(text) {
            Some(network) => networks.push(network),
            None => {
                let problem =
                    format_args!("`{text}` is no address and no network: write 10.1.2.3 or 10.0.0.0/8");
                layers.wrong("gateway.proxies", problem);
            }
        }
    }
    if from.proxy_protocol && from.proxies.is_empty() {
        layers.wrong("gateway.proxy_protocol", "needs the addresses of the proxies in `gateway.proxies`");
    }
    let limits = &from.limits;
    Admission {
        origins: from.origins.clone(),
        proxies: Proxies { networks, with_header: from.proxy_protocol },
        handshakes_per_second: limits.handshakes_per_second,
        address_handshakes_per_second: limits.address_handshakes_per_second,
        addresses: limits.addresses,
        address_sessions: limits.address_sessions,
        head_bytes: limits.head_bytes,
        url_bytes: limits.url_bytes,
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
