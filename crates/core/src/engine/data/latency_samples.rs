//! Latency samples: the times that records take to this gateway and through it. One subscription in many is sampled while its
//! records are written, and all records that it is sent then count. So no place in a message counts more than another.

use tickwire_wire::Channel;

use super::entry::{Entry, Stamp};
use super::session::Session;
use super::sub::Sub;
use super::topic::Topic;
use super::topics::Topics;
use crate::engine::policy::pace::Pace;
use crate::vocabulary::Update;

/// One in this many emptied subscriptions is sampled. The number is a prime, so that it does not fall in step with any pattern
/// of messages.
pub const LATENCY_SAMPLE_ONE_IN: u32 = 61;

/// The most latency samples that wait to be taken. Further ones are not kept.
const LATENCY_SAMPLES_MAX: usize = 4096;

/// The times of one record that was handed over, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySample {
    /// When the ingester received it from the venue.
    pub received: u64,
    /// When it arrived in this gateway's inbox.
    pub arrived: u64,
    /// The time of the message that it left in.
    pub written: u64,
    /// The pace of its session.
    pub pace: Pace,
}

/// Decides what is sampled, and keeps what was seen.
#[derive(Debug)]
pub(crate) struct LatencySamples {
    until: u32,
    /// The stamps at which the subscriptions to the sampled instrument stood before they were emptied.
    stood: Vec<(u32, Stamp)>,
    seen: Vec<LatencySample>,
}

impl Default for LatencySamples {
    fn default() -> Self {
        Self { until: LATENCY_SAMPLE_ONE_IN, stood: Vec::new(), seen: Vec::new() }
    }
}

impl LatencySamples {
    /// Returns whether the subscription that is emptied now is sampled.
    pub(crate) fn is_turn(&mut self) -> bool {
        self.until -= 1;
        if self.until == 0 {
            self.until = LATENCY_SAMPLE_ONE_IN;
        }
        self.until == LATENCY_SAMPLE_ONE_IN
    }

    /// Notes where a subscription and its siblings stand before they are emptied.
    #[cold]
    pub(crate) fn look_at(&mut self, session: &Session, index: u32) {
        self.stood.clear();
        let mut at = index;
        while let Some(sub) = session.sub(at) {
            self.stood.push((at, sub.stamp));
            at = sub.sibling;
            if at == index {
                break;
            }
        }
    }

    /// Keeps the times of what was sent when they were emptied.
    #[cold]
    pub(crate) fn note(&mut self, session: &Session, topics: &Topics, written: u64) {
        let stood = std::mem::take(&mut self.stood);
        for (index, stamp) in &stood {
            let Some(sub) = session.sub(*index) else { continue };
            // What a delayed view holds back is no latency.
            let Some(topic) = topics.get(sub.topic).filter(|topic| topic.late.is_none()) else { continue };
            sent(sub, topic, *stamp, |entry| self.add(&entry.update, written, session.pace));
        }
        self.stood = stood;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(crate) fn take(&mut self) -> std::vec::Drain<'_, LatencySample> {
        self.seen.drain(..)
    }

    fn add(&mut self, update: &Update, written: u64, pace: Pace) {
        let arrived = update.arrived();
        let received = if arrived == 0 { 0 } else { update.received() };
        // A record that the gateway or a state made has no way behind it.
        if received != 0 && self.seen.len() < LATENCY_SAMPLES_MAX {
            self.seen.push(LatencySample { received, arrived, written, pace });
        }
    }
}

/// Takes the records that a subscription was sent since it stood at a stamp; of merged changes of a book, the last.
fn sent(sub: &Sub, topic: &Topic, stood: Stamp, take: impl FnMut(&Entry)) {
    let is_sent = |entry: &&Entry| entry.stamp > stood && entry.stamp <= sub.stamp && !entry.is_gap;
    if topic.channel == Channel::Book {
        topic.log.back().filter(is_sent).into_iter().for_each(take);
    } else if topic.channel.is_lossless() {
        let logged = topic.log_after(stood).take_while(|entry| entry.stamp <= sub.stamp);
        logged.filter(|entry| !entry.is_gap && !sub.is_shed(entry.stamp)).for_each(take);
    } else {
        topic.latest.iter().map(|(_, entry)| entry).filter(is_sent).for_each(take);
    }
}
