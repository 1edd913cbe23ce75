//! A limit of log lines for each place of the code that writes them, so that a flood of one kind of event neither fills a disk
//! nor hides the others. What is swallowed is counted and told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// The time over which lines are counted.
const PERIOD: Duration = Duration::from_secs(1);
/// The longest time for which nobody is told of lines that were swallowed.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A limit for each place of the code. Clones share their counts. There are as many places as the code has, so the counts are
/// bounded.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    /// The most lines of one place in a second.
    lines: u32,
    /// A target that has no limit.
    free: &'static str,
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    passed: u32,
    swallowed: u64,
}

/// Lines that were swallowed since the last report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swallowed {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) lines: u64,
}

impl Limit {
    pub(super) fn new(lines: u32, free: &'static str) -> Self {
        Self { lines, free, places: Arc::default() }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passes(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        if metadata.target() == self.free {
            return true;
        }
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert(Place {
            metadata,
            since: now,
            passed: 0,
            swallowed: 0,
        });
        if now.saturating_duration_since(place.since) >= PERIOD {
            (place.since, place.passed) = (now, 0);
        }
        let passes = place.passed < self.lines;
        if passes {
            place.passed += 1;
        } else {
            place.swallowed += 1;
        }
        passes
    }

    /// Returns what was swallowed since the last call.
    pub(super) fn take_swallowed(&self) -> Vec<Swallowed> {
        let mut places = self.places();
        let told = places.values_mut().filter(|place| place.swallowed > 0);
        told.map(|place| Swallowed { metadata: place.metadata, lines: std::mem::take(&mut place.swallowed) })
            .collect()
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.passes(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::callsite::Callsite as _;

    fn place() -> &'static Metadata<'static> {
        let callsite = tracing::callsite!(name: "one", kind: tracing::metadata::Kind::EVENT, fields: message);
        callsite.metadata()
    }

    #[test]
    fn each_place_has_so_many_lines_a_second_and_the_others_are_told() {
        let (limit, start) = (Limit::new(3, "free"), Instant::now());
        let one = place();
        let passed =
            |at: u64| (0..5).filter(|_| limit.passes(one, start + Duration::from_millis(at))).count();
        assert_eq!((passed(0), passed(900), passed(1_000)), (3, 0, 3));
        let told = limit.take_swallowed();
        assert_eq!((told.len(), told[0].lines, told[0].metadata.name()), (1, 9, "one"));
        assert!(limit.take_swallowed().is_empty(), "nothing is told twice");
    }

    #[test]
    fn a_free_target_has_no_limit() {
        let one = place();
        let limit = Limit::new(0, one.target());
        assert!((0..100).all(|_| limit.passes(one, Instant::now())));
        assert!(!Limit::new(0, "free").passes(one, Instant::now()));
    }
}
