//! A gateway's admin listener, as a run asks it.

use std::time::Duration;

use tickwire_net::http;

/// A page that takes longer is not waited for.
const WAIT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(50);

/// Returns a page with status 200; none where it cannot be had in time.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub(super) async fn page(admin: &str, path: &str) -> Option<String> {
    let address = admin.trim_start_matches("http://").trim_end_matches('/');
    let answer = tokio::time::timeout(WAIT, http::get(address, path)).await.ok()?.ok();
    answer.filter(|(status, _)| *status == 200).map(|(_, page)| page)
}

/// Returns when the gateway is ready and hears the own source.
pub(super) async fn readiness(admin: &str) {
    let live = format!("\"{}\":\"live\"", crate::scenario::VENUE);
    while !page(admin, "/readyz").await.is_some_and(|text| text.replace(' ', "").contains(&live)) {
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
#[path = "../../tests/units/admin.rs"]
mod tests;
