//! A candidate for a lease: what it asks the register for, and whether it holds the lease. It has no clock and no I/O.

use bytes::Bytes;

use super::{Entry, LeaseTiming};

/// The time after which a holder asks again, where a request was lost.
const RETRY_NS: u64 = 50_000_000;

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is due before this time.
    Wait(u64),
    /// The entry is to be read.
    Read,
    /// The entry is to be written.
    Write { value: Bytes, expected: u64 },
    /// The lease was held, and is not any more.
    Lost,
}

/// The response of the register; `None` where none came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Read(Option<Entry>),
    Written(Option<u64>),
    Failed,
}

/// A process that wants the lease. Times are nanoseconds of its own steady clock.
#[derive(Debug)]
pub(super) struct Candidate {
    owner: Bytes,
    length: u64,
    /// The time for which a write is certain, from before it was asked for.
    certain: u64,
    renew_every: u64,
    look_every: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It stands by: the next look, what was seen last with the time since when, and the revision that it will replace.
    Standby {
        next: u64,
        seen: Option<(u64, u64)>,
        taking: Option<u64>,
    },
    /// It holds the lease. `doubts` says that a write was refused, which may be because the one before was not lost.
    Holder {
        lease: u64,
        revision: u64,
        until: u64,
        renew_at: u64,
        doubts: bool,
    },
    Lost,
}

impl Candidate {
    pub(super) fn new(owner: Bytes, timing: &LeaseTiming) -> Self {
        let ns = |duration: std::time::Duration| duration.as_nanos() as u64;
        Self {
            owner,
            length: ns(timing.length),
            certain: ns(timing.length.saturating_sub(timing.margin)),
            renew_every: ns(timing.renew_every),
            look_every: ns(timing.look_every),
            state: State::Standby { next: 0, seen: None, taking: None },
        }
    }

    /// Returns the number of the lease and the time until which it is certain, where it is held.
    pub(super) fn held(&self, now: u64) -> Option<(u64, u64)> {
        match self.state {
            State::Holder { lease, until, .. } if now < until => Some((lease, until)),
            _ => None,
        }
    }

    /// Returns what gives the lease back: the value that says that nobody holds it.
    pub(super) fn release(&self) -> Option<Step> {
        match self.state {
            State::Holder { revision, .. } => Some(Step::Write { value: Bytes::new(), expected: revision }),
            _ => None,
        }
    }

    pub(super) fn step(&mut self, now: u64) -> Step {
        match self.state {
            State::Standby { taking: Some(expected), .. } => {
                Step::Write { value: self.owner.clone(), expected }
            }
            State::Standby { next, .. } if now < next => Step::Wait(next),
            State::Holder { until, .. } if now >= until => {
                self.state = State::Lost;
                Step::Lost
            }
            State::Holder { until, renew_at, .. } if now < renew_at => Step::Wait(renew_at.min(until)),
            State::Standby { .. } | State::Holder { doubts: true, .. } => Step::Read,
            State::Holder { revision, .. } => Step::Write { value: self.owner.clone(), expected: revision },
            State::Lost => Step::Lost,
        }
    }

    /// Takes the response to what was asked for at the time `sent`.
    pub(super) fn answered(&mut self, sent: u64, now: u64, response: Response) {
        let (length, certain, look_at) = (self.length, self.certain, now + self.look_every);
        match &mut self.state {
            State::Standby { next, seen, taking } => {
                *next = look_at;
                match response {
                    Response::Read(None) => *taking = Some(0),
                    Response::Read(Some(entry)) if entry.value.is_empty() => *taking = Some(entry.revision),
                    Response::Read(Some(entry)) => match *seen {
                        // It is as old as it is known here, at least.
                        Some((revision, since)) if revision == entry.revision => {
                            *taking = (sent.saturating_sub(since) >= length).then_some(revision);
                        }
                        _ => *seen = Some((entry.revision, now)),
                    },
                    Response::Written(Some(revision)) if now < sent + certain => {
                        self.state = State::Holder {
                            lease: revision,
                            revision,
                            until: sent + certain,
                            renew_at: sent + self.renew_every,
                            doubts: false,
                        };
                    }
                    Response::Written(_) | Response::Failed => *taking = None,
                }
            }
            State::Holder { revision, until, renew_at, doubts, .. } => match response {
                Response::Written(Some(written)) => {
                    (*revision, *until) = (written, sent + certain);
                    *renew_at = sent + self.renew_every;
                }
                Response::Written(None) => *doubts = true,
                Response::Read(Some(entry)) if entry.value == self.owner => {
                    (*revision, *doubts) = (entry.revision, false);
                }
                Response::Read(_) => self.state = State::Lost,
                Response::Failed => *renew_at = now + RETRY_NS,
            },
            State::Lost => {}
        }
    }
}
