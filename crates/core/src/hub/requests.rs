//! Requests to ingesters: when they are made, how many at a time, and what becomes of the responses.

use std::cmp::Reverse;
use std::sync::Arc;

use tickwire_wire::{Subject, pb};

use super::catalogue::on_catalogue;
use super::data::{Action, Batch, Hub, Target};
use super::feeds::tell_feed;
use super::follow::Ask;
use super::progress::{note, recovered};
use super::responded::Response;
use super::retry::retry_ns;
use crate::vocabulary::{Event, TopicId, VenueIndex};

/// Most topics in one request. Most of the cost of a request does not depend on how many they are.
pub const BATCH_TOPICS_MAX: usize = 64;

/// Most topics that are asked for at the same time.
pub const ASKS_MAX: usize = 4 * BATCH_TOPICS_MAX;

/// Asks what is due, within the limit of requests under way.
pub(super) fn ask_due(hub: &mut Hub, now: u64) {
    if hub.bus_down.is_some() {
        return;
    }
    for at in 0..hub.venues.len() {
        if hub.venues[at].take_catalogue_due(now) {
            let request = pb::feed_request::Request::Catalogue(pb::Catalogue {});
            let epoch = hub.venues[at].claims.epoch();
            ask(hub, at, epoch, request, Target::Catalogue(VenueIndex(at as u16), epoch));
        }
    }
    if hub.requests.peek().is_none_or(|Reverse((at, _))| *at > now) {
        return;
    }
    // One batch for each venue is open at a time.
    let mut batches: Vec<Option<(Vec<pb::Topic>, Batch)>> = vec![None; hub.venues.len()];
    while hub.asking < ASKS_MAX
        && let Some(Reverse((at, id))) = hub.requests.peek().copied()
        && at <= now
    {
        hub.requests.pop();
        let is_known = hub.instruments.source(id).is_some();
        let Some(topic) = hub.topics.get_mut(id) else { continue };
        topic.queued.0.take_if(|queued| *queued == at);
        match topic.ask {
            // The followed run has not said yet what it calls the instrument: when it does, it is asked.
            Ask::Due { at, .. } if at <= now && !is_known => {}
            Ask::Due { at, attempts } if at <= now => {
                let (channel, symbol) = (topic.channel as i32, topic.info.name.symbol.clone());
                let venue = usize::from(topic.info.venue.0);
                hub.tickets += 1;
                topic.ask = Ask::Asked { ticket: hub.tickets, attempts, again: false };
                hub.asking += 1;
                let batch = batches[venue].get_or_insert_default();
                batch.0.push(pb::Topic { channel, symbol });
                batch.1.push((id, hub.tickets));
                if batch.0.len() == BATCH_TOPICS_MAX {
                    let full = batches[venue].take();
                    ask_batch(hub, venue, full);
                }
            }
            _ => note(hub, id),
        }
    }
    for (venue, batch) in batches.into_iter().enumerate() {
        ask_batch(hub, venue, batch);
    }
}

fn ask_batch(hub: &mut Hub, venue: usize, batch: Option<(Vec<pb::Topic>, Batch)>) {
    let Some((topics, batch)) = batch else { return };
    let epoch = hub.venues[venue].claims.epoch();
    hub.tickets += 1;
    hub.batches.insert(hub.tickets, batch);
    let request = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
    ask(hub, venue, epoch, request, Target::Topics(hub.tickets, epoch));
}

fn ask(hub: &mut Hub, venue: usize, epoch: u64, request: pb::feed_request::Request, target: Target) {
    if let Ok(subject) = Subject::request(&hub.venues[venue].name, epoch) {
        hub.actions.push(Action::Ask(subject, pb::FeedRequest { request: Some(request) }, target));
    }
}

/// Takes the response to an [`Action::Ask`]; `Err` says why there is none.
pub(super) fn on_response(
    hub: &mut Hub,
    target: Target,
    response: Result<pb::FeedResponse, String>,
    now: u64,
) {
    let epoch = match target {
        Target::Catalogue(_, epoch) | Target::Topics(_, epoch) => epoch,
    };
    let response = response.and_then(|response| match response.error.as_str() {
        "" if response.epoch == epoch => Ok(response),
        "" => Err("the response is of another run of the ingester".to_owned()),
        error => Err(error.to_owned()),
    });
    match target {
        Target::Catalogue(venue, _) => on_catalogue(hub, venue, epoch, response, now),
        Target::Topics(batch, _) => {
            let Some(batch) = hub.batches.remove(&batch) else { return };
            hub.asking -= batch.len();
            let mut snapshots = response.map(|response| response.snapshots.into_iter());
            for (id, ticket) in batch {
                let snapshot = match &mut snapshots {
                    Ok(snapshots) => snapshots.next().ok_or_else(|| "the response is too short".to_owned()),
                    Err(reason) => Err(reason.clone()),
                };
                on_snapshot(hub, id, ticket, epoch, snapshot, now);
            }
        }
    }
}

fn on_snapshot(
    hub: &mut Hub,
    id: TopicId,
    ticket: u64,
    epoch: u64,
    snapshot: Result<pb::Snapshot, String>,
    now: u64,
) {
    let source = hub.instruments.source(id);
    let Some(topic) = hub.topics.get_mut(id) else { return };
    let Ask::Asked { ticket: asked, attempts, again } = topic.ask else { return };
    if asked != ticket {
        return;
    }
    let venue = topic.info.venue;
    if hub.venues[usize::from(venue.0)].claims.epoch() != epoch {
        // Another run is followed meanwhile.
        topic.ask = Ask::Due { at: 0, attempts: 0 };
        note(hub, id);
        return;
    }
    let is_unknown = snapshot.as_ref().is_ok_and(|snapshot| snapshot.is_unknown);
    let response = snapshot.and_then(|snapshot| {
        if !snapshot.error.is_empty() {
            topic.on_refusal(epoch, &mut hub.events);
            return Err(snapshot.error);
        }
        let source = source.ok_or("the ingester does not say what it calls the instrument")?;
        let claims = &hub.venues[usize::from(venue.0)].claims;
        let by_our_clock = |time| claims.by_our_clock(time, now);
        let read = Response::read(&topic.info, source, topic.channel, epoch, &snapshot, by_our_clock);
        hub.counts.malformed += u64::from(read.is_err());
        read
    });
    match response {
        Ok(response) => topic.on_response(response, now, &mut hub.events),
        Err(reason) => {
            let at = if again { 0 } else { now + retry_ns(attempts) };
            topic.ask = Ask::Due { at, attempts: attempts.saturating_add(1) };
            if !topic.is_live() && (attempts > 0 || is_unknown) {
                let reason: Arc<str> = format!("{}: {reason}", topic.info.scale.symbol).into();
                hub.events.push((topic.shards, Event::Unavailable { topic: id, reason, is_unknown }));
            }
            if is_unknown {
                // What is not there holds nothing else up. The catalogue that is known here may be out of date.
                recovered(hub, id);
                hub.venues[usize::from(venue.0)].ask_catalogue_now();
            } else if topic.was_live() && attempts > 0 && !topic.recovering {
                // What is known to be broken and cannot be mended now is not shown as live.
                topic.recovering = true;
                hub.venues[usize::from(venue.0)].recovering += 1;
                tell_feed(hub, venue);
            }
        }
    }
    note(hub, id);
}
