//! Commands from anywhere in the program, while somebody else reads.

use std::time::Duration;

use tickwire_wire::{Channel, Ledger, Secret};
use tokio::sync::{mpsc, oneshot};

use crate::error::CommandError;
use crate::event::Outcome;

/// Options of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Updates per second, at most, on conflated channels; 0: as many as the session can take.
    pub max_rate: f64,
}

impl Options {
    /// Returns options for at most so many updates a second.
    pub fn max_rate(max_rate: f64) -> Self {
        Self { max_rate }
    }
}

/// A request of a handle to its client.
pub(crate) enum Ask {
    Subscribe { channel: Channel, symbols: Vec<String>, options: Options },
    Unsubscribe { channel: Channel, symbols: Vec<String> },
    SetRate { channel: Channel, symbols: Vec<String>, max_rate: f64 },
    Ledger,
    Token { token: Secret },
}

/// The client's response to a handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) outcome: Outcome,
    pub(crate) ledger: Ledger,
}

pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) response: oneshot::Sender<Result<Response, CommandError>>,
}

/// Sends commands for a [`crate::Client`] that somebody else reads. Cheap to clone.
///
/// Responses travel in the stream of data, so they arrive while the client's `next` is being called: do not await a
/// handle in the loop that reads, spawn it.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    timeout: Duration,
}

impl Handle {
    pub(crate) fn new(requests: mpsc::Sender<Request>, timeout: Duration) -> Self {
        Self { requests, timeout }
    }

    /// Subscribes; the outcome says for each symbol (`venue:SYMBOL`, or `venue:*`) whether it was granted. While there
    /// is no connection it waits for one. Granted symbols are subscribed again after each reconnect.
    ///
    /// # Errors
    /// No response in time, or the gateway rejected the command as a whole.
    ///
    /// # Cancel safety
    /// The command may have been sent; its outcome is then an [`crate::Event::Subscribed`] only.
    pub async fn subscribe<S: Into<String>>(
        &self,
        channel: Channel,
        symbols: impl IntoIterator<Item = S>,
        options: Options,
    ) -> Result<Outcome, CommandError> {
        let symbols = symbols.into_iter().map(Into::into).collect();
        Ok(self.ask(Ask::Subscribe { channel, symbols, options }).await?.outcome)
    }

    /// Unsubscribes, and returns the gateway's final account of these subscriptions; empty while there is no
    /// connection.
    ///
    /// # Errors
    /// No response in time, or the connection was lost before it came. The symbols are unsubscribed in any case.
    ///
    /// # Cancel safety
    /// The command may have been sent.
    pub async fn unsubscribe<S: Into<String>>(
        &self,
        channel: Channel,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<Ledger, CommandError> {
        let symbols = symbols.into_iter().map(Into::into).collect();
        Ok(self.ask(Ask::Unsubscribe { channel, symbols }).await?.ledger)
    }

    /// Changes the rate of subscriptions; `Granted::max_rate` of the outcome is what the gateway allows.
    ///
    /// # Errors
    /// No response in time, or the connection was lost before it came: the rate is then asked for after the reconnect.
    ///
    /// # Cancel safety
    /// The command may have been sent.
    pub async fn set_rate<S: Into<String>>(
        &self,
        channel: Channel,
        symbols: impl IntoIterator<Item = S>,
        max_rate: f64,
    ) -> Result<Outcome, CommandError> {
        let symbols = symbols.into_iter().map(Into::into).collect();
        Ok(self.ask(Ask::SetRate { channel, symbols, max_rate }).await?.outcome)
    }

    /// Asks what became of the records of every subscription.
    ///
    /// # Errors
    /// There is no connection, it was lost, or no response came in time.
    ///
    /// # Cancel safety
    /// The command may have been sent.
    pub async fn ledger(&self) -> Result<Ledger, CommandError> {
        Ok(self.ask(Ask::Ledger).await?.ledger)
    }

    /// Sets the token of this client by hand: the session that is open goes on with it, and so do connections from now on. It
    /// counts more than what the provider is just being asked for. The session keeps its owner: a token of another subject is
    /// refused.
    ///
    /// # Errors
    /// The gateway refused it, no response came in time, or the connection was lost before.
    ///
    /// # Cancel safety
    /// The token may have been set.
    pub async fn token(&self, token: Secret) -> Result<(), CommandError> {
        self.ask(Ask::Token { token }).await.map(drop)
    }

    async fn ask(&self, ask: Ask) -> Result<Response, CommandError> {
        let (response, answered) = oneshot::channel();
        let ask = async {
            self.requests.send(Request { ask, response }).await.map_err(|_| CommandError::Ended)?;
            answered.await.map_err(|_| CommandError::Ended)?
        };
        let waited = self.timeout;
        tokio::time::timeout(waited, ask).await.unwrap_or(Err(CommandError::TimedOut { waited }))
    }
}
