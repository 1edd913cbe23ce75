//! Random schedules against the model. `PROPTEST_CASES` says how many.

use proptest::prelude::*;

use super::schedule::{Step, drive};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<[u8; 4]>().prop_map(Step), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_schedule_keeps_the_promises(tuning in any::<[u8; 4]>(), steps in steps()) {
        drive(tuning, &steps);
    }
}
