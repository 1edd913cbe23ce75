use tickwire_gateway::HopCounts;

use super::*;

const MS: u64 = 1_000_000;

fn told(prompt: &[(u64, u64)]) -> ToldHops {
    let hop = |from: &str, to: &str, sessions: &str, counts: &[(u64, u64)]| HopCounts {
        from: from.to_owned(),
        to: to.to_owned(),
        sessions: sessions.to_owned(),
        counts: counts.to_vec(),
        ..HopCounts::default()
    };
    let hops = vec![
        hop("gateway_in", "gateway_write", "prompt", prompt),
        hop("ingester", "gateway_in", "prompt", &[(MS, 9)]),
        hop("ingester", "gateway_in", "conflating", &[(7_000 * MS, 9)]),
    ];
    ToldHops { sampled_one_in: 127, hops }
}

/// Returns the counts and the largest values of the legs.
fn legs(hops: GatewayHops) -> Vec<(String, u64, u64)> {
    let leg = |((from, _), took): (Name, Latencies)| {
        let summary = took.summary();
        (from, summary.count, summary.max_ns / MS)
    };
    hops.into_legs().map(leg).collect()
}

#[test]
fn only_what_passed_while_it_was_measured_counts() {
    let mut hops = GatewayHops::default();
    hops.begin(Some(told(&[(2 * MS, 5), (900 * MS, 3)])));
    hops.end(Some(told(&[(2 * MS, 6), (4 * MS, 1), (900 * MS, 3)])));
    assert_eq!(
        legs(hops),
        [("gateway_in".to_owned(), 2, 4)],
        "nothing came in, and nobody who is slow counts"
    );
}

#[test]
fn a_gateway_that_starts_anew_counts_from_nothing() {
    let mut hops = GatewayHops::default();
    hops.begin(Some(told(&[(2 * MS, 5)])));
    hops.end(Some(told(&[(2 * MS, 7)])));
    hops.end(Some(told(&[(3 * MS, 4)])));
    assert_eq!(legs(hops), [("ingester".to_owned(), 9, 1), ("gateway_in".to_owned(), 6, 3)]);
    let mut unnoticed = GatewayHops::default();
    unnoticed.begin(Some(told(&[(2 * MS, 5)])));
    unnoticed.end(Some(told(&[(2 * MS, 1), (3 * MS, 1)])));
    assert_eq!(legs(unnoticed), [("gateway_in".to_owned(), 2, 3)]);
}
