//! The face of whoever verifies JSON Web Tokens, so that a gateway can do without the cryptography.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::denied::Denied;
use crate::rights::Rights;

/// A boxed future, so that `Arc<dyn Tokens>` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The claims of a token whose signature counts. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// The owner of the token (`sub`).
    pub subject: String,
    /// The id of the token (`jti`), where it has one.
    pub id: Option<String>,
    /// When it was issued (`iat`); 0 where it does not say.
    pub issued: f64,
    /// When it begins to count (`nbf`), where it says so.
    pub begins: Option<f64>,
    /// When it ends (`exp`), where it does.
    pub ends: Option<f64>,
    /// The rights that it grants; `None` where it has no claim about that.
    pub rights: Option<Rights>,
    /// The number of the key that its signature was verified with, where whoever verified it keeps numbers: see [`Tokens::has_key`].
    pub key: Option<u64>,
}

/// The one who is told of keys that are gone. Clones tell the same one.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    /// Has somebody told.
    pub fn new(watcher: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(watcher))
    }

    /// Tells it.
    pub fn tell(&self) {
        (self.0)();
    }
}

/// The keys that tokens are verified with.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// Returns the claims of a token whose signature, issuer and audience count. Its times are still to be looked at.
    ///
    /// # Errors
    /// Says why it does not count.
    fn verify(&self, token: &str) -> Result<Claims, Denied>;

    /// Looks for keys that are not known yet, where there is a place to look and it was not looked at just before.
    ///
    /// # Cancel safety
    /// It is safe: whoever looks goes on.
    fn look_again(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Returns whether the key with this number is still there.
    fn has_key(&self, _: u64) -> bool {
        true
    }

    /// Says who is told when a key is gone. Only the first one counts.
    fn watch(&self, _: Watcher) {}

    /// Returns how many keys there are.
    fn count(&self) -> usize;
}
