//! The verdicts about what clients show.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tickwire_auth::{Admitted, Authenticator, Denied, Seat, Users};
use tickwire_core::engine::{Principal, SessionKey, TokenRefused};
use tickwire_wire::{Encoding, Secret};

use super::shown::Shown;
use super::stats::AuthStats;
use crate::clock::Clock;
use crate::files::Seldom;

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
    pub(crate) seat: Option<Seat>,
}

/// All that is needed to let somebody in.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) stats: Arc<AuthStats>,
    pub(crate) users: Users,
    clock: Clock,
    /// When a refusal was logged last: whoever knocks must not fill the log.
    logged: Mutex<Seldom>,
}

impl Gate {
    pub(crate) fn new(authenticator: Arc<Authenticator>, stats: Arc<AuthStats>, clock: Clock) -> Self {
        Self { authenticator, stats, users: Users::default(), clock, logged: Mutex::default() }
    }

    /// Finds out whose session a handshake begins.
    ///
    /// # Cancel safety
    /// It is safe: nothing is left behind.
    pub(crate) async fn admit(&self, shown: &Shown, encoding: Encoding) -> Result<Admission, Denied> {
        let settings = self.authenticator.settings();
        if let Some(token) = &shown.token {
            return self.seat(self.take(token).await?, encoding);
        }
        if shown.comes_later && !settings.first_message.is_zero() && self.authenticator.takes_keys() {
            let until = self.clock.now().saturating_add(settings.first_message.as_nanos() as u64);
            return Ok(Admission { principal: Arc::new(Principal::awaited(until)), seat: None });
        }
        self.seat(self.authenticator.admit_anonymous()?, encoding)
    }

    /// Finds out whose token this is. A key that is not known is looked for.
    pub(super) async fn take(&self, token: &Secret) -> Result<Admitted, Denied> {
        let mut verdict = self.authenticator.admit(token, self.clock.now());
        if let (Err(Denied::UnknownKey), Some(tokens)) = (&verdict, self.authenticator.tokens()) {
            tokens.look_again().await;
            verdict = self.authenticator.admit(token, self.clock.now());
        }
        verdict
    }

    fn seat(&self, admitted: Admitted, encoding: Encoding) -> Result<Admission, Denied> {
        let Admitted { principal, sessions_max } = admitted;
        if principal.encodings.as_ref().is_some_and(|allowed| !allowed.contains(&encoding)) {
            return Err(Denied::Encoding(encoding.name()));
        }
        let seat = sessions_max.map(|max| self.users.sit(&principal.name, max)).transpose()?;
        Ok(Admission { principal, seat })
    }

    /// Counts a refusal, and logs one now and then.
    pub(crate) fn note(&self, denied: &Denied, peer: Option<SocketAddr>) {
        self.stats.denied[denied.place()].fetch_add(1, Ordering::Relaxed);
        let (reason, peer) = (denied.reason(), peer.map(tracing::field::display));
        if let Some(times) = self.logged.lock().unwrap_or_else(PoisonError::into_inner).now() {
            tracing::info!(target: "tickwire::audit", peer, reason, times, "refused");
        }
    }
}
