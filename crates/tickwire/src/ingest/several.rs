//! Several live venues in one process: each has an ingester and a connection to the bus of its own, so one that fails harms no other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tickwire_feed::IngestReport;
use tickwire_net::Backoff;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{connect, publish_or_stand_by};
use crate::cli::Usage;
use crate::config::{Config, LEASE_BYTES_MAX};
use crate::live::{self, VenueName};

/// The waits before a venue whose ingester failed is begun anew.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// Publishes venues until it is asked to stop. Returns what each came to, in the order of their names on the command line.
///
/// # Errors
/// A venue that is named twice, a lease whose name is too long with that of the venue, a bus that cannot be used.
pub(super) async fn publish(
    config: Config,
    venues: &[VenueName],
    stop: CancellationToken,
) -> anyhow::Result<Vec<(VenueName, IngestReport)>> {
    let twice = venues.iter().enumerate().find(|(at, venue)| venues[..*at].contains(venue));
    if let Some((_, venue)) = twice {
        let name = venue.row().name;
        return Err(Usage(format!("{name} is named twice: leave one out")).into());
    }
    for venue in venues {
        let lease = lease(&config, *venue);
        if lease.len() > LEASE_BYTES_MAX {
            let why = format!("`{lease}` cannot name a lease: {LEASE_BYTES_MAX} bytes at most");
            return Err(Usage(format!("{why}; give --lease a shorter name")).into());
        }
    }
    // What is wrong with the bus is wrong for all of them.
    connect(&config)?.close().await;
    let config = Arc::new(config);
    let mut running = JoinSet::new();
    for (at, venue) in venues.iter().copied().enumerate() {
        let (config, stop) = (Arc::clone(&config), stop.clone());
        running.spawn(async move { (at, venue, keep(config, venue, stop).await) });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(at, ..)| *at);
    Ok(all.into_iter().map(|(_, venue, report)| (venue, report)).collect())
}

/// Returns the name of a venue's own lease; empty where there is none.
fn lease(config: &Config, venue: VenueName) -> String {
    match config.raw.ingest.lease.as_str() {
        "" => String::new(),
        lease => format!("{lease}-{}", venue.row().name),
    }
}

/// Publishes one venue. Where that fails, whatever the reason, it is begun anew, later and later.
async fn keep(config: Arc<Config>, venue: VenueName, stop: CancellationToken) -> IngestReport {
    let (name, lease) = (venue.row().name, lease(&config, venue));
    let mut failures = 0;
    loop {
        let make = || Ok(live::source(&config, venue));
        let publishing = Box::pin(publish_or_stand_by(&config, &lease, make, stop.clone()));
        let reason = match AssertUnwindSafe(publishing).catch_unwind().await {
            Ok(Ok(report)) => return report,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it panicked".to_owned(),
        };
        let wait = AGAIN.delay(failures, rand::random());
        failures += 1;
        tracing::error!(venue = name, reason, again_in = ?wait, "an ingester failed; the others go on");
        let again = tokio::time::sleep(wait);
        if stop.run_until_cancelled(again).await.is_none() {
            return IngestReport::default();
        }
    }
}
