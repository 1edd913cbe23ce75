//! The subscriptions of a connection, and the command that is under way.

use std::time::Duration;

use crate::venue::{Topic, TopicId};

/// A topic of a connection.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: Topic,
    pub(crate) state: TopicState,
    /// Whether it was told that the topic brings nothing.
    pub(crate) is_told_silent: bool,
    /// The time before which it is not subscribed to again.
    pub(crate) wanted_from: Duration,
    /// The time at which it was subscribed to anew for the last time, and how often that was in a row.
    pub(crate) renewed: Option<(Duration, u32)>,
    /// The times in a row that it was refused.
    pub(crate) refusals: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// It is to be subscribed to.
    Wanted,
    /// The command is under way.
    Asked,
    /// It was granted at this time, and nothing came yet.
    Granted(Duration),
    /// It brings data.
    Heard,
    /// The venue refused it; it is tried again.
    Refused,
}

impl Subscription {
    pub(crate) fn new(topic: Topic) -> Self {
        Self {
            topic,
            state: TopicState::Wanted,
            is_told_silent: false,
            wanted_from: Duration::ZERO,
            renewed: None,
            refusals: 0,
        }
    }

    /// Returns when it is to be told that the topic brings nothing.
    pub(crate) fn silent_at(&self) -> Option<Duration> {
        match self.state {
            TopicState::Granted(since) if !self.is_told_silent => Some(since + self.topic.silent_after),
            _ => None,
        }
    }
}

/// A command that the venue has not answered yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) until: Duration,
    /// The topics that are subscribed to; none where subscriptions are ended.
    pub(crate) topics: Vec<TopicId>,
}

impl Asked {
    /// Takes in that the venue has said what becomes of a topic; returns whether that was the last one.
    pub(crate) fn settle(&mut self, topic: TopicId) -> bool {
        let before = self.topics.len();
        self.topics.retain(|asked| *asked != topic);
        before > 0 && self.topics.is_empty()
    }
}
