//! The holders of each view are counted: a view that nobody holds may make room for another one.

use crate::vocabulary::View;

const VIEWS: usize = View::OTHERS_MAX as usize + 1;

/// The count of the holders of each view: subscriptions, those that are asked for and not granted yet, each `venue:*`, and commands for
/// as long as they are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders([u32; VIEWS]);

impl Default for Holders {
    fn default() -> Self {
        Self([0; VIEWS])
    }
}

impl Holders {
    pub(crate) fn take(&mut self, view: View) {
        self.0[usize::from(view.number())] += 1;
    }

    pub(crate) fn give_back(&mut self, view: View) {
        self.0[usize::from(view.number())] -= 1;
    }

    pub(crate) fn has(&self, view: View) -> bool {
        self.0[usize::from(view.number())] > 0
    }
}
