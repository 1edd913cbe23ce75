//! The routes from subjects to inboxes. Lists are replaced, never changed in place, so that a publisher copies a
//! pointer under the lock and delivers without it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::ptr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use tokio::sync::mpsc;

use super::MemoryInbox;
use crate::backplane::Request;
use tickwire_wire::Subject;

/// One inbox's subscription.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) inbox: Arc<MemoryInbox>,
    pub(super) token: u64,
}

type Targets = Arc<[Target]>;

#[derive(Default)]
pub(super) struct Routes {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    exact: HashMap<Subject, Targets>,
    /// The wildcards, by what stands before the `*`.
    wild: HashMap<String, Targets>,
    servers: HashMap<Subject, Vec<mpsc::Sender<Request>>>,
    inboxes: Vec<Weak<MemoryInbox>>,
}

impl Routes {
    /// Returns who gets a message to `subject`: by its own name, and by wildcards.
    pub(super) fn find(&self, subject: &Subject) -> (Option<Targets>, Option<Targets>) {
        let table = self.read();
        let wild = if table.wild.is_empty() { None } else { table.wild.get(subject.stem()).cloned() };
        (table.exact.get(subject).cloned(), wild)
    }

    /// Adds a target, in place of the one that the same inbox may have there.
    pub(super) fn add(&self, subject: &Subject, target: Target) {
        let mut table = self.write();
        if subject.is_wildcard() {
            add_to(&mut table.wild, subject.stem().to_owned(), target);
        } else {
            add_to(&mut table.exact, subject.clone(), target);
        }
    }

    pub(super) fn remove(&self, subject: &Subject, inbox: &MemoryInbox) {
        let mut table = self.write();
        if subject.is_wildcard() {
            remove_from(&mut table.wild, subject.stem(), inbox);
        } else {
            remove_from(&mut table.exact, subject, inbox);
        }
    }

    pub(super) fn add_inbox(&self, inbox: &Arc<MemoryInbox>) {
        self.write().inboxes.push(Arc::downgrade(inbox));
    }

    pub(super) fn remove_inbox(&self, inbox: &MemoryInbox) {
        self.write().inboxes.retain(|weak| !ptr::eq(weak.as_ptr(), inbox));
    }

    pub(super) fn inboxes(&self) -> Vec<Arc<MemoryInbox>> {
        self.read().inboxes.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn subject_count(&self) -> usize {
        let table = self.read();
        table.exact.len() + table.wild.len()
    }

    pub(super) fn add_server(&self, subject: &Subject, server: mpsc::Sender<Request>) {
        self.write().servers.entry(subject.clone()).or_default().push(server);
    }

    /// Returns who answers requests to `subject`; servers that went away are forgotten on the way.
    pub(super) fn servers(&self, subject: &Subject) -> Vec<mpsc::Sender<Request>> {
        let mut table = self.write();
        let Some(servers) = table.servers.get_mut(subject) else { return Vec::new() };
        servers.retain(|server| !server.is_closed());
        let servers = servers.clone();
        if servers.is_empty() {
            table.servers.remove(subject);
        }
        servers
    }

    pub(super) fn drop_servers(&self) {
        self.write().servers.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_to<K: Eq + Hash>(map: &mut HashMap<K, Targets>, key: K, target: Target) {
    let targets = map.entry(key).or_default();
    let others: Vec<_> = others(targets, &target.inbox).collect();
    *targets = others.into_iter().chain([target]).collect();
}

fn remove_from<K, Q>(map: &mut HashMap<K, Targets>, key: &Q, inbox: &MemoryInbox)
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    let Some(targets) = map.get_mut(key) else { return };
    *targets = others(targets, inbox).collect();
    if targets.is_empty() {
        map.remove(key);
    }
}

fn others(targets: &Targets, inbox: &MemoryInbox) -> impl Iterator<Item = Target> {
    targets.iter().filter(move |target| !ptr::eq(&raw const *target.inbox, inbox)).cloned()
}
