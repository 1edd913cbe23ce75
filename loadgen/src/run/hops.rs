//! Hops inside the server, as the gateway tells them of its sessions that keep up (`/v1/hops`): counts since its start,
//! of which the part of the window is wanted.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::admin;
use crate::latency::Latencies;

/// From and to.
type Name = (String, String);

/// How many took how long, in nanoseconds, by hop.
type Counts = BTreeMap<Name, BTreeMap<u64, u64>>;

/// As the gateway tells it.
#[derive(Debug, Deserialize)]
struct Told {
    sampled_one_in: u32,
    hops: Vec<ToldHop>,
}

#[derive(Debug, Deserialize)]
struct ToldHop {
    from: String,
    to: String,
    sessions: String,
    counts: Vec<(u64, u64)>,
}

/// What passed while it was measured.
#[derive(Debug, Default)]
pub(crate) struct GatewayHops {
    begun: Counts,
    passed: BTreeMap<Name, Latencies>,
    pub(crate) sampled_one_in: u32,
}

impl GatewayHops {
    /// Measuring begins.
    ///
    /// # Cancel safety
    /// As the others here: what was not told yet stays so.
    pub(super) async fn begin(&mut self, admin: Option<&str>) {
        if let Some(told) = ask(admin).await {
            self.begin_with(told);
        }
    }

    /// The gateway ends and counts from nothing, or measuring ends.
    pub(super) async fn end(&mut self, admin: Option<&str>) {
        if let Some(told) = ask(admin).await {
            self.end_with(told);
        }
    }

    /// In the order of the way.
    pub(crate) fn into_legs(self) -> impl Iterator<Item = (Name, Latencies)> {
        let mut legs: Vec<_> = self.passed.into_iter().filter(|(_, took)| !took.is_empty()).collect();
        legs.sort_by_key(|((from, _), _)| from != "ingester");
        legs.into_iter()
    }

    fn begin_with(&mut self, told: Told) {
        self.sampled_one_in = told.sampled_one_in;
        self.begun = counts(told);
    }

    fn end_with(&mut self, told: Told) {
        self.sampled_one_in = told.sampled_one_in;
        let begun = std::mem::take(&mut self.begun);
        for (name, now) in counts(told) {
            let then = begun.get(&name);
            // Less than before: it has started anew since.
            let is_anew = then.is_some_and(|then| then.values().sum::<u64>() > now.values().sum());
            let passed = self.passed.entry(name).or_default();
            for (ns, count) in now {
                let before = then.filter(|_| !is_anew).and_then(|then| then.get(&ns)).copied();
                passed.record_many(ns, count.saturating_sub(before.unwrap_or(0)));
            }
        }
    }
}

fn counts(told: Told) -> Counts {
    let prompt = told.hops.into_iter().filter(|hop| hop.sessions == "prompt");
    prompt.map(|hop| ((hop.from, hop.to), hop.counts.into_iter().collect())).collect()
}

/// Nothing where it is another server, or an older gateway.
async fn ask(admin: Option<&str>) -> Option<Told> {
    let text = admin::page(admin?, "/v1/hops").await?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn told(prompt: &[(u64, u64)]) -> Told {
        let hop = |from: &str, to: &str, sessions: &str, counts: &[(u64, u64)]| ToldHop {
            from: from.to_owned(),
            to: to.to_owned(),
            sessions: sessions.to_owned(),
            counts: counts.to_vec(),
        };
        let hops = vec![
            hop("gateway_in", "gateway_write", "prompt", prompt),
            hop("ingester", "gateway_in", "prompt", &[(MS, 9)]),
            hop("ingester", "gateway_in", "conflating", &[(7_000 * MS, 9)]),
        ];
        Told { sampled_one_in: 127, hops }
    }

    /// Counts and largest values of the legs.
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
        hops.begin_with(told(&[(2 * MS, 5), (900 * MS, 3)]));
        hops.end_with(told(&[(2 * MS, 6), (4 * MS, 1), (900 * MS, 3)]));
        assert_eq!(
            legs(hops),
            [("gateway_in".to_owned(), 2, 4)],
            "nothing came in, and nobody who is slow counts"
        );
    }

    #[test]
    fn a_gateway_that_starts_anew_counts_from_nothing() {
        let mut hops = GatewayHops::default();
        hops.begin_with(told(&[(2 * MS, 5)]));
        hops.end_with(told(&[(2 * MS, 7)]));
        hops.end_with(told(&[(3 * MS, 4)]));
        assert_eq!(legs(hops), [("ingester".to_owned(), 9, 1), ("gateway_in".to_owned(), 6, 3)]);
        let mut unnoticed = GatewayHops::default();
        unnoticed.begin_with(told(&[(2 * MS, 5)]));
        unnoticed.end_with(told(&[(2 * MS, 1), (3 * MS, 1)]));
        assert_eq!(legs(unnoticed), [("gateway_in".to_owned(), 2, 3)]);
    }
}
