//! The simulator as a source: its own time is paced by the clock.

use tokio::time::sleep;

use super::Sim;
use crate::adapter::{Adapter, AdapterError, FeedEvent, Flow, SourceState};
use crate::clock::{Clock, Pace, Pacer};

/// An adapter that paces a [`Sim`].
///
/// At a speed, event and receive times are the clock's. Flat out they are the simulator's own, so that the same seed
/// gives the same bytes.
#[derive(Debug)]
pub struct SimAdapter {
    sim: Sim,
    clock: Clock,
    pace: Pace,
    pacer: Pacer,
    /// The number of steps still to go.
    steps: u64,
    is_started: bool,
}

/// The number of steps per call: about a third of a millisecond of work.
const STEPS_MAX: usize = 512;

impl SimAdapter {
    /// Makes an endless simulation.
    pub fn new(sim: Sim, pace: Pace, clock: Clock) -> Self {
        Self { sim, clock, pace, pacer: Pacer::new(pace), steps: u64::MAX, is_started: false }
    }

    /// Makes it end after so many calls of [`Sim::next_event`].
    #[must_use]
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }
}

impl Adapter for SimAdapter {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if self.steps == 0 {
            events.push(FeedEvent::Source(SourceState::Ended));
            return Ok(Flow::Ended);
        }
        let wait = self.pacer.wait(self.sim.next_time(), self.clock.now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if !self.is_started {
            self.is_started = true;
            events.push(FeedEvent::Source(SourceState::Live));
        }
        let now = self.clock.now();
        for _ in 0..STEPS_MAX {
            if self.steps == 0 || !self.pacer.wait(self.sim.next_time(), now).is_zero() {
                break;
            }
            self.steps -= 1;
            let from = events.len();
            let time = self.sim.next_event(events);
            if let Pace::Speed(_) = self.pace {
                let placed = self.pacer.place(time, now);
                for event in &mut events[from..] {
                    if let FeedEvent::Market(event) = event {
                        (event.event_time, event.receive_time) = (placed, placed);
                    }
                }
            }
        }
        Ok(Flow::More)
    }
}
