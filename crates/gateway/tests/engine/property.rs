//! Random schedules against the model: 2000 run by default, which takes about 12 s unoptimized; `PROPTEST_CASES` says
//! how many else.

use proptest::prelude::*;

use super::schedule::drive;
use super::steps::Step;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<[u8; 4]>().prop_map(Step), 0..300)
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn every_schedule_keeps_the_promises(tuning in any::<[u8; 4]>(), steps in steps()) {
        drive(tuning, &steps);
    }
}

#[test]
fn a_value_before_two_losses_is_no_state_for_who_came_between_them() {
    let steps =
        [[64, 6, 7, 107], [52, 91, 228, 2], [62, 98, 0, 140], [43, 112, 84, 254], [116, 22, 139, 161]];
    drive([8, 5, 190, 25], &steps.map(Step));
}
