//! The lines of one file with times that can be played by.
//!
//! A line is given out when the one behind it is known: a time that fits between neither of its neighbours is of this
//! line alone, and the time before it stands for it. So one wild time neither stalls what follows nor makes a storm of
//! it. A step that lasts is kept, and told.

use std::time::Duration;

use super::reader::{Line, LineReader, Taken};
use crate::adapter::Fault;
use crate::clock::SILENCE_MAX;

/// The time by which lines of one connection may overtake each other.
const DISORDER_MAX: u64 = 1_000_000_000;
/// The distance from its neighbour beyond which the first or the last line of a recording is taken to be wrong: nobody
/// knows whether it is right.
const EDGE_MAX: u64 = 86_400_000_000_000;

pub(crate) struct Timeline {
    reader: LineReader,
    line: Line,
    /// The time of a line that was read, and is not given out before the next one is known.
    pending: Option<u64>,
    pending_line: Line,
    ahead: Option<u64>,
    ahead_line: Line,
    /// The time given out last.
    before: Option<u64>,
    is_over: bool,
    anomaly: Option<TimeAnomaly>,
}

/// An anomaly in the time of a line; it plays all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeAnomaly {
    /// The time was of this line alone, so the one before stands for it.
    Replaced { read: u64 },
    /// The times are earlier from here on.
    Back { by: Duration },
    /// A silence too long to be waited for.
    Silence { of: Duration },
}

/// The next step of playing.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// A line with its time, in nanoseconds since the Unix epoch.
    Line(u64),
    Bad(Fault),
    Damaged(Fault),
    End,
}

impl Timeline {
    pub(crate) fn new(reader: LineReader) -> Self {
        let (line, pending_line, ahead_line) = Default::default();
        Self {
            reader,
            line,
            pending: None,
            pending_line,
            ahead: None,
            ahead_line,
            before: None,
            is_over: false,
            anomaly: None,
        }
    }

    pub(crate) fn read(&mut self) -> Step {
        loop {
            if self.ahead.is_none() && !self.is_over {
                match self.reader.read() {
                    Taken::Line(time) => {
                        std::mem::swap(self.reader.line(), &mut self.ahead_line);
                        self.ahead = Some(time);
                    }
                    Taken::Bad(fault) => return Step::Bad(fault),
                    Taken::Damaged(fault) => return Step::Damaged(fault),
                    Taken::End => self.is_over = true,
                }
            }
            if let Some(read) = self.pending.take() {
                let (time, anomaly) = judge(self.before, read, self.ahead);
                self.anomaly = anomaly;
                self.before = Some(time);
                std::mem::swap(&mut self.line, &mut self.pending_line);
                return Step::Line(time);
            }
            match self.ahead.take() {
                Some(time) => {
                    self.pending = Some(time);
                    std::mem::swap(&mut self.pending_line, &mut self.ahead_line);
                }
                None if self.is_over => return Step::End,
                None => {}
            }
        }
    }

    pub(crate) fn is_gzip(&self) -> bool {
        self.reader.is_gzip()
    }

    /// Returns whether the line that was just told as bad has no end.
    pub(crate) fn is_bad_cut(&mut self) -> bool {
        self.reader.line().is_cut()
    }

    /// Returns the line given out last.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Returns what is odd with its time.
    pub(crate) fn anomaly(&self) -> Option<TimeAnomaly> {
        self.anomaly
    }

    /// Makes a fault of the line.
    pub(crate) fn fault(&self, reason: String) -> Fault {
        Fault { source: self.reader.path().display().to_string(), line: self.line.number(), reason }
    }
}

/// Judges the time of a line between its neighbours.
fn judge(before: Option<u64>, read: u64, next: Option<u64>) -> (u64, Option<TimeAnomaly>) {
    let is_later = |time: u64, than: u64| time > than.saturating_add(DISORDER_MAX);
    let replaced = |time| (time, Some(TimeAnomaly::Replaced { read }));
    match (before, next) {
        (Some(before), Some(next))
            if !is_later(before, next) && (is_later(read, next) || is_later(before, read)) =>
        {
            return replaced(before);
        }
        (None, Some(next)) if is_later(read, next) || next - read.min(next) > EDGE_MAX => {
            return replaced(next);
        }
        (Some(before), None) if is_later(before, read) || read - before.min(read) > EDGE_MAX => {
            return replaced(before);
        }
        _ => {}
    }
    let anomaly = before.and_then(|before| {
        let (back, ahead) = (before.saturating_sub(read), read.saturating_sub(before));
        let (back, ahead) = (Duration::from_nanos(back), Duration::from_nanos(ahead));
        if is_later(before, read) {
            Some(TimeAnomaly::Back { by: back })
        } else {
            (ahead > SILENCE_MAX).then_some(TimeAnomaly::Silence { of: ahead })
        }
    });
    (read, anomaly)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks times in seconds; `!` marks a time that was replaced, `<` a step back, `>` a long silence.
    #[track_caller]
    fn check(times: &[u64], expected: &str) {
        let at = |second: u64| 1_700_000_000_000_000_000 + second * 1_000_000_000;
        let (mut before, mut found) = (None, Vec::new());
        for (n, read) in times.iter().enumerate() {
            let (time, anomaly) = judge(before, at(*read), times.get(n + 1).map(|next| at(*next)));
            before = Some(time);
            let mark = match anomaly {
                None => "",
                Some(TimeAnomaly::Replaced { .. }) => "!",
                Some(TimeAnomaly::Back { .. }) => "<",
                Some(TimeAnomaly::Silence { .. }) => ">",
            };
            found.push(format!("{}{mark}", (time - at(0)) / 1_000_000_000));
        }
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn one_wild_time_is_replaced_and_a_lasting_step_is_kept() {
        check(&[10, 11, 12, 13], "10 11 12 13");
        check(&[10, 11, 10, 12], "10 11 10 12");
        check(&[10, 11, 500, 12, 13], "10 11 11! 12 13");
        check(&[10, 11, 1_000_000_000, 12, 13], "10 11 11! 12 13");
        check(&[10, 11, 2, 12, 13], "10 11 11! 12 13");
        check(&[900, 11, 12], "11! 11 12");
        check(&[0, 100_000, 100_001], "100000! 100000 100001");
        check(&[10, 11, 200_000], "10 11 11!");
        check(&[10, 11, 3], "10 11 11!");
        check(&[100, 101, 20, 21, 22], "100 101 20< 21 22");
        check(&[100, 101, 900, 901], "100 101 900> 901");
        check(&[100, 101, 300, 301], "100 101 300 301");
        check(&[100, 900, 901, 102, 103], "100 900> 901 102< 103");
        check(&[7], "7");
        check(&[], "");
    }
}
