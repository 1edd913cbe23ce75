//! The admin listener: what it says of its gateway, where the command names it.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::command::DoctorCommand;
use super::report::Report;
use crate::admin::Admin;

/// A certificate that expires sooner is warned of.
const EXPIRY_S: i64 = 14 * 86_400;

/// The body of `/readyz`.
#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    bus: String,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    tls: Value,
    #[serde(default)]
    history: String,
    #[serde(default)]
    feeds: BTreeMap<String, String>,
    #[serde(default)]
    reasons: BTreeMap<String, String>,
    #[serde(default)]
    contested: BTreeMap<String, Value>,
}

/// Looks at `/readyz` and `/metrics`.
pub(super) async fn look(command: &DoctorCommand, report: &mut Report) {
    let Some(url) = &command.admin else { return };
    let admin = match Admin::new(url, command.admin_token_file.as_deref(), &command.trust) {
        Ok(admin) => admin,
        Err(error) => {
            report.failure(
                "admin",
                format_args!("{error:#}"),
                "see --admin, --admin-token-file and --ca-file",
            );
            return;
        }
    };
    let good = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
    let readiness: Readiness = match admin.json("/readyz", &good).await {
        Ok(readiness) => readiness,
        Err(error) => {
            let remedy =
                "name the address of gateway.admin_listen, with https:// where gateway.tls.admin is set";
            report.failure("admin", format_args!("{error:#}"), remedy);
            return;
        }
    };
    ready(&readiness, report);
    let metrics = admin.page("/metrics", &[StatusCode::OK]).await;
    match metrics {
        Ok(body) if body.ends_with(b"# EOF\n") => {
            report.ok("metrics", format_args!("/metrics answers, with {} bytes", body.len()));
        }
        Ok(_) => {
            report.failure("metrics", "/metrics answers with something else than metrics", "see its log");
        }
        Err(error) => {
            let remedy = "Prometheus needs the same token and authorities: docs/operations.md";
            // Here the option has another name than in the error's own words.
            let said = format!("{error:#}").replace("--token-file", "--admin-token-file");
            report.failure("metrics", said, remedy);
        }
    }
}

fn ready(readiness: &Readiness, report: &mut Report) {
    let Readiness { ready, bus, draining, tls, history, feeds, reasons, contested } = readiness;
    report.fact("ready", *ready);
    report.fact("bus", bus.clone());
    let feeds: Vec<_> = feeds.iter().map(|(venue, state)| format!("{venue} is {state}")).collect();
    if !*ready {
        let why = if *draining { "it drains" } else { "see `bus`" };
        let remedy = "while it drains that is as it should be; else start the bus, or mend bus.servers";
        report.failure(
            "admin",
            format_args!("the gateway is not ready: {why}, and the bus is {bus}"),
            remedy,
        );
        return;
    }
    let mut troubles: Vec<String> = Vec::new();
    if let Some(error) = tls["reload_error"].as_str() {
        troubles.push(format!("the TLS files cannot be used: {error}"));
    }
    if tls["expires_in_s"].as_i64().is_some_and(|left| left < EXPIRY_S) {
        troubles.push(format!("its certificate is good until {}", tls["expires"].as_str().unwrap_or("?")));
    }
    if history.starts_with("unavailable") {
        troubles.push(format!("the history is {history}"));
    }
    troubles.extend(reasons.iter().map(|(venue, reason)| format!("the feed of {venue}: {reason}")));
    troubles.extend(contested.keys().map(|venue| format!("several ingesters claim {venue}")));
    let feeds = if feeds.is_empty() { "no feed is known".to_owned() } else { feeds.join(", ") };
    if troubles.is_empty() {
        report.ok("admin", format_args!("the gateway is ready, the bus is {bus}, {feeds}"));
    } else {
        let remedy = "docs/operations.md says what each of these means";
        report.warning("admin", format_args!("the gateway is ready, but {}", troubles.join("; ")), remedy);
    }
}
