//! Questions to ingesters: when they are asked, how many at a time, what becomes of the answers.

use std::cmp::Reverse;

use tickwire_bus::Subject;
use tickwire_wire::pb;

use super::answered::Answered;
use super::follow::Ask;
use super::{Action, Hub, Target};
use crate::engine::{Event, TopicId, VenueIndex};

/// Questions about topics under way at the same time.
pub(crate) const ASKS_MAX: usize = 64;
/// Between two attempts to ask; doubles up to [`RETRY_NS_MAX`].
pub(crate) const RETRY_NS_MIN: u64 = 100_000_000;
pub(crate) const RETRY_NS_MAX: u64 = 5_000_000_000;

/// Wait after this many attempts that failed before.
pub(crate) fn retry_ns(attempts: u32) -> u64 {
    (RETRY_NS_MIN << attempts.min(16)).min(RETRY_NS_MAX)
}

impl Hub {
    /// Asks what is due, within the limit of questions under way.
    pub(crate) fn ask_due(&mut self, now: u64) {
        if self.bus_down.is_some() {
            return;
        }
        for at in 0..self.venues.len() {
            if self.venues[at].take_catalogue_due(now) {
                let question = pb::ask::Question::Catalogue(pb::Catalogue {});
                let target = Target::Catalogue(VenueIndex(at as u16));
                let subject = Subject::ask(&self.venues[at].name);
                let ask = pb::Ask { question: Some(question) };
                self.actions.extend(subject.map(|subject| Action::Ask(subject, ask, target)));
            }
        }
        while self.asking < ASKS_MAX
            && let Some(Reverse((at, id))) = self.questions.peek().copied()
            && at <= now
        {
            self.questions.pop();
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.queued.0.take_if(|queued| *queued == at);
            match topic.ask {
                Ask::Due { at, attempts } if at <= now => {
                    let Ok(subject) = Subject::ask(&topic.info.name.venue) else { continue };
                    let (channel, symbol) = (topic.channel as i32, topic.info.name.symbol.clone());
                    let question = pb::ask::Question::Snapshot(pb::Topic { channel, symbol });
                    self.tickets += 1;
                    topic.ask = Ask::Asked { ticket: self.tickets, attempts, again: false };
                    self.asking += 1;
                    let target = Target::Topic(id, self.tickets);
                    self.actions.push(Action::Ask(subject, pb::Ask { question: Some(question) }, target));
                }
                _ => self.note(id),
            }
        }
    }

    /// The answer to an [`Action::Ask`]; `Err` says why there is none.
    pub(crate) fn on_answer(&mut self, target: Target, answer: Result<pb::Answer, String>, now: u64) {
        match target {
            Target::Catalogue(venue) => self.on_catalogue(venue, answer, now),
            Target::Topic(id, ticket) => {
                self.asking -= 1;
                self.on_topic_answer(id, ticket, answer, now);
            }
        }
    }

    fn on_topic_answer(&mut self, id: TopicId, ticket: u64, answer: Result<pb::Answer, String>, now: u64) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        let Ask::Asked { ticket: asked, attempts, again } = topic.ask else { return };
        if asked != ticket {
            return;
        }
        let mut is_refused = false;
        let answer = answer.and_then(|answer| {
            if !answer.error.is_empty() {
                is_refused = true;
                topic.on_refusal(answer.epoch, &mut self.events);
                return Err(answer.error);
            }
            let read = Answered::read(&topic.info, topic.channel, answer);
            self.counts.malformed += u64::from(read.is_err());
            read
        });
        match answer {
            Ok(answer) => topic.on_answer(answer, now, &mut self.events),
            Err(reason) => {
                let at = if again { 0 } else { now + retry_ns(attempts) };
                topic.ask = Ask::Due { at, attempts: attempts.saturating_add(1) };
                if !topic.is_live() && attempts > 0 {
                    let reason = format!("{}: {reason}", topic.info.scale.symbol).into();
                    self.events.push((topic.shards, Event::Unavailable { topic: id, reason }));
                }
                if is_refused {
                    // What is not there holds nothing else up.
                    self.recovered(id);
                } else if topic.was_live() && attempts > 0 && !topic.recovering {
                    // What is known to be broken and cannot be mended now is not shown as live.
                    topic.recovering = true;
                    let venue = topic.info.venue;
                    self.venues[usize::from(venue.0)].recovering += 1;
                    self.tell_feed(venue);
                }
            }
        }
        self.note(id);
    }
}
