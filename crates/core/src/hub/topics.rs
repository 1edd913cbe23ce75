//! The topics that are followed, by their dense ids: one is looked up for every message.

use super::follow::Followed;
use crate::vocabulary::TopicId;

/// All followed topics; see the module.
#[derive(Debug, Default)]
pub(super) struct Topics {
    slots: Vec<Option<Box<Followed>>>,
    count: usize,
}

impl Topics {
    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Followed> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// Inserts a topic in place of the one that may be there.
    pub(super) fn insert(&mut self, id: TopicId, topic: Followed) {
        let at = id.0 as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.count += usize::from(self.slots[at].replace(Box::new(topic)).is_none());
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Box<Followed>> {
        let removed = self.slots.get_mut(id.0 as usize)?.take();
        self.count -= usize::from(removed.is_some());
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (TopicId, &mut Followed)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(at, slot)| Some((TopicId(at as u32), slot.as_deref_mut()?)))
    }
}
