//! The futures that the traits of this crate return.

use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that `Arc<dyn Backplane>` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
