//! Hops inside the server, as the gateway tells them of its sessions that keep up (`/v1/hops`): counts since its start,
//! of which the part of the window is wanted.

use std::collections::BTreeMap;

use tickwire_gateway::ToldHops;
use tickwire_measure::Latencies;

use super::admin;

/// The two ends of a hop.
type Name = (String, String);

/// The counts of each hop: how long records took, in nanoseconds, and how many did.
type Counts = BTreeMap<Name, BTreeMap<u64, u64>>;

/// The records that passed while it was measured.
#[derive(Debug, Default)]
pub(crate) struct GatewayHops {
    begun: Counts,
    passed: BTreeMap<Name, Latencies>,
    pub(crate) sampled_one_in: u32,
}

impl GatewayHops {
    /// Returns the hops in the order of the way.
    pub(crate) fn into_legs(self) -> impl Iterator<Item = (Name, Latencies)> {
        let mut legs: Vec<_> = self.passed.into_iter().filter(|(_, took)| !took.is_empty()).collect();
        legs.sort_by_key(|((from, _), _)| from != "ingester");
        legs.into_iter()
    }

    /// Measuring begins.
    pub(super) fn begin(&mut self, told: Option<ToldHops>) {
        let Some(told) = told else { return };
        self.sampled_one_in = told.sampled_one_in;
        self.begun = counts(told);
    }

    /// The gateway ends and counts from nothing, or measuring ends.
    pub(super) fn end(&mut self, told: Option<ToldHops>) {
        let Some(told) = told else { return };
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

fn counts(told: ToldHops) -> Counts {
    let prompt = told.hops.into_iter().filter(|hop| hop.sessions == "prompt");
    prompt.map(|hop| ((hop.from, hop.to), hop.counts.into_iter().collect())).collect()
}

/// Asks the gateway; it says nothing where it is another server, or an older gateway.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub(super) async fn told(admin: Option<&str>) -> Option<ToldHops> {
    let text = admin::page(admin?, "/v1/hops").await?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
#[path = "../../tests/units/hops.rs"]
mod tests;
