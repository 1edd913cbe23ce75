//! The sessions that have something to send and a socket that takes it, in the order in which they became ready.

use std::collections::VecDeque;

use super::key::SessionKey;

/// The ready sessions, each with the time since which it is ready.
#[derive(Debug, Default)]
pub(crate) struct Ready(VecDeque<(SessionKey, u64)>);

impl Ready {
    #[inline]
    pub(crate) fn push(&mut self, key: SessionKey, since: u64) {
        self.0.push_back((key, since));
    }

    /// Returns since when the first of them is ready.
    pub(crate) fn since(&self) -> Option<u64> {
        self.0.front().map(|(_, since)| *since)
    }

    /// Takes at most so many of those that are ready since `since` at the latest.
    pub(crate) fn take(&mut self, since: u64, max: usize, into: &mut Vec<SessionKey>) {
        for _ in 0..max {
            let Some((key, _)) = self.0.pop_front_if(|(_, ready)| *ready <= since) else { break };
            into.push(key);
        }
    }
}
