//! The verdicts about what clients show.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tickwire_auth::{Admitted, Authenticator, Denied};
use tickwire_core::engine::{Credential, Principal, SessionKey, TokenRefused};
use tickwire_wire::{Encoding, Secret};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::shown::Shown;
use super::stats::AuthStats;
use crate::audit;
use crate::clock::Clock;
use crate::files::Seldom;
use crate::holders::{Held, Holder, Holders};
use crate::traces::span;

/// The verdict about a token that a session handed in.
pub(crate) struct Verdict {
    pub(crate) session: SessionKey,
    /// The id of the command.
    pub(crate) id: u64,
    pub(crate) admitted: Result<Admitted, TokenRefused>,
}

/// Whom a session belongs to, with its place among those of its user.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) principal: Arc<Principal>,
    pub(crate) held: Option<Held>,
}

/// All that is needed to let somebody in.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) stats: Arc<AuthStats>,
    holders: Arc<Holders>,
    /// The most sessions of one user whose token says no less; 0: there is no such limit.
    user_sessions: u32,
    clock: Clock,
    /// When a refusal was logged last: whoever knocks must not fill the log.
    logged: Mutex<Seldom>,
}

impl Gate {
    pub(crate) fn new(
        authenticator: Arc<Authenticator>,
        stats: Arc<AuthStats>,
        holders: Arc<Holders>,
        user_sessions: u32,
        clock: Clock,
    ) -> Self {
        Self { authenticator, stats, holders, user_sessions, clock, logged: Mutex::default() }
    }

    /// Finds out whose session a handshake begins, which is to be spoken in this dialect.
    ///
    /// # Cancel safety
    /// It is safe: nothing is left behind.
    pub(crate) async fn admit(&self, shown: &Shown, dialect: &'static str) -> Result<Admission, Denied> {
        let settings = self.authenticator.settings();
        if let Some(token) = &shown.token {
            return self.seat(self.take(token).await?, dialect);
        }
        if shown.comes_later && !settings.first_message.is_zero() && self.authenticator.takes_keys() {
            let until = self.clock.now().saturating_add(settings.first_message.as_nanos() as u64);
            return Ok(Admission { principal: Arc::new(Principal::awaited(until)), held: None });
        }
        self.seat(self.authenticator.admit_anonymous()?, dialect)
    }

    /// Finds out whose token this is. A key that is not known is looked for.
    pub(super) async fn take(&self, token: &Secret) -> Result<Admitted, Denied> {
        let span = span!("login", principal = Empty, jti = Empty, denied = Empty);
        let verdict = self.verify(token).instrument(span.clone()).await;
        match &verdict {
            Ok(Admitted { principal, .. }) => {
                span.record("principal", principal.name.as_str());
                span.record("jti", principal.credential.id.as_deref());
            }
            Err(denied) => drop(span.record("denied", denied.reason())),
        }
        verdict
    }

    async fn verify(&self, token: &Secret) -> Result<Admitted, Denied> {
        let mut verdict = self.authenticator.admit(token, self.clock.now());
        if let (Err(Denied::UnknownKey), Some(tokens)) = (&verdict, self.authenticator.tokens()) {
            tokens.look_again().await;
            verdict = self.authenticator.admit(token, self.clock.now());
        }
        verdict
    }

    fn seat(&self, admitted: Admitted, dialect: &'static str) -> Result<Admission, Denied> {
        let Admitted { principal, sessions_max } = admitted;
        let is_allowed = |allowed: &Vec<Encoding>| allowed.iter().any(|encoding| encoding.name() == dialect);
        if !principal.encodings.as_ref().is_none_or(is_allowed) {
            return Err(Denied::Encoding(dialect));
        }
        let held = self.hold(&principal, sessions_max)?;
        Ok(Admission { principal, held })
    }

    /// Counts one more session of a user, who may have `sessions_max` by its token. It is counted where there is no limit too, because
    /// a token may come that has one. Whoever showed nothing is no user.
    ///
    /// # Errors
    /// When it has as many as it may.
    pub(crate) fn hold(
        &self,
        principal: &Principal,
        sessions_max: Option<u32>,
    ) -> Result<Option<Held>, Denied> {
        if principal.credential == Credential::NONE {
            return Ok(None);
        }
        let of_gateway = Some(self.user_sessions).filter(|max| *max > 0);
        let max = sessions_max.into_iter().chain(of_gateway).min().unwrap_or(u32::MAX);
        let held = self.holders.hold(Holder::Name(principal.name.as_str().into()), max);
        held.map(Some).ok_or(Denied::Sessions { max })
    }

    /// Counts a refusal, and logs one now and then.
    pub(crate) fn note(&self, denied: &Denied, peer: Option<SocketAddr>) {
        self.stats.denied[denied.place()].fetch_add(1, Ordering::Relaxed);
        let (reason, peer) = (denied.reason(), peer.map(tracing::field::display));
        if let Some(times) = self.logged.lock().unwrap_or_else(PoisonError::into_inner).now() {
            tracing::info!(target: audit::TARGET, peer, reason, times, "refused");
        }
    }
}
