//! Hops inside the server, as the gateway tells them of its sessions that keep up (`/v1/hops`): counts since its start,
//! of which the part of the window is wanted.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::admin;
use crate::latency::Latencies;

/// The two ends of a hop.
type Name = (String, String);

/// The counts of each hop: how long records took, in nanoseconds, and how many did.
type Counts = BTreeMap<Name, BTreeMap<u64, u64>>;

/// The gateway tells it so.
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

/// The records that passed while it was measured.
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

    /// Returns the hops in the order of the way.
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

/// Returns nothing where it is another server, or an older gateway.
async fn ask(admin: Option<&str>) -> Option<Told> {
    let text = admin::page(admin?, "/v1/hops").await?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
#[path = "../../tests/units/hops.rs"]
mod tests;
