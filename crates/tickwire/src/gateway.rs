//! `tickwire gateway`.

use std::sync::Arc;

use tickwire_bus::{Backplane, NatsBus};
use tickwire_gateway::{Gateway, GatewayConfig, NoPages};

use crate::cli::{GatewayCommand, Settings};
use crate::printing::say;
use crate::stop;

/// Serves until it is asked to stop, then drains.
pub(crate) async fn run(settings: &Settings, command: GatewayCommand) -> anyhow::Result<()> {
    let [listen, admin] = command.listen.settings();
    let mut config = settings.load_serving(&[listen, admin, command.bus.setting(), command.anonymous()])?;
    if let Some(history) = &mut config.nats.history {
        // Whoever publishes says what is kept.
        history.make = false;
    }
    let stop = stop::on_signal()?;
    let bus: Arc<dyn Backplane> = Arc::new(NatsBus::connect(&config.nats)?);
    prepare(&config.gateway);
    let (authenticator, _tasks) = config.keys.start(config.gateway.auth.clone());
    let gateway =
        Gateway::start_with(config.gateway, authenticator, Arc::clone(&bus), Arc::new(NoPages)).await?;
    say(format_args!("stream: ws://{}/v1/stream", gateway.listen_address()));
    say(format_args!("admin: http://{}/readyz", gateway.admin_address()));
    stop.cancelled().await;
    gateway.drain().await;
    bus.close().await;
    Ok(())
}

/// Lets the process have the files that it may have, and says how much memory the limits allow.
pub(crate) fn prepare(config: &GatewayConfig) {
    if let Err(error) = tickwire_gateway::raise_open_files() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let worst_mib = config.limits.worst_case_bytes(config.shards) >> 20;
    tracing::info!(
        shards = config.shards,
        sessions_max = config.limits.sessions,
        worst_case_mib = worst_mib,
        "limits in force; the worst case is every session and every log full at once"
    );
}
