//! The requests to the venue's REST service are sent, and their responses taken.

use std::time::Duration;

use tickwire_feed::adapter::{Fault, FeedEvent};

use super::data::Data;
use super::io::{Output, Response};
use super::placement;
use super::requests::{Purpose, RequestId};
use super::timings::Moment;
use crate::venue::{Call, Need, Venue};

/// Sends the requests that may be sent now.
pub(super) fn send<V: Venue>(driver: &mut Data<V>, now: Moment) {
    let (within, at_once) = (driver.timings.response_within, driver.timings.snapshots_at_once);
    let Data { venue, requests, outputs, counts, .. } = driver;
    while let Some((request, call)) =
        requests.next(now.elapsed, within, at_once, |purpose| call_of(venue, purpose))
    {
        counts.requests += 1;
        outputs.push_back(Output::Fetch { request, url: call.url });
    }
}

/// Returns when a request is due.
pub(super) fn due<V: Venue>(driver: &mut Data<V>, now: Duration) -> Option<Duration> {
    let Data { venue, requests, timings, .. } = driver;
    requests
        .due(now, timings.snapshots_at_once, |purpose| call_of(venue, purpose).map_or(0, |call| call.weight))
}

/// Takes a response, or the reason why there is none.
pub(super) fn take<V: Venue>(
    driver: &mut Data<V>,
    now: Moment,
    request: RequestId,
    outcome: Result<Response, String>,
    events: &mut Vec<FeedEvent>,
) {
    let Some(purpose) = driver.requests.responded(request) else { return };
    let fault = match outcome {
        Ok(response) => {
            if let Some(used) = response.used_weight {
                driver.requests.used(now.elapsed, used);
            }
            take_response(driver, now, purpose, &response, events)
        }
        Err(reason) => Some(reason),
    };
    let Some(reason) = fault else { return };
    try_again(driver, purpose, now.elapsed);
    if purpose == Purpose::Catalogue && !driver.has_catalogue {
        driver.trouble.clone_from(&reason);
    }
    let source = call_of(&driver.venue, purpose).map(|call| call.url).unwrap_or_default();
    events.push(FeedEvent::Fault(Fault { source, line: 0, reason }));
}

fn try_again<V: Venue>(driver: &mut Data<V>, purpose: Purpose, now: Duration) {
    let random = driver.random();
    driver.requests.failed(purpose, now, driver.timings.retry, random);
}

/// Takes a response; returns why it did not help, if so.
fn take_response<V: Venue>(
    driver: &mut Data<V>,
    now: Moment,
    purpose: Purpose,
    response: &Response,
    events: &mut Vec<FeedEvent>,
) -> Option<String> {
    if matches!(response.status, 429 | 418) {
        let wait = response.retry_after.unwrap_or(driver.timings.banned_for);
        driver.requests.block(now.elapsed + wait);
        driver.counts.bans += 1;
        return Some(format!(
            "HTTP {}: too many requests; no request is sent for {} s",
            response.status,
            wait.as_secs_f64()
        ));
    }
    if response.status != 200 {
        let words = driver.venue.refusal(&response.body);
        return Some(format!("HTTP {}: {words}", response.status));
    }
    match purpose {
        Purpose::Catalogue => take_catalogue(driver, now, &response.body, events).err(),
        Purpose::Snapshot(index) => {
            match driver.venue.take_snapshot(index, now.time, &response.body, events) {
                Ok(true) => driver.requests.done(purpose),
                Ok(false) => {
                    driver.counts.unused_snapshots += 1;
                    try_again(driver, purpose, now.elapsed);
                }
                Err(reason) => return Some(reason),
            }
            None
        }
    }
}

fn take_catalogue<V: Venue>(
    driver: &mut Data<V>,
    now: Moment,
    body: &str,
    events: &mut Vec<FeedEvent>,
) -> Result<(), String> {
    let changes = driver.venue.take_catalogue(now.time, body, events)?;
    driver.requests.done(Purpose::Catalogue);
    driver.requests.want(Purpose::Catalogue, now.elapsed + driver.timings.catalogue_every, Need::Whole);
    if !std::mem::replace(&mut driver.has_catalogue, true) {
        driver.trouble.clear();
    }
    placement::take(driver, changes, now.elapsed);
    Ok(())
}

fn call_of(venue: &impl Venue, purpose: Purpose) -> Option<Call> {
    match purpose {
        Purpose::Catalogue => Some(venue.catalogue()),
        Purpose::Snapshot(index) => venue.snapshot(index),
    }
}
