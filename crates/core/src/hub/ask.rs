//! Requests to ingesters: when they are asked, how many at a time, what becomes of the responses.

use std::cmp::Reverse;
use std::sync::Arc;

use tickwire_wire::Subject;
use tickwire_wire::pb;

use super::follow::Ask;
use super::responded::Response;
use super::{Action, Hub, Target};
use crate::vocabulary::{Event, TopicId, VenueIndex};

/// Topics in one request. Most of the cost of a request does not depend on how many they are.
pub const BATCH_TOPICS_MAX: usize = 64;
/// Topics that are asked for at the same time.
pub const ASKS_MAX: usize = 4 * BATCH_TOPICS_MAX;
/// Between two attempts to ask; doubles up to [`RETRY_NS_MAX`].
const RETRY_NS_MIN: u64 = 100_000_000;
/// The longest time between two attempts to ask.
pub const RETRY_NS_MAX: u64 = 5_000_000_000;

/// Wait after this many attempts that failed before.
pub fn retry_ns(attempts: u32) -> u64 {
    (RETRY_NS_MIN << attempts.min(16)).min(RETRY_NS_MAX)
}

/// The topics of one request, each with its ticket, in the order of the request.
pub(crate) type Batch = Vec<(TopicId, u64)>;

impl Hub {
    /// Asks what is due, within the limit of requests under way.
    pub fn ask_due(&mut self, now: u64) {
        if self.bus_down.is_some() {
            return;
        }
        for at in 0..self.venues.len() {
            if self.venues[at].take_catalogue_due(now) {
                let request = pb::feed_request::Request::Catalogue(pb::Catalogue {});
                let epoch = self.venues[at].claims.epoch();
                self.ask(at, epoch, request, Target::Catalogue(VenueIndex(at as u16), epoch));
            }
        }
        // One batch for each venue is open at a time.
        let mut batches: Vec<Option<(Vec<pb::Topic>, Batch)>> = vec![None; self.venues.len()];
        while self.asking < ASKS_MAX
            && let Some(Reverse((at, id))) = self.requests.peek().copied()
            && at <= now
        {
            self.requests.pop();
            let is_known = self.source(id).is_some();
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.queued.0.take_if(|queued| *queued == at);
            match topic.ask {
                // The followed run has not said yet what it calls the instrument: then it is asked.
                Ask::Due { at, .. } if at <= now && !is_known => {}
                Ask::Due { at, attempts } if at <= now => {
                    let (channel, symbol) = (topic.channel as i32, topic.info.name.symbol.clone());
                    let venue = usize::from(topic.info.venue.0);
                    self.tickets += 1;
                    topic.ask = Ask::Asked { ticket: self.tickets, attempts, again: false };
                    self.asking += 1;
                    let batch = batches[venue].get_or_insert_default();
                    batch.0.push(pb::Topic { channel, symbol });
                    batch.1.push((id, self.tickets));
                    if batch.0.len() == BATCH_TOPICS_MAX {
                        let full = batches[venue].take();
                        self.ask_batch(venue, full);
                    }
                }
                _ => self.note(id),
            }
        }
        for (venue, batch) in batches.into_iter().enumerate() {
            self.ask_batch(venue, batch);
        }
    }

    fn ask_batch(&mut self, venue: usize, batch: Option<(Vec<pb::Topic>, Batch)>) {
        let Some((topics, batch)) = batch else { return };
        let epoch = self.venues[venue].claims.epoch();
        self.tickets += 1;
        self.batches.insert(self.tickets, batch);
        let request = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
        self.ask(venue, epoch, request, Target::Topics(self.tickets, epoch));
    }

    fn ask(&mut self, venue: usize, epoch: u64, request: pb::feed_request::Request, target: Target) {
        if let Ok(subject) = Subject::request(&self.venues[venue].name, epoch) {
            self.actions.push(Action::Ask(subject, pb::FeedRequest { request: Some(request) }, target));
        }
    }

    /// The response to an [`Action::Ask`]; `Err` says why there is none.
    pub fn on_response(&mut self, target: Target, response: Result<pb::FeedResponse, String>, now: u64) {
        let epoch = match target {
            Target::Catalogue(_, epoch) | Target::Topics(_, epoch) => epoch,
        };
        let response = response.and_then(|response| match response.error.as_str() {
            "" if response.epoch == epoch => Ok(response),
            "" => Err("the response is of another run of the ingester".to_owned()),
            error => Err(error.to_owned()),
        });
        match target {
            Target::Catalogue(venue, _) => self.on_catalogue(venue, epoch, response, now),
            Target::Topics(batch, _) => {
                let Some(batch) = self.batches.remove(&batch) else { return };
                self.asking -= batch.len();
                let mut snapshots = response.map(|response| response.snapshots.into_iter());
                for (id, ticket) in batch {
                    let snapshot = match &mut snapshots {
                        Ok(snapshots) => {
                            snapshots.next().ok_or_else(|| "the response is too short".to_owned())
                        }
                        Err(reason) => Err(reason.clone()),
                    };
                    self.on_snapshot(id, ticket, epoch, snapshot, now);
                }
            }
        }
    }

    fn on_snapshot(
        &mut self,
        id: TopicId,
        ticket: u64,
        epoch: u64,
        snapshot: Result<pb::Snapshot, String>,
        now: u64,
    ) {
        let source = self.source(id);
        let Some(topic) = self.topics.get_mut(id) else { return };
        let Ask::Asked { ticket: asked, attempts, again } = topic.ask else { return };
        if asked != ticket {
            return;
        }
        let venue = topic.info.venue;
        if self.venues[usize::from(venue.0)].claims.epoch() != epoch {
            // Another run is followed meanwhile.
            topic.ask = Ask::Due { at: 0, attempts: 0 };
            self.note(id);
            return;
        }
        let is_unknown = snapshot.as_ref().is_ok_and(|snapshot| snapshot.is_unknown);
        let response = snapshot.and_then(|snapshot| {
            if !snapshot.error.is_empty() {
                topic.on_refusal(epoch, &mut self.events);
                return Err(snapshot.error);
            }
            let source = source.ok_or("the ingester does not say what it calls the instrument")?;
            let read = Response::read(&topic.info, source, topic.channel, epoch, &snapshot);
            self.counts.malformed += u64::from(read.is_err());
            read
        });
        match response {
            Ok(response) => topic.on_response(response, now, &mut self.events),
            Err(reason) => {
                let at = if again { 0 } else { now + retry_ns(attempts) };
                topic.ask = Ask::Due { at, attempts: attempts.saturating_add(1) };
                if !topic.is_live() && (attempts > 0 || is_unknown) {
                    let reason: Arc<str> = format!("{}: {reason}", topic.info.scale.symbol).into();
                    self.events.push((topic.shards, Event::Unavailable { topic: id, reason, is_unknown }));
                }
                if is_unknown {
                    // What is not there holds nothing else up. The catalogue that is known here may be out of date.
                    self.recovered(id);
                    self.venues[usize::from(venue.0)].ask_catalogue_now();
                } else if topic.was_live() && attempts > 0 && !topic.recovering {
                    // What is known to be broken and cannot be mended now is not shown as live.
                    topic.recovering = true;
                    self.venues[usize::from(venue.0)].recovering += 1;
                    self.tell_feed(venue);
                }
            }
        }
        self.note(id);
    }
}
