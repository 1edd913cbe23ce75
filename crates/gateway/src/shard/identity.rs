//! The owners of sessions: tokens on their way to be verified, the verdicts, and revocations.

use tickwire_auth::{Denied, Revocation};
use tickwire_core::engine::{HandedIn, Principal, SessionKey};
use tickwire_wire::CloseCode;
use tokio::sync::mpsc;

use super::Shard;
use crate::audit;
use crate::auth::gate::Verdict;

impl Shard {
    /// Passes the tokens on that clients handed in. Where too many are on their way, clients are told to try again.
    pub(super) fn pass_tokens(&mut self, at: usize, to: &mpsc::Sender<(usize, HandedIn)>) {
        let handed_in: Vec<_> = self.engine.take_tokens().collect();
        for one in handed_in {
            let (session, id) = (one.session, one.id);
            if to.try_send((at, one)).is_err() {
                self.engine.identify(session, id, Err(Denied::Busy.refusal()), self.clock.now());
            }
        }
    }

    /// Takes the verdict about a token. A user whose sessions are counted keeps the place of this one.
    pub(super) fn identify(&mut self, verdict: Verdict) {
        let Verdict { session, id, admitted } = verdict;
        if !self.connections.contains_key(session) {
            return;
        }
        let now = self.clock.now();
        let mut held = None;
        let principal = admitted.and_then(|admitted| {
            if let Some(max) = admitted.sessions_max.filter(|_| !self.held.contains_key(session)) {
                let one = self.gate.hold(&admitted.principal.name, max);
                held = Some(one.map_err(|denied| denied.refusal())?);
            }
            Ok(admitted.principal)
        });
        let wanted = principal.as_ref().ok().cloned();
        self.engine.identify(session, id, principal, now);
        let is_taken = match (&wanted, self.engine.principal(session)) {
            (Some(wanted), Some(known)) => std::sync::Arc::ptr_eq(wanted, known),
            _ => false,
        };
        if is_taken {
            if let Some(held) = held {
                self.held.insert(session, held);
            }
            self.audit(session, |row| audit::identified(row, self.token_id(session)));
            self.check_revoked(session);
        }
    }

    /// Closes a session whose token was revoked, or whose API key was taken away, while it was on its way: what comes later is told
    /// by an order, which comes behind the session.
    pub(super) fn check_revoked(&mut self, key: SessionKey) {
        let is_revoked = self
            .engine
            .principal(key)
            .is_some_and(|principal| self.gate.authenticator.counts_no_more(principal));
        if is_revoked {
            self.engine.close(key, CloseCode::Revoked);
        }
    }

    /// Closes the sessions whose tokens count no more.
    pub(super) fn revoke(&mut self, revocations: &[Revocation]) {
        let covers = |principal: &Principal| revocations.iter().any(|one| one.covers(principal));
        let count = self.engine.revoke(&covers, self.clock.now());
        if count > 0 {
            tracing::info!(target: audit::TARGET, sessions = count, "sessions of revoked tokens are closed");
        }
    }

    /// Closes the sessions whose API keys are gone.
    pub(super) fn recheck(&mut self) {
        let gate = std::sync::Arc::clone(&self.gate);
        let covers = |principal: &Principal| gate.authenticator.counts_no_more(principal);
        let count = self.engine.revoke(&covers, self.clock.now());
        if count > 0 {
            tracing::info!(target: audit::TARGET, sessions = count, "sessions of removed API keys are closed");
        }
    }

    /// Returns the id of the token that a session is known by, for the audit.
    pub(super) fn token_id(&self, key: SessionKey) -> Option<&str> {
        self.engine.principal(key)?.credential.id.as_deref()
    }
}
