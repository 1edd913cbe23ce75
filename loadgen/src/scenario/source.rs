//! Settings of the source: what it publishes, and how fast.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickwire_config::settings;

use super::forms::{MS, RATE_MAX, SECOND};

const NOT_SILENT: &str = "; 0 stands only beside `source.burst` or `source.steps`";

settings! {
    pub(crate) struct Source {
        /// own: publishes by a plan; running: what the gateway's ingester sends
        kind: SourceKind = SourceKind::Own,
        /// symbols of the own source
        symbols: usize = 100 => 1..=65_536,
        /// over all symbols, at an even pace
        #[schemars(extend("unit" = "updates/s", "hint" = NOT_SILENT))]
        rate: f64 = 500.0 => 0..=RATE_MAX,
        /// of all updates, those that are trades; the others are quotes
        trades: f64 = 0.0 => 0..=1,
        /// Zipf's exponent by which updates choose their symbol; 0: each in turn
        skew: f64 = 0.0 => 0..=10,
        /// updates come in packets: what is due within so long comes at its end, all at once; not given: each by itself
        tick: Option<Duration> = None,
        /// bursts of this rate; between them it is `source.rate`
        #[schemars(extend("unit" = "updates/s", "exclusiveMinimum" = 0))]
        burst: Option<f64> = None => 0..=RATE_MAX,
        /// with `burst`: from one to the next
        every: Duration = SECOND,
        /// with `burst`: how long each is
        lasting: Duration = 100 * MS,
        /// instead of `rate`: one step after the other, and from the first again
        steps: Vec<Step> = Vec::new(),
    }

    #[derive(Copy, PartialEq)]
    #[schemars(extend("required" = ["lasting", "rate"]))]
    pub(crate) struct Step {
        /// how long this step is
        lasting: Duration = SECOND,
        /// in this step
        #[schemars(extend("unit" = "updates/s"))]
        rate: f64 = 1.0 => 0..=RATE_MAX,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    Own,
    Running,
}

impl Source {
    /// Returns whether the running ingester sends what it likes.
    pub(crate) fn is_running(&self) -> bool {
        self.kind == SourceKind::Running
    }

    /// Returns the rates over time, from the start again after the last one. A burst ends each round, so that a run begins quietly.
    pub(crate) fn rates(&self) -> Vec<Step> {
        match self.burst {
            _ if !self.steps.is_empty() => self.steps.clone(),
            Some(burst) => {
                let every = self.every.max(MS);
                let lasting = self.lasting.min(every);
                let quiet = Step { lasting: every.saturating_sub(lasting), rate: self.rate };
                vec![quiet, Step { lasting, rate: burst }]
            }
            None => vec![Step { rate: self.rate, ..Step::default() }],
        }
    }

    /// Returns the updates per second over a whole round.
    pub(crate) fn mean_rate(&self) -> f64 {
        let rates = self.rates();
        let all: f64 = rates.iter().map(|step| step.lasting.as_secs_f64()).sum();
        let updates: f64 = rates.iter().map(|step| step.lasting.as_secs_f64() * step.rate).sum();
        updates / all.max(1e-9)
    }
}
