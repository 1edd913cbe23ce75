//! The owners of sessions: tokens on their way to be verified, the verdicts, and revocations.

use std::collections::HashMap;
use std::sync::Arc;

use tickwire_auth::{Admitted, Denied, Revocation};
use tickwire_core::engine::{HandedIn, Principal, SessionKey};
use tickwire_wire::CloseCode;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::regrants::Regrant;
use super::state::Shard;
use crate::audit;
use crate::auth::gate::Verdict;

/// The grants of API keys as they are now, by the ids of the keys.
type Granted = HashMap<String, GrantedNow>;

struct GrantedNow {
    /// The principal of the key; `None` where the key is gone.
    now: Option<Arc<Principal>>,
    /// A principal from before, and whether that one may see or have something that this one may not.
    compared: Option<(Arc<Principal>, bool)>,
}

/// The change of what an API key grants, for one of its sessions.
struct Change {
    principal: Arc<Principal>,
    /// Whether something that was granted before is not granted any more.
    is_less: bool,
}

impl Shard {
    /// Passes the tokens on that clients handed in. Where too many are on their way, clients are told to try again.
    pub(super) fn pass_tokens(&mut self, at: usize, to: &mpsc::Sender<(usize, HandedIn)>) {
        let handed_in: Vec<_> = self.engine.take_tokens().collect();
        for one in handed_in {
            let (session, id) = (one.session, one.id);
            if to.try_send((at, one)).is_err() {
                self.note_denied(session, &Denied::Busy);
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
            let Admitted { principal, sessions_max } = admitted;
            if !self.held.contains_key(session) {
                held = self.gate.hold(&principal, sessions_max).map_err(|denied| {
                    self.note_denied(session, &denied);
                    denied.refusal()
                })?;
            }
            Ok(principal)
        });
        let wanted = principal.as_ref().ok().cloned();
        let is_open = self.engine.closing(session).is_none();
        self.engine.identify(session, id, principal, now);
        let (Some(wanted), Some(known)) = (&wanted, self.engine.principal(session)) else { return };
        if Arc::ptr_eq(wanted, known) {
            if let Some(held) = held {
                self.held.insert(session, held);
            }
            self.audit(session, |row| audit::identified(row, self.token_id(session)));
            self.check_credential(session);
        } else if is_open {
            let is_other = wanted.name != known.name && !known.credential.is_awaited;
            self.note_denied(session, if is_other { &Denied::Subject } else { &Denied::Encoding("") });
        }
    }

    fn note_denied(&self, session: SessionKey, denied: &Denied) {
        self.gate.note(denied, self.connections.get(session).and_then(Connection::peer));
    }

    /// Closes a session whose token was revoked, or whose API key was taken away, while it was on its way, and tells it what its key
    /// grants now: what comes later is told by an order, which comes behind the session.
    pub(super) fn check_credential(&mut self, key: SessionKey) {
        let is_revoked = self
            .engine
            .principal(key)
            .is_some_and(|principal| self.gate.authenticator.counts_no_more(principal));
        if is_revoked {
            self.engine.close(key, CloseCode::Revoked);
        } else {
            self.regrant(key, &mut Granted::new());
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

    /// Closes the sessions whose keys are gone, and begins to tell the others what their API keys grant now.
    pub(super) fn recheck(&mut self) {
        let gate = Arc::clone(&self.gate);
        let covers = |principal: &Principal| gate.authenticator.counts_no_more(principal);
        let count = self.engine.revoke(&covers, self.clock.now());
        if count > 0 {
            tracing::info!(target: audit::TARGET, sessions = count, "sessions of removed keys are closed");
        }
        let (mut known, mut less, mut others) = (Granted::new(), Vec::new(), Vec::new());
        for key in self.connections.keys() {
            match self.change_of(key, &mut known) {
                None => {}
                Some(Change { is_less: true, .. }) => less.push(key),
                Some(_) => others.push(key),
            }
        }
        self.regrants.begin(less, others, self.clock.now());
    }

    /// Tells sessions what their API keys grant now, as many as one turn has time for.
    pub(super) fn regrant_turn(&mut self) {
        let (mut regrants, mut known, mut late) = (std::mem::take(&mut self.regrants), Granted::new(), 0);
        let clock = self.clock;
        regrants.turn(
            || clock.now(),
            |next| match next {
                Regrant::Tell(key) => self.regrant(key, &mut known),
                Regrant::Close(key) => {
                    if self.change_of(key, &mut known).is_some_and(|change| change.is_less) {
                        self.engine.close(key, CloseCode::TokenExpired);
                        late += 1;
                    }
                }
            },
        );
        self.regrants = regrants;
        if late > 0 {
            tracing::info!(
                sessions = late,
                "sessions are closed, because their API keys grant less and there was no time to tell them all"
            );
        }
    }

    /// Tells a session what its API key grants now, where that has changed.
    fn regrant(&mut self, key: SessionKey, known: &mut Granted) {
        let Some(Change { principal, .. }) = self.change_of(key, known) else { return };
        self.engine.regrant(key, Arc::clone(&principal), self.clock.now());
        // It may have ended instead.
        if self.engine.principal(key).is_some_and(|known| Arc::ptr_eq(known, &principal)) {
            self.audit(key, |row| audit::regranted(row, self.token_id(key)));
        }
    }

    /// Returns whom a session belongs to by what its API key grants now, where that is something else than before. Sessions of a
    /// key that is gone are closed by the order that says so.
    fn change_of(&self, key: SessionKey, known: &mut Granted) -> Option<Change> {
        let is_open = self.engine.closing(key).is_none();
        let before = self.engine.principal(key).filter(|one| is_open && one.credential.is_api_key)?;
        let GrantedNow { now, compared } = known.entry(before.credential.id.clone()?).or_insert_with(|| {
            let again = self.gate.authenticator.admit_again(before);
            GrantedNow { now: again.map(|again| again.principal), compared: None }
        });
        let principal = now.as_ref().filter(|now| ***now != **before)?;
        // Most sessions of a key were granted the same before.
        let is_less = match compared {
            Some((same, is_less)) if **same == **before => *is_less,
            _ => {
                let is_less = !principal.grants_all_of(before);
                *compared = Some((Arc::clone(before), is_less));
                is_less
            }
        };
        Some(Change { principal: Arc::clone(principal), is_less })
    }

    /// Returns the id of the token that a session is known by, for the audit.
    pub(super) fn token_id(&self, key: SessionKey) -> Option<&str> {
        self.engine.principal(key)?.credential.id.as_deref()
    }
}
