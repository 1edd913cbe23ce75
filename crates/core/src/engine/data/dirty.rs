//! The subscriptions of a session that have something to be sent, in the order in which they began to.

/// A queue in which each subscription stands once. The marks are kept apart from the subscriptions, because to mark one
/// at each update must not touch its cache line.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    queue: Vec<u32>,
    /// Marks of the first 64: most sessions have no more.
    near: u64,
    far: Box<[u64]>,
    /// The count of those at the beginning that have left the queue already: to join and to leave it so is less work
    /// than with a ring.
    gone: u32,
}

impl Dirty {
    /// Marks a subscription: it has something to be sent.
    #[inline]
    pub(crate) fn mark(&mut self, index: u32) {
        let bit = bit(index);
        let marks = if index < u64::BITS { &mut self.near } else { self.far_marks(index) };
        if *marks & bit == 0 {
            *marks |= bit;
            if self.queue.len() == self.queue.capacity() {
                self.make_room();
            }
            self.queue.push(index);
        }
    }

    /// Takes out the one that has waited longest; it is not marked any more.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let index = *self.queue.get(self.gone as usize)?;
        self.gone += 1;
        if self.gone as usize == self.queue.len() {
            self.queue.clear();
            self.gone = 0;
        }
        self.unmark(index);
        Some(index)
    }

    /// Returns the marked ones, the longest waiting first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.queue[self.gone as usize..].iter().copied()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets subscriptions that end. However many they are, the queue is scanned once.
    pub(crate) fn remove(&mut self, indexes: &[u32]) {
        let mut was_marked = false;
        for index in indexes {
            was_marked |= self.unmark(*index);
        }
        if was_marked {
            self.forget_gone();
            let mut queue = std::mem::take(&mut self.queue);
            queue.retain(|index| self.is_marked(*index));
            self.queue = queue;
        }
    }

    /// Makes room before the queue grows: where half of it has left already, that is room enough.
    #[cold]
    fn make_room(&mut self) {
        if self.gone > 0 && self.gone as usize >= self.queue.len() / 2 {
            self.forget_gone();
        }
    }

    fn forget_gone(&mut self) {
        self.queue.drain(..self.gone as usize);
        self.gone = 0;
    }

    /// Gives the memory of the queue back where nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_marked(&self, index: u32) -> bool {
        let far = |index: u32| self.far.get((index / u64::BITS - 1) as usize).copied().unwrap_or_default();
        let marks = if index < u64::BITS { self.near } else { far(index) };
        marks & bit(index) != 0
    }

    /// Returns whether it was marked.
    #[inline]
    fn unmark(&mut self, index: u32) -> bool {
        let bit = bit(index);
        let marks = if index < u64::BITS { &mut self.near } else { self.far_marks(index) };
        let was_marked = *marks & bit != 0;
        *marks &= !bit;
        was_marked
    }

    #[cold]
    #[inline(never)]
    fn make_room_for(&mut self, at: usize) {
        let mut far = std::mem::take(&mut self.far).into_vec();
        far.resize((at + 1).max(far.len() + far.len() / 4), 0);
        self.far = far.into_boxed_slice();
    }

    fn far_marks(&mut self, index: u32) -> &mut u64 {
        let at = (index / u64::BITS - 1) as usize;
        if at >= self.far.len() {
            self.make_room_for(at);
        }
        &mut self.far[at]
    }
}

fn bit(index: u32) -> u64 {
    1 << (index % u64::BITS)
}

#[cfg(test)]
#[path = "dirty_tests.rs"]
mod tests;
