//! `tickwire gateway`.

use std::sync::Arc;

use tickwire_bus::{Backplane, NatsBus};
use tickwire_gateway::{Gateway, GatewayConfig, KeyFiles, NoPages, Outcome, Reloaded, SPAN_TARGET};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::cli::{GatewayCommand, Settings};
use crate::config::Purpose;
use crate::printing::announce;
use crate::stop;

/// Serves until it is asked to stop, then drains.
pub(crate) async fn run(settings: &Settings, command: GatewayCommand) -> anyhow::Result<()> {
    let mut flags = command.listen.settings().to_vec();
    flags.extend([command.bus.setting(), command.anonymous()]);
    let mut config = settings.load_for(Purpose::Serve, &flags)?;
    if let Some(history) = &mut config.nats.history {
        // Whoever publishes says what is kept.
        history.make = false;
    }
    "_INBOX.gateway".clone_into(&mut config.nats.inbox_prefix);
    let (stop, mut reloads) = stop::on_signal_or_reload()?;
    let bus: Arc<dyn Backplane> = Arc::new(NatsBus::connect(&config.nats)?);
    prepare(&config.gateway);
    let schemes = Schemes::of(&config.gateway);
    let (authenticator, files, _tasks) = config.keys.start(config.gateway.auth.clone());
    let gateway =
        Gateway::start_with(config.gateway, authenticator, Arc::clone(&bus), Arc::new(NoPages)).await?;
    announce(format_args!("stream: {}://{}/v1/stream", schemes.stream, gateway.listen_address()));
    announce(format_args!("admin: {}://{}/readyz", schemes.admin, gateway.admin_address()));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = reloads.next() => tokio::select! {
                () = stop.cancelled() => break,
                () = reload(&gateway, &files) => {}
            },
        }
    }
    gateway.drain().await;
    bus.close().await;
    #[cfg(feature = "otel")]
    crate::traces::end().await;
    Ok(())
}

/// Reads all files again that may change while a gateway runs, and says what came of it. What cannot be used changes nothing.
async fn reload(gateway: &Gateway, files: &KeyFiles) {
    let span =
        tracing::info_span!(target: SPAN_TARGET, "reload", files = Empty, changed = Empty, failed = Empty);
    reload_all(gateway, files).instrument(span).await;
}

async fn reload_all(gateway: &Gateway, files: &KeyFiles) {
    let mut told = files.reload().await;
    if let Some(of_tls) = gateway.reload_tls().await {
        told.insert(0, Reloaded { what: "TLS certificate".to_owned(), outcome: of_tls });
    }
    if files.ask_url().await {
        tracing::info!(
            what = "gateway.auth.jwks_url",
            "reload: its keys are fetched again, once in ten seconds at most"
        );
    }
    let count = |of: fn(&Outcome) -> bool| told.iter().filter(|one| of(&one.outcome)).count();
    let changed = count(|outcome| matches!(outcome, Outcome::Replaced));
    let failed = count(|outcome| matches!(outcome, Outcome::Kept(_)));
    let span = Span::current();
    for (name, count) in [("files", told.len()), ("changed", changed), ("failed", failed)] {
        span.record(name, count);
    }
    for Reloaded { what, outcome } in &told {
        match outcome {
            Outcome::Same => tracing::info!(what, "reload: it is the same as before"),
            Outcome::Replaced => tracing::info!(what, "reload: a new one is in use; sessions go on"),
            Outcome::Kept(why) => {
                tracing::error!(what, why, "reload: it cannot be used, the one before stays");
            }
        }
    }
    tracing::info!(
        files = told.len(),
        changed,
        failed,
        "reload: done; settings (the configuration itself) count from the next start"
    );
}

/// The schemes of the URLs that lead to a gateway.
pub(crate) struct Schemes {
    pub(crate) stream: &'static str,
    pub(crate) pages: &'static str,
    pub(crate) admin: &'static str,
}

impl Schemes {
    pub(crate) fn of(config: &GatewayConfig) -> Self {
        let is_admin_sealed = config.tls.as_ref().is_some_and(|tls| tls.admin);
        let (stream, pages) = if config.tls.is_some() { ("wss", "https") } else { ("ws", "http") };
        Self { stream, pages, admin: if is_admin_sealed { "https" } else { "http" } }
    }
}

/// Lets the process have the files that it may have, and says how much memory the limits allow.
pub(crate) fn prepare(config: &GatewayConfig) {
    if let Err(error) = tickwire_gateway::raise_open_files() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let worst_mib = config.worst_case_bytes() >> 20;
    tracing::info!(
        shards = config.shards,
        sessions_max = config.limits.sessions,
        worst_case_mib = worst_mib,
        "limits in force; the worst case is every session and every log full at once"
    );
}
