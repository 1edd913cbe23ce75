//! Cautions limit how far the results of a run can be trusted.

use tickwire_measure::Summary;

use super::super::cautions::{LATE_P99_MAX_NS, add_cautions, late_max, others_hold};
use super::super::model::{Generator, Latency, Program};

fn late(p99_ns: u64) -> Latency {
    Latency { summary: Summary { p99_ns, ..Summary::default() }, ..Latency::default() }
}

/// Makes a generator whose busiest thread, lags, wait, machine and other programs are so.
fn generator(share: f64, [lag_ns, source_ns]: [u64; 2], [waited, all, others]: [f64; 3]) -> Generator {
    Generator {
        cpu_share: vec![0.1, share],
        lag: late(lag_ns),
        source_lag: late(source_ns),
        waited_share: waited,
        machine_busy: Some(all),
        machine_busy_others: Some(others),
        ..Generator::default()
    }
}

#[track_caller]
fn check(mut own: Generator, backwards: u64, is_bottleneck: bool, count: usize) {
    add_cautions(&mut own, LATE_P99_MAX_NS, backwards);
    assert_eq!((own.was_bottleneck, own.cautions.len()), (is_bottleneck, count), "{:?}", own.cautions);
}

#[test]
fn it_says_when_it_was_the_bottleneck_itself() {
    let (calm, busy) = ([0.01, 0.5, 0.05], [0.3, 0.95, 0.05]);
    check(generator(0.5, [1_200_000, 100_000], calm), 0, false, 0);
    check(generator(0.9, [1_200_000, 100_000], calm), 0, true, 1);
    check(generator(0.5, [9_000_000, 100_000], calm), 0, true, 1);
    check(generator(0.5, [1_200_000, 9_000_000], calm), 0, true, 1);
    check(generator(0.5, [1_200_000, 100_000], busy), 3, false, 3);
    check(generator(0.5, [1_200_000, 100_000], [0.01, 0.5, 0.3]), 0, false, 1);
}

#[test]
fn what_other_programs_did_is_not_the_generators_doing() {
    let mut own = generator(0.9, [0; 2], [0.0, 0.99, 0.5]);
    own.others = vec![Program { name: "rustc".to_owned(), pid: 7, share: 0.4 }];
    let mut under_test = own.clone();
    under_test.others_hold.push("the server".to_owned());
    add_cautions(&mut own, LATE_P99_MAX_NS, 0);
    assert!(own.cautions[2].contains("rustc 40 %, process 7"), "{:?}", own.cautions);
    assert_eq!((own.bottlenecks.len(), own.cautions.len()), (1, 3));
    check(under_test, 0, true, 2);
}

#[test]
fn a_search_that_is_at_its_end_may_be_late_and_says_so() {
    let max = |text: &str| late_max(&crate::scenario::tests::scenario(text));
    assert_eq!((max(""), max("[saturation]\np99 = \"2ms\"\n")), (LATE_P99_MAX_NS, LATE_P99_MAX_NS));
    let max = max("[saturation]\np99 = \"100ms\"\n");
    for (lag_ns, bottlenecks) in [(21_000_000, 0), (51_000_000, 1)] {
        let mut own = generator(0.5, [lag_ns, 0], [0.0; 3]);
        add_cautions(&mut own, max, 0);
        assert_eq!((own.bottlenecks.len(), own.cautions.len()), (bottlenecks, 1));
    }
}

#[test]
fn who_is_under_test_and_not_known_is_named() {
    let hold = |text: &str, is_watched, is_same_host| {
        others_hold(&crate::scenario::tests::scenario(text), is_watched, is_same_host)
    };
    assert_eq!(hold("", true, true), [""; 0]);
    let proxied = "gateway.listen = \"127.0.0.1:7400\"\ntarget.url = \"ws://127.0.0.1:80\"\n";
    assert!(hold(proxied, true, true)[0].contains("in front of the gateway"));
    let url = "target.url = \"ws://h:7400\"\ntarget.bus = [\"nats://h:4222\"]\n";
    assert_eq!(hold(url, false, true).len(), 2);
    assert_eq!((hold(url, true, true).len(), hold(url, false, false).len()), (1, 1));
}
