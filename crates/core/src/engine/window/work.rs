//! The memory of a window while data is under way: at rest it has none.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::known::Course;
use super::mark::Mark;
use crate::engine::throughput::Throughput;

/// The memory of a window at work.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) marks: VecDeque<Mark>,
    pub(super) throughput: Throughput,
    pub(super) course: Option<Box<Course>>,
    /// The newest probe that a pong came for, whatever counts.
    pub(super) ponged_to: u64,
    /// The time since when pongs come without receipts; 0: they do not.
    pub(super) receiptless_since: u64,
}

impl Work {
    const NONE: Self = Self {
        marks: VecDeque::new(),
        throughput: Throughput::NONE,
        course: None,
        ponged_to: 0,
        receiptless_since: 0,
    };
}

/// A [`Work`] that takes no memory at rest. It is made when it is written to.
#[derive(Debug, Default)]
pub(super) struct AtWork(Option<Box<Work>>);

impl AtWork {
    /// Returns it where it was made: to change what is in it.
    pub(super) fn made(&mut self) -> Option<&mut Work> {
        self.0.as_deref_mut()
    }

    /// Returns whether it was never made, or was given back.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Gives its memory back, with what was in it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl Deref for AtWork {
    type Target = Work;

    #[inline]
    fn deref(&self) -> &Work {
        static NONE: Work = Work::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for AtWork {
    #[inline]
    fn deref_mut(&mut self) -> &mut Work {
        self.0.get_or_insert_with(|| Box::new(Work::NONE))
    }
}
