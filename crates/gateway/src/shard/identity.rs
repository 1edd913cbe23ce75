//! The owners of sessions: tokens on their way to be verified, the verdicts, revocations, and the lines of the audit.

use tickwire_auth::{Denied, Revocation};
use tickwire_core::engine::{HandedIn, Principal, SessionKey};
use tickwire_wire::CloseCode;
use tokio::sync::mpsc;

use super::Shard;
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
        let mut seat = None;
        let principal = admitted.and_then(|admitted| {
            if let Some(max) = admitted.sessions_max.filter(|_| !self.seats.contains_key(session)) {
                let sat = self.gate.users.sit(&admitted.principal.name, max);
                seat = Some(sat.map_err(|denied| denied.refusal())?);
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
            if let Some(seat) = seat {
                self.seats.insert(session, seat);
            }
            self.audit_opened(session);
            self.check_revoked(session);
        }
    }

    /// Closes a session whose token was revoked while it was on its way: one that is revoked later is told by an order, which comes
    /// behind the session.
    pub(super) fn check_revoked(&mut self, key: SessionKey) {
        let is_revoked = self
            .engine
            .principal(key)
            .is_some_and(|principal| self.gate.authenticator.revocations().covers(principal));
        if is_revoked {
            self.engine.close(key, CloseCode::Revoked);
        }
    }

    /// Closes the sessions whose tokens count no more.
    pub(super) fn revoke(&mut self, revocations: &[Revocation]) {
        let covers = |principal: &Principal| revocations.iter().any(|one| one.covers(principal));
        let count = self.engine.revoke(&covers, self.clock.now());
        if count > 0 {
            tracing::info!(target: "tickwire::audit", sessions = count, "sessions of revoked tokens are closed");
        }
    }

    /// Notes whom a session belongs to. Sessions of nobody in particular are told at the level `debug`.
    pub(super) fn audit_opened(&self, key: SessionKey) {
        let (Some(session), Some(principal)) = (self.engine.id(key), self.engine.principal(key)) else {
            return;
        };
        let peer = self.connections.get(key).and_then(super::Connection::peer).map(tracing::field::display);
        if is_named(principal) {
            let jti = principal.credential.id.as_deref();
            tracing::info!(target: "tickwire::audit", %session, sub = principal.name, jti, peer, "session opened");
        } else {
            tracing::debug!(target: "tickwire::audit", %session, peer, "session opened");
        }
    }

    /// Notes how a session ended.
    pub(super) fn audit_ended(&self, key: SessionKey) {
        let (Some(session), Some(principal)) = (self.engine.id(key), self.engine.principal(key)) else {
            return;
        };
        let why = self.engine.closing(key).map_or("the client left", CloseCode::name);
        if is_named(principal) {
            tracing::info!(target: "tickwire::audit", %session, sub = principal.name, why, "session ended");
        } else {
            tracing::debug!(target: "tickwire::audit", %session, why, "session ended");
        }
    }
}

fn is_named(principal: &Principal) -> bool {
    !principal.credential.is_awaited && principal.name != Principal::anonymous().name
}
