//! The topics of a shard by their ids: the live ones, and the views that are made of them.

use super::topic::Topic;
use crate::vocabulary::{TopicId, View};

/// The topics of each view beside the live one, by the view's number less one.
type Views = Vec<Vec<Option<Box<Topic>>>>;

/// All topics of a shard. The ids of views lie beyond those of all live topics, so a look-up of a live topic does nothing for
/// views: a view is looked for where there is no such live topic.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    live: Vec<Option<Box<Topic>>>,
    views: Views,
}

#[cold]
#[inline(never)]
fn view(views: &Views, id: TopicId) -> Option<&Topic> {
    let at = usize::from(id.view().number()).checked_sub(1)?;
    views.get(at)?.get(id.live().0 as usize)?.as_deref()
}

#[cold]
#[inline(never)]
fn view_mut(views: &mut Views, id: TopicId) -> Option<&mut Topic> {
    let at = usize::from(id.view().number()).checked_sub(1)?;
    views.get_mut(at)?.get_mut(id.live().0 as usize)?.as_deref_mut()
}

impl Topics {
    /// Returns a live topic, and nothing where the id is that of a view: the usual way to a session that sees all of it live has no
    /// instruction for those that do not.
    #[inline]
    pub(crate) fn live(&self, id: TopicId) -> Option<&Topic> {
        self.live.get(id.0 as usize)?.as_deref()
    }

    #[inline]
    pub(crate) fn get(&self, id: TopicId) -> Option<&Topic> {
        match self.live.get(id.0 as usize) {
            Some(slot) => slot.as_deref(),
            None => view(&self.views, id),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        match self.live.get_mut(id.0 as usize) {
            Some(slot) => slot.as_deref_mut(),
            None => view_mut(&mut self.views, id),
        }
    }

    /// Makes room for this many ids of live topics.
    pub(crate) fn grow(&mut self, ids: usize) {
        if self.live.len() < ids {
            self.live.resize_with(ids, || None);
        }
    }

    /// Puts a topic in. A live one needs room: see [`Topics::grow`].
    pub(crate) fn put(&mut self, id: TopicId, topic: Box<Topic>) {
        let at = id.live().0 as usize;
        let slots = match usize::from(id.view().number()).checked_sub(1) {
            None => &mut self.live,
            Some(view) => {
                if self.views.len() <= view {
                    self.views.resize_with(view + 1, Vec::new);
                }
                let slots = &mut self.views[view];
                if slots.len() <= at {
                    slots.resize_with(self.live.len().max(at + 1), || None);
                }
                slots
            }
        };
        if let Some(slot) = slots.get_mut(at) {
            *slot = Some(topic);
        }
    }

    pub(crate) fn remove(&mut self, id: TopicId) -> Option<Box<Topic>> {
        let slots = match usize::from(id.view().number()).checked_sub(1) {
            None => &mut self.live,
            Some(view) => self.views.get_mut(view)?,
        };
        slots.get_mut(id.live().0 as usize)?.take()
    }

    /// Returns the ids of the topics of a view beside the live one.
    pub(crate) fn of_view(&self, view: View) -> Vec<TopicId> {
        let at = usize::from(view.number()).checked_sub(1);
        let slots = at.and_then(|at| self.views.get(at)).into_iter().flatten().enumerate();
        slots.filter(|(_, slot)| slot.is_some()).map(|(at, _)| TopicId(at as u32).seen_as(view)).collect()
    }

    /// Gives back the room for the topics of a view, of which there are none any more.
    pub(crate) fn forget_view(&mut self, view: View) {
        let at = usize::from(view.number()).checked_sub(1);
        if let Some(slots) = at.and_then(|at| self.views.get_mut(at)) {
            *slots = Vec::new();
        }
    }

    /// Returns all topics, those of views included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.live.iter().chain(self.views.iter().flatten()).filter_map(Option::as_deref)
    }
}
