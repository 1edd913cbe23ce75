//! Losses made on purpose, for tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tickwire_wire::Subject;

pub(super) struct Faults {
    /// Whether any loss is planned, so that publishing pays one load for all of this.
    is_armed: AtomicBool,
    plan: Mutex<Plan>,
    generation: AtomicU64,
}

#[derive(Default)]
struct Plan {
    /// The messages to go until one is lost, whatever its subject.
    any: Option<u64>,
    /// The same for messages to one subject.
    on: HashMap<Subject, u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { is_armed: AtomicBool::new(false), plan: Mutex::default(), generation: AtomicU64::new(1) }
    }
}

impl Faults {
    pub(super) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn drop_nth(&self, nth: u64) {
        self.arm(|plan| plan.any = Some(nth.max(1)));
    }

    pub(super) fn drop_nth_on(&self, subject: &Subject, nth: u64) {
        self.arm(|plan| {
            plan.on.insert(subject.clone(), nth.max(1));
        });
    }

    /// Counts a message, and says whether it is the one to lose.
    pub(super) fn takes(&self, subject: &Subject) -> bool {
        if !self.is_armed.load(Ordering::Acquire) {
            return false;
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = false;
        if let Some(left) = plan.any.as_mut() {
            *left -= 1;
            if *left == 0 {
                plan.any = None;
                lost = true;
            }
        }
        if let Some(left) = plan.on.get_mut(subject) {
            *left -= 1;
            if *left == 0 {
                plan.on.remove(subject);
                lost = true;
            }
        }
        if plan.any.is_none() && plan.on.is_empty() {
            self.is_armed.store(false, Ordering::Release);
        }
        lost
    }

    fn arm(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner));
        self.is_armed.store(true, Ordering::Release);
    }
}
