//! A program that empties its socket and works slowly: what it has read and not worked off yet.

use std::collections::VecDeque;

use tickwire_wire::Channel;

/// A program that holds more has lost its memory long before: the oldest are given up.
const RECORDS_MAX: usize = 1 << 20;

/// One record that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) channel: Channel,
    pub(crate) event_time: u64,
    pub(crate) read_at: u64,
    /// Of the message that it came in.
    pub(crate) sent_time: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Program {
    waiting: VecDeque<Waiting>,
    /// Parts of a record that the program could have worked off.
    credit: f64,
    worked_at: u64,
    /// Send time of what was worked off last.
    pub(crate) done: u64,
}

impl Program {
    pub(crate) fn read(&mut self, record: Waiting) {
        if self.waiting.len() == RECORDS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(record);
    }

    /// Works until now, at so many records per second; each finished one is handed out.
    pub(crate) fn work(&mut self, now: u64, per_second: f64, mut each: impl FnMut(Waiting)) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.worked_at, now)) as f64 / 1e9;
        self.credit = (self.credit + passed * per_second).min(per_second.max(1.0));
        while self.credit >= 1.0
            && let Some(record) = self.waiting.pop_front()
        {
            self.credit -= 1.0;
            self.done = record.sent_time;
            each(record);
        }
        if self.waiting.is_empty() {
            // Time without work is not saved up.
            self.credit = self.credit.min(1.0);
        }
    }

    /// How long the oldest that waits has been waiting.
    pub(crate) fn lag(&self, now: u64) -> u64 {
        self.waiting.front().map_or(0, |record| now.saturating_sub(record.read_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_works_at_its_rate_and_falls_behind() {
        let mut program = Program::default();
        program.work(SECOND, 10.0, |_| {});
        for at in 0..100 {
            let read_at = SECOND + at;
            program.read(Waiting { channel: Channel::Quote, event_time: 1, read_at, sent_time: at });
        }
        let mut done = 0;
        for tenth in 1..=20 {
            program.work(SECOND + tenth * SECOND / 10, 10.0, |_| done += 1);
        }
        assert!((20..=21).contains(&done), "{done}");
        assert!(program.lag(3 * SECOND) > 19 * SECOND / 10);
        assert_eq!(program.done, done - 1);
    }
}
