//! Tokens of a client: where they come from, and which one counts.
//!
//! There is one call of the provider at a time, whoever wants its result: a refresh before the token ends, or a connection that is
//! to be opened. A result counts only where no token was set by hand after its call began. So there are never two chains of
//! refreshes, and no result of a connection that is gone runs on in the next one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tickwire_wire::Secret;
use tokio::time::Instant;

use crate::handshake::AbortOnDrop;

/// The time that a provider has for a token.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait before the provider is asked again for a refresh that failed.
const REFRESH_AGAIN: Duration = Duration::from_secs(5);
/// Gateways may refuse so many new tokens of a provider, one after another, before that is final.
const REFUSALS_MAX: u32 = 5;

/// An error of a token provider.
pub type TokenError = Box<dyn Error + Send + Sync>;

type Fetched = Result<Secret, Arc<str>>;
type Fetching = Pin<Box<dyn Future<Output = Result<Secret, TokenError>> + Send>>;

/// Asks a program for a token.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Fetching + Send + Sync>);

impl Provider {
    pub(crate) fn new<F, O>(provide: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = Result<Secret, TokenError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(provide())))
    }
}

/// The only call of the provider that runs.
struct Call {
    task: AbortOnDrop<Fetched>,
    /// The count of tokens when it began.
    generation: u64,
    /// The connection that is to be told its result.
    connection: Option<u64>,
}

/// The outcome of a call of the provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// There is a new token; the connection with this number is to be told.
    New { connection: Option<u64> },
    /// It came too late: another token was set meanwhile.
    Outdated,
    /// There is none.
    Failed(Arc<str>),
}

/// The tokens of one client.
pub(crate) struct Tokens {
    provider: Option<Provider>,
    current: Option<Secret>,
    /// The count of tokens so far.
    generation: u64,
    /// The current token was refused, or will end soon.
    is_stale: bool,
    /// The token that was refused last.
    refused: Option<Secret>,
    /// The refusals since a gateway took a token.
    refusals: u32,
    call: Option<Call>,
    /// When the provider is asked again for a refresh that failed, and by which connection.
    again: Option<(Instant, u64)>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("generation", &self.generation)
            .field("is_stale", &self.is_stale)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(current: Option<Secret>, provider: Option<Provider>) -> Self {
        Self {
            provider,
            current,
            generation: 0,
            is_stale: false,
            refused: None,
            refusals: 0,
            call: None,
            again: None,
        }
    }

    /// Returns the token to connect with.
    pub(crate) fn current(&self) -> Option<&Secret> {
        self.current.as_ref()
    }

    /// Takes a token that the program set by hand. It counts more than what a call brings that began before.
    pub(crate) fn set(&mut self, token: Secret) {
        self.current = Some(token);
        self.generation += 1;
        (self.is_stale, self.refusals, self.again) = (false, 0, None);
    }

    /// Returns whether the provider has to be asked before a connection is opened; it is asked then.
    pub(crate) fn wants_one_first(&mut self) -> bool {
        if self.provider.is_none() || (self.current.is_some() && !self.is_stale) {
            return false;
        }
        self.ask(None);
        true
    }

    /// The token of this connection will end soon: asks for the next one.
    pub(crate) fn refresh(&mut self, connection: u64) {
        self.is_stale = true;
        self.ask(Some(connection));
    }

    fn ask(&mut self, connection: Option<u64>) {
        let Some(provider) = &self.provider else { return };
        self.again = None;
        if let Some(call) = &mut self.call
            && call.generation == self.generation
        {
            // Its result is for whoever wants it last.
            call.connection = connection;
            return;
        }
        let fetching = (provider.0)();
        let task = tokio::spawn(async move {
            match tokio::time::timeout(PROVIDER_TIMEOUT, fetching).await {
                Ok(Ok(token)) => Ok(token),
                Ok(Err(error)) => Err(error.to_string().into()),
                Err(_) => Err(format!("the provider took more than {} s", PROVIDER_TIMEOUT.as_secs()).into()),
            }
        });
        self.call = Some(Call { task: AbortOnDrop(task), generation: self.generation, connection });
    }

    /// Waits for the call that runs; for ever where none does.
    ///
    /// # Cancel safety
    /// It is safe: the call goes on.
    pub(crate) async fn came(&mut self) -> Came {
        let again = self.again;
        let Some(call) = &mut self.call else {
            match again {
                Some((at, connection)) => {
                    tokio::time::sleep_until(at).await;
                    self.ask(Some(connection));
                    return Came::Outdated;
                }
                None => return std::future::pending().await,
            }
        };
        let fetched = match (&mut call.task.0).await {
            Ok(fetched) => fetched,
            Err(error) => Err(format!("the provider failed: {error}").into()),
        };
        let Some(Call { generation, connection, .. }) = self.call.take() else { return Came::Outdated };
        if generation != self.generation {
            return Came::Outdated;
        }
        match fetched {
            Ok(token) => {
                self.current = Some(token);
                self.generation += 1;
                self.is_stale = false;
                Came::New { connection }
            }
            Err(why) => {
                self.again = connection.map(|connection| (Instant::now() + REFRESH_AGAIN, connection));
                Came::Failed(why)
            }
        }
    }

    /// A gateway took the token.
    pub(crate) fn accepted(&mut self) {
        (self.refusals, self.refused) = (0, None);
    }

    /// A connection ended: nothing is refreshed for it any more, and what a call brings is for the next one.
    pub(crate) fn disconnected(&mut self) {
        self.again = None;
        if let Some(call) = &mut self.call {
            call.connection = None;
        }
    }

    /// A gateway refused the token, or it ended. Returns whether another one may come: there is a provider, and it has not brought
    /// the same one again.
    pub(crate) fn refused(&mut self) -> bool {
        self.is_stale = true;
        self.refusals += 1;
        let is_same = self.refused.is_some() && self.refused == self.current;
        self.refused.clone_from(&self.current);
        self.provider.is_some() && !is_same && self.refusals <= REFUSALS_MAX
    }
}
