//! Plans follow from the scenario and its seed.

use super::*;
use crate::scenario::tests::scenario;

fn plan(text: &str) -> Plan {
    Plan::new(
        scenario(text),
        &Url { address: "127.0.0.1:7400".to_owned(), path: String::new(), is_tls: false },
    )
    .unwrap()
}

#[test]
fn shares_are_kept_to_the_session() {
    let plan = plan(
        "[sessions]\ncount = 100\nencodings = { proto = 3, json = 1 }\nwindow = \"16ms\"\nheartbeat = \"10s\"\n\
         [[readers]]\nkind = \"silent\"\nshare = 0.1\n[[readers]]\nkind = \"half-open\"\nshare = 0.25\n",
    );
    let of = |kind| (0..100).filter(|at| plan.kinds[plan.reader(*at)].kind == kind).count();
    assert_eq!((of(ReaderKind::Silent), of(ReaderKind::HalfOpen), of(ReaderKind::Prompt)), (10, 25, 65));
    let json = (0..100).filter(|at| plan.encoding(*at) == Some(Encoding::Json)).count();
    assert_eq!(json, 25);
    assert_eq!(plan.path, "/v1/stream?window_ms=16&heartbeat_ms=10000");
}

#[test]
fn a_storm_takes_its_share_to_the_session_and_others_the_next_time() {
    let plan = plan(
        "[sessions]\ncount = 101\n[churn]\nstorms = [{ at = \"1s\", share = 0.5 }, { at = \"2s\", share = 0.5 }, { at = \"3s\" }]\n",
    );
    assert_eq!((0..3).map(|storm| plan.in_storm(storm)).collect::<Vec<_>>(), [51, 51, 101]);
    let of = |storm| (0..101).filter(|at| plan.is_in_storm(storm, *at)).collect::<Vec<_>>();
    assert_ne!(of(0), of(1));
    assert_ne!(of(0), (0..51).collect::<Vec<_>>());
}

#[test]
fn throttled_readers_may_take_longer_to_open() {
    let plan = plan(
        "[source]\nsymbols = 1000\n[sessions]\ncount = 2\nchannels = [\"quote\", \"trade\"]\n\
         [[readers]]\nkind = \"throttled\"\nshare = 0.5\nbytes_per_second = 1000\n",
    );
    let second = Duration::from_secs(1);
    let waits: Vec<_> = (0..2).map(|session| plan.open_wait(session, second)).collect();
    let throttled = second + Duration::from_secs_f64(16.384 + 2.0 * 512.0);
    assert!(waits.contains(&second) && waits.contains(&throttled), "{waits:?}");
    assert_eq!(plan.open_wait_max(second), throttled);
}

#[test]
fn sessions_choose_their_symbols_for_good() {
    let plan = plan("[source]\nsymbols = 50\n[sessions]\nsymbols_each = 5\nskew = 1.0\n");
    assert_eq!(plan.names(3).len(), 5);
    assert_eq!(plan.names(3), plan.names(3));
    assert_ne!(plan.names(3), plan.names(4));
}
