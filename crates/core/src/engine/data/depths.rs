//! The depths of books of a shard. For each, and for each delay that it is used with, there is a view: books that have so many levels on
//! each side. It is made of the whole books of that delay, once for all of its sessions.

use crate::vocabulary::View;

/// A depth, and the delay that it is used with.
#[derive(Debug)]
pub(crate) struct Depth {
    pub(crate) view: View,
    /// The view that it is made of: the live one, or a delayed one.
    pub(crate) of: View,
    /// The most price levels of each side.
    pub(crate) levels: u32,
    /// The count of topics that the view has.
    pub(crate) topics: usize,
}

/// All depths of a shard, by the number of the view behind those of delays.
#[derive(Debug, Default)]
pub(crate) struct Depths(Vec<Option<Depth>>);

fn place(view: View) -> Option<usize> {
    usize::from(view.number()).checked_sub(1 + usize::from(View::DELAYED_MAX))
}

impl Depths {
    pub(crate) fn get(&self, view: View) -> Option<&Depth> {
        self.0.get(place(view)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, view: View) -> Option<&mut Depth> {
        self.0.get_mut(place(view)?)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Depth> {
        self.0.iter().flatten()
    }

    /// Returns the view with whole books that a view is made of; a view with whole books itself.
    pub(crate) fn base(&self, view: View) -> View {
        self.get(view).map_or(view, |depth| depth.of)
    }

    /// Returns the most levels of a view's books on each side; `None` for all.
    pub(crate) fn levels(&self, view: View) -> Option<u32> {
        self.get(view).map(|depth| depth.levels)
    }

    /// Returns the views that are made of a view.
    pub(crate) fn made_of(&self, of: View) -> Vec<View> {
        self.iter().filter(|depth| depth.of == of).map(|depth| depth.view).collect()
    }

    /// Returns the view that is made of another one and as deep, or as little shallower as there is one.
    pub(crate) fn enough(&self, of: View, levels: u32) -> Option<View> {
        let enough = self.iter().filter(|depth| depth.of == of && depth.levels <= levels);
        enough.max_by_key(|depth| depth.levels).map(|depth| depth.view)
    }

    /// Begins a depth where there are fewer than `max`.
    pub(crate) fn add(&mut self, of: View, levels: u32, max: usize) -> Option<View> {
        if self.iter().count() >= max {
            return None;
        }
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let view = View::other(u8::try_from(free).ok()?.checked_add(1 + View::DELAYED_MAX)?)?;
        if free == self.0.len() {
            self.0.push(None);
        }
        self.0[free] = Some(Depth { view, of, levels, topics: 0 });
        Some(view)
    }

    pub(crate) fn remove(&mut self, view: View) {
        if let Some(slot) = place(view).and_then(|at| self.0.get_mut(at)) {
            *slot = None;
        }
    }
}
