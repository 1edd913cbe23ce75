//! The task that keeps a lease: it asks the register what the candidate wants.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::candidate::{Candidate, Response, Step};
use super::{LeaseTiming, Register, RegisterError, Term};
use crate::backplane::Backplane;

/// Somebody who wants a lease.
pub struct LeaseHolder {
    bus: Arc<dyn Backplane>,
    name: String,
    timing: LeaseTiming,
    candidate: Candidate,
    term: Term,
    /// The last trouble, so that each is told once.
    trouble: Option<String>,
}

/// The end of holding a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It was held, and is not any more. What was published for it is over: begin anew, under another epoch.
    Lost,
    /// It was given back, or never held, because that was asked for.
    GivenBack,
}

impl LeaseHolder {
    /// Wants the lease of a name. `owner` is what others see of who holds it, unlike what anybody else writes.
    ///
    /// # Errors
    /// The bus keeps no leases.
    pub fn new(
        bus: Arc<dyn Backplane>,
        name: &str,
        owner: &str,
        timing: LeaseTiming,
    ) -> Result<Self, RegisterError> {
        if bus.register().is_none() {
            return Err(RegisterError("this bus has no place for them".to_owned()));
        }
        let candidate = Candidate::new(Bytes::copy_from_slice(owner.as_bytes()), &timing);
        Ok(Self { bus, name: name.to_owned(), timing, candidate, term: Term::default(), trouble: None })
    }

    /// Returns whether it is held, from now on.
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    /// Stands by, holds the lease when it is free, and returns when it is lost, or when `stop` is asked for and it is given back.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lease to run out.
    pub async fn run(mut self, stop: CancellationToken) -> Held {
        let mut is_held = false;
        loop {
            let now = self.term.now();
            let held = self.candidate.held(now);
            let (lease, until) = held.unwrap_or_default();
            self.term.set(lease, until);
            if held.is_some() && !std::mem::replace(&mut is_held, held.is_some()) {
                tracing::info!(name = self.name, lease, "holding the lease: publishing");
            }
            let step = self.candidate.step(now);
            match step {
                Step::Lost => {
                    self.term.set(0, 0);
                    tracing::warn!(name = self.name, "the lease is lost: nothing is published any more");
                    return Held::Lost;
                }
                Step::Wait(until) => {
                    let wait = Duration::from_nanos(until.saturating_sub(now));
                    if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                        break;
                    }
                }
                step => {
                    if stop.is_cancelled() {
                        break;
                    }
                    let response = self.ask(step).await;
                    self.candidate.answered(now, self.term.now(), response);
                }
            }
        }
        self.term.set(0, 0);
        if let Some(step) = self.candidate.release() {
            // Who stands by takes it at once, and does not wait for its end.
            self.ask(step).await;
            tracing::info!(name = self.name, "the lease is given back");
        }
        Held::GivenBack
    }

    async fn ask(&mut self, step: Step) -> Response {
        let Some(register) = self.bus.register() else { return Response::Failed };
        let asked = timeout(self.timing.request_timeout, ask(register, &self.name, step)).await;
        let response = asked.unwrap_or_else(|_| Err(RegisterError("no response came in time".to_owned())));
        match response {
            Ok(response) => {
                if self.trouble.take().is_some() {
                    tracing::info!(name = self.name, "leases can be kept again");
                }
                response
            }
            Err(error) => {
                let words = error.to_string();
                if self.trouble.as_ref() != Some(&words) {
                    tracing::warn!(name = self.name, "{words}");
                    self.trouble = Some(words);
                }
                Response::Failed
            }
        }
    }
}

async fn ask(register: &dyn Register, name: &str, step: Step) -> Result<Response, RegisterError> {
    match step {
        Step::Read => register.read(name).await.map(Response::Read),
        Step::Write { value, expected } => register.write(name, value, expected).await.map(Response::Written),
        Step::Wait(_) | Step::Lost => Ok(Response::Failed),
    }
}
