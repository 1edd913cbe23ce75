//! One look at a gateway: its readiness, and its sessions page by page.

use hyper::StatusCode;
use serde::Deserialize;

use super::model::{Look, Session};
use crate::admin::Admin;

/// The sessions that one request asks for; more are not given at once.
const PAGE: usize = 1_000;
/// The most pages of one look. A gateway with more sessions is looked at in the order in which they came.
const PAGES_MAX: usize = 20;

#[derive(Deserialize)]
struct Page {
    sessions: Vec<Session>,
    next: Option<String>,
}

/// Asks for everything that is shown.
///
/// # Errors
/// When the gateway does not answer as an admin listener does.
///
/// # Cancel safety
/// Dropping it drops the requests.
pub(super) async fn look(admin: &Admin) -> anyhow::Result<Look> {
    let readiness = admin.json("/readyz", &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]).await?;
    let (mut sessions, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let after = next.map(|next: String| format!("&after={next}")).unwrap_or_default();
        let page: Page = admin.json(&format!("/v1/sessions?limit={PAGE}{after}"), &[StatusCode::OK]).await?;
        sessions.extend(page.sessions);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    Ok(Look { readiness, sessions, has_more: next.is_some() })
}
