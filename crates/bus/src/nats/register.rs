//! The register over JetStream: a key-value bucket, whose entries change only for a writer who names their last revision.

use std::sync::Arc;

use async_nats::jetstream::kv::{Config, Store, UpdateErrorKind};
use bytes::Bytes;
use tokio::sync::Mutex;

use super::link::Link;
use crate::future::BoxFuture;
use crate::register::{Entry, Register, RegisterError};

/// The bucket. Its revisions only grow, so it lies on the disk. Who wants copies in a cluster makes it first; it is used as it is.
pub(super) const BUCKET: &str = "tickwire-leases";

pub(super) struct NatsRegister {
    link: Arc<Link>,
    store: Mutex<Option<Store>>,
}

impl NatsRegister {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, store: Mutex::default() }
    }

    async fn store(&self) -> Result<Store, RegisterError> {
        let mut known = self.store.lock().await;
        if let Some(store) = &*known {
            return Ok(store.clone());
        }
        let client = self.link.client().filter(|_| self.link.is_up());
        let client = client.ok_or_else(|| RegisterError("the bus is down".to_owned()))?;
        let context = async_nats::jetstream::new(client.clone());
        let store = match context.get_key_value(BUCKET).await {
            Ok(store) => store,
            Err(_) => {
                let description = "Which ingester of several publishes".to_owned();
                let config =
                    Config { bucket: BUCKET.to_owned(), description, history: 1, ..Config::default() };
                context.create_key_value(config).await.map_err(|error| {
                    let remedy = "nats-server needs JetStream (-js), and this user its rights";
                    RegisterError(format!("the bucket `{BUCKET}` cannot be made: {error}; {remedy}"))
                })?
            }
        };
        *known = Some(store.clone());
        Ok(store)
    }

    /// Forgets the bucket, which may be gone, so that it is looked for, and made, again.
    async fn failed(&self, error: impl std::fmt::Display) -> RegisterError {
        *self.store.lock().await = None;
        RegisterError(error.to_string())
    }
}

impl Register for NatsRegister {
    fn read<'r>(&'r self, name: &'r str) -> BoxFuture<'r, Result<Option<Entry>, RegisterError>> {
        Box::pin(async move {
            match self.store().await?.entry(name).await {
                Ok(entry) => Ok(entry.map(|entry| Entry { revision: entry.revision, value: entry.value })),
                Err(error) => Err(self.failed(error).await),
            }
        })
    }

    fn write<'r>(
        &'r self,
        name: &'r str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'r, Result<Option<u64>, RegisterError>> {
        Box::pin(async move {
            match self.store().await?.update(name, value, expected).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
                Err(error) => Err(self.failed(error).await),
            }
        })
    }
}
